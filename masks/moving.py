"""Where the faces of a video are, from whichever of the sources a user gave for its frames.

Knows which sources tell of every frame and which of none in particular, and makes tracks of their
boxes. It detects nothing and sees no pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ..crop import size_text
from ..errors import InputError
from ..frames import FPS
from .boxes import (
    Box,
    BoxMoment,
    boxes_per_picture,
    has_moments,
    landmarks_per_picture,
    typed_moments,
)
from .finding import FaceSources, check_one_source
from .following import follow_shot
from .pooling import ANY, check_rule
from .regions import pixel_box
from .tracks import MOVING, UNION, FaceTracks

MOTIONS = (UNION, MOVING)


@dataclass(frozen=True)
class TrackSettings:
    """What the user chose for the faces of a video.

    Attributes:
        grow: Share of its width and height by which a detected box grows on every side.
        dilate: Pixels of the video by which it grows on every side.
        motion: ``union`` or ``moving``, see ``FaceTracks``.
        rule: How pixels become tokens, one of ``pooling.RULES``.
        at_most: Faces per shot, the largest over time; 0 is all.
    """

    grow: float = 0.3
    dilate: int = 16
    motion: str = UNION
    rule: str = ANY
    at_most: int = 0

    def __post_init__(self):
        check_rule(self.rule)
        if self.motion not in MOTIONS:
            raise InputError(f"motion is {self.motion!r}; choose one of {', '.join(MOTIONS)}.")


def tells_of_frames(sources: FaceSources) -> bool:
    """Whether the source tells where the faces are in every frame, not once for all."""
    if sources.landmarks is not None:
        return len(sources.landmarks["frames"]) > 1
    if sources.bboxes is not None:
        return len(boxes_per_picture(sources.bboxes)) > 1
    return has_moments(sources.boxes)


def find_tracks(
    sources: FaceSources,
    size: tuple[int, int],
    frames: int,
    cuts: Sequence[int],
    settings: TrackSettings,
) -> FaceTracks:
    """Faces of a video from a source that tells of its frames.

    Args:
        sources: Where the faces are told; see ``tells_of_frames``.
        size: ``(height, width)`` of the video, upright.
        frames: Its frames at 25 per second.
        cuts: First frames of its shots but the first.
        settings: What the user chose. Typed boxes are used as they are.

    Raises:
        InputError: Several sources, boxes of another video, or no face.
    """
    check_one_source(sources)
    if sources.boxes.strip():
        tracks = typed_faces(typed_moments(sources.boxes, size), size, frames, cuts)
    else:
        tracks = follow_faces(
            _detections(sources, size, frames),
            size,
            cuts,
            grow=settings.grow,
            dilate=settings.dilate,
            at_most=settings.at_most,
        )
    return replace(tracks, motion=settings.motion, rule=settings.rule)


def _detections(sources: FaceSources, size: tuple[int, int], frames: int) -> list[list[Box]]:
    """What a detector found, a list per frame."""
    if sources.landmarks is not None:
        what, (found, seen) = "landmarks", landmarks_per_picture(sources.landmarks)
        if seen != size:
            raise InputError(
                f"The landmarks are of pictures of {size_text(seen)} pixels, the video is "
                f"{size_text(size)}; detect the faces of this video."
            )
        # A face that leaves the picture is sometimes found beside it.
        found = [[box for box in boxes if _reaches(box, size)] for boxes in found]
    else:
        what, found = "bboxes", boxes_per_picture(sources.bboxes)
    if len(found) != frames:
        raise InputError(
            f"The {what} are of {len(found)} pictures, but the video has {frames} frames at {FPS} "
            "per second; connect a face_detection_model instead, which looks at exactly these "
            f"frames, or detect the faces of the video at {FPS} frames per second."
        )
    return found


def _reaches(box: Box, size: tuple[int, int]) -> bool:
    """Whether a box has any of a picture of ``(height, width)`` in it."""
    left, top, right, bottom = box
    return left < size[1] and top < size[0] and right > 0 and bottom > 0


def follow_faces(
    detections: Sequence[Sequence[Box]],
    size: tuple[int, int],
    cuts: Sequence[int] = (),
    *,
    grow: float = 0.0,
    dilate: int = 0,
    at_most: int = 0,
) -> FaceTracks:
    """Faces of a video from what a detector found in each of its frames.

    Args:
        detections: The boxes of every frame, in pixels.
        size: ``(height, width)`` of the video.
        cuts: First frames of the shots but the first, ascending; no face is followed across one.
        grow: Share of its width and height by which a box grows on every side.
        dilate: Pixels by which it grows on every side.
        at_most: Faces per shot, the largest over time; 0 is all.

    Raises:
        InputError: No face, or a box outside the video.
    """
    found = [_checked(boxes, size, frame) for frame, boxes in enumerate(detections)]
    shots = [
        follow_shot(found[first:last], at_most) for first, last in pairwise((0, *cuts, len(found)))
    ]
    most = max(len(boxes) for boxes, _ in shots)
    if not most:
        seen = sum(map(len, found))
        raise InputError(
            f"No face was found in the {len(found)} frames of the video"
            + (f" for more than a moment ({seen} boxes in all)" if seen else "")
            + "; choose another detector_variant, lower the detector's threshold, or type boxes."
        )
    tracks = np.full((most, len(found), 4), np.nan, np.float32)
    for (first, last), (boxes, _) in zip(pairwise((0, *cuts, len(found))), shots, strict=True):
        tracks[: len(boxes), first:last] = boxes
    sides = tracks[..., 2:] - tracks[..., :2]
    reach = grow * sides + dilate
    tracks = np.concatenate([tracks[..., :2] - reach, tracks[..., 2:] + reach], axis=-1)
    return FaceTracks(tracks, size, tuple(cuts), left_out=sum(lost for _, lost in shots))


def typed_faces(
    moments: Sequence[BoxMoment], size: tuple[int, int], frames: int, cuts: Sequence[int] = ()
) -> FaceTracks:
    """Faces of a video from typed moments; the order of a moment's boxes is that of the faces.

    Between two moments of a shot a box goes straight from one to the other. Before the first of a
    shot it is that one, and after the last it stays, also in shots without any.

    Args:
        moments: At least one, ascending.
        size: ``(height, width)`` of the video.
        frames: Its frames at 25 per second.
        cuts: First frames of the shots but the first, ascending.

    Raises:
        InputError: A moment after the end, a box outside the video, or no box at all.
    """
    if moments[-1].seconds >= frames / FPS:
        raise InputError(
            f"boxes has {_clock(moments[-1].seconds)}, but the video ends at "
            f"{_clock(frames / FPS)}; leave it out, or count from the start of the trimmed video."
        )
    count = max(len(moment.boxes) for moment in moments)
    keys = np.full((count, len(moments), 4), np.nan, np.float32)
    for number, moment in enumerate(moments):
        for face, box in enumerate(moment.boxes):
            if box is not None:
                keys[face, number] = _inside(box, size, f"boxes at {_clock(moment.seconds)}")
    if np.isnan(keys).all():
        raise InputError("boxes has no face, only times; write four numbers for each face.")
    at = np.array([int(moment.seconds * FPS + 0.5) for moment in moments])
    tracks = np.full((count, frames, 4), np.nan, np.float32)
    for first, last in pairwise((0, *cuts, frames)):
        own = np.flatnonzero((at >= first) & (at < last))
        if own.size:
            for face in range(count):
                tracks[face, first:last] = _between(keys[face, own], at[own], first, last)
        elif at[0] < first:
            tracks[:, first:last] = keys[:, at < first][:, -1:]
    # A face with no box left in any shot would be a number that nobody can use.
    return FaceTracks(tracks[~np.isnan(tracks[..., 0]).all(axis=1)], size, tuple(cuts))


def _between(keys: np.ndarray, at: np.ndarray, first: int, last: int) -> np.ndarray:
    """One face of a shot, ``[F, 4]``: moved from moment to moment where it is there at both."""
    every = np.arange(first, last)
    before = (np.searchsorted(at, every, side="right") - 1).clip(min=0)
    after = (before + 1).clip(max=len(at) - 1)
    span = np.maximum(at[after] - at[before], 1)
    share = ((every - at[before]) / span).clip(0, 1)[:, None]
    moved = keys[before] + (keys[after] - keys[before]) * share
    return np.where(np.isnan(moved), keys[before], moved)


def _checked(boxes: Sequence[Box], size: tuple[int, int], frame: int) -> np.ndarray:
    """The boxes of a frame as ``[n, 4]``."""
    found = [_inside(box, size, f"frame {frame} ({_clock(frame / FPS)})") for box in boxes]
    return np.array(found, np.float32).reshape(-1, 4)


def _inside(box: Box, size: tuple[int, int], where: str) -> Box:
    try:
        pixel_box(size, box)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return box


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:05.2f}"
