"""Tiny real networks with seeded random weights, small enough for every test."""

import torch

from endless_talk.models.adapter import AudioAdapter
from endless_talk.models.configs import (
    AdapterConfig,
    HybridAdapterConfig,
    HybridConfig,
    VAEConfig,
    WanConfig,
)
from endless_talk.models.hybrid import HybridModel
from endless_talk.models.hybrid_adapter import HybridAudioAdapter
from endless_talk.models.wan import WanModel
from endless_talk.models.wan_vae import WanVAE

WAN = WanConfig(
    dim=48,
    ffn_dim=96,
    heads=2,
    layers=2,
    in_channels=36,
    out_channels=16,
    text_dim=16,
    text_tokens=6,
    image_dim=20,
)
ADAPTER = AdapterConfig(dim=48, layers=2, feature_size=24, hidden=16, tokens=4, token_dim=12)
VAE = VAEConfig(width=4)
LAYERS, CHANNELS = 3, 8
"""How the adapter's 24 features per frame are stacked."""

HYBRID = HybridConfig(
    dim=128,
    double_blocks=2,
    single_blocks=4,
    in_channels=33,
    text_dim=24,
)
HYBRID_ADAPTER = HybridAdapterConfig(
    dim=128,
    heads=1,
    feature_size=24,
    double_layers=(0, 1),
    single_layers=(1, 3),
    hidden=16,
    frame_tokens=2,
    token_dim=12,
)


def randomized(module, seed=0):
    """Seeded weights everywhere, so that no branch is silent because it is zero."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        spread = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.2
        offset = 1.0 if parameter.ndim == 1 or parameter[0].numel() == 1 else 0.0
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data.copy_(offset * (parameter.data != 0) + spread * noise)
    return module.eval().requires_grad_(False)


def wan(config=WAN, seed=0):
    return randomized(WanModel(config), seed)


def adapter(config=ADAPTER, seed=1):
    return randomized(AudioAdapter(config), seed)


def hybrid(config=HYBRID, seed=0):
    return randomized(HybridModel(config), seed)


def hybrid_adapter(config=HYBRID_ADAPTER, seed=1):
    """Its output projections are zero when it is new, and its biases with them."""
    adapter = HybridAudioAdapter(config)
    for parameter in adapter.parameters():
        parameter.data.fill_(1.0)
    return randomized(adapter, seed)


def vae(config=VAE, seed=2):
    return randomized(WanVAE(config), seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
