"""Masks from the source's pixels to latents to tokens, on the same path as the picture itself.

Nearest neighbour throughout: a mask stays 0 and 1, and a region can vanish on the way, which is
said before anything is rendered. Knows nothing of boxes or of how many speakers there should be.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..crop import CropBox, size_text
from ..errors import InputError
from ..frames import SPATIAL_STRIDE

PATCH = 2
"""Latents per token, in height and in width."""


def fit_masks(masks: Tensor, box: CropBox) -> Tensor:
    """Resize and cut masks ``[K, H, W]`` like the picture they were drawn on, to ``[K, h, w]``.

    Raises:
        InputError: The masks are not of the picture's size.

    Source: InfiniteTalk, ``resize_and_centercrop`` for tensors.
    """
    check_size(masks, box)
    return _nearest(masks, box.resized_size)[:, box.rows, box.columns]


def check_size(masks: Tensor, box: CropBox) -> None:
    """Refuse masks that were drawn on another picture.

    Args:
        masks: ``[K, H, W]``.
        box: How the picture becomes the clip.

    Raises:
        InputError: Both sizes.
    """
    if tuple(masks.shape[-2:]) != box.source_size:
        raise InputError(
            f"the mask is {size_text((masks.shape[-2], masks.shape[-1]))} pixels and the picture "
            f"{size_text(box.source_size)}; draw the mask on this picture, or resize it first."
        )


def latent_masks(masks: Tensor, box: CropBox) -> Tensor:
    """Masks ``[K, H, W]`` of the source at latent resolution, ``[K, h / 8, w / 8]`` of 0 and 1.

    First to the clip's pixels, then to its latents; `check_speakers_visible` tells who got lost.

    Source: InfiniteTalk, ``generate_infinitetalk``, ``ref_target_masks``.
    """
    height, width = box.size
    fitted = fit_masks(masks, box)
    latents = _nearest(fitted, (height // SPATIAL_STRIDE, width // SPATIAL_STRIDE))
    return (latents > 0).to(torch.float32)


def token_masks(masks: Tensor) -> Tensor:
    """Masks ``[K, h, w]`` at latent resolution, one value per token, ``[K, (h / 2) * (w / 2)]``.

    The tokens of one latent frame, row after row; 0 and 1, float.

    Source: InfiniteTalk, ``WanModel.forward``.
    """
    height, width = masks.shape[-2:]
    tokens = _nearest(masks, (height // PATCH, width // PATCH))
    return (tokens > 0).to(torch.float32).flatten(1)


def check_speakers_visible(masks: Tensor, box: CropBox) -> None:
    """Refuse speakers whose region has no token left after cutting and shrinking.

    An empty background is fine: there is just nobody who could be silent.

    Args:
        masks: Class masks ``[S + 1, H, W]`` at source resolution, background last.
        box: How the source becomes the clip.

    Raises:
        InputError: Names the first speaker (counted from 1) that vanishes, and its pixels.

    Differs: InfiniteTalk divides by the region's size there, and the clip becomes NaN.
    """
    tokens = token_masks(latent_masks(masks, box)).sum(dim=1)
    drawn, kept = (masks > 0).sum(dim=(1, 2)), (fit_masks(masks, box) > 0).sum(dim=(1, 2))
    for index in range(len(masks) - 1):
        if tokens[index] == 0:
            raise InputError(_vanished(index + 1, int(drawn[index]), int(kept[index]), box.size))


def _vanished(speaker: int, drawn: int, kept: int, size: tuple[int, int]) -> str:
    """Why a speaker has no token: nothing drawn, cut away, or too small."""
    if drawn == 0:
        return f"speaker {speaker}: the mask is empty; draw one or give a box."
    mask = f"speaker {speaker}: the mask has {drawn} pixels in the picture, "
    if kept == 0:
        return (
            f"{mask}all of them outside the part that is kept at {size_text(size)}; choose a size "
            "in the picture's shape, or cut the picture around the faces."
        )
    side = SPATIAL_STRIDE * PATCH
    return (
        f"{mask}{kept} at {size_text(size)}, too few to reach one token ({side}x{side} pixels); "
        "make it larger, or choose a larger size."
    )


def _nearest(masks: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(masks[None].to(torch.float32), size=size, mode="nearest")[0]
