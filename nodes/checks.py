"""What is refused before a big model is loaded, a function each.

Knows what came in through the sockets that are cheap to evaluate, the disk, and what is known of
weights that are not loaded yet.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..audio.speech import Speech
from ..errors import InputError
from ..masks.regions import speaker_masks
from ..masks.tokens import check_speakers_visible, latent_masks, token_masks
from ..models.recipes import Recipe, check_same_set
from ..models.routing import RANGES
from ..samplers.guidance import BRANCH_INPUTS
from ..samplers.plan import Chunk

ADAPTIVE_SAMPLERS = ("dpm_adaptive_function", "sample_dpm_adaptive")
"""What the host calls the sampler that chooses its own steps."""

BYTES_PER_PIXEL = 0.25
"""What a second pass over grainy frames needs at most at crf 12, and a little more."""

CONTEXT_BYTES = 12
"""Per pixel of a frame that is handed on: three float32."""

SPARE_BYTES = 200_000_000

PROMPTS = ("positive", "negative")

WITHOUT_TEXT = "set its text scale to 1 with 'one rule', or its folds to 'audio only'"
"""How Talk Guidance reads no negative prompt."""


@dataclass(frozen=True)
class Weights:
    """What is known of MODEL and VAE, often before they are loaded.

    Attributes:
        recipe: How a base of a set wants to be sampled; None for published ones.
        base_known: Whether anything is known of the base.
        vae_set: The set that the VAE belongs to, empty for published ones; None is not known.
    """

    recipe: Recipe | None = None
    base_known: bool = False
    vae_set: str | None = None


UNKNOWN = Weights()


def place_speakers(speech: Speech, reference: Any) -> Tensor | None:
    """Token masks of two speakers and more, background last."""
    speakers = speech.speakers
    if len(speakers) == 1:
        return None
    if len(speakers) > len(RANGES):
        raise InputError(
            f"there are {len(speakers)} speakers; at most {len(RANGES)} fit a picture."
        )
    lost = [str(number) for number, each in enumerate(speakers, 1) if each.region is None]
    if lost:
        who = f"speaker {lost[0]} has" if len(lost) == 1 else f"speakers {' and '.join(lost)} have"
        raise InputError(
            f"{who} no place in the picture: connect Face Masks to Encode Speaker and choose a "
            "face, or connect a mask, so that each voice has its own mouth."
        )
    source = reference.box.source_size
    for number, each in enumerate(speakers, 1):
        if tuple(each.region.shape) != source:
            raise InputError(
                f"the mask of speaker {number} is "
                f"{each.region.shape[1]}x{each.region.shape[0]}, the "
                f"picture {source[1]}x{source[0]}: make the mask on the same picture."
            )
    masks = speaker_masks(torch.stack([each.region for each in speakers]))
    check_speakers_visible(masks, reference.box)
    return token_masks(latent_masks(masks, reference.box))


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be written to, or has a file in its place."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir():
        raise InputError(f"{existing} is a file; the clip needs a folder there: rename the file.")
    if not os.access(existing, os.W_OK):
        raise InputError(f"the folder {existing} cannot be written to; the clip is saved below it.")


def check_sampler(sampler: Any) -> None:
    """Refuse samplers that cannot keep the context clean."""
    function = getattr(getattr(sampler, "sampler_function", None), "__name__", "")
    if function in ADAPTIVE_SAMPLERS:
        raise InputError(
            "dpm_adaptive chooses its own steps, so neither SIGMAS nor progress mean anything: "
            "choose euler, or any sampler with fixed steps."
        )


def set_checks(weights: Weights, speech: Speech) -> Iterator[Callable[[], Any]]:
    """What was not trained together does not work together."""
    if not weights.base_known:
        return
    base = "" if weights.recipe is None else weights.recipe.set_name
    if weights.vae_set is not None:
        yield partial(check_same_set, base, weights.vae_set, "VAE")
    for number, speaker in enumerate(speech.speakers, 1):
        encoder_set = getattr(speaker.encoder, "set_name", "")
        yield partial(check_same_set, base, encoder_set, f"wav2vec2 of speaker {number}")


def recipe_checks(
    recipe: Recipe | None, reference: Any, connected: Set[str]
) -> Iterator[Callable[[], Any]]:
    """A base of a set knows neither text nor CLIP vision."""
    if recipe is None:
        return
    taken = [f"the {name} prompt" for name in PROMPTS if name in connected]
    if reference.image_tokens is not None:
        taken.append("CLIP vision (on Reference Image)")
    for what in taken:
        yield partial(refuse_input, recipe, what)


def refuse_input(recipe: Recipe, what: str) -> None:
    """Refuse what a base was not trained with."""
    raise InputError(
        f"the {recipe.set_name} was trained without text and without CLIP vision, and {what} is "
        "connected: disconnect it, or load a Wan 2.1 base model."
    )


def check_prompts(branches: list[str], connected: Set[str], recipe: Recipe | None = None) -> None:
    """Guidance along the text needs something to guide away from."""
    wanted = {BRANCH_INPUTS[name][0] for name in branches}
    if "negative" in wanted and recipe is not None:
        raise InputError(
            f"Talk Guidance guides along the text, and the {recipe.set_name} was trained without: "
            f"{WITHOUT_TEXT}."
        )
    if "negative" in wanted and "negative" not in connected:
        raise InputError(
            "Talk Guidance guides along the text, but no negative prompt is connected: connect one "
            f"(an empty text will do), or {WITHOUT_TEXT}."
        )


def check_disk(
    plan: list[Chunk],
    missing: Sequence[int],
    size: tuple[int, int],
    folder: Path,
    *,
    states_bytes: int = 0,
) -> None:
    """Refuse what will not fit: the clip, and of every missing chunk its pictures and its context.

    The context goes to the disk as float32, so that a job resumes exactly.

    Args:
        plan: The chunks.
        missing: Those that have to be made, by index.
        size: ``(height, width)`` of the clip.
        folder: Where it goes.
        states_bytes: What is kept beside the chunks.
    """
    pixels = size[0] * size[1]
    frames = sum(chunk.kept_frames for chunk in plan)
    frames += sum(plan[index].kept_frames for index in missing)
    handed_on = sum(plan[index].context_frames for index in missing)
    needed = int(pixels * (frames * BYTES_PER_PIXEL + handed_on * CONTEXT_BYTES)) + SPARE_BYTES
    needed += states_bytes
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise InputError(
            f"the clip and its chunks may need {needed / 1e9:.1f} GB and {existing} has "
            f"{free / 1e9:.1f} GB free: make room (endless-talk jobs prune), or render a part with "
            "stop_at."
        )
