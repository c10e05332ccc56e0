"""What should stay the same over a clip, and what should not stand still.

The colour of the background is held against a reference; motion is the difference to the frame
before. A frame comes, leaves some numbers and goes. Knows frames and fixed regions; it knows
nothing of chunks or of the voice, and follows no face: what moves with one is in `face`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..frames import FPS
from .regions import (
    FaceBoxes,
    background_mask,
    mouth_mask,
    pixel_box,
)


@dataclass(frozen=True, eq=False)
class StabilityCurves:
    """One value per frame, ``[F]``, in fractions of full scale unless said otherwise.

    Attributes:
        background: Mean colour minus the reference's, ``[F, 3]``; None without a background.
        motion: Mean absolute difference to the frame before; 0 at frame 0.
        motion_outside: The same outside the mouths.
        motion_mouth: The same in each mouth, ``[faces, F]``.
    """

    background: np.ndarray | None
    motion: np.ndarray
    motion_outside: np.ndarray
    motion_mouth: np.ndarray


@dataclass(frozen=True)
class Drift:
    """Mean colour of a region over time, in fractions of full scale, mean of the three channels.

    Attributes:
        first: Error against the reference in the first stretch: the mean over its frames of the
            absolute difference.
        last: The same in the last.
        slope_per_minute: Of a line through the errors of all frames.
        moved: How far the colour of the last stretch is from that of the first.
    """

    first: float
    last: float
    slope_per_minute: float
    moved: float


class StabilityMeter:
    """Takes a clip frame by frame and keeps some ten numbers of each.

    Args:
        reference: The picture the clip was made from, ``[3, H, W]`` in 0..1.
        faces: Where the faces are.
    """

    def __init__(self, reference: Tensor, faces: Sequence[FaceBoxes]) -> None:
        self.size = size = (reference.shape[1], reference.shape[2])
        background, mouths = background_mask(faces, size), mouth_mask(faces, size)
        self._background = None if background is None else _indices(background)
        self._outside = _indices(~mouths)
        self._mouths = [_window(pixel_box(face.mouth, size)) for face in faces]
        self._reference = self._colours(reference[:, None])
        self._before: Tensor | None = None
        self._blocks: list[dict[str, Tensor]] = []

    def append(self, block: Tensor) -> None:
        """Look at frames ``[3, f, H, W]`` in 0..1, on the CPU."""
        before = block[:, :1] if self._before is None else self._before
        moved = torch.cat([before, block], dim=1).diff(dim=1).abs_().mean(dim=0)
        self._before = block[:, -1:].clone()
        self._blocks.append(
            {
                "background": self._colours(block) - self._reference,
                "motion": moved.mean(dim=(1, 2)),
                "motion_outside": moved.flatten(1)[:, self._outside].mean(dim=1),
                "motion_mouth": torch.stack([_mean_in(moved, mouth) for mouth in self._mouths], 1),
            }
        )

    def curves(self) -> StabilityCurves:
        """Everything so far."""
        joined = {
            name: torch.cat([block[name] for block in self._blocks]).double().numpy()
            for name in self._blocks[0]
        }
        background = joined.pop("background")
        return StabilityCurves(
            background=None if self._background is None else background,
            motion_mouth=joined.pop("motion_mouth").T,
            **joined,
        )

    def _colours(self, block: Tensor) -> Tensor:
        """Mean colours of the background, ``[f, 3]``; of the picture where there is none."""
        pixels = block.flatten(2)
        return (pixels if self._background is None else pixels[:, :, self._background]).mean(2).T


def measure_drift(errors: np.ndarray, stretches: Sequence[range]) -> Drift:
    """Summarize colour errors ``[F, 3]``, signed, over the stretches of a clip."""
    size = np.abs(errors).mean(axis=1)
    first, last = (slice(part.start, part.stop) for part in (stretches[0], stretches[-1]))
    minutes = np.arange(size.size) / (60 * FPS)
    slope = float(np.polyfit(minutes, size, 1)[0]) if size.size > 1 else 0.0
    moved = np.abs(errors[last].mean(axis=0) - errors[first].mean(axis=0)).mean()
    return Drift(float(size[first].mean()), float(size[last].mean()), slope, float(moved))


def last_to_first(values: np.ndarray, stretches: Sequence[range]) -> float:
    """Median of the last stretch relative to that of the first; blinks do not move a median."""
    first, last = (values[part.start : part.stop] for part in (stretches[0], stretches[-1]))
    unit = float(np.median(first))
    return float(np.median(last)) / unit if unit > 0 else float("nan")


def _indices(mask: np.ndarray) -> Tensor:
    """Flat indices of the pixels of a mask; of all pixels when it is empty."""
    found = np.flatnonzero(mask)
    return torch.from_numpy(found if found.size else np.arange(mask.size))


def _window(box: tuple[int, int, int, int]) -> tuple[slice, slice]:
    left, top, right, bottom = box
    return slice(top, max(bottom, top + 1)), slice(left, max(right, left + 1))


def _mean_in(planes: Tensor, window: tuple[slice, slice]) -> Tensor:
    """Mean of ``[f, H, W]`` in a window, ``[f]``."""
    return planes[:, window[0], window[1]].mean(dim=(1, 2))
