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
        even: Whether the steps are ``even_sigmas``, else InfiniteTalk's ``flow_sigmas``.
        goes_with: What else the weights want, in words.
    """

    steps: int
    shift: float
    even: bool = False
    goes_with: str = ""

    def sigmas(self) -> Tensor:
        """Sigmas of a chunk ``[steps + 1]``."""
        return spaced_sigmas(self.steps, self.shift, even=self.even)


GUIDED = "Talk Guidance 5/4"
STEP_LORA = "Euler, Talk Guidance 1/2 or none"

PRESETS = {
    "InfiniteTalk 480p": Preset(40, 7.0, goes_with=GUIDED),
    "InfiniteTalk 720p": Preset(40, 11.0, goes_with=GUIDED),
    "step LoRA, 4 steps": Preset(4, 2.0, goes_with=STEP_LORA),
    "step LoRA, 6 steps": Preset(6, 7.0, goes_with=STEP_LORA),
    "step LoRA, 8 steps": Preset(8, 2.0, goes_with=STEP_LORA),
    "MagicInfinite, 4 steps": Preset(4, 5.0, even=True, goes_with="Euler, no Talk Guidance"),
    "lightx2v, 4 steps": Preset(4, 5.0, even=True, goes_with=STEP_LORA),
    "SoulX-FlashTalk, 4 steps": Preset(
        4, 5.0, even=True, goes_with="lcm, no Talk Guidance, chunk_frames 33, context_frames 5"
    ),
}
"""Published settings: InfiniteTalk's two sizes and its FusionX example (8 steps, shift 2); 4 and 6
steps as step-distillation LoRAs are commonly run with it. The distilled models are trained at the
timesteps 1000, 750, 500 and 250, shifted by 5: MagicInfinite's by what its authors published of the
model before it, lightx2v's and SoulX-FlashTalk's by their own settings."""


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

    Source: InfiniteTalk, ``timestep_transform`` over timesteps from 1000 down to 1, then 0. So the
    last step is a very short one, and few steps are longer than they seem.
    """
    check_schedule(steps, shift)
    timesteps = torch.linspace(TIMESTEPS, 1, steps, dtype=torch.float32).double()
    sigmas = shift_sigma(timesteps / TIMESTEPS, shift)
    return torch.cat([sigmas, sigmas.new_zeros(1)]).float()


def even_sigmas(steps: int, shift: float) -> Tensor:
    """Sigmas of a chunk in steps that are even before the shift, the last one as long as the rest.

    Args:
        steps: At least 1.
        shift: Above 0; 5 for 4 distilled steps.

    Returns:
        ``[steps + 1]`` float32, descending from 1 to 0.
    """
    check_schedule(steps, shift)
    return shift_sigma(torch.linspace(1, 0, steps + 1, dtype=torch.float64), shift).float()


def spaced_sigmas(steps: int, shift: float, *, even: bool) -> Tensor:
    """``even_sigmas`` or ``flow_sigmas``."""
    return (even_sigmas if even else flow_sigmas)(steps, shift)


def check_schedule(steps: int, shift: float) -> None:
    """Refuse a schedule of no steps, or one that no shift makes."""
    if steps < 1:
        raise InputError(f"steps is {steps}; at least 1 is needed.")
    if not 0 < shift < float("inf"):
        raise InputError(f"shift is {shift}; it must be above 0 (7 for 480p, 11 for 720p).")


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
