"""New networks with weights from which such small budgets get somewhere.

The VAE starts as a linear pyramid that already passes the picture through: with torch's own weights
its latents drown in the sample's noise, and nothing is learned for hundreds of steps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..models.adapter import AdapterBlock, AudioAdapter
from ..models.wan import Block, WanModel
from ..models.wan_vae import (
    CausalConv3d,
    Downsample,
    FrameAttention,
    ResidualBlock,
    Upsample,
    WanVAE,
)
from ..models.wav2vec import Wav2VecEncoder
from .sizes import ADAPTER, BASE, VAE, WAV2VEC

START_LOG_VARIANCE = -9.0


def new_encoder() -> Wav2VecEncoder:
    """An audio encoder as transformers makes it."""
    return Wav2VecEncoder(WAV2VEC)


@torch.no_grad()
def new_vae() -> WanVAE:
    """A VAE that begins as a linear pyramid."""
    vae = WanVAE(VAE)
    for module in vae.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            pass_through(module)
    for module in vae.modules():
        if isinstance(module, ResidualBlock):
            first, last = module.residual["2"], module.residual["6"]
            assert isinstance(first, CausalConv3d)
            assert isinstance(last, CausalConv3d)
            nn.init.kaiming_normal_(first.weight, nonlinearity="relu")
            nn.init.zeros_(last.weight)
        elif isinstance(module, FrameAttention):
            nn.init.zeros_(module.proj.weight)
        elif isinstance(module, Downsample):
            gather_cells(module.resample["1"].weight)  # pyright: ignore[reportArgumentType]
    forget_time(vae)
    channels = VAE.latent_channels
    vae.conv1.weight[channels:] = 0
    assert vae.conv1.bias is not None
    vae.conv1.bias[channels:] = START_LOG_VARIANCE
    return vae


def pass_through(conv: nn.Conv2d | nn.Conv3d) -> None:
    """An orthogonal map at the middle of the kernel and the newest frame, plus some noise."""
    weight = conv.weight
    rows, columns = weight.shape[:2]
    nn.init.normal_(weight, std=0.3 / weight[0].numel() ** 0.5)
    weight[centre(weight)] += orthogonal(rows, columns) * (max(rows, columns) / columns) ** 0.5
    if conv.bias is not None:
        conv.bias.zero_()


def centre(weight: Tensor) -> tuple[slice | int, ...]:
    """Index of the tap that looks at the present pixel."""
    spatial = tuple(size // 2 for size in weight.shape[-2:])
    return (slice(None), slice(None), *((-1,) if weight.ndim == 5 else ()), *spatial)


def gather_cells(weight: Tensor) -> None:
    """A stride-2 convolution reads all four pixels of a cell alike."""
    rows, columns = weight.shape[:2]
    weight.zero_()
    weight[:, :, :2, :2] = 1.5 * orthogonal(rows, 4 * columns).view(rows, columns, 2, 2)


def forget_time(vae: WanVAE) -> None:
    """Every group of frames starts as a still: its latent that of its last frame, four times shown.

    No layer looks at earlier frames, and those that only groups pass through, not a first frame,
    let everything pass. So a VAE trained on stills is a good one for clips; with weights drawn by
    lot in these places it would have to be repaired first. The decoder learns to look back, so that
    groups join smoothly; the encoder never does, so that latents do not depend on their place in a
    chunk.
    """
    for module in vae.encoder.modules():
        if isinstance(module, CausalConv3d):
            module.looks_back = False
    for module in vae.modules():
        if isinstance(module, CausalConv3d):
            module.weight[:, :, :-1] = 0
        if isinstance(module, Downsample | Upsample) and module.time_conv is not None:
            weight, bias = module.time_conv.weight, module.time_conv.bias
            assert bias is not None
            weight.zero_()
            bias.zero_()
            for part in weight.split(weight.shape[1]):
                part[:, :, -1, 0, 0] = torch.eye(len(part))


def orthogonal(rows: int, columns: int) -> Tensor:
    """A random matrix with orthonormal rows or columns."""
    return nn.init.orthogonal_(torch.empty(rows, columns))


@torch.no_grad()
def new_transformer() -> nn.ModuleDict:
    """Base and adapter: ``base`` predicts nothing yet, ``adapter`` adds nothing yet."""
    base, adapter = WanModel(BASE), AudioAdapter(ADAPTER)
    for module in (*base.modules(), *adapter.modules()):
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    residual = (2 * BASE.layers) ** -0.5
    for block in base.blocks:
        assert isinstance(block, Block)
        block.self_attn.o.weight.mul_(residual)
        block.cross_attn.o.weight.zero_()
        for unasked in ("q", "k", "norm_q", "norm_k"):  # there is a single text token
            getattr(block.cross_attn, unasked).requires_grad_(False)
        contract = block.ffn[2]
        assert isinstance(contract, nn.Linear)
        contract.weight.mul_(residual)
        block.modulation[:, (2, 5)] = 1.0
    project = base.time_projection[1]
    assert isinstance(project, nn.Linear)
    project.weight.mul_(0.1)
    base.head.head.weight.zero_()
    for block in adapter.blocks:
        assert isinstance(block, AdapterBlock)
        block.audio_cross_attn.proj.weight.zero_()
    return nn.ModuleDict({"base": base, "adapter": adapter})
