"""How a picture of one size lands in another: resize until it covers, then cut the middle out.

Pictures, source frames and masks all go through the same box, so that they cannot disagree. It
knows only numbers: no pixels, no tensors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import InputError

LARGEST_RESIZED_PIXELS = 1 << 28
"""Pixels the enlarged picture may have before it is cut; only long thin strips reach it."""


@dataclass(frozen=True)
class CropBox:
    """A resize followed by a cut; all sizes in pixels.

    Attributes:
        source_size: ``(height, width)`` before.
        resized_size: ``(height, width)`` after the resize; covers the target on both sides.
        top: First kept row of the resized picture.
        left: First kept column of the resized picture.
        size: ``(height, width)`` of the result.
    """

    source_size: tuple[int, int]
    resized_size: tuple[int, int]
    top: int
    left: int
    size: tuple[int, int]

    @property
    def rows(self) -> slice:
        """Rows of the resized picture that are kept."""
        return slice(self.top, self.top + self.size[0])

    @property
    def columns(self) -> slice:
        """Columns of the resized picture that are kept."""
        return slice(self.left, self.left + self.size[1])


def crop_box(source_size: tuple[int, int], target_size: tuple[int, int]) -> CropBox:
    """The box that fills ``target_size`` from the middle of a source, keeping its proportions.

    The resized side is rounded up and can be one pixel longer than the side it was fitted to; the
    cut drops that pixel.

    Args:
        source_size: ``(height, width)`` of the picture.
        target_size: ``(height, width)`` wanted.

    Raises:
        InputError: A side is below one pixel, or the source is so long and thin that covering the
            target would take gigabytes.

    Source: InfiniteTalk, ``resize_and_centercrop``.
    """
    if min(*source_size, *target_size) < 1:
        raise InputError(
            f"a picture of {size_text(source_size)} pixels cannot be fitted into "
            f"{size_text(target_size)}: every side needs at least 1 pixel."
        )
    scale = max(target_size[0] / source_size[0], target_size[1] / source_size[1])
    height, width = math.ceil(scale * source_size[0]), math.ceil(scale * source_size[1])
    if height * width > LARGEST_RESIZED_PIXELS:
        raise InputError(
            f"a picture of {size_text(source_size)} pixels would have to be enlarged to "
            f"{size_text((height, width))} to fill {size_text(target_size)}; cut it to a shape "
            "nearer to the target first."
        )
    top, left = round((height - target_size[0]) / 2), round((width - target_size[1]) / 2)
    return CropBox(source_size, (height, width), top, left, target_size)


def size_text(size: tuple[int, int]) -> str:
    """A ``(height, width)`` the way users write it: ``(480, 832)`` is ``832x480``."""
    return f"{size[1]}x{size[0]}"
