"""What moves with one face: the looks of its mouth, the colour of its skin, its identity.

Follows the head and keeps some seventy numbers of every frame. It does not judge them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .head import LUMA, HeadTracker
from .mouth import looks_of, mouth_cells
from .regions import FaceBoxes, cheeks, outline_mask, pixel_box

IDENTITY_CELLS = 24
"""Cells per side of a face in which identity is compared."""


@dataclass(frozen=True, eq=False)
class FaceCurves:
    """One value or a few per frame.

    Attributes:
        looks: Brightness and redness of the mouth's rows, ``[F, 32, 2]``.
        skin: Mean colour of the cheeks minus the reference's, ``[F, 3]``, in fractions of full
            scale.
        identity: Mean absolute difference of the face outside the mouth to the reference, ``[F]``,
            in fractions of full scale; the sway is taken out.
        eyes: Gradient energy of the eyes, ``[F]``, in squares of full scale per pixel.
        outline: The same of the rim of the head.
        tracked: Share of the frames in which the head was found.
    """

    looks: np.ndarray
    skin: np.ndarray
    identity: np.ndarray
    eyes: np.ndarray
    outline: np.ndarray
    tracked: float


class FaceMeter:
    """Takes a clip frame by frame and measures one face.

    Args:
        reference: The frame that the boxes belong to, ``[3, H, W]`` in 0..1.
        face: Its boxes.
    """

    def __init__(self, reference: np.ndarray, face: FaceBoxes) -> None:
        self._head = HeadTracker(reference, face)
        self._mouth = mouth_cells(self._head, face.mouth)
        self._cheeks = [self._head.cells(box, 1, 1) for box in cheeks(face)]
        size = (reference.shape[1], reference.shape[2])
        left, top, right, bottom = pixel_box(face.face, size)
        box = (float(left), float(top), float(right), float(bottom))
        self._face = self._head.cells(box, IDENTITY_CELLS, IDENTITY_CELLS, spacing=1.5)
        y = top + (np.arange(IDENTITY_CELLS) + 0.5) * (bottom - top) / IDENTITY_CELLS
        x = left + (np.arange(IDENTITY_CELLS) + 0.5) * (right - left) / IDENTITY_CELLS
        row, column = (
            (y > face.mouth[1]) & (y < face.mouth[3]),
            (x > face.mouth[0]) & (x < face.mouth[2]),
        )
        self._outside = ~(row[:, None] & column[None])
        eyes = np.zeros(size, bool)
        left, top, right, bottom = pixel_box(face.eyes, size)
        eyes[top:bottom, left:right] = True
        self._eyes, self._outline = np.argwhere(eyes).T, np.argwhere(outline_mask(face, size)).T
        self._skin_before, self._face_before = self._skin(), self._identity()
        self._looks: list[np.ndarray] = []
        self._skins: list[np.ndarray] = []
        self._numbers: list[tuple[float, float, float]] = []
        self._found = 0

    def append(self, frame: np.ndarray) -> None:
        """Look at the next frame, ``[3, H, W]`` in 0..1."""
        self._head.follow(frame)
        self._found += self._head.found
        # Half precision is an eighth of an 8-bit level here, and half the memory of a long clip.
        self._looks.append(looks_of(self._head.colours(self._mouth)).astype(np.float16))
        self._skins.append(self._skin() - self._skin_before)
        error = float(np.abs(self._identity() - self._face_before).mean())
        shift, light = self._head.shift, np.tensordot(LUMA.astype(frame.dtype), frame, 1)
        self._numbers.append(
            (error, edge_energy(light, self._eyes, shift), edge_energy(light, self._outline, shift))
        )

    def curves(self) -> FaceCurves:
        """Everything so far."""
        identity, eyes, outline = np.array(self._numbers).T
        return FaceCurves(
            looks=np.stack(self._looks).astype(np.float64),
            skin=np.stack(self._skins),
            identity=identity,
            eyes=eyes,
            outline=outline,
            tracked=self._found / len(self._looks),
        )

    def _skin(self) -> np.ndarray:
        """Mean colour of both cheeks, ``[3]``."""
        return np.mean(
            [self._head.colours(cells).mean(axis=(1, 2)) for cells in self._cheeks], axis=0
        )

    def _identity(self) -> np.ndarray:
        """Colours of the face's cells outside the mouth, ``[3, n]``."""
        return self._head.colours(self._face)[:, self._outside]


def edge_energy(light: np.ndarray, pixels: np.ndarray, shift: tuple[int, int]) -> float:
    """Mean squared step of brightness to the right and down, where moved pixels are.

    By whole pixels, because interpolation would blur, and differently in every frame.

    Args:
        light: Brightness of a frame, ``[H, W]`` in 0..1.
        pixels: Rows and columns on the reference frame, ``[2, n]``.
        shift: Pixels down and right.

    Returns:
        0 when none of the pixels is inside the frame.
    """
    y, x = pixels[0] + shift[0], pixels[1] + shift[1]
    inside = (y >= 0) & (x >= 0) & (y < light.shape[0] - 1) & (x < light.shape[1] - 1)
    y, x = y[inside], x[inside]
    if not y.size:
        return 0.0
    here = light[y, x]
    return float((np.square(light[y + 1, x] - here) + np.square(light[y, x + 1] - here)).mean())
