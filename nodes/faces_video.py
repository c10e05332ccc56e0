"""The faces of a video for Face Masks: read once, one picture at a time, a few for the detector.

Knows the host's face detection model, its progress bar and Cancel. What the boxes mean is decided
in ``masks``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.utils
import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..frames import FPS
from ..masks.finding import FaceSources
from ..masks.moving import TrackSettings, find_tracks
from ..masks.preview import draw_faces, preview_size
from ..masks.tracks import FaceTracks
from ..reference.cuts import STAMP_SIZE, cuts_of
from ..reference.sources import image_of_pixels
from ..reference.video import SourceVideo

VARIANTS = ("short", "full", "both")
"""What the host calls the reach of its detector."""

PIECE_FRAMES = 8
"""Pictures that are given to the detector at once: 50 MB of Full HD."""

CONFIDENCE = 0.5
"""Score from which the detector takes something for a face, the host's default."""

PREVIEW_SHOTS = 24
"""Shots that are shown; a picture each."""


@dataclass(frozen=True)
class FaceDetector:
    """The host's face detection model, set up.

    Attributes:
        model: The value of its socket.
        variant: ``short`` for near faces, ``full`` for far ones, ``both`` takes whatever finds
            more.
        at_most: Faces per picture; 0 is all.
    """

    model: Any
    variant: str = VARIANTS[0]
    at_most: int = 0

    def landmarks(self, pictures: list[np.ndarray]) -> list[list[dict[str, Any]]]:
        """The faces of pictures ``[H, W, 3]`` uint8, as in the host's landmarks, boxes alone."""
        if not hasattr(self.model, "detect_batch"):
            raise InputError(
                f"face_detection_model is a {type(self.model).__name__}, which cannot be asked for "
                "faces; connect Load Face Detection Model (MediaPipe), or connect bboxes."
            )
        variants = VARIANTS[:2] if self.variant == "both" else (self.variant,)
        found = [
            self.model.detect_batch(
                pictures, num_faces=self.at_most, score_thresh=CONFIDENCE, variant=variant
            )
            for variant in variants
        ]
        return [
            [{"bbox_xyxy": face["bbox_xyxy"]} for face in max(faces, key=len)]
            for faces in zip(*found, strict=True)
        ]


class _Watch:
    """Goes through a video once: small pictures for cuts, and large ones for the detector."""

    def __init__(self, video: SourceVideo, detector: FaceDetector | None) -> None:
        self._video, self._detector = video, detector
        self._piece: list[np.ndarray] = []
        self.faces: list[list[dict[str, Any]]] = []

    def stamps(self) -> Iterator[np.ndarray]:
        """Every picture at the size of ``find_cuts``; by then the detector has seen it."""
        bar = comfy.utils.ProgressBar(self._video.frames)
        for index in range(self._video.frames):
            if index % FPS == 0:
                comfy.model_management.throw_exception_if_processing_interrupted()
                bar.update_absolute(index)
            self._detect(index)
            yield self._video.picture(index, STAMP_SIZE)
        bar.update_absolute(self._video.frames)

    def _detect(self, index: int) -> None:
        if self._detector is None:
            return
        self._piece.append(self._video.picture(index))
        if len(self._piece) == PIECE_FRAMES or index == self._video.frames - 1:
            self.faces += self._detector.landmarks(self._piece)
            self._piece = []


def detected_in(faces: list[list[dict[str, Any]]], size: tuple[int, int]) -> FaceSources:
    """What a detector found in pictures of a size as the one source."""
    return FaceSources({"frames": faces, "image_size": size})


def video_faces(
    video: SourceVideo, sources: FaceSources, settings: TrackSettings, cuts: str
) -> FaceTracks:
    """The faces of a video, followed through each of its shots.

    Args:
        video: On the clip's clock.
        sources: What tells where they are; a detector looks at every picture.
        settings: What the user chose.
        cuts: ``auto``, ``none`` or seconds.
    """
    watch = _Watch(video, sources.detector)
    stamps = watch.stamps()
    shots = cuts_of(cuts, video.frames, stamps)
    if sources.detector is not None:
        for _ in stamps:  # what was not looked at for cuts, the detector looks at
            pass
        sources = detected_in(watch.faces, video.size)
    return find_tracks(sources, video.size, video.frames, shots, settings)


def shot_previews(video: SourceVideo, tracks: FaceTracks) -> Tensor:
    """The first picture of every shot that shows most of its faces, numbered, as an IMAGE."""
    size = preview_size(video.size)
    return torch.cat(
        [
            image_of_pixels(draw_faces(tracks.at(frame, size), video.picture(frame, size)))
            for frame in tracks.best_frames()[:PREVIEW_SHOTS]
        ]
    )
