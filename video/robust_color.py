"""Colour matching that looks at what stayed the same: a tint goes, a mouth that opens stays.

Knows pictures as coarse cells. A frame and the reference are compared cell by cell, and most cells
agree on how the colours changed; the others are a mouth, a blink, a moved head. Sees one frame at a
time, so blocks of any length give the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError
from .color import ColorAnchor

CELLS = 1500
"""Of a frame, about; each is the mean of its pixels, which grain does not move."""

WIDTHS = (0.32, 0.16, 0.08, 0.04, 0.04, 0.04)
"""How far a cell may be off before it counts for a quarter, in fractions of full scale, falling so
that the many find each other before the few are dropped. At 0.02 a third of the cells of what a
small VAE decodes still agreed, at 0.04 half; a mouth is off by 0.2 and more."""

PRIOR = 0.03**2
"""Variance, in squares of full scale, that speaks for no change of contrast: it decides where a
picture has too few colours to tell one by, and steadies the fit from frame to frame."""

MAX_CHANGE, MAX_SHIFT = 0.2, 0.15
"""The most that is taken back: a change of contrast, saturation or mixture by 0.2 of the distance
of two colours, so that none move apart by more than 1 / 0.8, and a shift of the mean of what stayed
the same by 0.15 of full scale in any channel. More is taken back in part, and from twice as much on
nothing: a frame that goes dark has not drifted."""

NO_TRUST, FULL_TRUST = 0.1, 0.3
"""Share of cells that agree, below which a frame has nothing in common with the reference and is
left alone, and above which it is corrected in full; in between in part, so nothing flickers."""

COLOR_ANCHORS = ("reference", "none", "robust")
"""How colours are kept, by name: as published, not at all, and as here."""


class ColorMatch(Protocol):
    """Keeps colours where the reference has them."""

    def apply(self, frames: Tensor) -> Tensor:
        """Correct frames ``[3, f, H, W]``; every frame on its own."""
        ...


def color_anchor(name: str, reference: Tensor, strength: float = 1.0) -> ColorMatch | None:
    """The colour match of a name.

    Args:
        name: One of ``COLOR_ANCHORS``.
        reference: ``[3, H, W]`` in [-1, 1].
        strength: 0 to 1.

    Raises:
        InputError: An unknown name, a strength out of range, no picture.
    """
    if name == "none":
        return None
    if name == "reference":
        return ColorAnchor(reference, strength)
    if name == "robust":
        return RobustAnchor(reference, strength)
    raise InputError(f"The colour anchor is {name!r}; choose one of {', '.join(COLOR_ANCHORS)}.")


def color_matches(name: str, strength: float = 1.0) -> Callable[[Tensor], ColorMatch] | None:
    """From a chunk's reference frame to the match of its colours; None where nothing is matched.

    What is known of a frame is kept while it is asked for in a row.

    Args:
        name: One of ``COLOR_ANCHORS``.
        strength: 0 to 1.
    """
    if name == "none" or not strength:
        return None
    known: list[tuple[Tensor, ColorMatch]] = []

    def match(frame: Tensor) -> ColorMatch:
        if not known or known[0][0] is not frame:
            anchor = color_anchor(name, frame, strength)
            assert anchor is not None
            known[:] = [(frame, anchor)]
        return known[0][1]

    return match


class RobustAnchor:
    """Pulls the colours of frames towards a reference picture by what the two have in common.

    The frame's cells are taken as an affine map of the reference's, fitted by iteratively
    reweighted least squares (Geman-McClure, from wide to narrow). Its inverse, bounded by
    ``MAX_CHANGE`` and ``MAX_SHIFT``, is applied to every pixel. Cells that changed otherwise do not
    count, so up to about half of the picture may.

    Args:
        reference: ``[3, H, W]`` in [-1, 1]; any size, of the frames' shape. Cells are compared
            where they are.
        strength: 0 leaves frames untouched, 1 corrects them in full.

    Raises:
        InputError: ``strength`` is outside [0, 1], or the reference is no picture.
    """

    def __init__(self, reference: Tensor, strength: float = 1.0) -> None:
        if not 0.0 <= strength <= 1.0:
            raise InputError(f"Colour strength is {strength}; choose 0 (off) to 1 (full).")
        if reference.ndim != 3 or reference.shape[0] != 3:
            raise InputError(
                f"The colour reference has the shape {list(reference.shape)}; "
                "expected one picture, [3, height, width]."
            )
        self.strength = strength
        self._picture = reference.detach().float().clamp(-1, 1)
        self._cells: tuple[tuple[int, int], np.ndarray] | None = None

    def apply(self, frames: Tensor) -> Tensor:
        """Match ``frames``, ``[3, F, H, W]`` in [-1, 1], on their device.

        Returns:
            New frames of the same shape and dtype; ``frames`` itself at strength 0.
        """
        if self.strength == 0.0:
            return frames
        grid = cell_grid((frames.shape[2], frames.shape[3]))
        if self._cells is None or self._cells[0] != grid:
            self._cells = (grid, cells_of(self._picture, grid))
        matched = torch.empty_like(frames, memory_format=torch.contiguous_format)
        for index in range(frames.shape[1]):
            picture = frames[:, index].detach().float().clamp(-1, 1)
            matrix, offset = correction(cells_of(picture, grid), self._cells[1], self.strength)
            corrected = torch.addmm(
                torch.from_numpy(offset).to(picture)[:, None],
                torch.from_numpy(matrix).to(picture),
                picture.flatten(1),
            )
            matched[:, index].view(3, -1).copy_(corrected.clamp_(-1, 1))
        return matched


def cell_grid(size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of about ``CELLS`` square cells, of two pixels a side or more."""
    height, width = size
    rows = max(1, min(round((CELLS * height / width) ** 0.5), height // 2))
    return rows, max(1, round(rows * width / height))


def cells_of(picture: Tensor, grid: tuple[int, int]) -> np.ndarray:
    """Mean colours of the cells of ``[3, H, W]`` in [-1, 1]: ``[3, N]`` in 0..1."""
    means = F.adaptive_avg_pool2d(picture, grid).flatten(1)
    return means.cpu().double().numpy() / 2 + 0.5


def correction(
    cells: np.ndarray, reference: np.ndarray, strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """Matrix ``[3, 3]`` and offset ``[3]`` that bring the pixels of a frame, in [-1, 1], back.

    Args:
        cells: Colours of the frame's cells, ``[3, N]`` in 0..1.
        reference: Those of the reference.
        strength: How much of the correction is wanted, 0 to 1.
    """
    matrix, mean, wanted, agreeing = common_change(cells, reference)
    change, shift = matrix - np.eye(3), wanted - mean
    change_share = MAX_CHANGE / max(np.linalg.norm(change, 2), MAX_CHANGE)
    shift_share = MAX_SHIFT / max(np.abs(shift).max(), MAX_SHIFT)
    trust = strength * np.clip((agreeing - NO_TRUST) / (FULL_TRUST - NO_TRUST), 0, 1)
    trust *= np.clip(2 * min(change_share, shift_share) - 1, 0, 1)
    inverse = np.linalg.inv(np.eye(3) + change_share * change)
    back = (1 - trust) * np.eye(3) + trust * inverse
    middle = 2 * mean - 1
    return back, middle + 2 * trust * shift_share * shift - back @ middle


def common_change(
    cells: np.ndarray, reference: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """How the colours of most cells changed.

    Returns:
        Matrix ``[3, 3]`` from the reference to the frame, mean colours ``[3]`` of the cells that
        agree in the frame and in the reference, and the share of cells that agree.

    Source: Geman and McClure 1987; graduated non-convexity, Blake and Zisserman 1987.
    """
    matrix, wanted = np.eye(3), np.zeros((3, 1))
    mean = np.median(cells - reference, axis=1, keepdims=True)
    weights = np.ones(cells.shape[1])
    for width in WIDTHS:
        error = cells - mean - matrix @ (reference - wanted)
        weights = (1 + np.square(error).sum(0) / width**2) ** -2
        share = weights / weights.sum()
        mean, wanted = (cells @ share)[:, None], (reference @ share)[:, None]
        part = reference - wanted
        variance = (share * part) @ part.T + PRIOR * np.eye(3)
        covariance = (share * (cells - mean)) @ part.T + PRIOR * np.eye(3)
        matrix = np.linalg.solve(variance, covariance.T).T
    return matrix, mean[:, 0], wanted[:, 0], float(weights.mean())
