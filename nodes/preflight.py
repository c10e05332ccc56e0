"""Everything that can be refused before a big model is loaded, all at once, one line each.

Knows what came in through the sockets that are cheap to evaluate; MODEL and VAE are not among them.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..audio.speech import Speech
from ..errors import InputError
from ..frames import FPS, clip_frames
from ..masks.regions import speaker_masks
from ..masks.tokens import check_speakers_visible, latent_masks, token_masks
from ..models.recipes import Recipe, check_same_set
from ..models.routing import RANGES
from ..samplers.guidance import BRANCH_INPUTS, Guidance
from ..samplers.plan import CHUNK_FRAMES, CONTEXT_FRAMES, Chunk, plan_shots
from ..samplers.schedule import default_shift, flow_sigmas, same_schedule, sigmas_from
from ..samplers.streaming import HandOn
from ..samplers.timeline import ChunkChange, ClipTimeline
from ..video.job_names import check_job_name
from ..video.journal import Keep

ADAPTIVE_SAMPLERS = ("dpm_adaptive_function", "sample_dpm_adaptive")
"""What the host calls the sampler that chooses its own steps."""

BYTES_PER_PIXEL = 0.25
"""What a second pass over grainy frames needs at most at crf 12, and a little more."""

CONTEXT_BYTES = 12
"""Per pixel of a frame that is handed on: three float32."""

SPARE_BYTES = 200_000_000

PROMPTS = ("positive", "negative")

LOWEST_START = 0.95
"""First noise level below which a clip that begins from noise alone looks wrong."""


@dataclass(frozen=True)
class StreamSettings:
    """The sampler node's own widgets, and what they are where an API prompt leaves them out.

    The last is no widget: a compiled model wants chunks of one length.
    """

    seed: int = 42
    steps: int = 6
    shift: float = 0.0
    stop_at: float = 0.0
    job_name: str = "talk"
    chunk_frames: int = CHUNK_FRAMES
    context_frames: int = CONTEXT_FRAMES
    color_anchor: str = "reference"
    color_strength: float = 1.0
    lossless: bool = False
    time_budget: float = 0.0
    keep: str = Keep.CHUNKS.value
    hand_on: str = HandOn.FRAMES.value
    shorten_last: bool = True


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


@dataclass(frozen=True)
class ClipPlan:
    """What will be rendered.

    Attributes:
        settings: The widgets.
        plan: Chunks.
        sigmas: Noise levels per chunk, ``[steps + 1]``.
        branches: Guidance branches that are asked for.
        masks: Speakers' token masks ``[S + 1, N]``, None for one speaker.
        changes: What the timeline changes, one per chunk.
        timeline: The prompts and images it changes to; None where there is none.
        warnings: What is allowed but probably not meant.
        notes: Where the timeline's lines and the shots begin, for the report.
        source_strength: How much of a source video the chunks begin from, 0 to 1.
    """

    settings: StreamSettings
    plan: list[Chunk]
    sigmas: Tensor
    branches: list[str]
    masks: Tensor | None
    changes: list[ChunkChange]
    timeline: ClipTimeline | None
    warnings: list[str]
    notes: list[str]
    source_strength: float = 0.0

    @property
    def frames(self) -> int:
        """Frames of the clip."""
        return sum(chunk.kept_frames for chunk in self.plan)

    @property
    def evaluations(self) -> int:
        """Calls of the network in the whole clip."""
        return len(self.plan) * self.steps * len(self.branches)

    @property
    def steps(self) -> int:
        """Denoising steps per chunk."""
        return len(sigmas_from(self.sigmas, 1 - self.source_strength)) - 1

    def seed_of(self, chunk: Chunk) -> int:
        """Seed of a chunk's noise."""
        seed = self.changes[chunk.index].seed
        return self.settings.seed if seed is None else seed


def plan_clip(
    settings: StreamSettings,
    speech: Speech,
    reference: Any,
    guidance: Guidance,
    *,
    timeline: ClipTimeline | None = None,
    connected: set[str],
    sampler: Any,
    sigmas: Tensor | None,
    folder: Path,
    weights: Weights = UNKNOWN,
    checks: Sequence[Callable[[], Any]] = (),
) -> ClipPlan:
    """Check and plan a clip.

    Args:
        settings: The widgets.
        speech: Who speaks.
        reference: The picture.
        guidance: The guidance rule.
        timeline: What changes in the course of the clip.
        connected: Names of the optional sockets that are connected.
        sampler: The SAMPLER, or None for Euler.
        sigmas: The SIGMAS, or None for our own schedule.
        folder: Where the clip will be written.
        weights: What is known of MODEL and VAE.
        checks: What else may be refused; each raises InputError.

    Raises:
        InputError: Every problem found, one line each.
    """
    problems: list[str] = []

    def attempt(check: Callable[[], Any]) -> Any:
        try:
            return check()
        except InputError as error:
            problems.append(str(error))

    recipe = weights.recipe
    whole = attempt(lambda: plan_frames(settings, speech, reference))
    plan = whole and attempt(lambda: plan_frames(settings, speech, reference, settings.stop_at))
    schedule = attempt(lambda: choose_sigmas(settings, reference.size, sigmas, recipe))
    branches = [] if schedule is None else branches_of(guidance, schedule)
    masks = attempt(lambda: place_speakers(speech, reference))
    attempt(lambda: check_job_name(settings.job_name))
    attempt(lambda: check_folder(folder / settings.job_name))
    attempt(lambda: check_sampler(sampler))
    trained = (*set_checks(weights, speech), *recipe_checks(recipe, reference, connected))
    for check in (*trained, *checks):
        attempt(check)
    attempt(lambda: check_prompts(branches, connected, recipe))
    changes = notes = None
    if plan is not None:
        changes = attempt(lambda: changes_of(timeline, whole)[: len(plan)])
        notes = attempt(lambda: notes_of(timeline, whole))
    if problems:
        raise InputError("\n".join(problems))
    warnings = find_warnings(speech, plan, schedule)
    if recipe is None:
        warnings += published_warnings(branches, schedule)
    else:
        warnings += recipe_warnings(recipe, reference.size, len(speech.speakers), schedule)
    return ClipPlan(
        settings,
        plan,
        schedule,
        branches,
        masks,
        changes,
        timeline,
        warnings,
        notes,
        reference.source_strength,
    )


