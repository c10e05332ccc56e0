"""The parts of a picture that are measured: mouth, eyes, face, skin and background, as boxes.

Knows the proportions of a face that looks into the camera. It detects nothing and reads no pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..crop import size_text
from ..errors import InputError

Box = tuple[float, float, float, float]
"""``(left, top, right, bottom)`` in pixels of the clip, right and bottom exclusive."""

SMALLEST_MOUTH = 4
"""Pixels a mouth's box has at least per side; below, opening cannot be told from noise."""

SMALLEST_BACKGROUND = 0.01
"""Share of the picture below which there is no background to speak of."""


@dataclass(frozen=True)
class FaceBoxes:
    """Where one face is, wide enough to hold its parts wherever the head moves.

    Attributes:
        mouth: Lips and what shows between them, at any opening.
        eyes: Both eyes; the patch by which the head is followed.
        face: The head with its hair.
        source: Where the boxes come from, for the report.
    """

    mouth: Box
    eyes: Box
    face: Box
    source: str = "given"


def face_around_mouth(mouth: Box, source: str = "given mouth box") -> FaceBoxes:
    """The boxes of a face of which only the mouth is known, by the proportions of faces.

    The unit is the width of the lips, 0.8 of the box, which leaves them room: the eyes are 0.45 to
    1.6 above the middle of the mouth, the head reaches 2.7 up, 0.8 down and 1.6 to either side.
    """
    left, top, right, bottom = mouth
    x, y, lips = (left + right) / 2, (top + bottom) / 2, 0.8 * (right - left)
    return FaceBoxes(
        mouth=mouth,
        eyes=(x - lips, y - 1.6 * lips, x + lips, y - 0.45 * lips),
        face=(x - 1.6 * lips, y - 2.7 * lips, x + 1.6 * lips, y + 0.8 * lips),
        source=source,
    )


def pixel_box(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The whole pixels inside a picture of ``(height, width)`` that a box covers; may be empty."""
    height, width = size
    left, right = (int(np.clip(round(value), 0, width)) for value in (box[0], box[2]))
    top, bottom = (int(np.clip(round(value), 0, height)) for value in (box[1], box[3]))
    return left, top, max(right, left), max(bottom, top)


def grown(box: Box, margin: float) -> Box:
    """A box with ``margin`` pixels more on every side."""
    left, top, right, bottom = box
    return left - margin, top - margin, right + margin, bottom + margin


def joined(first: Box, second: Box) -> Box:
    """The smallest box around two."""
    return (
        min(first[0], second[0]),
        min(first[1], second[1]),
        max(first[2], second[2]),
        max(first[3], second[3]),
    )


def check_boxes(faces: Sequence[FaceBoxes], size: tuple[int, int]) -> None:
    """Refuse mouths that no picture of this size can show.

    Raises:
        InputError: No face, or a mouth of less than 4x4 pixels inside the picture.
    """
    if not faces:
        raise InputError("There is no face to measure; give the box of a mouth.")
    for number, face in enumerate(faces, 1):
        left, top, right, bottom = pixel_box(face.mouth, size)
        if min(right - left, bottom - top) < SMALLEST_MOUTH:
            given = ", ".join(f"{value:g}" for value in face.mouth)
            inside = size_text((bottom - top, right - left))
            raise InputError(
                f"The mouth of face {number} is ({given}): {inside} pixels inside the picture of "
                f"{size_text(size)}, expected at least {SMALLEST_MOUTH}x{SMALLEST_MOUTH}. Give "
                "left, top, right, bottom in pixels of the clip, or use a larger clip."
            )


def mouth_mask(faces: Sequence[FaceBoxes], size: tuple[int, int]) -> np.ndarray:
    """Pixels of all mouths, ``[H, W]`` bool."""
    mask = np.zeros(size, bool)
    for face in faces:
        left, top, right, bottom = pixel_box(face.mouth, size)
        mask[top:bottom, left:right] = True
    return mask


def cheeks(face: FaceBoxes) -> list[Box]:
    """Two squares of skin below the eyes, beside the nose."""
    left, top, right, bottom = face.eyes
    half, eyes = (right - left) / 2, (top + bottom) / 2
    row = eyes + 0.5 * ((face.mouth[1] + face.mouth[3]) / 2 - eyes)
    reach = max(0.1 * half, 1.0)
    columns = (left + half + side * half for side in (-0.63, 0.63))
    return [(x - reach, row - reach, x + reach, row + reach) for x in columns]


def background_mask(faces: Sequence[FaceBoxes], size: tuple[int, int]) -> np.ndarray | None:
    """What is beside and above the heads, ``[H, W]`` bool; None when next to nothing is.

    A head is taken as the ellipse in its box, because boxes of large faces fill the picture.
    Below the mouths there are shoulders, which are not looked at.
    """
    height, width = size
    row, column = np.mgrid[:height, :width] + 0.5
    mask = row < max((face.mouth[1] + face.mouth[3]) / 2 for face in faces)
    for face in faces:
        mask &= _ellipse(face.face, row, column) > 1.05
    return mask if mask.mean() >= SMALLEST_BACKGROUND else None


def outline_mask(face: FaceBoxes, size: tuple[int, int]) -> np.ndarray:
    """The rim of a head above its chin, ``[H, W]`` bool."""
    height, width = size
    row, column = np.mgrid[:height, :width] + 0.5
    radius = _ellipse(face.face, row, column)
    return (radius > 0.75) & (radius < 1.1) & (row < (face.mouth[1] + face.mouth[3]) / 2)


def _ellipse(box: Box, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Distance of pixels from the middle of a box, 1 on the ellipse in it."""
    left, top, right, bottom = box
    across = (column - (left + right) / 2) / max((right - left) / 2, 1)
    down = (row - (top + bottom) / 2) / max((bottom - top) / 2, 1)
    return np.hypot(across, down)
