"""Where a mouth is in a video nobody has drawn boxes on: where motion is that the head's is not.

A head that sways moves all its edges in proportion to their strength; lips move more. What is left
over gathers at the mouth, in the lower middle of the picture or of a face. Knows frames and
regions; it knows nothing of the voice, which could make a mouth of whatever moves in time.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from .regions import Box, FaceBoxes, face_around_mouth

SURVEY_FRAMES = 500
"""Frames looked at; twenty seconds of speech have every sound in them."""

SURVEY_SIDE = 96
"""Pixels of the shorter side while looking; more shows grain, not mouths."""

USUAL_ROW, USUAL_COLUMN = 0.68, 0.5
"""Where mouths are in a picture or in the region of a face, in shares of its height and width."""

SPREAD = 0.16
"""How far from there, as a standard deviation in shares; two are unlikely, three excluded."""

LEAST_MOTION = (0.5 / 255) ** 2
"""Squared steps of brightness, of full scale, below which nothing moves but rounding."""

RIM = 0.3
"""Motion left over, relative to its peak, that still belongs to the mouth."""


def find_mouths(
    frames: Iterable[Tensor], regions: Tensor | None = None, *, source: str = "motion"
) -> list[FaceBoxes]:
    """One mouth in each region, or in the picture.

    Args:
        frames: Blocks ``[3, f, H, W]`` in [-1, 1]; the first twenty seconds are drawn.
        regions: Where the faces are, ``[S, H, W]`` of 0 and 1, at the size of the frames; None is
            one face in the whole picture.
        source: What the report says of the boxes.

    Raises:
        InputError: Nothing moves where a mouth could be, regions of another size, or no frame.
    """
    left_over, size = motion_left_over(frames)
    if regions is None:
        regions = torch.ones(1, *size)
    if tuple(regions.shape[1:]) != size:
        raise InputError(
            f"The faces are of a picture of {regions.shape[2]}x{regions.shape[1]} pixels and the "
            f"video has {size[1]}x{size[0]}; find the faces of this video's picture."
        )
    scale = size[0] / left_over.shape[0]
    found = []
    for number, region in enumerate(regions, 1):
        box = _mouth_in(left_over, region)
        if box is None:
            raise InputError(
                f"Nothing moves like a mouth in face {number} of {len(regions)}; check that the "
                "video shows a speaking face, and connect Face Masks with the face in it."
            )
        left, top, right, bottom = (scale * value for value in box)
        found.append(face_around_mouth((left, top, right, bottom), source))
    return found


def motion_left_over(frames: Iterable[Tensor]) -> tuple[np.ndarray, tuple[int, int]]:
    """Motion energy beyond that of edges swaying along, ``[h, w]``, and the frames' size.

    Mean squared steps of brightness from frame to frame, in squares of full scale.

    Raises:
        InputError: There is no frame.
    """
    motion = slopes = before = None
    size, count = (0, 0), 0
    for block in frames:
        size = (block.shape[2], block.shape[3])
        small = _small(block)
        steps = small if before is None else torch.cat([before, small])
        moved = steps.diff(dim=0).square().sum(dim=(0, 1))
        down, right = torch.gradient(small, dim=(2, 3))
        steep = (down.square() + right.square()).sum(dim=(0, 1))
        motion = moved if motion is None else motion + moved
        slopes = steep if slopes is None else slopes + steep
        before, count = small[-1:], count + block.shape[1]
        if count >= SURVEY_FRAMES:
            break
    if motion is None or slopes is None:
        raise InputError("The video has no frames; choose one that plays.")
    motion, slopes = (_blurred(plane / count, 1.0) for plane in (motion, slopes))
    textured = slopes > slopes.mean()
    swaying = (motion[textured] / slopes[textured]).median() if textured.any() else 0.0
    return (motion - swaying * slopes).clamp(min=0).numpy(), size


def _mouth_in(left_over: np.ndarray, region: Tensor) -> Box | None:
    """The box of the likeliest mouth in one region, in pixels of ``left_over``."""
    from scipy import ndimage

    height, width = left_over.shape
    inside = F.interpolate(region[None, None].float(), (height, width), mode="area")[0, 0] > 0.5
    rows, columns = inside.any(dim=1).nonzero(), inside.any(dim=0).nonzero()
    if not len(rows):
        return None
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    left, right = int(columns[0]), int(columns[-1]) + 1
    row, column = np.mgrid[:height, :width] + 0.5
    down = ((row - top) / (bottom - top) - USUAL_ROW) / SPREAD
    across = ((column - left) / (right - left) - USUAL_COLUMN) / SPREAD
    usual = np.exp(-0.5 * (down**2 + across**2)) * (np.hypot(down, across) < 3) * inside.numpy()
    energy = ndimage.gaussian_filter(left_over, max(1.0, 0.03 * (bottom - top)))
    likely = energy * usual
    peak = np.unravel_index(int(likely.argmax()), likely.shape)
    if likely[peak] <= 0 or energy[peak] < LEAST_MOTION:
        return None
    labels, _ = ndimage.label(energy * (usual > 0) > RIM * energy[peak])  # type: ignore[misc]
    ys, xs = np.nonzero(labels == labels[peak])
    # Motion is strongest between the lips; they themselves lie at its rim.
    beside, above = 0.1 * (np.ptp(xs) + 1), 0.3 * (np.ptp(ys) + 1)
    return (
        float(xs.min() - beside),
        float(ys.min() - above),
        float(xs.max() + 1 + beside),
        float(ys.max() + 1 + above),
    )


def _small(block: Tensor) -> Tensor:
    """Brightness of a block at the size of the survey, ``[f, 1, h, w]`` in 0..1."""
    luma = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float32)
    plane = torch.einsum("c,cfhw->fhw", luma, block.float().cpu())[:, None].add(1).div(2)
    step = min(block.shape[2], block.shape[3]) / SURVEY_SIDE
    if step <= 1:
        return plane
    size = round(block.shape[2] / step), round(block.shape[3] / step)
    return F.interpolate(plane, size, mode="area")


def _blurred(plane: Tensor, sigma: float) -> Tensor:
    reach = torch.arange(-3, 4, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (reach / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(plane[None, None], (3, 3, 3, 3), mode="replicate")
    across = F.conv2d(padded, kernel.view(1, 1, 1, -1))
    return F.conv2d(across, kernel.view(1, 1, -1, 1))[0, 0]
