"""Seams between chunks: where they are, and whether a viewer could see them.

Decoded frames come in groups of four per latent and flicker at the borders of these groups, seam or
not. A seam is therefore held against those borders, counted within each chunk, and not against all
frames. Knows plans as plain numbers, and one number per frame; it sees no pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..frames import FPS, TEMPORAL_STRIDE

STRETCH_FRAMES = 3 * FPS
"""What stands for a chunk in a clip without a plan."""

SHORTEST_LAST_FRAMES = FPS // 2
"""A last chunk that was cut shorter than this is counted with the one before."""


class ChunkSpan(Protocol):
    """What is read of a planned chunk, in pixel frames."""

    @property
    def start_frame(self) -> int:
        """Clip frame of the chunk's first, context included."""
        ...

    @property
    def context_frames(self) -> int:
        """Frames at its head that repeat the chunk before."""
        ...

    @property
    def kept_frames(self) -> int:
        """New frames behind them."""
        ...


@dataclass(frozen=True)
class SeamJump:
    """Mean absolute differences between neighbouring frames, in fractions of full scale.

    Attributes:
        seam: From the last frame of a chunk to the first new one of the next.
        group: Control: between groups of four frames of one latent, within chunks.
        within: Between the frames of one group.
        ratio: ``seam`` in units of ``group``; 1 is a seam that nobody sees.
        worst: The largest single seam, in units of ``group``.
        worst_frame: The clip frame behind it.
    """

    seam: float
    group: float
    within: float
    ratio: float
    worst: float
    worst_frame: int


def seam_frames(plan: Sequence[ChunkSpan]) -> list[int]:
    """Clip frames that follow a seam: the first new frame of every chunk that goes on from another.

    A chunk without context begins a clip or a shot. A cut is meant to be seen, and is no seam.
    """
    return [chunk.start_frame + chunk.context_frames for chunk in plan if chunk.context_frames]


def shot_frames(plan: Sequence[ChunkSpan]) -> list[int]:
    """Clip frames that begin a shot, that of the clip included."""
    return [chunk.start_frame for chunk in plan if not chunk.context_frames]


def group_frames(plan: Sequence[ChunkSpan]) -> list[int]:
    """Clip frames that begin a group of four, seams left out.

    Within a chunk frame 0 stands alone and the groups are 1 to 4, 5 to 8 and so on. The step from
    frame 0, the reference or the last context, to frame 1 is neither inside a group nor like the
    others, and is left out too.
    """
    found = []
    for chunk in plan:
        kept = range(chunk.context_frames, chunk.context_frames + chunk.kept_frames)
        found += [
            chunk.start_frame + index
            for index in kept
            if index > max(1, chunk.context_frames) and (index - 1) % TEMPORAL_STRIDE == 0
        ]
    return found


def measure_seams(differences: np.ndarray, plan: Sequence[ChunkSpan]) -> SeamJump | None:
    """Hold the steps over seams against the steps between latent groups.

    Args:
        differences: ``[F]``: mean absolute difference of each frame to the one before; that of
            frame 0, and of the first two frames of every shot, is not read.
        plan: The chunks of the clip.

    Returns:
        None when no chunk goes on from another, or there is no group border to compare with.
    """
    seams = [frame for frame in seam_frames(plan) if frame < differences.size]
    groups = [frame for frame in group_frames(plan) if frame < differences.size]
    if not seams or not groups:
        return None
    begins = (frame + index for frame in shot_frames(plan) for index in range(2))
    special = {*seams, *groups, *begins}
    others = [frame for frame in range(differences.size) if frame not in special]
    at_groups = float(differences[groups].mean())
    unit = at_groups or math.nan
    worst = max(seams, key=lambda frame: differences[frame])
    return SeamJump(
        seam=float(differences[seams].mean()),
        group=at_groups,
        within=float(differences[others].mean()) if others else math.nan,
        ratio=float(differences[seams].mean()) / unit,
        worst=float(differences[worst]) / unit,
        worst_frame=worst,
    )


def stretches(frames: int, plan: Sequence[ChunkSpan] | None) -> list[range]:
    """The clip frames that every chunk adds; without a plan, stretches of three seconds.

    A last one below half a second joins the one before. A clip below six seconds without a plan
    is two halves.
    """
    if plan is None:
        starts = list(range(0, frames, STRETCH_FRAMES if frames >= 2 * STRETCH_FRAMES else frames))
        if len(starts) == 1 and frames > 1:
            starts.append((frames + 1) // 2)
    else:
        starts = [chunk.start_frame + chunk.context_frames for chunk in plan]
        starts = [start for start in starts if start < frames]
    if len(starts) > 1 and frames - starts[-1] < min(SHORTEST_LAST_FRAMES, frames // 2):
        starts.pop()
    return [range(a, b) for a, b in zip(starts, [*starts[1:], frames], strict=True)]
