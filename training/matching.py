"""Distribution matching: the student's clips shall look as likely to the teacher as real ones do.

The student makes a clip with its own few steps; two networks denoise it again, one that knows real
clips (the teacher, with guidance), one that knows the student's (the same weights with a low-rank
addition, trained along the way). Where they differ, the student is moved from what it makes to what
it should make. Beside it runs the loss on data.

Source: DMD2 as MagicInfinite uses it (3.4, eq. 5 and 6), with the low-rank fake score of its
section 3.4; without the adversarial term, for which it gives no weight.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..samplers.schedule import flow_sigmas
from .fewsteps import AUDIO_SCALE, guided_loss
from .latents import Batch, LatentClips
from .loop import Recipe, Run, train
from .sizes import SHIFT, STEPS
from .transformer import (
    BATCHES,
    draw_sigmas,
    held_mask,
    hold_heads,
    normal,
    predict,
    routing_of,
    shape_of,
    voices_of,
    worn_context,
)

RECIPE = Recipe("matching", steps=160, rate=1e-4, decay=30, warmup=10, betas=(0.0, 0.99))
FAKE_RATE, RANK = 5e-4, 16
DATA_WEIGHT = 1.0


class LowRank(nn.Module):
    """A weight with a trainable product of two thin matrices added to it; nothing at first."""

    def __init__(self, weight: Tensor, rank: int):
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, weight.shape[1]) * weight.shape[1] ** -0.5)
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight as the layer uses it."""
        return weight + self.up @ self.down


def fake_of(teacher: nn.ModuleDict) -> nn.ModuleDict:
    """The teacher with low-rank additions on every matrix of its blocks."""
    fake = copy.deepcopy(teacher).requires_grad_(False)
    for name, module in list(fake.named_modules()):
        if isinstance(module, nn.Linear) and "blocks." in name:
            parametrize.register_parametrization(module, "weight", LowRank(module.weight, RANK))
    return fake


def train_matching(
    run: Run, sets: Mapping[str, LatentClips], model: nn.ModuleDict, teacher: nn.ModuleDict
) -> None:
    """Match the distribution of the student's clips to that of the teacher's."""
    teacher = teacher.requires_grad_(False).eval()
    fake = fake_of(teacher)
    thin = [parameter for parameter in fake.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(thin, lr=FAKE_RATE, betas=(0.0, 0.99))
    levels = flow_sigmas(STEPS, SHIFT)

    def step_loss(step: int, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, float]]:
        name = shape_of(run, step)
        batch = sets[name].batch(rng, max(2, BATCHES[name] // 2))
        scene = Scene(batch, worn_context(batch, rng), routing_of(batch, rng))
        last = int(np.random.default_rng([run.seed, step]).integers(STEPS - 1))
        made = scene.make(model, normal(rng, batch.latents.shape), levels[: last + 2])
        fake_loss = scene.flow_loss(fake, made.detach(), rng)
        fake_loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        sigma = draw_sigmas(rng, len(made))
        level, noise = sigma.view(-1, 1, 1, 1, 1), normal(rng, made.shape)
        with torch.no_grad():
            noisy = scene.hold((1 - level) * made + level * noise)
            real = noisy - level * scene.guided(teacher, noisy, sigma)
            drawn = noisy - level * scene.predict(fake, noisy, sigma)
            size = ((made - real).abs() * scene.free).mean(dim=(1, 2, 3, 4), keepdim=True)
            wanted = made - (drawn - real) / (size + 1e-3)
        matching = 0.5 * ((made - wanted).square() * scene.free).mean()
        data, figures = guided_loss(model, teacher, batch, rng, levels)
        return matching + DATA_WEIGHT * data, {**figures, "fake": fake_loss.item()}

    train(run, RECIPE, model, step_loss)


class Scene:
    """One batch with what all networks are told of it."""

    def __init__(self, batch: Batch, context: Tensor, routing: object):
        self.batch, self.context, self.routing = batch, context, routing
        self.free = 1 - held_mask(batch.held, batch.latents.shape[2])
        silent = torch.ones(len(context), dtype=torch.bool)
        self.silence = voices_of(batch, silent)[:, :1]

    def hold(self, noisy: Tensor) -> Tensor:
        """Clean context at the head."""
        return hold_heads(noisy, self.context, self.batch.held)

    def predict(self, model: nn.ModuleDict, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Velocity with the voices."""
        concat, voices = self.batch.concat, self.batch.voices
        return predict(model, noisy, sigma, concat, voices, self.routing)  # pyright: ignore

    def guided(self, model: nn.ModuleDict, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Velocity guided along the audio."""
        full = self.predict(model, noisy, sigma)
        without = predict(model, noisy, sigma, self.batch.concat, self.silence, None)
        return full + (AUDIO_SCALE - 1) * (full - without)

    def make(self, model: nn.ModuleDict, noise: Tensor, levels: Tensor) -> Tensor:
        """Clean latents the student predicts at the last level; gradients through that step."""
        x = self.hold(noise)
        steps = list(pairwise(levels.tolist()))
        for index, (sigma, following) in enumerate(steps):
            level = torch.full((len(x),), sigma)
            with torch.set_grad_enabled(index == len(steps) - 1):
                velocity = self.predict(model, x, level)
            if index == len(steps) - 1:
                return self.hold(x - sigma * velocity)
            x = self.hold(x + (following - sigma) * velocity)
        raise AssertionError("a schedule has at least one step")

    def flow_loss(self, model: nn.ModuleDict, data: Tensor, rng: np.random.Generator) -> Tensor:
        """Flow matching on given clips."""
        sigma, noise = draw_sigmas(rng, len(data)), normal(rng, data.shape)
        level = sigma.view(-1, 1, 1, 1, 1)
        noisy = self.hold((1 - level) * data + level * noise)
        velocity = self.predict(model, noisy, sigma)
        error = (velocity - (noise - data)).square() * self.free
        return error.sum() / (self.free.sum() * error[0, :, 0].numel())
