"""Flow-matching schedules: which sigmas a chunk passes through.

A sigma is in [0, 1], 1 is pure noise: ``x = (1 - sigma) * data + sigma * noise``. A timestep is the
same thing times 1000, as the networks take it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError

TIMESTEPS = 1000


@dataclass(frozen=True)
class Preset:
    """Steps and shift that belong together.

    Attributes:
        steps: Denoising steps per chunk.
        shift: Shift of the schedule; more spends more steps at high noise.
    """

    steps: int
    shift: float


PRESETS = {
    "InfiniteTalk 480p": Preset(40, 7.0),
    "InfiniteTalk 720p": Preset(40, 11.0),
    "step LoRA, 4 steps": Preset(4, 2.0),
    "step LoRA, 6 steps": Preset(6, 7.0),
    "step LoRA, 8 steps": Preset(8, 2.0),
    "MagicInfinite, 4 steps": Preset(4, 5.0),
}
"""Published settings: InfiniteTalk's two sizes and its FusionX example (8 steps, shift 2),
MagicInfinite's distilled 4 steps; 4 and 6 steps as step-distillation LoRAs are commonly run."""


SMALL_CLIP_PIXELS = 500_000
"""Up to so many pixels per frame a clip gets the shift of 480p."""


def default_shift(size: tuple[int, int]) -> float:
    """Shift for a clip of ``(height, width)``: the published values for 480p and 720p."""
    small = size[0] * size[1] <= SMALL_CLIP_PIXELS
    return PRESETS["InfiniteTalk 480p" if small else "InfiniteTalk 720p"].shift


def shift_sigma(sigma: Tensor, shift: float) -> Tensor:
    """Move a schedule towards noise: ``s σ / (1 + (s - 1) σ)``; 0 and 1 stay."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def flow_sigmas(steps: int, shift: float) -> Tensor:
    """Sigmas of a chunk.

    Args:
        steps: At least 1.
        shift: Above 0; 7 for 480p, 11 for 720p, 2 with a step LoRA.

    Returns:
        ``[steps + 1]`` float32, descending from 1 to 0.

    Source: InfiniteTalk, ``timestep_transform`` over timesteps from 1000 down to 1, then 0.
    """
    if steps < 1:
        raise InputError(f"steps is {steps}; at least 1 is needed.")
    if not 0 < shift < float("inf"):
        raise InputError(f"shift is {shift}; it must be above 0 (7 for 480p, 11 for 720p).")
    timesteps = torch.linspace(TIMESTEPS, 1, steps, dtype=torch.float32).double()
    sigmas = shift_sigma(timesteps / TIMESTEPS, shift)
    return torch.cat([sigmas, sigmas.new_zeros(1)]).float()


def same_schedule(first: Tensor, second: Tensor) -> bool:
    """Whether two schedules pass through the same noise levels, as far as a clip shows it."""
    return first.shape == second.shape and torch.allclose(first, second, atol=1e-3)


def sigmas_from(sigmas: Tensor, start: float) -> Tensor:
    """The part of a schedule from a noise level on, which becomes its first sigma.

    Args:
        sigmas: ``[steps + 1]``, descending to 0.
        start: Above 0 and at most 1; 1 is the whole schedule.

    Raises:
        InputError: ``start`` is out of range.
    """
    if not 0 < start <= 1:
        raise InputError(f"start is {start}; it must be above 0 and at most 1, the whole schedule.")
    if start >= sigmas[0]:
        return sigmas
    return torch.cat([sigmas.new_tensor([start]), sigmas[sigmas < start]])


def add_noise(data: Tensor, noise: Tensor, sigma: float | Tensor) -> Tensor:
    """Noise ``data`` to ``sigma``."""
    return (1 - sigma) * data + sigma * noise
