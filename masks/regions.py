"""Who talks where: boxes and even columns into masks at the resolution of the source picture.

Knows pixels of the source only. How the masks reach the network's tokens is in `tokens`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..crop import size_text
from ..errors import InputError


def split_evenly(size: tuple[int, int], speakers: int = 2, border: float = 0.05) -> Tensor:
    """One column of the picture per speaker, from the left, ``[S, H, W]`` of 0 and 1.

    Args:
        size: ``(height, width)`` of the picture in pixels.
        speakers: How many.
        border: Share of a column's height and width left free on each of its sides, below 0.5.

    Raises:
        InputError: No speaker, or the columns are too narrow to hold a pixel.

    Source: InfiniteTalk, ``generate_infinitetalk`` without boxes: two halves, ``face_scale`` 0.05.
    Differs: any number of columns; two are as published.
    """
    height, width = size
    column = width // max(speakers, 1)
    top, bottom = int(height * border), int(height * (1 - border))
    edges = [
        (int(column * border + index * column), int(column * (1 - border) + index * column))
        for index in range(speakers)
    ]
    if not edges or top >= bottom or any(left >= right for left, right in edges):
        raise InputError(
            f"a picture of {size_text(size)} pixels cannot be split into {speakers} columns with a "
            f"border of {border:.0%}; expected at least 1 speaker and a few pixels for each."
        )
    regions = torch.zeros(speakers, height, width)
    for region, (left, right) in zip(regions, edges, strict=True):
        region[top:bottom, left:right] = 1
    return regions


def box_mask(size: tuple[int, int], box: Sequence[float]) -> Tensor:
    """The part of a picture inside a box, ``[H, W]`` of 0 and 1.

    A box may reach past the picture's edge, as detected faces do; what lies outside is nothing.

    Args:
        size: ``(height, width)`` of the picture in pixels.
        box: ``(left, top, right, bottom)``, right and bottom exclusive; in pixels, or, when no
            value is above 1, in shares of width and height.

    Raises:
        InputError: Not four numbers, an empty box, or one wholly outside the picture.
    """
    left, top, right, bottom = pixel_box(size, box)
    mask = torch.zeros(size)
    mask[max(top, 0) : bottom, max(left, 0) : right] = 1
    return mask


def pixel_box(size: tuple[int, int], box: Sequence[float]) -> tuple[int, int, int, int]:
    """A box in whole pixels, ``(left, top, right, bottom)``, some of it inside the picture.

    Args:
        size: ``(height, width)`` of the picture in pixels.
        box: As for ``box_mask``.

    Raises:
        InputError: Not four numbers, an empty box, or one wholly outside the picture.
    """
    height, width = size
    if len(box) != 4 or not all(math.isfinite(value) for value in box):
        raise InputError(f"a box is 4 numbers (left, top, right, bottom), got {_box_text(box)}.")
    across, down = (width, height) if max(box) <= 1 else (1, 1)
    left, right = round(box[0] * across), round(box[2] * across)
    top, bottom = round(box[1] * down), round(box[3] * down)
    if left >= right or top >= bottom:
        raise InputError(
            f"the box {_box_text(box)} is empty: expected left < right and top < bottom, in the "
            "order left, top, right, bottom."
        )
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        raise InputError(
            f"the box {_box_text(box)} lies outside the picture of {size_text(size)} pixels; give "
            "left, top, right, bottom in pixels of that picture."
        )
    return left, top, right, bottom


def published_box(bbox: Sequence[float]) -> tuple[int, int, int, int]:
    """A box of a published input file as ours, ``(left, top, right, bottom)`` in pixels.

    The published files call the numbers x and y, but the first and the third are used as *rows*
    and the second and the fourth as *columns*, fractions cut off.

    Source: InfiniteTalk, ``generate_infinitetalk``, key ``bbox``.
    """
    first_row, first_column, last_row, last_column = (int(value) for value in bbox)
    return first_column, first_row, last_column, last_row


def speaker_masks(regions: Tensor) -> Tensor:
    """Class masks ``[S + 1, H, W]`` of 0 and 1: the speakers in their order, then the background.

    Regions may overlap. The background is whatever no speaker has, and may be empty.

    Args:
        regions: ``[S, H, W]``; a pixel above 0 belongs to the speaker.

    Source: InfiniteTalk, ``generate_infinitetalk``, ``ref_target_masks``.
    Differs: any number of speakers. For a single one the published tensor is three times all ones,
    because it is built and then never used.
    """
    taken = (regions > 0).to(torch.float32)
    background = 1 - taken.amax(dim=0, keepdim=True)
    return torch.cat([taken, background])


def _box_text(box: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in box) + ")"
