"""From many steps with guidance to four without.

The trained transformer is its own teacher. The student starts from it, sees only the noise levels
of the four-step schedule, and learns the data's velocity plus what guidance along the audio would
have added to it:

    v* = (noise - data) + (s - 1) (full - text_only)

so that one evaluation gives what two gave. On data, because a velocity from the teacher's own
trajectory carries its errors along; see ``docs/experiments.md`` for what was tried.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ..samplers.schedule import flow_sigmas
from .latents import Batch, LatentClips
from .loop import Recipe, Run, train
from .sizes import SHIFT, STEPS
from .transformer import (
    BATCHES,
    hold_heads,
    normal,
    predict,
    routing_of,
    shape_of,
    voices_of,
    weighted_error,
    worn_context,
)

RECIPE = Recipe("few steps", steps=300, rate=6e-4, muon=2e-3, decay=80, adamw=("modulation",))

AUDIO_SCALE = 1.5
"""Guidance along the audio that the student has built in."""

JITTER = 0.02
"""How far a noise level may be from the schedule's, so that its neighbours are known as well."""


def train_few_steps(
    run: Run, sets: Mapping[str, LatentClips], model: nn.ModuleDict, teacher: nn.ModuleDict
) -> None:
    """Turn the trained model into one for few steps without guidance."""
    teacher = teacher.requires_grad_(False).eval()
    levels = flow_sigmas(STEPS, SHIFT)

    def step_loss(step: int, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, float]]:
        name = shape_of(run, step)
        return guided_loss(model, teacher, sets[name].batch(rng, BATCHES[name]), rng, levels)

    train(run, RECIPE, model, step_loss)


def guided_loss(
    model: nn.ModuleDict,
    teacher: nn.ModuleDict,
    batch: Batch,
    rng: np.random.Generator,
    levels: Tensor,
) -> tuple[Tensor, Mapping[str, float]]:
    """Distance to the guided velocity at the noise levels of a schedule ``[steps + 1]``."""
    data, voices = batch.latents, batch.voices
    sigma = rng.choice(levels[:-2].numpy(), size=len(data)) + rng.uniform(
        -JITTER, JITTER, len(data)
    )
    sigma = torch.from_numpy(sigma).float().clamp(0, 1)
    noise, level = normal(rng, data.shape), sigma.view(-1, 1, 1, 1, 1)
    noisy = hold_heads((1 - level) * data + level * noise, worn_context(batch, rng), batch.held)
    routing = routing_of(batch, rng)
    with torch.no_grad():
        silence = voices_of(batch, torch.ones(len(data), dtype=torch.bool))[:, :1]
        full = predict(teacher, noisy, sigma, batch.concat, voices, routing)
        text_only = predict(teacher, noisy, sigma, batch.concat, silence, None)
    target = noise - data + (AUDIO_SCALE - 1) * (full - text_only)
    velocity = predict(model, noisy, sigma, batch.concat, voices, routing)
    return weighted_error((velocity - target).square(), batch)
