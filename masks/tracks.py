"""Faces of a video: a box per face and frame, numbered as they appear in every shot.

A few numbers per frame, never masks of the clip; a mask is drawn when somebody asks for a frame. It
detects nothing, and does not know who speaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..frames import FPS
from .faces import Faces
from .pooling import ANY

UNION, MOVING = "union", "moving"
"""One region per stretch of frames that is made at once, or one per latent frame."""

MOST_SPANS = 4
"""Stretches of one face that are listed under the node."""


@dataclass(frozen=True, eq=False)
class FaceTracks:
    """The faces of a video.

    Attributes:
        boxes: ``[S, F, 4]`` float32: left, top, right, bottom in pixels of the upright video, one
            per frame at 25 per second; NaN where a face is not there.
        size: ``(height, width)`` of the video.
        cuts: First frames of the shots but the first. Every shot numbers its faces anew.
        motion: ``union``: a speaker has every place where the face is in the frames made at once.
            ``moving``: only those of the four frames of a latent.
        rule: How pixels become tokens, one of ``pooling.RULES``.
        left_out: What was found but is no face that counts.
    """

    boxes: np.ndarray
    size: tuple[int, int]
    cuts: tuple[int, ...] = ()
    motion: str = UNION
    rule: str = ANY
    left_out: int = 0

    @property
    def count(self) -> int:
        """How many faces there are, in the shot that has most."""
        return self.boxes.shape[0]

    @property
    def frames(self) -> int:
        """Frames of the video, at 25 per second."""
        return self.boxes.shape[1]

    @property
    def shots(self) -> list[tuple[int, int]]:
        """First frame of every shot, and the frame after its last."""
        return list(pairwise((0, *self.cuts, self.frames)))

    @property
    def summary(self) -> str:
        """How many faces the video has, and when each of them is there."""
        shots = len(self.shots)
        text = (
            f"{self.count} {'face' if self.count == 1 else 'faces'} in {self.frames / FPS:.2f} s, "
            f"{shots} {'shot' if shots == 1 else 'shots'}"
        )
        shown = [f"face {face + 1}: {self._when(face)}" for face in range(self.count)]
        if self.left_out:
            shown.append(f"{self.left_out} left out: seen too briefly, or too small")
        return "\n".join([text, *shown])

    @cached_property
    def pixels(self) -> np.ndarray:
        """The boxes in whole pixels, ``[S, F, 4]`` int; a face that is away has no pixel."""
        away = np.isnan(self.boxes[..., :1])
        rounded = np.where(away, 0, np.round(self.boxes)).astype(np.int64)
        # However small a face is, it has a pixel.
        right_bottom = np.maximum(rounded[..., 2:], rounded[..., :2] + ~away)
        return np.concatenate([rounded[..., :2], right_bottom], axis=-1)

    @cached_property
    def regions(self) -> Tensor:
        """Where every face is first seen, ``[S, H, W]`` of 0 and 1."""
        regions = torch.zeros(self.count, *self.size)
        for region, boxes in zip(regions, self.pixels, strict=True):
            _fill(region, boxes[(boxes[:, 2] > boxes[:, 0]).argmax()])
        return regions

    @property
    def together(self) -> Tensor:
        """Everywhere a face is in any frame, ``[H, W]`` of 0 and 1."""
        union = torch.zeros(self.size)
        for box in np.unique(self.pixels.reshape(-1, 4), axis=0):
            _fill(union, box)
        return union

    def region(self, face: int) -> Tensor | None:
        """Where a face is first seen, ``[H, W]``; see ``Faces.region``.

        Raises:
            InputError: There is no such face.
        """
        if face == 0:
            return None
        self._check(face)
        return self.regions[face - 1]

    def track(self, face: int) -> FaceTrack | None:
        """A face through the video; 0 is the whole picture, None.

        Raises:
            InputError: There is no such face.
        """
        if face == 0:
            return None
        self._check(face)
        return FaceTrack(self, face - 1)

    def at(self, frame: int, size: tuple[int, int]) -> Faces:
        """The faces of one frame in a picture of another size; who is away has an empty region."""
        scale = np.array([size[1] / self.size[1], size[0] / self.size[0]] * 2)
        boxes = self.boxes[:, frame : frame + 1] * scale
        small = FaceTracks(boxes, size)
        regions = torch.zeros(self.count, *size)
        for region, box in zip(regions, small.pixels[:, 0], strict=True):
            _fill(region, box)
        return Faces(regions)

    def best_frames(self) -> list[int]:
        """Of every shot the first frame that shows most of its faces."""
        there = (~np.isnan(self.boxes[..., 0])).sum(axis=0)
        return [first + int(there[first:last].argmax()) for first, last in self.shots]

    def _check(self, face: int) -> None:
        if not 1 <= face <= self.count:
            raise InputError(
                f"face is {face}, but Face Masks found {self.count} in the video; choose 1 (the "
                f"first from the left) to {self.count}, or 0 for the whole picture."
            )

    def _when(self, face: int) -> str:
        there = np.concatenate([[0], ~np.isnan(self.boxes[face, :, 0]), [0]]).astype(int)
        edges = np.flatnonzero(np.diff(there)) / FPS
        spans = [f"{begin:.2f} to {end:.2f} s" for begin, end in edges.reshape(-1, 2)]
        more = f" and {len(spans) - MOST_SPANS} times more" if len(spans) > MOST_SPANS else ""
        return ", ".join(spans[:MOST_SPANS]) + more


@dataclass(frozen=True, eq=False)
class FaceTrack:
    """One face of a video, among the others.

    Attributes:
        tracks: All faces of the video.
        index: Which of them, from 0.
    """

    tracks: FaceTracks
    index: int

    @property
    def summary(self) -> str:
        """One line for the user."""
        share = (~np.isnan(self.tracks.boxes[self.index, :, 0])).mean()
        return f"face {self.index + 1} of the video, in {share:.0%} of its frames"


def _fill(region: Tensor, box: np.ndarray) -> None:
    left, top, right, bottom = (int(value) for value in box.clip(min=0))
    region[top:bottom, left:right] = 1
