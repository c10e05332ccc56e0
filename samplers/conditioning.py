"""Conditioning tensors of a chunk: the mask, and the latent of the reference frame.

Both are appended to the noisy latent on the channel axis. Knows a VAE only as ``VideoCodec``, and
how a network wants the audio of a latent frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ..frames import TEMPORAL_STRIDE, latent_frames
from .plan import Chunk
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


def padded_reference(codec: VideoCodec, reference: Tensor, frames: int) -> Tensor:
    """Latent of the reference frame, followed by zeros, and mask of what is given.

    Args:
        codec: The VAE.
        reference: Reference frame ``[3, H, W]`` in [-1, 1].
        frames: Pixel frames of the chunk, ``4n + 1``.

    Returns:
        ``[C + 1, T, H/8, W/8]``, mask last, 1 on latent frame 0.

    Source: MagicInfinite 3.2: padded in latent space, one mask channel.
    """
    latent = codec.encode(reference[:, None])
    out = latent.new_zeros(len(latent) + 1, latent_frames(frames), *latent.shape[2:])
    out[:-1, :1] = latent
    out[-1, 0] = 1.0
    return out


def latent_windows(read: Callable[[Chunk], Tensor], chunk: Chunk) -> Tensor:
    """Audio windows, four for every latent frame of a chunk, the first one included.

    Later in the clip the first latent frame of a chunk stands for four pixel frames like all
    others, and hears them; at the start of the clip it stands for one, which is repeated.

    Args:
        read: Audio windows ``[S, F, 5, layers, channels]`` of a chunk.
        chunk: The chunk or denoising window.

    Returns:
        ``[S, 4T, 5, layers, channels]``.
    """
    before = TEMPORAL_STRIDE - 1
    if chunk.start_frame == 0:
        return read(chunk)[:, torch.arange(-before, chunk.frames).clamp(min=0)]
    earlier = replace(chunk, start_frame=chunk.start_frame - before, frames=chunk.frames + before)
    return read(earlier)
