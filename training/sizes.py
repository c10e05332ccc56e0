"""Sizes of the embedded model: as small as shows a face that talks.

All four are the published architectures at another width. Width and depth were chosen by what two
CPU cores can train within an hour; see ``docs/experiments.md``.
"""

from __future__ import annotations

from ..models.configs import AdapterConfig, VAEConfig, WanConfig, Wav2VecConfig

SIZE = 64
"""Pixels per side of a face's tile."""

CHUNK_FRAMES, SHORT_FRAMES, CONTEXT_FRAMES = 81, 41, 9
"""Pixel frames of a long and a short training clip, and of the context; all ``4n + 1``."""

STEPS, SHIFT = 4, 5.0
"""The schedule the model is distilled for; MagicInfinite's."""

BASE = WanConfig(
    dim=160,
    ffn_dim=480,
    heads=4,
    layers=6,
    in_channels=36,
    out_channels=16,
    text_dim=32,
    text_tokens=1,
    image_branch=False,
    image_dim=None,
)

WAV2VEC = Wav2VecConfig(
    hidden=64,
    layers=3,
    heads=4,
    ffn_dim=128,
    conv_dims=(32,) * 7,
    position_kernel=16,
    position_groups=4,
)

ADAPTER = AdapterConfig(
    dim=BASE.dim,
    layers=BASE.layers,
    feature_size=WAV2VEC.hidden * WAV2VEC.layers,
    hidden=192,
    tokens=8,
    token_dim=64,
)

VAE = VAEConfig(width=8)
