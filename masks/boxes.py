"""Boxes around faces: as typed, and as the host's detectors hand them out.

Knows the formats of text, bounding boxes and landmarks as plain dicts and lists. It detects nothing
and makes no masks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import InputError

Box = tuple[float, float, float, float]
"""``(left, top, right, bottom)`` in pixels, right and bottom exclusive."""


def typed_boxes(text: str, size: tuple[int, int] = (1, 1)) -> list[Box]:
    """Boxes as typed: one face per line or between semicolons, four numbers each.

    Args:
        text: Such as ``120, 80, 260, 240; 400, 90, 540, 250``: left, top, right, bottom in pixels,
            or in shares of width and height when none of the four is above 1.
        size: ``(height, width)`` of the picture.

    Raises:
        InputError: A line is not four numbers; names the line.
    """
    boxes = []
    for number, line in enumerate(filter(None, map(str.strip, re.split(r"[;\n]", text))), 1):
        words = [word for word in re.split(r"[,\s]+", line.strip("()[] ")) if word]
        try:
            left, top, right, bottom = (float(word) for word in words)
        except ValueError:
            raise InputError(
                f"boxes: face {number} is {line!r}; expected 4 numbers: left, top, right, bottom, "
                "in pixels or as shares of the picture from 0 to 1."
            ) from None
        across, down = (size[1], size[0]) if max(left, top, right, bottom) <= 1 else (1, 1)
        boxes.append((left * across, top * down, right * across, bottom * down))
    return boxes


def detected_boxes(bboxes: Any) -> list[Box]:
    """Boxes from the host's BOUNDING_BOX: one dict, a list of them, or a list per picture.

    Raises:
        InputError: Boxes of several pictures, or dicts without the four numbers.
    """
    pictures: Any = [[bboxes]] if isinstance(bboxes, Mapping) else list(bboxes or [])
    if pictures and isinstance(pictures[0], Mapping):
        pictures = [pictures]
    _check_one_picture(len(pictures), "bboxes")
    try:
        return [
            (box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"])
            for box in (pictures[0] if pictures else [])
        ]
    except (KeyError, TypeError):
        raise InputError(
            "bboxes: expected boxes with x, y, width and height in pixels, as the host's detectors "
            "give them; connect one of those, or type the boxes."
        ) from None


def landmark_boxes(landmarks: Mapping[str, Any]) -> tuple[list[Box], tuple[int, int]]:
    """Boxes around the landmarks of each face, and ``(height, width)`` of their picture.

    Raises:
        InputError: Landmarks of several pictures.
    """
    frames: Sequence[Iterable[Mapping[str, Any]]] = landmarks["frames"]
    _check_one_picture(len(frames), "landmarks")
    boxes: list[Box] = []
    for face in frames[0] if frames else ():
        left, top, right, bottom = (float(value) for value in face["bbox_xyxy"])
        boxes.append((left, top, right, bottom))
    height, width = landmarks["image_size"]
    return boxes, (int(height), int(width))


def grown(box: Box, share: float) -> Box:
    """A box grown on every side by a share of its width and height."""
    left, top, right, bottom = box
    across, down = share * (right - left), share * (bottom - top)
    return left - across, top - down, right + across, bottom + down


def _check_one_picture(count: int, what: str) -> None:
    if count > 1:
        raise InputError(
            f"{what} are of {count} pictures; expected one. Detect the faces of a single picture."
        )
