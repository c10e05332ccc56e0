"""From many steps with guidance to four without, as ``training.fewsteps`` does it.

Differs: MagicInfinite distils by matching distributions (DMD2, eq. 5 and 6); this puts guidance
along the audio into the weights at the noise levels of its four steps.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ..fewsteps import AUDIO_SCALE, JITTER
from ..loop import Recipe, Run, train
from ..transformer import normal, shape_of
from .transformer import (
    BATCHES,
    portrait_channels,
    predict,
    silence,
    weighted_error,
)
from .windows import WindowClips, Windows, draw_gates

RECIPE = Recipe("hybrid few steps", steps=300, rate=6e-4, muon=2e-3, decay=80, adamw=("mod",))


LEVELS = (1.0, 0.9375, 0.9092, 0.8333, 0.7149, 0.625)
"""Noise levels of four steps with shift 5: as MagicInfinite spaces them (1, 0.9375, 0.8333, 0.625),
and as ``flow_sigmas`` does (1, 0.9092, 0.7149, and a last one that changes nothing)."""


def train_few_steps(
    run: Run, sets: Mapping[str, WindowClips], model: nn.ModuleDict, teacher: nn.ModuleDict
) -> None:
    """Turn the trained model into one for few steps without guidance."""
    teacher = teacher.requires_grad_(False).eval()

    def step_loss(step: int, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, float]]:
        name = shape_of(run, step)
        return guided_loss(model, teacher, sets[name].batch(rng, BATCHES[name]), rng)

    train(run, RECIPE, model, step_loss)


def guided_loss(
    model: nn.ModuleDict,
    teacher: nn.ModuleDict,
    windows: Windows,
    rng: np.random.Generator,
) -> tuple[Tensor, Mapping[str, float]]:
    """Distance to the guided velocity at the noise levels of the schedules."""
    data, voices = windows.latents, windows.voices
    count = len(data)
    sigma = rng.choice(LEVELS, size=count) + rng.uniform(-JITTER, JITTER, count)
    sigma = torch.from_numpy(sigma).float().clamp(0, 1)
    noise, level = normal(rng, data.shape), sigma.view(-1, 1, 1, 1, 1)
    noisy = (1 - level) * data + level * noise
    concat = portrait_channels(windows, torch.zeros(count, dtype=torch.bool))
    gates = draw_gates(rng, windows)
    with torch.no_grad():
        deaf = silence(voices, torch.ones(count, dtype=torch.bool))
        full = predict(teacher, noisy, sigma, concat, voices, gates)
        text_only = predict(teacher, noisy, sigma, concat, deaf, gates)
    target = noise - data + (AUDIO_SCALE - 1) * (full - text_only)
    velocity = predict(model, noisy, sigma, concat, voices, gates)
    return weighted_error(velocity - target, windows.weight)
