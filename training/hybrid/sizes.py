"""Sizes of the hybrid model: heads of 128 channels and a context of zeros, as ComfyUI reads them.

The data has no text. A prompt is one token of zeros with a pooled text of zeros, which is what a
sampler without a prompt passes on.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...models.configs import HybridAdapterConfig, HybridConfig
from ..sizes import WAV2VEC

BASE = HybridConfig(dim=128, double_blocks=1, single_blocks=5, in_channels=33, text_dim=32)
"""One double block: the text stream has nothing to say, and a single block costs less."""

ADAPTER = HybridAdapterConfig(
    dim=BASE.dim,
    heads=BASE.heads,
    feature_size=WAV2VEC.hidden * WAV2VEC.layers,
    double_layers=(0,),
    single_layers=(1, 3),
    hidden=192,
    frame_tokens=2,
    token_dim=64,
)
"""After every double and every second single block, as published."""

TEXT_TOKENS = 1

WINDOW_LATENTS = 21
"""Latent frames of the window that the model is sampled with, 81 pixel frames."""


def no_text(count: int, like: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Text ``[count, 1, text_dim]`` and pooled text ``[count, pooled_dim]`` of nothing."""
    like = torch.empty(0) if like is None else like
    text = like.new_zeros(count, TEXT_TOKENS, BASE.text_dim)
    return text, like.new_zeros(count, BASE.pooled_dim)
