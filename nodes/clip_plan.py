"""The plan of a clip: the sampler's widgets, and what they and the cheap sockets come to.

Knows chunks, noise levels and the branches that are asked for. Whether all that can work is checked
elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..audio.speech import Speech
from ..errors import InputError
from ..frames import FPS, clip_frames
from ..models.recipes import Recipe
from ..samplers.guidance import BRANCH_INPUTS, Guidance, TalkGuidance, calls_per_step
from ..samplers.plan import CHUNK_FRAMES, CONTEXT_FRAMES, Chunk, ended_at, plan_shots
from ..samplers.schedule import default_shift, sigmas_from, spaced_sigmas
from ..samplers.streaming import HandOn
from ..samplers.timeline import ChunkChange, ClipTimeline
from ..video.journal import Keep


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


@dataclass(frozen=True, eq=False)
class ClipInputs:
    """What came in through the sockets that are cheap to evaluate.

    Attributes:
        speech: Who speaks.
        reference: The picture, or the video to dub.
        guidance: The guidance rule.
        timeline: What changes in the course of the clip.
        connected: Names of the sockets whose values are not there yet and are connected.
        sampler: The SAMPLER, or None for Euler.
        sigmas: The SIGMAS, or None for our own schedule.
    """

    speech: Speech
    reference: Any
    guidance: Guidance
    timeline: ClipTimeline | None = None
    connected: frozenset[str] = frozenset()
    sampler: Any = None
    sigmas: Tensor | None = None


@dataclass(frozen=True)
class ClipPlan:
    """What will be rendered.

    Attributes:
        settings: The widgets.
        plan: Chunks as the clip shows them; where it ends at ``stop_at``, the last is kept in part.
        whole: Chunks of the whole clip, which are what is sampled and kept.
        sigmas: Noise levels per chunk, ``[steps + 1]``.
        branches: Guidance branches that are asked for.
        masks: Speakers' token masks ``[S + 1, N]``, None for one speaker.
        changes: What the timeline changes, one per chunk of the whole clip.
        timeline: The prompts and images it changes to; None where there is none.
        warnings: What is allowed but probably not meant.
        notes: Where the timeline's lines and the shots begin, for the report.
        source_strength: How much of a source video the chunks begin from, 0 to 1.
        guidance: The guidance rule.
    """

    settings: StreamSettings
    plan: list[Chunk]
    whole: list[Chunk]
    sigmas: Tensor
    branches: list[str]
    masks: Tensor | None
    changes: list[ChunkChange]
    timeline: ClipTimeline | None
    warnings: list[str]
    notes: list[str]
    source_strength: float = 0.0
    guidance: Guidance = field(default_factory=TalkGuidance)

    @property
    def frames(self) -> int:
        """Frames of the clip."""
        return sum(chunk.kept_frames for chunk in self.plan)

    @property
    def sampled(self) -> list[Chunk]:
        """The chunks that the clip needs, whole."""
        return self.whole[: len(self.plan)]

    @property
    def then(self) -> Chunk | None:
        """The first chunk that it does not need; the last one sampled leaves it its context."""
        return self.whole[len(self.plan)] if len(self.plan) < len(self.whole) else None

    @property
    def evaluations(self) -> int:
        """Calls of the network in the whole clip."""
        return len(self.plan) * sum(self.calls)

    @property
    def schedule(self) -> Tensor:
        """Noise levels that a chunk passes through, ``[steps + 1]``."""
        return sigmas_from(self.sigmas, 1 - self.source_strength)

    @property
    def calls(self) -> list[int]:
        """Calls of the network per step of a chunk."""
        return calls_per_step(self.guidance, self.schedule)

    @property
    def steps(self) -> int:
        """Denoising steps per chunk."""
        return len(self.calls)

    def seed_of(self, chunk: Chunk) -> int:
        """Seed of a chunk's noise."""
        seed = self.changes[chunk.index].seed
        return self.settings.seed if seed is None else seed


def shown_chunks(whole: list[Chunk], stop_at: float) -> list[Chunk]:
    """The chunks of the clip that is asked for; it may end early."""
    if not (math.isfinite(stop_at) and stop_at >= 0):
        raise InputError(f"stop_at is {stop_at} s; give seconds, or 0 for the whole clip.")
    return ended_at(whole, clip_frames(stop_at)) if stop_at else whole


def end_notes(plan: list[Chunk], whole: list[Chunk]) -> list[str]:
    """Where a clip ends that is not the whole one, for the report."""
    seconds, all_of_it = (sum(chunk.kept_frames for chunk in each) / FPS for each in (plan, whole))
    if seconds == all_of_it:
        return []
    return [f"ends early, at {seconds:.2f} of {all_of_it:.2f} s; the chunks are the whole clip's"]


def plan_frames(settings: StreamSettings, speech: Speech, reference: Any) -> list[Chunk]:
    """The chunks of the whole clip; every shot of a source begins anew."""
    total = reference.clip_frames(clip_frames(speech.seconds))
    cuts = reference.cuts(total)
    return plan_shots(
        total,
        cuts,
        settings.chunk_frames,
        settings.context_frames,
        shorten_last=settings.shorten_last,
    )


def choose_sigmas(
    settings: StreamSettings,
    size: tuple[int, int],
    sigmas: Tensor | None,
    recipe: Recipe | None = None,
) -> Tensor:
    """The user's SIGMAS, or our schedule."""
    if sigmas is None:
        shift = default_shift(size) if recipe is None else recipe.shift
        even = recipe is not None and recipe.even
        return spaced_sigmas(settings.steps, settings.shift or shift, even=even)
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
