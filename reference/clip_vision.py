"""The pixels a CLIP image encoder wants, made from a reference frame.

Only the preparation; the encoder is the host's or a stub's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CLIP_SIZE = 224
"""Pixels per side of the encoder's square input."""

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def clip_square(frame: Tensor) -> Tensor:
    """Squash a reference frame to the encoder's square.

    The whole frame is kept and its proportions are not: bicubic straight to 224x224, without
    antialiasing, overshoot past [-1, 1] left in. The networks were trained on features of that.

    Args:
        frame: ``[3, H, W]`` in [-1, 1].

    Returns:
        ``[1, 3, 224, 224]``.

    Source: Wan 2.1, ``CLIPModel.visual``.
    """
    return F.interpolate(
        frame[None], size=(CLIP_SIZE, CLIP_SIZE), mode="bicubic", align_corners=False
    )


def clip_pixels(frame: Tensor) -> Tensor:
    """What the encoder's first layer sees of a reference frame: squashed and normalised.

    Args:
        frame: ``[3, H, W]`` in [-1, 1].

    Returns:
        ``[1, 3, 224, 224]``, zero mean and unit variance over CLIP's training pictures.

    Source: Wan 2.1, ``CLIPModel.visual``.
    """
    square = clip_square(frame)
    mean = torch.tensor(CLIP_MEAN, dtype=square.dtype, device=square.device).view(1, 3, 1, 1)
    std = torch.tensor(CLIP_STD, dtype=square.dtype, device=square.device).view(1, 3, 1, 1)
    return (square * 0.5 + 0.5 - mean) / std