def plan_frames(
    settings: StreamSettings, speech: Speech, reference: Any, stop_at: float = 0.0
) -> list[Chunk]:
    """The chunks of the clip, or of its first seconds; every shot of a source begins anew."""
    if not (math.isfinite(stop_at) and stop_at >= 0):
        raise InputError(f"stop_at is {stop_at} s; give seconds, or 0 for the whole clip.")
    total = reference.clip_frames(clip_frames(speech.seconds))
    if stop_at:
        total = min(total, clip_frames(stop_at))
    cuts = reference.cuts(total)
    return plan_shots(
        total,
        cuts,
        settings.chunk_frames,
        settings.context_frames,
        shorten_last=settings.shorten_last,
    )


def changes_of(timeline: ClipTimeline | None, plan: list[Chunk]) -> list[ChunkChange]:
    """What the timeline changes, one per chunk of the whole clip."""
    return [ChunkChange()] * len(plan) if timeline is None else timeline.timeline.resolve(plan)


def notes_of(timeline: ClipTimeline | None, plan: list[Chunk]) -> list[str]:
    """Where shots and the lines of the timeline begin, for the report."""
    shots = [chunk for chunk in plan if not chunk.context_frames]
    notes = []
    if len(shots) > 1:
        begins = ", ".join(f"{chunk.first_new_frame / FPS:.2f} s" for chunk in shots)
        notes.append(f"{len(shots)} shots, from {begins}")
    return notes if timeline is None else [*notes, *timeline.timeline.describe(plan)]


def choose_sigmas(
    settings: StreamSettings,
    size: tuple[int, int],
    sigmas: Tensor | None,
    recipe: Recipe | None = None,
) -> Tensor:
    """The user's SIGMAS, or our schedule."""
    if sigmas is None:
        shift = default_shift(size) if recipe is None else recipe.shift
        return flow_sigmas(settings.steps, settings.shift or shift)
    falling = sigmas.ndim == 1 and len(sigmas) > 1 and bool((sigmas.diff() < 0).all())
    if not falling or float(sigmas[-1]) != 0 or float(sigmas[0]) > 1:
        raise InputError(
            f"the SIGMAS are {[round(float(s), 3) for s in sigmas.flatten()[:4]]}...; a flow model "
            "needs at least two values that fall from at most 1 to 0, as Talk Sigmas gives."
        )
    return sigmas.float().cpu()


def branches_of(guidance: Guidance, sigmas: Tensor) -> list[str]:
    """Guidance branches that any step asks for."""
    asked = {name for sigma in sigmas[:-1].tolist() for name in guidance.branches(sigma)}
    return [name for name in BRANCH_INPUTS if name in asked]


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
    recipe: Recipe | None, reference: Any, connected: set[str]
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


def check_prompts(branches: list[str], connected: set[str], recipe: Recipe | None = None) -> None:
    """Guidance along the text needs something to guide away from."""
    wanted = {BRANCH_INPUTS[name][0] for name in branches}
    if "negative" in wanted and recipe is not None:
        raise InputError(
            f"Talk Guidance guides along the text, and the {recipe.set_name} was trained without: "
            "set its text scale to 1."
        )
    if "negative" in wanted and "negative" not in connected:
        raise InputError(
            "Talk Guidance guides along the text, but no negative prompt is connected: connect one "
            "(an empty text will do), or set its text scale to 1."
        )


def check_disk(
    plan: list[Chunk], missing: Sequence[int], size: tuple[int, int], folder: Path
) -> None:
    """Refuse what will not fit: the clip, and of every missing chunk its pictures and its context.

    The context goes to the disk as float32, so that a job resumes exactly.
    """
    pixels = size[0] * size[1]
    frames = sum(chunk.kept_frames for chunk in plan)
    frames += sum(plan[index].kept_frames for index in missing)
    handed_on = sum(plan[index].context_frames for index in missing)
    needed = int(pixels * (frames * BYTES_PER_PIXEL + handed_on * CONTEXT_BYTES)) + SPARE_BYTES
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise InputError(
            f"the clip and its chunks may need {needed / 1e9:.1f} GB and {existing} has "
            f"{free / 1e9:.1f} GB free: make room (endless-talk jobs prune), or render a part with "
            "stop_at."
        )


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
