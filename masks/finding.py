"""Where the faces are, from whichever of the sources a user gave.

Knows which source needs a picture and which sources exclude each other; how a source becomes
regions is in `faces` and `boxes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..crop import size_text
from ..errors import InputError
from .boxes import detected_boxes, has_moments, landmark_boxes, typed_boxes
from .faces import Faces, faces_from_boxes, faces_from_mask, faces_side_by_side
from .tracks import FaceTracks


@dataclass(frozen=True, eq=False)
class FaceSources:
    """What was connected or typed to tell where the faces are; one of them is used.

    Attributes:
        landmarks: The host's face landmarks of one picture.
        bboxes: The host's bounding boxes of one picture.
        mask: A drawn mask ``[N, H, W]`` in 0..1.
        boxes: Typed boxes.
        detector: Finds faces in pictures; whoever has the pictures asks it, and goes on with its
            landmarks.
    """

    landmarks: Mapping[str, Any] | None = None
    bboxes: Any = None
    mask: Tensor | None = None
    boxes: str = ""
    detector: Any = None

    @property
    def given(self) -> list[str]:
        """Names of those that are there."""
        present = {
            "face_detection_model": self.detector is not None,
            "landmarks": self.landmarks is not None,
            "bboxes": self.bboxes is not None,
            "mask": self.mask is not None,
            "boxes": bool(self.boxes.strip()),
        }
        return [name for name, there in present.items() if there]


def find_faces(
    sources: FaceSources,
    size: tuple[int, int] | None,
    *,
    split_evenly: bool = False,
    grow: float = 0.3,
    dilate: int = 16,
) -> Faces:
    """Faces from the one source that is there.

    Args:
        sources: Where the faces are told.
        size: ``(height, width)`` of the picture, or None if there is none.
        split_evenly: Two columns instead of detected, typed or connected regions.
        grow: Share of its size by which a *detected* box grows on every side; typed boxes stay.
        dilate: Pixels by which a *drawn* region grows on every side.

    Raises:
        InputError: No source or several, sizes that differ, or nothing found.
    """
    if split_evenly:
        return _split(sources, size)
    check_one_source(sources)
    given = sources.given
    if sources.mask is not None:
        _check_size(sources.mask, size)
        return faces_from_mask(sources.mask, dilate)
    if sources.landmarks is not None:
        boxes, seen = landmark_boxes(sources.landmarks)
        if size is not None and seen != size:
            raise InputError(
                f"The landmarks are of a picture of {size_text(seen)} pixels, the picture is "
                f"{size_text(size)}; detect the faces of this picture."
            )
        return faces_from_boxes(boxes, seen, grow)
    if size is None:
        raise InputError(f"Face Masks has {given[0]} but no picture; connect their picture too.")
    if has_moments(sources.boxes):
        raise InputError("boxes has times, but the picture does not move; connect the video.")
    if sources.bboxes is not None:
        return faces_from_boxes(detected_boxes(sources.bboxes), size, grow)
    return faces_from_boxes(typed_boxes(sources.boxes, size), size)


def check_one_source(sources: FaceSources) -> None:
    """Refuse several sources, and none.

    Raises:
        InputError: Names those that are there.
    """
    given = sources.given
    if len(given) != 1:
        raise InputError(
            f"Faces come from {' and '.join(given)} at once; use only one of them."
            if given
            else "Nothing tells where the faces are: connect a face_detection_model, or landmarks "
            "or bboxes of a detector, connect a painted mask, type boxes, or set find to 'split "
            "evenly'."
        )


def _split(sources: FaceSources, size: tuple[int, int] | None) -> Faces:
    others = [name for name in sources.given if name != "mask"]
    if others:
        raise InputError(
            f"find is 'split evenly', but {' and '.join(others)} are there too; set find to "
            "'connected', or disconnect them."
        )
    if sources.mask is not None:
        _check_size(sources.mask, size)
        size = (sources.mask.shape[1], sources.mask.shape[2])
    if size is None:
        raise InputError("There is nothing to split evenly; connect the picture.")
    return faces_side_by_side(size, sources.mask)


def _check_size(mask: Tensor, size: tuple[int, int] | None) -> None:
    drawn = (mask.shape[-2], mask.shape[-1])
    if size is not None and drawn != size:
        raise InputError(
            f"The mask is {size_text(drawn)} pixels and the picture {size_text(size)}; paint the "
            "mask on this picture, or resize it first."
        )


def speaker_region(
    faces: Faces | FaceTracks | None, face: int, mask: Tensor | None
) -> Tensor | None:
    """Where a speaker is, ``[H, W]`` of 0 and 1; None is the whole picture.

    Args:
        faces: Faces of the picture or video, or None; of a video it is where the face is first.
        face: Number of one of them from the left, from 1 on; 0 is none of them.
        mask: A mask ``[1, H, W]`` in 0..1 instead, or None.

    Raises:
        InputError: A face without faces, face and mask at once, or a mask that cannot be used.
    """
    if mask is None:
        if face and faces is None:
            raise InputError(
                f"face is {face}, but no faces are connected; connect Face Masks, or set face to 0 "
                "for the whole picture."
            )
        return None if faces is None else faces.region(face)
    if face:
        raise InputError(
            f"face is {face} and a mask is connected; set face to 0 or disconnect the mask."
        )
    if mask.ndim != 3 or mask.shape[0] != 1:
        raise InputError(
            f"The mask is a batch of shape {list(mask.shape)}; expected one mask, [1, H, W]. Use "
            "one Encode Speaker node for each person."
        )
    return faces_from_mask(mask.cpu(), connected=False).regions[0]
