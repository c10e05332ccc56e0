"""What is allowed and probably not meant, in words that stand under the node."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from ..audio.speech import Speech
from ..frames import FPS
from ..models.recipes import Recipe
from ..samplers.plan import Chunk
from ..samplers.schedule import flow_sigmas, same_schedule

LOWEST_START = 0.95
"""First noise level below which a clip that begins from noise alone looks wrong."""


def find_warnings(speech: Speech, plan: list[Chunk], sigmas: Tensor) -> list[str]:
    """What is allowed and probably not meant, whatever the weights."""
    speakers = speech.speakers
    seconds = sum(chunk.kept_frames for chunk in plan) / FPS
    warnings = [
        f"speaker {number} starts at {each.start_seconds:g} s, after the clip ends at {seconds:g} s"
        for number, each in enumerate(speakers, 1)
        if each.start_seconds >= seconds
    ]
    regions = [each.region for each in speakers if each.region is not None]
    if len(speakers) == 1 and regions:
        warnings.append("one speaker: the face is not used, everybody in the picture may talk")
    if any(torch.equal(one, other) for one, other in combinations(regions, 2)):
        warnings.append("two speakers have the same face; choose another face for one of them")
    if float(sigmas[0]) < LOWEST_START:
        warnings.append(
            f"the SIGMAS begin at {float(sigmas[0]):.2f} instead of 1: nothing but weak noise is "
            "there to begin from, and the clip will be washed out"
        )
    return warnings


def recipe_warnings(
    recipe: Recipe, size: tuple[int, int], speakers: int, sigmas: Tensor
) -> list[str]:
    """What a base of a set was not trained for."""
    warnings = [recipe.size_warning(size, speakers)]
    if not same_schedule(sigmas, flow_sigmas(recipe.steps, recipe.shift)):
        warnings.append(recipe.schedule_warning)
    return [warning for warning in warnings if warning]


def published_warnings(branches: list[str], sigmas: Tensor) -> list[str]:
    """Steps and guidance that published weights and LoRAs were not made for."""
    warnings, steps = [], len(sigmas) - 1
    if steps > 12 and len(branches) == 1:
        warnings.append(
            f"{steps} steps without Talk Guidance: the voice is followed loosely; connect Talk "
            "Guidance (5/4), or use a step LoRA with 4 to 8 steps"
        )
    if steps < 12 and len(branches) == 3:
        warnings.append(
            f"{steps} steps with text guidance: made for 40 steps without a step LoRA; with one, "
            "set the text scale to 1"
        )
    return warnings
