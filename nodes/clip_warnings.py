"""What is allowed and probably not meant, in words that stand under the node."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from ..audio.speech import Speech
from ..frames import FPS
from ..models.recipes import Recipe
from ..samplers.folds import FoldedScales
from ..samplers.guidance import (
    Guidance,
    asked_branches,
    blind_branches,
    calls_per_step,
    reads_negative,
)
from ..samplers.plan import Chunk
from ..samplers.schedule import same_schedule, spaced_sigmas

UNUSED_FACE = "one speaker: the face is not used, everybody in the picture may talk"

LOWEST_START = 0.95
"""First noise level below which a clip that begins from noise alone looks wrong."""

FEW_STEPS = 12
"""Up to so many steps a step LoRA or a distilled model is taken for granted."""

STEP_LORA_AUDIO = 2.0
"""Audio scale that InfiniteTalk recommends with a step LoRA."""


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
        warnings.append(UNUSED_FACE)
    if any(torch.equal(one, other) for one, other in combinations(regions, 2)):
        warnings.append("two speakers have the same face; choose another face for one of them")
    if float(sigmas[0]) < LOWEST_START:
        warnings.append(
            f"the SIGMAS begin at {float(sigmas[0]):.2f} instead of 1: nothing but weak noise is "
            "there to begin from, and the clip will be washed out"
        )
    return warnings


def recipe_warnings(
    recipe: Recipe, size: tuple[int, int], speakers: int, sigmas: Tensor, guidance: Guidance
) -> list[str]:
    """What a base of a set was not trained for."""
    warnings = [recipe.size_warning(size, speakers)]
    if not same_schedule(sigmas, spaced_sigmas(recipe.steps, recipe.shift, even=recipe.even)):
        warnings.append(recipe.schedule_warning)
    calls = calls_per_step(guidance, sigmas)
    if sum(calls) > len(calls):
        warnings.append(
            f"the {recipe.set_name} was distilled to go without guidance: with it a chunk takes "
            f"{sum(calls)} network calls instead of {len(calls)}; leave Talk Guidance out"
        )
    return [warning for warning in warnings if warning]


def published_warnings(guidance: Guidance, sigmas: Tensor) -> list[str]:
    """Steps and guidance that published weights and LoRAs were not made for."""
    calls = calls_per_step(guidance, sigmas)
    steps, total = len(calls), sum(calls)
    if steps > FEW_STEPS and total == steps:
        return [
            f"{steps} steps without Talk Guidance: the voice is followed loosely; connect Talk "
            "Guidance (5/4), or use a step LoRA with 4 to 8 steps"
        ]
    if steps > FEW_STEPS:
        return []
    if any(reads_negative(guidance.branches(sigma)) for sigma in sigmas[:-1].tolist()):
        return [
            f"{steps} steps with text guidance: made for 40 steps without a step LoRA; with one, "
            f"or a model distilled for few steps, {total} network calls per chunk instead of "
            f"{steps} burn the colours: set the text scale to 1 with 'one rule'"
        ]
    scale = guidance.audio_scale if isinstance(guidance, FoldedScales) else 1.0
    if scale > STEP_LORA_AUDIO:
        return [
            f"{steps} steps with an audio scale of {scale:g}: with a step LoRA "
            f"{STEP_LORA_AUDIO:g} is as published, and more burns the colours"
        ]
    return []


def embedded_warnings(guidance: Guidance, *, embedded: bool) -> list[str]:
    """Guidance along the text on a base that has it built in.

    Args:
        guidance: The guidance rule.
        embedded: Whether the base takes a guidance scale as an input, as public HunyuanVideo does.
    """
    if not embedded or not reads_negative(asked_branches(guidance)):
        return []
    return [
        "this base has guidance along the text built in: choose 'audio only' at Talk Guidance "
        "(audio 3, 2 network calls per step), and leave its own guidance at 6"
    ]


def reference_warnings(guidance: Guidance, *, holds_first_frame: bool) -> list[str]:
    """A reference picture that is to be left out, on a base that cannot do without.

    Args:
        guidance: The guidance rule.
        holds_first_frame: Whether the base begins with a clean latent frame, as all do but
            HunyuanVideo of 33 channels.
    """
    if not holds_first_frame or not blind_branches(guidance) & asked_branches(guidance):
        return []
    return [
        "this base begins with the reference picture in every prediction: 'reference' of Talk "
        "Guidance is not used; leaving the picture out takes HunyuanVideo of 33 input channels"
    ]
