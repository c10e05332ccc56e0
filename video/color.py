"""Colour matching: every frame takes the mean and the spread of a reference's colours.

It knows sRGB and CIE Lab. It does not know chunks or files, and sees one frame at a time, so blocks
of any length give the same result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError

# Digit for digit as scikit-image has them: sRGB to XYZ, and the white D65 of the 2 degree observer.
XYZ_FROM_RGB = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ]
)
WHITE = np.array([[0.95047], [1.0], [1.08883]])
WHITE_FROM_RGB = XYZ_FROM_RGB / WHITE
RGB_FROM_WHITE = np.linalg.inv(WHITE_FROM_RGB)

# Each curve is a power above its knee and a line below. Written as power(max(v, knee)) + slope *
# (min(v, knee) - knee), it needs no selection, which costs as much as a logarithm; the two pieces of
# the standards meet within 1e-7.
RGB_KNEE = 0.04045
XYZ_KNEE = 0.008856
ROOT_KNEE = 0.2068966
LINEAR_KNEE = 0.0031308

FLAT_STD = 1e-4
"""Lab units; a channel that varies less is flat. In float32, rounding gives a frame of one colour
up to 2e-5; one pixel that is one 8-bit level off gives a 480p frame 3e-4."""

TILE_PIXELS = 65536
"""Small enough for a core's cache, large enough that calls cost little; measured."""


class ColorAnchor:
    """Pulls the colours of frames towards a reference picture, against drift from chunk to chunk.

    In CIE Lab, each channel of each frame is shifted and scaled to the reference's mean and
    population standard deviation; a flat channel becomes the reference's mean. The result is
    clipped and blended with the (clipped) frame.

    Args:
        reference: ``[3, H, W]`` in [-1, 1]; any size.
        strength: 0 leaves frames untouched, 1 replaces them by the matched ones.

    Raises:
        ValueError: ``strength`` is outside [0, 1], or the reference is no picture.

    Source: InfiniteTalk, ``match_and_blend_colors``; Reinhard et al. 2001.
    Differs: a channel counts as flat below ``FLAT_STD`` instead of at exactly 0, which a frame of
    one colour misses by rounding as often as not, and then moves by a whole deviation of the
    reference. The reference's statistics are computed once.
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
        lab = lab_from_rgb(_unit_range(reference).flatten(1))
        self._mean, self._std = _centre(lab)

    def apply(self, frames: Tensor) -> Tensor:
        """Match ``frames``, ``[3, F, H, W]`` in [-1, 1], on their device.

        Returns:
            New frames of the same shape and dtype; ``frames`` itself at strength 0.
        """
        if self.strength == 0.0:
            return frames
        matched = torch.empty_like(frames, memory_format=torch.contiguous_format)
        mean, std = self._mean.to(frames.device), self._std.to(frames.device)
        lab = torch.empty(3, frames[0, 0].numel(), device=frames.device)
        for index in range(frames.shape[1]):
            source, target = frames[:, index].flatten(1), matched[:, index].view(3, -1)
            for part in _tiles(lab):
                lab[:, part] = lab_from_rgb(_unit_range(source[:, part]))
            _, own_std = _centre(lab)
            scale = torch.where(own_std < FLAT_STD, 0.0, std / own_std)
            for part in _tiles(lab):
                moved = lab[:, part].mul(scale).add_(mean)
                rgb = _unit_range(source[:, part]).lerp_(rgb_from_lab(moved), self.strength)
                target[:, part] = rgb.mul_(2).sub_(1)
        return matched


def lab_from_rgb(rgb: Tensor) -> Tensor:
    """CIE Lab of sRGB colours.

    Args:
        rgb: ``[3, ...]`` float32 in [0, 1].

    Returns:
        ``[3, ...]``: L in [0, 100], a and b within about 110 of 0.

    Source: scikit-image, ``rgb2lab`` (D65, 2 degrees).
    """
    linear = _power(rgb.clamp(min=RGB_KNEE).add_(0.055).div_(1.055), 2.4)
    linear.add_(rgb.clamp(max=RGB_KNEE).sub_(RGB_KNEE), alpha=1 / 12.92)
    xyz = _mixed(linear, WHITE_FROM_RGB)
    x, y, z = _power(xyz.clamp(min=XYZ_KNEE), 1 / 3).add_(
        xyz.clamp_(max=XYZ_KNEE).sub_(XYZ_KNEE), alpha=7.787
    )
    lab = torch.empty_like(rgb)
    torch.mul(y, 116, out=lab[0]).sub_(16)
    torch.sub(x, y, out=lab[1]).mul_(500)
    torch.sub(y, z, out=lab[2]).mul_(200)
    return lab


def rgb_from_lab(lab: Tensor) -> Tensor:
    """The sRGB colours of CIE Lab, clipped to what sRGB can show.

    Args:
        lab: ``[3, ...]`` float32.

    Returns:
        ``[3, ...]`` in [0, 1].

    Source: scikit-image, ``lab2rgb``, with its clipping of negative z.
    """
    light, a, b = lab
    roots = torch.empty_like(lab)
    y = torch.add(light, 16, out=roots[1]).div_(116)
    torch.add(y, a, alpha=1 / 500, out=roots[0])
    torch.sub(y, b, alpha=1 / 200, out=roots[2]).clamp_(min=0)
    xyz = roots.clamp(min=ROOT_KNEE).pow_(3)
    xyz.add_(roots.clamp_(max=ROOT_KNEE).sub_(ROOT_KNEE), alpha=1 / 7.787)
    linear = _mixed(xyz, RGB_FROM_WHITE)
    rgb = _power(linear.clamp(min=LINEAR_KNEE), 1 / 2.4).mul_(1.055).sub_(0.055)
    return rgb.add_(linear.clamp_(max=LINEAR_KNEE).sub_(LINEAR_KNEE), alpha=12.92).clamp_(0, 1)


def _unit_range(picture: Tensor) -> Tensor:
    return picture.detach().float().mul(0.5).add_(0.5).clamp_(0, 1)


def _centre(lab: Tensor) -> tuple[Tensor, Tensor]:
    """Take the mean out of ``[3, N]`` in place; mean and population deviation, ``[3, 1]``."""
    mean = lab.mean(1, keepdim=True)
    lab -= mean
    return mean, torch.linalg.vector_norm(lab, dim=1, keepdim=True) / math.sqrt(lab.shape[1])


def _tiles(planes: Tensor) -> Iterator[slice]:
    """Parts of the pixels of ``[3, N]``: small ones for a core's cache, one part on a GPU."""
    pixels = planes.shape[1]
    size = TILE_PIXELS if planes.device.type == "cpu" else pixels
    for start in range(0, pixels, size):
        yield slice(start, start + size)


def _power(base: Tensor, exponent: float) -> Tensor:
    """``base ** exponent`` in place, of positive numbers; torch's own takes half as long again."""
    return base.log2_().mul_(exponent).exp2_()


def _mixed(planes: Tensor, matrix: np.ndarray) -> Tensor:
    """``matrix @ planes``, in float32 also where matrix products are allowed to be TF32."""
    mixed = torch.empty_like(planes)
    for row, target in zip(matrix.tolist(), mixed, strict=True):
        torch.mul(planes[0], row[0], out=target)
        target.add_(planes[1], alpha=row[1]).add_(planes[2], alpha=row[2])
    return mixed
