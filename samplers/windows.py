"""Denoising windows: how the latents of a whole clip are cut into stretches that overlap.

At every step each window is denoised on its own and the estimates are blended (``samplers.blend``).
Plain integers, decided before anything is loaded; it knows nothing of networks, nor of seconds.

Letters: L latent frames of a window, O of an overlap, W of a window that others cover already, T of
the clip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from ..errors import InputError
from ..frames import TEMPORAL_STRIDE, is_chunk_length, latent_frames, pixel_frames
from .plan import Chunk

WAN_WINDOW_FRAMES, HYBRID_WINDOW_FRAMES = 81, 129
"""Pixel frames of a window, as the two families were trained: 21 and 33 latent frames."""


class LastWindow(Enum):
    """What becomes of the last window, which seldom ends where the clip does."""

    PAD = "pad"
    """It runs past the end over silence, and what is too much is cut: all overlaps are equal."""

    SHIFT = "shift"
    """It is moved back to end with the clip; its overlap may be nearly all of it."""

    EVEN = "even"
    """All windows are moved a little, so that the overlaps are nearly equal and at least O."""


@dataclass(frozen=True)
class DenoisingWindow:
    """One stretch of the clip's latents, denoised at once.

    Attributes:
        index: 0 for the first.
        start: Latent frame of the clip that is its first.
        latents: Latent frames, L.
        covered: Leading ones that windows before it cover too, W.
        blended: Of those the last so many are blended; in those before, the others' estimate stays.
    """

    index: int
    start: int
    latents: int
    covered: int
    blended: int

    @property
    def stop(self) -> int:
        """Latent frame after its last."""
        return self.start + self.latents

    @property
    def chunk(self) -> Chunk:
        """The window as conditioners know it: a stretch of frames with its own audio.

        Its first latent frame hears the last of its four pixel frames alone, as the first latent
        frame of a clip does, because that is what the network knows.
        """
        frames = pixel_frames(self.latents)
        return Chunk(self.index, TEMPORAL_STRIDE * self.start, frames, 0, frames)

    def span(self, total_frames: int) -> Chunk:
        """The frames of a clip of ``total_frames`` that this window adds, for people to read."""
        whole = self.chunk
        if self.index and not self.covered:
            # Nobody else has the other three frames of its first latent.
            more = TEMPORAL_STRIDE - 1
            whole = replace(whole, start_frame=whole.start_frame - more, frames=whole.frames + more)
        context = pixel_frames(self.covered) if self.covered else 0
        kept = min(whole.frames - context, total_frames - whole.start_frame - context)
        return Chunk(self.index, whole.start_frame, whole.frames, context, kept)


@dataclass(frozen=True)
class WindowPlan:
    """All windows of a clip.

    Attributes:
        windows: In order of start; together they cover every latent frame.
        latents: Latent frames that are denoised, T; with a padded end more than the clip needs.
        total_frames: Pixel frames of the clip.
        anchored: Whether slot 0 of later windows holds the reference frame and nothing else.
    """

    windows: tuple[DenoisingWindow, ...]
    latents: int
    total_frames: int
    anchored: bool = False

    @property
    def spans(self) -> list[Chunk]:
        """What each window adds to the clip; every frame exactly once."""
        return [window.span(self.total_frames) for window in self.windows]


def default_overlap(window_frames: int) -> int:
    """Latent frames of the overlap: a quarter of the window, 8 of 33 and 5 of 21."""
    return latent_frames(window_frames) // 4


def plan_windows(
    total_frames: int,
    window_frames: int = WAN_WINDOW_FRAMES,
    overlap: int | None = None,
    *,
    last: LastWindow = LastWindow.PAD,
    anchored: bool = False,
) -> WindowPlan:
    """Lay out the windows of a clip.

    A clip that fits one window is one window of its own length.

    Args:
        total_frames: Frames of the clip, at least 1.
        window_frames: Pixel frames of a window, ``4n + 1``.
        overlap: Latent frames that neighbours share, at most half a window; None is a quarter.
        last: What becomes of the last window.
        anchored: Give slot 0 of every later window to the reference frame: it shares one latent
            frame more with the window before, whose estimate stays there.

    Raises:
        InputError: A count does not fit.

    Source: MagicInfinite 4.1.3, 33 latent frames with an overlap that the paper leaves open.
    """
    if total_frames < 1:
        raise InputError(f"the clip has {total_frames} frames; at least 1 is needed.")
    if not is_chunk_length(window_frames):
        below = max(1, (window_frames - 1) // TEMPORAL_STRIDE * TEMPORAL_STRIDE + 1)
        raise InputError(
            f"window_frames is {window_frames}, not 4n + 1; use {below} or "
            f"{below + TEMPORAL_STRIDE}."
        )
    length = latent_frames(window_frames)
    shared = default_overlap(window_frames) if overlap is None else overlap
    if not 0 <= shared <= length // 2:
        raise InputError(
            f"overlap is {TEMPORAL_STRIDE * shared} of {window_frames} window_frames; give at most "
            f"half of them, {TEMPORAL_STRIDE * (length // 2)}."
        )
    needed = latent_frames(total_frames + TEMPORAL_STRIDE - 1)
    if needed <= length:
        only = DenoisingWindow(0, 0, needed, 0, 0)
        return WindowPlan((only,), needed, total_frames, anchored)
    hidden = int(anchored)
    stride = length - shared - hidden
    if stride < 1:
        raise InputError(
            f"window_frames is {window_frames}, which leaves nothing new per window; use at least "
            f"{pixel_frames(shared + hidden + 1)}."
        )
    starts = window_starts(needed, length, stride, last)
    windows, end = [], 0
    for index, start in enumerate(starts):
        covered = end - start if index else 0
        ramp = covered - hidden if last is LastWindow.EVEN else shared
        windows.append(DenoisingWindow(index, start, length, covered, ramp if index else 0))
        end = start + length
    return WindowPlan(tuple(windows), end, total_frames, anchored)


def window_starts(needed: int, length: int, stride: int, last: LastWindow) -> list[int]:
    """First latent frames of the windows over ``needed`` latent frames, more than ``length``."""
    count = 1 + -(-(needed - length) // stride)
    if last is LastWindow.EVEN:
        return [round(index * (needed - length) / (count - 1)) for index in range(count)]
    starts = [index * stride for index in range(count)]
    if last is LastWindow.SHIFT:
        starts[-1] = needed - length
    return starts
