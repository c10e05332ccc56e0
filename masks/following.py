"""Which detected boxes of a video are the same face: followed from frame to frame within a shot.

Knows boxes as numbers. It sees no pictures, so it does not know one person from another: whoever is
where a face was just now, or where it was heading, is that face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..frames import FPS

REACH = 1.0
"""How far a face may be from where it was expected, in mean sides of the two boxes."""

LARGEST_CHANGE = 2.0
"""Factor by which the side of a face may change between two sights."""

RETURN_COST = 0.25
"""Added to the distance from where a face was last seen, against that from where it was heading."""

VELOCITY_SIGHTS = 6
"""Sights over which the speed of a face is measured: long enough for a detector's trembling."""

HEADING_FRAMES = FPS
"""So long a hidden face is thought to move on: faces cross within a second."""

BRIDGED_FRAMES = 2 * FPS
"""A gap up to this long is filled in between its ends; after a longer one the face was away."""

HELD_FRAMES = FPS
"""So long a box is held before its first sight and after its last: detectors lose turned heads."""

FEWEST_SIGHTS = 5
"""What is seen less often in a shot is taken for a mistake of the detector."""

TOGETHER_FRAMES = FPS // 2
"""Faces that appear within half a second count as appearing together."""


@dataclass
class _Followed:
    """One face of a shot: the frames in which it was seen, and its boxes there."""

    frames: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)

    def see(self, frame: int, box: np.ndarray) -> None:
        self.frames.append(frame)
        self.boxes.append(box)

    def distance(self, frame: int, box: np.ndarray) -> float:
        """How unlike this face a box is, in sides; infinite when it cannot be this face."""
        last = self.boxes[-1]
        sides = np.sqrt([_area(last), _area(box)])
        if sides.max() > LARGEST_CHANGE * sides.min():
            return np.inf
        centre, side = _centre(box), sides.mean()
        heading = np.linalg.norm(centre - self._heading(frame)) / side
        returned = np.linalg.norm(centre - _centre(last)) / side + RETURN_COST
        distance = float(min(heading, returned))
        return distance if distance <= REACH else np.inf

    def _heading(self, frame: int) -> np.ndarray:
        """Where the middle of the face is expected."""
        here = _centre(self.boxes[-1])
        back = min(VELOCITY_SIGHTS, len(self.boxes))
        frames = self.frames[-1] - self.frames[-back]
        if not frames:
            return here
        velocity = (here - _centre(self.boxes[-back])) / frames
        return here + velocity * min(frame - self.frames[-1], HEADING_FRAMES)

    def filled(self, frames: int) -> np.ndarray:
        """The box in every frame of the shot ``[F, 4]``; NaN where the face is away."""
        seen, boxes = np.array(self.frames), np.stack(self.boxes)
        every = np.arange(frames)
        path = np.stack([np.interp(every, seen, side) for side in boxes.T], axis=1)
        after = np.searchsorted(seen, every)  # the sight at or after a frame
        before = np.where(np.isin(every, seen), after, after - 1)
        inside = (before >= 0) & (after < len(seen))
        gap = seen[after.clip(max=len(seen) - 1)] - seen[before.clip(min=0)]
        away = inside & (gap > BRIDGED_FRAMES)
        away |= (every < seen[0] - HELD_FRAMES) | (every > seen[-1] + HELD_FRAMES)
        path[away] = np.nan
        return path


def follow_shot(detections: Sequence[np.ndarray], at_most: int = 0) -> tuple[np.ndarray, int]:
    """The faces of one shot, in the order in which they appear, from the left.

    Args:
        detections: For every frame its boxes ``[n, 4]``: left, top, right, bottom; n may be 0.
        at_most: Keep so many faces, those that are largest over time; 0 keeps all.

    Returns:
        Boxes ``[S, F, 4]``, NaN where a face is away, and how many faces were left out.
    """
    followed: list[_Followed] = []
    for frame, boxes in enumerate(detections):
        free = list(range(len(boxes)))
        for face, index in _pairs(followed, frame, boxes):
            face.see(frame, boxes[index])
            free.remove(index)
        for index in free:
            followed.append(_Followed([frame], [boxes[index]]))
    fewest = min(FEWEST_SIGHTS, (len(detections) + 1) // 2)
    kept = [face for face in followed if len(face.frames) >= fewest]
    if at_most and len(kept) > at_most:
        kept.sort(key=lambda face: -sum(map(_area, face.boxes)))
        kept = kept[:at_most]
    if not kept:
        return np.empty((0, len(detections), 4), np.float32), len(followed)
    paths = [face.filled(len(detections)) for face in _in_order(kept)]
    return np.stack(paths).astype(np.float32), len(followed) - len(kept)


def _pairs(followed: list[_Followed], frame: int, boxes: np.ndarray) -> list[tuple[_Followed, int]]:
    """Faces and the boxes that are theirs: the best match first, each used once."""
    candidates = sorted(
        (face.distance(frame, box), number, index)
        for number, face in enumerate(followed)
        for index, box in enumerate(boxes)
    )
    pairs, faces, taken = [], set(), set()
    for distance, number, index in candidates:
        if np.isfinite(distance) and number not in faces and index not in taken:
            faces.add(number)
            taken.add(index)
            pairs.append((followed[number], index))
    return pairs


def _in_order(faces: list[_Followed]) -> list[_Followed]:
    """By appearance; those that appear together from the left."""
    waiting = sorted(faces, key=lambda face: face.frames[0])
    ordered: list[_Followed] = []
    while waiting:
        begin = waiting[0].frames[0]
        group = [face for face in waiting if face.frames[0] <= begin + TOGETHER_FRAMES]
        waiting = waiting[len(group) :]
        ordered += sorted(group, key=lambda face: _centre(face.boxes[0])[0])
    return ordered


def _centre(box: np.ndarray) -> np.ndarray:
    return (box[:2] + box[2:]) / 2


def _area(box: np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))
