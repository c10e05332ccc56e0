"""Noise of a chunk, from the clip's seed and the chunk's index alone.

So a chunk can be made again, on another machine or after a crash, without those before it.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def chunk_seed(seed: int, index: int) -> int:
    """Seed of chunk ``index`` of a clip, 0 to 2**63 - 1."""
    digest = hashlib.sha256(f"{seed}:{index}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def chunk_noise(seed: int, index: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise of chunk ``index``, float32 on the CPU.

    Args:
        seed: The clip's seed.
        index: The chunk's index in the plan.
        shape: ``(C, T, H, W)``.

    Differs: upstream draws all chunks from one generator, so the noise of a chunk depends on the
    steps of those before it.
    """
    generator = torch.Generator("cpu").manual_seed(chunk_seed(seed, index))
    return torch.randn(shape, generator=generator)
