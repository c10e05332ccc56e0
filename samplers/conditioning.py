"""Conditioning tensors of a chunk: the mask, and the latent of the reference frame.

Both are appended to the noisy latent on the channel axis. Knows a VAE only as ``VideoCodec``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..frames import TEMPORAL_STRIDE, latent_frames
from .protocols import VideoCodec

GREY = 0.0
"""What follows the reference frame, in pixel space: mid-grey, not black, not a zero latent."""


def reference_mask(frames: int, height: int, width: int) -> Tensor:
    """Mask of what is given: the first latent frame, in every chunk.

    Args:
        frames: Pixel frames of the chunk, ``4n + 1``.
        height: Latent height.
        width: Latent width.

    Returns:
        ``[4, T, height, width]``, 1 on latent frame 0 and 0 elsewhere.

    Source: InfiniteTalk eq. 3, as its code has it: the one comes first. One channel per pixel frame
    of a latent; continuation chunks mark no more than the first chunk.
    """
    mask = torch.zeros(TEMPORAL_STRIDE, latent_frames(frames), height, width)
    mask[:, 0] = 1.0
    return mask


def reference_condition(codec: VideoCodec, reference: Tensor, frames: int) -> Tensor:
    """Mask and latent of ``[reference frame, grey, grey, ...]``.

    Args:
        codec: The VAE.
        reference: Reference frame ``[3, H, W]`` in [-1, 1].
        frames: Pixel frames of the chunk, ``4n + 1``.

    Returns:
        ``[20, T, H/8, W/8]``, mask first.

    Source: InfiniteTalk ``generate_infinitetalk``.
    Differs: the paper (eq. 3) pads the reference in latent space; its code, and this, in pixels.
    """
    clip = torch.full((3, frames, *reference.shape[1:]), GREY, device=reference.device)
    clip[:, 0] = reference
    latents = codec.encode(clip)
    mask = reference_mask(frames, latents.shape[2], latents.shape[3]).to(latents)
    return torch.cat([mask, latents])
