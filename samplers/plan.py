"""The plan: which pixel frames every chunk samples and which of them it adds to the clip.

Plain integers, decided before anything is loaded. It knows nothing of latents, audio or seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from ..errors import InputError
from ..frames import TEMPORAL_STRIDE, is_chunk_length, latent_frames, pixel_frames

CHUNK_FRAMES = 81
CONTEXT_FRAMES = 9

SHORTEST_LAST_FRAMES = 33
"""Frames that a shortened chunk samples at least, context included. The embedded model needs no
such margin (docs/experiments.md); the published weights were trained on whole chunks."""


@dataclass(frozen=True)
class Chunk:
    """One sampled piece of the clip, in pixel frames at 25 fps.

    Attributes:
        index: 0 for the first.
        start_frame: Clip frame of the chunk's first frame, context included. Audio and reference
            frame are taken from here on.
        frames: Frames sampled, ``4n + 1``.
        context_frames: Frames at the head that repeat the end of the previous chunk.
        kept_frames: New frames that go into the clip, following the context frames.
    """

    index: int
    start_frame: int
    frames: int
    context_frames: int
    kept_frames: int

    @property
    def stop_frame(self) -> int:
        """Clip frame after the last one sampled; it may lie past the end of the clip."""
        return self.start_frame + self.frames

    @property
    def first_new_frame(self) -> int:
        """Clip frame of the first one kept: where a viewer sees the chunk begin."""
        return self.start_frame + self.context_frames

    @property
    def stop_new_frame(self) -> int:
        """Clip frame after the last one kept."""
        return self.first_new_frame + self.kept_frames

    @property
    def label(self) -> str:
        """``#14``, as the chunk is called in overviews, reports and timelines."""
        return f"#{self.index}"


def plan_chunks(
    total_frames: int,
    chunk_frames: int = CHUNK_FRAMES,
    context_frames: int = CONTEXT_FRAMES,
    *,
    shorten_last: bool = False,
) -> list[Chunk]:
    """Lay out the chunks of a clip so that every frame is kept exactly once.

    The first chunk has no context and keeps all its frames; each later one starts
    ``chunk_frames - context_frames`` further on. The last chunk is sampled whole and cut, or
    shortened to what the clip needs of it.

    Args:
        total_frames: Frames of the clip, at least 1.
        chunk_frames: Frames sampled per chunk, ``4n + 1``.
        context_frames: Frames handed on, ``4n + 1`` and less than ``chunk_frames``.
        shorten_last: Sample no more of the last chunk than the clip needs, and not less than
            ``SHORTEST_LAST_FRAMES``. A compiled network is compiled again for another length.

    Raises:
        InputError: A count is not ``4n + 1``, or the context leaves no new frames.

    Source: InfiniteTalk, the streaming loop (frame_num 81, motion_frame 9).
    Differs: a clip that fits one chunk is one chunk; upstream refuses clips of 81 frames and fewer.
    """
    if total_frames < 1:
        raise InputError(f"the clip has {total_frames} frames; at least 1 is needed.")
    for name, count in (("chunk_frames", chunk_frames), ("context_frames", context_frames)):
        if not is_chunk_length(count):
            below = max(1, (count - 1) // 4 * 4 + 1)
            raise InputError(f"{name} is {count}, not 4n + 1; use {below} or {below + 4}.")
    stride = chunk_frames - context_frames
    if stride < 1:
        raise InputError(
            f"context_frames is {context_frames} of {chunk_frames} chunk_frames, which leaves no "
            "new frames; lower context_frames."
        )
    chunks = [Chunk(0, 0, chunk_frames, 0, min(chunk_frames, total_frames))]
    while (done := chunks[-1].start_frame + chunks[-1].context_frames + chunks[-1].kept_frames) < (
        total_frames
    ):
        index = len(chunks)
        kept = min(stride, total_frames - done)
        chunks.append(Chunk(index, index * stride, chunk_frames, context_frames, kept))
    if shorten_last:
        chunks[-1] = shortened(chunks[-1])
    return chunks


def shortened(chunk: Chunk) -> Chunk:
    """A chunk that samples no more than is kept of it."""
    needed = max(chunk.context_frames + chunk.kept_frames, SHORTEST_LAST_FRAMES)
    whole = pixel_frames(latent_frames(needed + TEMPORAL_STRIDE - 1))
    return replace(chunk, frames=min(chunk.frames, whole))


def ended_at(plan: Sequence[Chunk], stop_frame: int) -> list[Chunk]:
    """The chunks that a clip shows when it ends early: the last of them is kept in part.

    They are sampled as in the whole clip, so that nothing is made again when it goes on.

    Args:
        plan: The whole clip.
        stop_frame: Clip frame after the last one shown, at least 1; past the end it is the end.
    """
    shown = [chunk for chunk in plan if chunk.first_new_frame < stop_frame]
    last = shown[-1]
    kept = min(last.kept_frames, stop_frame - last.first_new_frame)
    return [*shown[:-1], replace(last, kept_frames=kept)]


def plan_shots(
    total_frames: int,
    cuts: Sequence[int],
    chunk_frames: int = CHUNK_FRAMES,
    context_frames: int = CONTEXT_FRAMES,
    *,
    shorten_last: bool = False,
) -> list[Chunk]:
    """Lay out the chunks of a clip with cuts: each shot like a clip of its own.

    No chunk keeps frames of two shots, and the first of a shot has no context. Frames that the last
    chunk of a shot samples past the cut are thrown away.

    Args:
        total_frames: Frames of the clip, at least 1.
        cuts: First frame of every shot but the first, ascending; those outside the clip are left
            out.
        chunk_frames: Frames sampled per chunk, ``4n + 1``.
        context_frames: Frames handed on within a shot, ``4n + 1``.
        shorten_last: Shorten the last chunk of every shot, as in ``plan_chunks``.

    Raises:
        InputError: As ``plan_chunks``.
    """
    inside = [cut for cut in cuts if 0 < cut < total_frames]
    chunks: list[Chunk] = []
    for first, stop in pairwise([0, *inside, total_frames]):
        shot = plan_chunks(stop - first, chunk_frames, context_frames, shorten_last=shorten_last)
        for chunk in shot:
            start = first + chunk.start_frame
            chunks.append(replace(chunk, index=len(chunks), start_frame=start))
    return chunks
