"""The training loop of every stage: data-parallel, seeded, resumable, logged.

Two processes work on halves of each batch and average their gradients: small networks gain nothing
from a second thread and almost everything from a second process. What a step draws depends on
(seed, stage, step, process) alone, so that an interrupted run continues as if it had not been.
Knows modules and losses; it knows nothing of faces or voices.
"""

from __future__ import annotations

import json
import math
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from .muon import Muon

MUON_LEAST = 8
"""Rows and columns from which a matrix has directions worth making orthogonal."""

WORKERS = 2
"""Processes of the shipped run; part of the recipe, since each draws its own share of a batch."""

Step = Callable[[int, np.random.Generator], tuple[Tensor, Mapping[str, float]]]
"""Loss of one step and what to log of it, given the step's index and its random numbers."""


@dataclass(frozen=True)
class Run:
    """One training run, as one of its processes sees it.

    Attributes:
        folder: Where data, checkpoints and logs are kept.
        seed: Seed of everything.
        rank: This process, 0 to ``workers - 1``.
        workers: How many processes there are.
        scale: Factor on the number of steps, 1 for the shipped weights; tests use less.
    """

    folder: Path
    seed: int
    rank: int
    workers: int = WORKERS
    scale: float = 1.0

    def share(self, count: int) -> range:
        """This process's share of ``count`` things."""
        return range(self.rank, count, self.workers)

    def generator(self, stage: str, *key: int) -> np.random.Generator:
        """Random numbers of one step of a stage, different in every process."""
        return np.random.default_rng([self.seed, zlib.crc32(stage.encode()), *key, self.rank])

    def steps(self, steps: int) -> int:
        """Steps of a stage at this run's scale."""
        return max(2, round(steps * self.scale))

    def log(self, stage: str, **figures: float | str) -> None:
        """Append a line to ``log.jsonl``."""
        if self.rank == 0:
            with (self.folder / "log.jsonl").open("a") as file:
                file.write(json.dumps({"stage": stage, **figures}) + "\n")


@dataclass(frozen=True)
class Recipe:
    """How a stage is optimised.

    Attributes:
        stage: Its name.
        steps: Optimiser steps.
        rate: Peak learning rate of AdamW.
        warmup: Steps until the peak.
        decay: Half-life of the moving average of the weights, in steps.
        muon: Peak learning rate of Muon for matrices and convolutions; 0 leaves all to AdamW.
        adamw: Parts of the names of those that AdamW takes all the same.
        betas: Of AdamW.
    """

    stage: str
    steps: int
    rate: float
    warmup: int = 50
    decay: float = 60.0
    muon: float = 0.0
    adamw: tuple[str, ...] = ()
    betas: tuple[float, float] = (0.9, 0.98)

    def rate_at(self, step: int, steps: int) -> float:
        """Factor on the learning rates: linear warm-up, then a cosine to 2 %."""
        rise = min(1.0, (step + 1) / self.warmup)
        return rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def train(run: Run, recipe: Recipe, module: nn.Module, step_loss: Step) -> None:
    """Train a module and leave the moving average of its weights in it.

    Args:
        run: The run.
        recipe: How.
        module: What is trained, on the CPU; every process has the same weights in it.
        step_loss: The loss of a step on this process's share of the batch.
    """
    steps = run.steps(recipe.steps)
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizers = build_optimizers(recipe, module)
    average = {name: p.detach().clone() for name, p in trained(module)}
    state_file = run.folder / f"{recipe.stage}-{run.rank}.pt"
    first = load_state(state_file, module, optimizers, average) if state_file.exists() else 0
    started, logged = time.monotonic(), first
    module.train()
    for step in progress(run, recipe.stage, first, steps):
        factor = recipe.rate_at(step, steps)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor
        loss, figures = step_loss(step, run.generator(recipe.stage, step))
        loss.backward()
        average_gradients(parameters)
        norm = float(nn.utils.clip_grad_norm_(parameters, 1.0))
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        decay = min(0.5 ** (1 / recipe.decay), (1 + step) / (10 + step))
        for name, parameter in trained(module):
            average[name].lerp_(parameter.detach(), 1 - decay)
        if step % 20 == 19 or step == steps - 1:
            pace = (time.monotonic() - started) / (step + 1 - logged)
            started, logged = time.monotonic(), step + 1
            run.log(recipe.stage, step=step + 1, loss=loss.item(), norm=norm, pace=pace, **figures)
        if step % 200 == 199 and step < steps - 1:
            save_state(state_file, module, optimizers, average, step + 1)
    with torch.no_grad():
        for name, parameter in trained(module):
            parameter.copy_(average[name])
    module.eval()
    barrier()
    state_file.unlink(missing_ok=True)


def trained(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Names and parameters that take gradients."""
    return [(name, p) for name, p in module.named_parameters() if p.requires_grad]


def build_optimizers(recipe: Recipe, module: nn.Module) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for the matrices of the blocks if the recipe says so."""
    matrices, others = [], []
    for name, parameter in trained(module):
        matrix = parameter.ndim > 1 and min(len(parameter), parameter[0].numel()) >= MUON_LEAST
        outer = any(part in name for part in recipe.adamw)
        (matrices if recipe.muon and matrix and not outer else others).append(parameter)
    groups = [{"params": others, "peak": recipe.rate}]
    adamw = torch.optim.AdamW(groups, lr=recipe.rate, betas=recipe.betas, weight_decay=0.01)
    if not matrices:
        return [adamw]
    muon = Muon(matrices, lr=recipe.muon)
    muon.param_groups[0]["peak"] = recipe.muon
    return [adamw, muon]


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Replace gradients by their mean over the processes."""
    if not dist.is_initialized():
        return
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    offset = 0
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = flat[offset : offset + gradient.numel()].view_as(gradient)
        offset += gradient.numel()


def save_state(
    path: Path,
    module: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    average: dict[str, Tensor],
    step: int,
) -> None:
    """Write a checkpoint whole or not at all."""
    state = {
        "module": module.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "average": average,
        "step": step,
    }
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)
    barrier()


def load_state(
    path: Path,
    module: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    average: dict[str, Tensor],
) -> int:
    """Continue from a checkpoint; returns its step."""
    state = torch.load(path, weights_only=True)
    module.load_state_dict(state["module"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    for name, value in state["average"].items():
        average[name].copy_(value)
    return state["step"]


def progress(run: Run, stage: str, first: int, steps: int) -> Iterator[int]:
    """Count steps, with a bar in the first process."""
    from tqdm import tqdm

    yield from tqdm(
        range(first, steps),
        desc=stage,
        initial=first,
        total=steps,
        disable=run.rank > 0,
        mininterval=10,
        ncols=80,
    )


def barrier() -> None:
    """Wait for the other processes."""
    if dist.is_initialized():
        dist.barrier()
