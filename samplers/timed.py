"""What a timeline changes from chunk to chunk, around the parts that know nothing of time.

A clip without a timeline is one in which nothing changes. Knows chunks and their changes by number;
prompts are whatever the conditioner reads, so that the same classes serve the reference networks
and those of a host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from ..frames import FPS
from .plan import Chunk
from .protocols import Reference
from .timeline import ChunkChange, ClipTimeline

PROMPT = "positive"
"""Name of the prompt that a timeline changes."""


def changes_of(timeline: ClipTimeline | None, plan: Sequence[Chunk]) -> list[ChunkChange]:
    """What the timeline changes, one per chunk of the whole clip."""
    return [ChunkChange()] * len(plan) if timeline is None else timeline.timeline.resolve(plan)


def notes_of(timeline: ClipTimeline | None, plan: Sequence[Chunk]) -> list[str]:
    """Where shots and the lines of the timeline begin, as the plan of the whole clip has them."""
    shots = [chunk for chunk in plan if not chunk.context_frames]
    notes = []
    if len(shots) > 1:
        begins = ", ".join(f"{chunk.first_new_frame / FPS:.2f} s" for chunk in shots)
        notes.append(f"{len(shots)} shots, from {begins}")
    return notes if timeline is None else [*notes, *timeline.timeline.describe(plan)]


class AdjustableConditioner(Protocol):
    """A conditioner whose prompts and strengths are set before every chunk."""

    prompts: Mapping[str, Any]
    """By name."""

    strength: Tensor
    """Factor on what the voices move, ``[S]``."""

    def conditions(self, chunk: Chunk, reference: Tensor) -> Any:
        """See ``protocols.Conditioner``."""
        ...


class TimedReference:
    """A reference whose frame the timeline replaces.

    Args:
        reference: Where no line does.
        plan: The chunks.
        changes: One per chunk.
        pictures: The timeline's, fitted, ``[3, H, W]`` in [-1, 1] each.
    """

    def __init__(
        self,
        reference: Reference,
        plan: Sequence[Chunk],
        changes: Sequence[ChunkChange],
        pictures: Sequence[Tensor],
    ):
        self.reference, self.pictures = reference, pictures
        starts = zip(plan, changes, strict=True)
        self._images = {chunk.start_frame: change.image for chunk, change in starts}

    def frame(self, start_frame: int) -> Tensor:
        """See ``protocols.Reference``."""
        image = self._images[start_frame]
        return self.reference.frame(start_frame) if image is None else self.pictures[image]


class TimedConditioner:
    """The prompt and the strength of the voices as the timeline has them.

    Args:
        inner: Makes the conditions; its prompts and strengths are those of the clip.
        changes: One per chunk, by index.
        prompts: The timeline's, as ``inner`` reads them.
    """

    def __init__(
        self,
        inner: AdjustableConditioner,
        changes: Sequence[ChunkChange],
        prompts: Sequence[Any] = (),
    ):
        self.inner, self.changes, self.texts = inner, changes, prompts
        self._prompts, self._strength = inner.prompts, inner.strength

    def conditions(self, chunk: Chunk, reference: Tensor) -> Any:
        """See ``protocols.Conditioner``."""
        change = self.changes[chunk.index]
        prompts = dict(self._prompts)
        if change.prompt is not None:
            prompts[PROMPT] = self.texts[change.prompt]
        self.inner.prompts = prompts
        self.inner.strength = self._strength * change.audio
        return self.inner.conditions(chunk, reference)
