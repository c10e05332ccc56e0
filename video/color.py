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
# (min(v, knee) - knee), it needs no selection, which costs as much as a logarithm; the two pieces
# of the standards meet within 1e-7. Constants wait for the next sum, which adds them for nothing.
PIXEL_KNEE = 2 * 0.04045 - 1
PIXEL_SLOPE = 0.5 / 12.92
XYZ_KNEE, XYZ_SLOPE = 0.008856, 7.787
ROOT_KNEE, ROOT_SLOPE = 0.2068966, 1 / 7.787
LINEAR_KNEE, LINEAR_SLOPE = 0.0031308, 12.92

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
        lab = lab_from_pixels(reference.detach().float().flatten(1))
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
        lab = torch.empty(3, frames[0, 0].numel(), dtype=torch.float32, device=frames.device)
        for index in range(frames.shape[1]):
            source = frames[:, index].detach().flatten(1)
            target = matched[:, index].view(3, -1)
            for part in _tiles(lab):
                lab[:, part] = lab_from_pixels(source[:, part].float())
            _, own_std = _centre(lab)
            scale = torch.where(own_std < FLAT_STD, 0.0, std / own_std)
            for part in _tiles(lab):
                corrected = pixels_from_lab(lab[:, part].mul(scale).add_(mean))
                if self.strength < 1.0:
                    clipped = source[:, part].float().clamp(-1, 1)
                    corrected = clipped.lerp_(corrected, self.strength)
                target[:, part] = corrected
        return matched


def lab_from_pixels(pixels: Tensor) -> Tensor:
    """CIE Lab of sRGB colours.

    Args:
        pixels: ``[3, ...]`` float32 in [-1, 1]; values outside are clamped.

    Returns:
        ``[3, ...]``: L in [0, 100], a and b within about 110 of 0.

    Source: scikit-image, ``rgb2lab`` (D65, 2 degrees).
    """
    linear = _sum(0.555 / 1.055, pixels.clamp(PIXEL_KNEE, 1), 0.5 / 1.055)
    linear = _power(linear, 2.4).add_(pixels.clamp(-1, PIXEL_KNEE), alpha=PIXEL_SLOPE)
    xyz = _mixed(linear, WHITE_FROM_RGB, -PIXEL_SLOPE * PIXEL_KNEE)
    roots = _power(xyz.clamp(min=XYZ_KNEE), 1 / 3)
    x, y, z = roots.add_(xyz.clamp_(max=XYZ_KNEE), alpha=XYZ_SLOPE)
    lab = torch.empty_like(pixels)
    _sum(-16 - 116 * XYZ_SLOPE * XYZ_KNEE, y, 116, out=lab[0])
    torch.sub(x, y, out=lab[1]).mul_(500)
    torch.sub(y, z, out=lab[2]).mul_(200)
    return lab


def pixels_from_lab(lab: Tensor) -> Tensor:
    """The sRGB colours of CIE Lab, clipped to what sRGB can show.

    Args:
        lab: ``[3, ...]`` float32.

    Returns:
        ``[3, ...]`` in [-1, 1].

    Source: scikit-image, ``lab2rgb``, with its clipping of negative z.
    """
    light, a, b = lab
    roots = torch.empty_like(lab)
    y = _sum(16 / 116, light, 1 / 116, out=roots[1])
    torch.add(y, a, alpha=1 / 500, out=roots[0])
    torch.sub(y, b, alpha=1 / 200, out=roots[2]).clamp_(min=0)
    xyz = roots.clamp(min=ROOT_KNEE).pow_(3)
    xyz.add_(roots.clamp_(max=ROOT_KNEE), alpha=ROOT_SLOPE)
    linear = _mixed(xyz, RGB_FROM_WHITE, -ROOT_SLOPE * ROOT_KNEE)
    curve = _power(linear.clamp(min=LINEAR_KNEE), 1 / 2.4)
    pixels = _sum(-1.11 - 2 * LINEAR_SLOPE * LINEAR_KNEE, curve, 2.11, out=curve)
    return pixels.add_(linear.clamp_(max=LINEAR_KNEE), alpha=2 * LINEAR_SLOPE).clamp_(-1, 1)


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


def _sum(constant: float, planes: Tensor, factor: float, out: Tensor | None = None) -> Tensor:
    """``constant + factor * planes`` in one pass."""
    return torch.add(torch.tensor(constant), planes, alpha=factor, out=out)


def _mixed(planes: Tensor, matrix: np.ndarray, constant: float) -> Tensor:
    """``matrix @ (planes + constant)``, in float32 also where matrix products may be TF32."""
    mixed = torch.empty_like(planes)
    for row, target in zip(matrix.tolist(), mixed, strict=True):
        _sum(constant * sum(row), planes[0], row[0], out=target)
        target.add_(planes[1], alpha=row[1]).add_(planes[2], alpha=row[2])
    return mixed
