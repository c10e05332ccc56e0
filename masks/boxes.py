"""Boxes around faces: as typed, and as the host's detectors hand them out.

Knows the formats of text, bounding boxes and landmarks as plain dicts and lists, of one picture or
of every frame of a video. It detects nothing and makes no masks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError

Box = tuple[float, float, float, float]
"""``(left, top, right, bottom)`` in pixels, right and bottom exclusive."""

MOMENT = re.compile(r"\s*(\d+):(\d{1,2}(?:\.\d+)?)(?:\s+(.*))?$")
"""A time in minutes and seconds, and what follows it; no box has a colon."""


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


@dataclass(frozen=True)
class BoxMoment:
    """Where faces are from a moment of a video on, as typed.

    Attributes:
        seconds: From the start of the video.
        boxes: One per face, in the order in which they were typed; None where a face is not there.
    """

    seconds: float
    boxes: tuple[Box | None, ...]


def has_moments(text: str) -> bool:
    """Whether typed boxes begin with a time, and so belong to a video."""
    return any(MOMENT.match(line) for line in text.splitlines())


def typed_moments(text: str, size: tuple[int, int] = (1, 1)) -> list[BoxMoment]:
    """Typed boxes of a video: lines of a time and the boxes of all faces.

    Args:
        text: Such as ``0:00 120, 80, 260, 240; 400, 90, 540, 250``, one line per moment; ``-`` is
            a face that is not in the picture then.
        size: ``(height, width)`` of the video.

    Raises:
        InputError: A line that is not understood, or times that do not ascend.
    """
    moments: list[BoxMoment] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        found = MOMENT.match(line)
        if found is None:
            raise InputError(
                f"boxes: the line {line!r} has no time, but others have; begin every line with "
                "one, such as 0:04.2, and separate the faces of a line by semicolons."
            )
        seconds = 60 * int(found[1]) + float(found[2])
        if moments and seconds <= moments[-1].seconds:
            raise InputError(f"boxes: {line!r} comes too late; write the times in ascending order.")
        words = [word.strip() for word in (found[3] or "").split(";") if word.strip()]
        if not words:
            raise InputError(f"boxes: {line!r} has a time but no box; write - for no face at all.")
        boxes = tuple(None if word == "-" else typed_boxes(word, size)[0] for word in words)
        moments.append(BoxMoment(seconds, boxes))
    return moments


def detected_boxes(bboxes: Any) -> list[Box]:
    """Boxes from the host's BOUNDING_BOX: one dict, a list of them, or a list per picture.

    Raises:
        InputError: Boxes of several pictures, or dicts without the four numbers.
    """
    pictures = boxes_per_picture(bboxes)
    _check_one_picture(len(pictures), "bboxes")
    return pictures[0] if pictures else []


def boxes_per_picture(bboxes: Any) -> list[list[Box]]:
    """Boxes from the host's BOUNDING_BOX, a list per picture; plain lists are of one picture.

    Raises:
        InputError: Dicts without the four numbers.
    """
    pictures: Any = [[bboxes]] if isinstance(bboxes, Mapping) else list(bboxes or [])
    if pictures and isinstance(pictures[0], Mapping):
        pictures = [pictures]
    try:
        return [
            [
                (box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"])
                for box in picture
            ]
            for picture in pictures
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
    pictures, size = landmarks_per_picture(landmarks)
    _check_one_picture(len(pictures), "landmarks")
    return (pictures[0] if pictures else []), size


def landmarks_per_picture(
    landmarks: Mapping[str, Any],
) -> tuple[list[list[Box]], tuple[int, int]]:
    """Boxes around the landmarks of each face, a list per picture, and ``(height, width)``."""
    frames: Sequence[Iterable[Mapping[str, Any]]] = landmarks["frames"]
    height, width = landmarks["image_size"]
    return [[_corners(face["bbox_xyxy"]) for face in faces] for faces in frames], (
        int(height),
        int(width),
    )


def grown(box: Box, share: float) -> Box:
    """A box grown on every side by a share of its width and height."""
    left, top, right, bottom = box
    across, down = share * (right - left), share * (bottom - top)
    return left - across, top - down, right + across, bottom + down


def _corners(values: Iterable[Any]) -> Box:
    left, top, right, bottom = (float(value) for value in values)
    return left, top, right, bottom


def _check_one_picture(count: int, what: str) -> None:
    if count > 1:
        raise InputError(
            f"{what} are of {count} pictures; expected one. Detect the faces of a single picture, "
            "or connect the video they are of."
        )
