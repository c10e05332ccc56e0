"""A retake: one chunk of a clip is made again, and everything behind it is kept.

The next chunk goes on from the last frames of the take before, so the new one has to end in them.
Two things bring it there. Its last latents are pinned to that ending while it is sampled, so that
the network finds a way there; and its last frames fade into the ending itself, because decoded
latents depend on the latents before them and never are those frames exactly.

The ending is nine frames by default: three latents when encoded, the first of them a single frame.
Within a chunk every latent but the first is a group of four, so two can be pinned, and the first
frame of the ending is left to the fade. Latents that were handed on as they were sampled are all
groups, and all are pinned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from .plan import Chunk
from .protocols import VideoCodec
from .streaming import CONTEXT, CONTEXT_LATENTS, Sampling


def with_endings(
    sampling: Callable[[Chunk], Sampling],
    takes: Mapping[int, Mapping[str, Tensor]],
    codec: VideoCodec,
) -> Callable[[Chunk], Sampling]:
    """What chunks are sampled from when some of them have to end as they did before.

    Args:
        sampling: What they are sampled from otherwise.
        takes: The state of the take before, by index of the chunks that are made again.
        codec: The VAE.
    """

    def ended(chunk: Chunk) -> Sampling:
        own, before = sampling(chunk), takes.get(chunk.index)
        return own if before is None else retake_sampling(own, before, codec)

    return ended


def retake_sampling(
    sampling: Sampling, before: Mapping[str, Tensor], codec: VideoCodec
) -> Sampling:
    """What a chunk is sampled from when it has to end as it did before.

    Args:
        sampling: What it is sampled from otherwise; where something is pinned already it stays
            pinned, except in the ending.
        before: The state that the take before was committed with. Empty where no chunk continues
            from this one; nothing has to be met then.
        codec: The VAE.
    """
    ending = {name: before[name] for name in (CONTEXT, CONTEXT_LATENTS) if name in before}
    if not ending:
        return sampling
    latents = ending_latents(ending, codec).to(sampling.noise)
    kept, mask = torch.zeros_like(sampling.noise), torch.zeros_like(sampling.noise[:1])
    if sampling.pinned is not None:
        kept, mask = (part.clone() for part in sampling.pinned)
    first = kept.shape[1] - latents.shape[1]
    kept[:, first:], mask[:, first:] = latents, 1.0
    return replace(sampling, pinned=(kept, mask), ending=ending)


def ending_latents(ending: Mapping[str, Tensor], codec: VideoCodec) -> Tensor:
    """The groups of four at the end of a take, ``[C, n, H, W]``."""
    if CONTEXT_LATENTS in ending:
        return ending[CONTEXT_LATENTS]
    return codec.encode(ending[CONTEXT])[:, 1:]
