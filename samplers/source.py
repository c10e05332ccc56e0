"""A source video in the sampling: what a chunk begins from, and what of the source stays.

Knows a source by the frames under a chunk, and a VAE as ``VideoCodec``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from torch import Tensor

from .plan import Chunk
from .protocols import VideoCodec
from .schedule import sigmas_from
from .streaming import Sampling


class SourceFrames(Protocol):
    """A video that lies under the clip, frame by frame."""

    def frames(self, start_frame: int, count: int) -> Tensor:
        """The source under ``count`` frames of the clip, ``[3, count, H, W]`` in [-1, 1]."""
        ...


def sampling_from_source(
    sampling: Callable[[Chunk], Sampling],
    source: SourceFrames | Any,
    codec: VideoCodec,
    *,
    strength: float = 0.0,
    keep: Tensor | None = None,
) -> Callable[[Chunk], Sampling]:
    """What chunks are sampled from when the source goes into them.

    A chunk begins at ``x_t0 = (1 - t0) · source + t0 · noise`` with ``t0 = 1 - strength`` and runs
    through the rest of its schedule. Where ``keep`` is 1, the source's latents are kept throughout.

    Args:
        sampling: What a chunk is sampled from otherwise; returned as it is when nothing of the
            source goes in, and then ``source`` may be any reference.
        source: The video under the clip.
        codec: The VAE.
        strength: 0 begins at noise alone; less than 1.
        keep: Mask ``[1, H/8, W/8]`` of 0 and 1, or None.

    Source: SDEdit (Meng et al. 2022), as the InfiniteTalk paper uses it to keep a camera's motion.
    """
    if not strength and keep is None:
        return sampling

    def from_source(chunk: Chunk) -> Sampling:
        base = sampling(chunk)
        frames = source.frames(chunk.start_frame, chunk.frames)
        latents = codec.encode(frames.to(base.noise.device)).to(base.noise)
        if strength:
            base = replace(base, sigmas=sigmas_from(base.sigmas, 1 - strength), start=latents)
        if keep is not None:
            mask = keep[:, None].to(base.noise).expand(1, *latents.shape[1:])
            base = replace(base, pinned=(latents, mask))
        return base

    return from_source
