"""What a timeline changes from chunk to chunk, around the parts that know nothing of time."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..bridge import HostConditioner, HostConditions
from ..samplers.plan import Chunk
from ..samplers.protocols import Reference
from ..samplers.timeline import ChunkChange
from .preflight import ClipPlan


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
        inner: Makes the conditions.
        clip: The plan, with a timeline.
    """

    def __init__(self, inner: HostConditioner, clip: ClipPlan):
        assert clip.timeline is not None
        self.inner, self.changes, self.texts = inner, clip.changes, clip.timeline.prompts
        self._prompts, self._strength = inner.prompts, inner.strength

    def conditions(self, chunk: Chunk, reference: Tensor) -> HostConditions:
        """See ``protocols.Conditioner``."""
        change = self.changes[chunk.index]
        prompts = dict(self._prompts)
        if change.prompt is not None:
            prompts["positive"] = self.texts[change.prompt]
        self.inner.prompts = prompts
        self.inner.strength = self._strength * change.audio
        return self.inner.conditions(chunk, reference)
