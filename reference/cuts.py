"""Where a video cuts from one shot to the next: found, or told by the user.

Looks at pictures of postage stamp size, a few at a time. A cut is where the picture before and the
picture after have neither shape nor colours in common. So a flash is none (shapes come back), a pan
or a zoom is none (shapes move), an actor crossing is none (colours stay), and a cross-fade is none
(nothing happens from one picture to the next). Knows nothing of files.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np

from ..errors import InputError
from ..frames import FPS

AUTO, NONE = "auto", "none"
"""What cuts may be besides seconds."""

STAMP_SIZE = (27, 48)
"""``(height, width)`` of the pictures that are compared."""

REACH = (4, 8)
"""How far a pan may move from one picture to the next, in stamp pixels down and across: a sixth."""

SHAPE_SIDE = 5
"""Stamp pixels across which brightness is levelled out, so that only edges and details are left:
gradients and large areas look alike by chance."""

ALIKE = 0.55
"""Correlation of shapes above which two pictures in a row show the same scene."""

BACK = 0.7
"""Correlation of shapes above which a scene has come back after a flash."""

FAR = 0.25
"""Share of pixels of another colour above which two pictures may show different scenes."""

LASTING = 8
"""Pictures before and after a cut among which no two may be alike: longer than a flash."""

STANDOUT = 2.0
"""How many times more a cut changes than the pictures around it, which may be in quick motion."""

SHORTEST_SHOT = 12
"""Frames; of two cuts nearer than half a second the second is left out."""

FLAT = 1.5
"""Levels of deviation below which a picture has no shapes."""

COLOR_LEVELS = 4
"""Steps per colour channel; 64 colours."""


def cuts_of(text: str, frames: int, stamps: Iterable[np.ndarray]) -> list[int]:
    """The first frame of every shot but the first, found or as the user says.

    Args:
        text: ``auto``, ``none``, or seconds as ``parse_cuts`` reads them.
        frames: Frames of the video.
        stamps: As ``find_cuts``; looked at for ``auto`` alone.
    """
    word = text.strip().lower()
    if word == NONE:
        return []
    return find_cuts(stamps) if word == AUTO else parse_cuts(text, frames)


def find_cuts(stamps: Iterable[np.ndarray]) -> list[int]:
    """The first frame of every shot but the first.

    Args:
        stamps: The pictures of a video in order, uint8 ``[27, 48, 3]``.
    """
    cuts: list[int] = []
    for index, before, after in _neighbourhoods(stamps):
        since = index - cuts[-1] if cuts else index
        if since >= SHORTEST_SHOT and _is_cut(before, after):
            cuts.append(index)
    return cuts


def parse_cuts(text: str, frames: int) -> list[int]:
    """Cuts as a user writes them, ``"12.4, 31.0"``, as the first frames of the shots they begin.

    Args:
        text: Seconds from the start of the video, separated by commas or spaces.
        frames: Frames of the video.

    Raises:
        InputError: Not ascending seconds within the video.
    """
    return [
        frame
        for frame in parse_seconds(text, frames, "cuts", "auto, none, or seconds such as 12.4, 31")
        if frame > 0
    ]


def parse_seconds(text: str, frames: int, name: str, expected: str) -> list[int]:
    """Ascending seconds within a video as frames, the nearest ones.

    Raises:
        InputError: ``name`` says what was written wrongly, ``expected`` what it should be.
    """
    seconds = []
    for word in text.replace(",", " ").replace(";", " ").split():
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not value >= 0:
            raise InputError(f"{name} has {word!r}; expected {expected}.")
        seconds.append(value)
    if not seconds:
        raise InputError(f"{name} is empty; expected {expected}.")
    for earlier, later in pairwise(seconds):
        if later <= earlier:
            raise InputError(
                f"{name} has {later:g} s after {earlier:g} s; write the seconds in ascending order."
            )
    if seconds[-1] >= frames / FPS:
        raise InputError(
            f"{name} has {seconds[-1]:g} s, but the video ends at {frames / FPS:.2f} s; leave it "
            "out, or write seconds from the start of the trimmed video."
        )
    return sorted({math.floor(value * FPS + 0.5) for value in seconds} - {frames})


class _Stamp:
    """A small picture with what comparisons need of it."""

    def __init__(self, pixels: np.ndarray) -> None:
        grey = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
        self.flat = bool(grey.std() < FLAT)
        self.shapes = grey - _levelled(grey)
        steps = (pixels.astype(np.int32) * COLOR_LEVELS) >> 8
        codes = (steps[..., 0] * COLOR_LEVELS + steps[..., 1]) * COLOR_LEVELS + steps[..., 2]
        counts = np.bincount(codes.ravel(), minlength=COLOR_LEVELS**3)
        self.colors = counts / counts.sum()
        self.change = 0.0
        """Share of pixels of another colour than in the picture before."""


def _neighbourhoods(
    stamps: Iterable[np.ndarray],
) -> Iterator[tuple[int, list[_Stamp], list[_Stamp]]]:
    """Every frame but the first, with up to ``LASTING`` pictures before it and from it on."""
    window: deque[_Stamp] = deque(maxlen=2 * LASTING)
    seen = 0
    for pixels in stamps:
        stamp = _Stamp(pixels)
        if window:
            stamp.change = _color_distance(window[-1], stamp)
        window.append(stamp)
        seen += 1
        if len(window) > LASTING:
            yield seen - LASTING, [*window][:-LASTING], [*window][-LASTING:]
    for left in range(min(LASTING, len(window)) - 1, 0, -1):
        yield seen - left, [*window][:-left], [*window][-left:]


def _is_cut(before: list[_Stamp], after: list[_Stamp]) -> bool:
    """Whether the scene changes from ``before[-1]`` to ``after[0]``, and for good."""
    change = after[0].change
    if change < FAR or _alike(before[-1], after[0], ALIKE):
        return False
    usual = [stamp.change for stamp in (*before[1:], *after[1:])]
    if usual and change < STANDOUT * float(np.median(usual)):
        return False
    return not any(_alike(one, other, BACK) for one in reversed(before) for other in after)


def _color_distance(one: _Stamp, other: _Stamp) -> float:
    return float(np.abs(one.colors - other.colors).sum() / 2)


def _alike(one: _Stamp, other: _Stamp, threshold: float) -> bool:
    """Whether two pictures show the same shapes, brighter or darker, moved or not."""
    if one.flat or other.flat:
        return one.flat and other.flat and _color_distance(one, other) < FAR
    if _correlation(one.shapes, other.shapes) > threshold:
        return True
    height, width = one.shapes.shape
    for down in range(-REACH[0], REACH[0] + 1):
        rows, moved_rows = _overlap(down, height)
        for across in range(-REACH[1], REACH[1] + 1):
            columns, moved_columns = _overlap(across, width)
            part, moved = one.shapes[rows, columns], other.shapes[moved_rows, moved_columns]
            if _correlation(part, moved) > threshold:
                return True
    return False


def _levelled(grey: np.ndarray) -> np.ndarray:
    """The mean around every pixel, over a square of ``SHAPE_SIDE``."""
    padded = np.pad(grey, SHAPE_SIDE // 2, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, (SHAPE_SIDE, SHAPE_SIDE))
    return around.mean(axis=(-2, -1))


def _overlap(shift: int, length: int) -> tuple[slice, slice]:
    """What is left of a side in both pictures when one of them moves."""
    if shift >= 0:
        return slice(shift, length), slice(0, length - shift)
    return slice(0, length + shift), slice(-shift, length)


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one - one.mean(), other - other.mean()
    scale = math.sqrt(float((one * one).sum() * (other * other).sum()))
    return float((one * other).sum()) / scale if scale > 0 else 0.0
