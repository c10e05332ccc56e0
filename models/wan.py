"""The reference Wan 2.1 video transformer, in the published key layout.

It exists for the command line, for training the embedded model and for parity; users' 14B weights
run in ComfyUI. One forward pass predicts velocity (noise - data). Audio comes in through an
``AudioPass`` and caching through a ``BlockCache``; of both it knows only what it calls.

Letters: B batch, C channels, T latent frames, H and W latent height and width, L tokens
(T * H/2 * W/2, frame-major), D width, M text or image tokens.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .attention import attention
from .configs import WanConfig

PATCH = (1, 2, 2)
"""Latent frames, rows and columns per token; every Wan 2.1 model has this."""

MAX_PERIOD = 10000.0


class AudioHooks(Protocol):
    """What a block asks of the audio: see ``adapter.AudioPass``."""

    def after_self_attention(self, q: Tensor, k: Tensor) -> None:
        """See a block's queries and keys ``[B, L, heads, d]`` after RoPE."""
        ...

    def after_cross_attention(self, index: int, x: Tensor) -> Tensor:
        """Return the stream ``[B, L, D]`` of block ``index`` with audio in it."""
        ...


class BlockCache(Protocol):
    """Decides whether the blocks run: see ``samplers.teacache``."""

    def reuse(self, modulation: Tensor) -> Tensor | None:
        """The residual to use instead of running the blocks, or None."""
        ...

    def store(self, residual: Tensor) -> None:
        """Keep what the blocks added to the stream ``[B, L, D]``."""
        ...


class Contexts(NamedTuple):
    """What cross-attention reads, at the width of the stream; the same at every step of a chunk.

    Attributes:
        text: ``[B, M, D]``.
        image: CLIP vision tokens ``[B, 257, D]``, or None without CLIP vision.
    """

    text: Tensor
    image: Tensor | None


class WanRMSNorm(nn.Module):
    """RMS norm over the full width (all heads together), in float32."""

    def __init__(self, dim: int, eps: float):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``[..., D]``."""
        wide = x.float()
        normed = wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + self.eps)
        return normed.to(x.dtype) * self.weight


class SelfAttention(nn.Module):
    """Global self-attention with 3-D RoPE."""

    def __init__(self, config: WanConfig):
        super().__init__()
        dim = config.dim
        self.heads = config.heads
        self.q, self.k = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.v, self.o = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm_q, self.norm_k = WanRMSNorm(dim, config.eps), WanRMSNorm(dim, config.eps)

    def forward(self, x: Tensor, rope: Tensor, audio: AudioHooks | None) -> Tensor:
        """Attend ``[B, L, D]`` to itself; the audio sees q and k as they enter the softmax."""
        q = apply_rope(self.norm_q(self.q(x)).unflatten(-1, (self.heads, -1)), rope)
        k = apply_rope(self.norm_k(self.k(x)).unflatten(-1, (self.heads, -1)), rope)
        if audio is not None:
            audio.after_self_attention(q, k)
        return self.o(attention(q, k, self.v(x).unflatten(-1, (self.heads, -1))))


class CrossAttention(nn.Module):
    """Text cross-attention, with a second key/value pair for CLIP vision tokens."""

    def __init__(self, config: WanConfig):
        super().__init__()
        dim = config.dim
        self.heads = config.heads
        self.q, self.k = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.v, self.o = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm_q, self.norm_k = WanRMSNorm(dim, config.eps), WanRMSNorm(dim, config.eps)
        self.image_branch = config.image_branch
        if config.image_branch:
            self.k_img, self.v_img = nn.Linear(dim, dim), nn.Linear(dim, dim)
            self.norm_k_img = WanRMSNorm(dim, config.eps)

    def forward(self, x: Tensor, text: Tensor, image: Tensor | None) -> Tensor:
        """Attend ``[B, L, D]`` to text and image tokens ``[B, M, D]``.

        Without image tokens the text passes through the image branch too: that is what the host
        does, and what a model trained without CLIP vision has learned. A single token gets all the
        attention whoever asks.
        """
        if text.shape[1] == 1 and not self.image_branch:
            return self.o(self.v(text)).expand_as(x)
        q = self.norm_q(self.q(x)).unflatten(-1, (self.heads, -1))
        k = self.norm_k(self.k(text)).unflatten(-1, (self.heads, -1))
        out = attention(q, k, self.v(text).unflatten(-1, (self.heads, -1)))
        if self.image_branch:
            image = text if image is None else image
            k = self.norm_k_img(self.k_img(image)).unflatten(-1, (self.heads, -1))
            v = self.v_img(image).unflatten(-1, (self.heads, -1))
            out = out + attention(q, k, v, exact=True)
        return self.o(out)


class Block(nn.Module):
    """Self-attention, text and image cross-attention, audio, feed-forward."""

    def __init__(self, config: WanConfig):
        super().__init__()
        dim = config.dim
        self.norm1 = nn.LayerNorm(dim, eps=config.eps, elementwise_affine=False)
        self.self_attn = SelfAttention(config)
        self.norm3 = nn.LayerNorm(dim, eps=config.eps)
        self.cross_attn = CrossAttention(config)
        self.norm2 = nn.LayerNorm(dim, eps=config.eps, elementwise_affine=False)
        self.ffn = nn.Sequential(
            nn.Linear(dim, config.ffn_dim),
            nn.GELU(approximate="tanh"),
            nn.Linear(config.ffn_dim, dim),
        )
        self.modulation = nn.Parameter(torch.zeros(1, 6, dim))

    def forward(
        self,
        x: Tensor,
        modulation: Tensor,
        rope: Tensor,
        contexts: Contexts,
        *,
        index: int,
        audio: AudioHooks | None,
    ) -> Tensor:
        """Transform the stream ``[B, L, D]`` under the time modulation ``[B, 6, D]`` (float32)."""
        e = (self.modulation.float() + modulation).unsqueeze(2).unbind(1)
        y = self.self_attn(modulate(self.norm1, x, shift=e[0], scale=e[1]), rope, audio)
        x = (x.float() + y.float() * e[2]).to(x.dtype)
        x = x + self.cross_attn(layer_norm_float(self.norm3, x), *contexts)
        if audio is not None:
            x = audio.after_cross_attention(index, x)
        y = self.ffn(modulate(self.norm2, x, shift=e[3], scale=e[4]))
        return (x.float() + y.float() * e[5]).to(x.dtype)


class ImageEmbedding(nn.Module):
    """CLIP vision tokens to the width of the stream."""

    def __init__(self, image_dim: int, dim: int):
        super().__init__()
        self.proj = nn.Sequential(
            nn.LayerNorm(image_dim),
            nn.Linear(image_dim, image_dim),
            nn.GELU(),
            nn.Linear(image_dim, dim),
            nn.LayerNorm(dim),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Project ``[B, 257, image_dim]`` to ``[B, 257, D]``."""
        return self.proj(tokens)


class Head(nn.Module):
    """Tokens to latent patches."""

    def __init__(self, config: WanConfig):
        super().__init__()
        self.norm = nn.LayerNorm(config.dim, eps=config.eps, elementwise_affine=False)
        self.head = nn.Linear(config.dim, math.prod(PATCH) * config.out_channels)
        self.modulation = nn.Parameter(torch.zeros(1, 2, config.dim))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Project ``[B, L, D]`` under the time embedding ``[B, D]``, in float32."""
        shift, scale = (self.modulation.float() + time[:, None]).unsqueeze(2).unbind(1)
        y = layer_norm_float(self.norm, x).float() * (1 + scale) + shift
        return F.linear(y, self.head.weight.float(), self.head.bias.float())


class WanModel(nn.Module):
    """Wan 2.1 image-to-video transformer.

    Source: Wan 2.1 ``WanModel`` as InfiniteTalk uses it.
    """

    def __init__(self, config: WanConfig):
        super().__init__()
        dim = config.dim
        self.config = config
        self.patch_embedding = nn.Conv3d(config.in_channels, dim, PATCH, PATCH)
        self.text_embedding = nn.Sequential(
            nn.Linear(config.text_dim, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim)
        )
        self.time_embedding = nn.Sequential(
            nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim)
        )
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        if config.image_dim is not None:
            self.img_emb = ImageEmbedding(config.image_dim, dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.head = Head(config)

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        contexts: Contexts,
        *,
        concat: Tensor | None = None,
        audio: AudioHooks | None = None,
        cache: BlockCache | None = None,
    ) -> Tensor:
        """Predict the velocity (noise - data).

        Args:
            latents: Noisy latents ``[B, C, T, H, W]``.
            timestep: 0..1000, ``[B]``.
            contexts: From ``embed_contexts``.
            concat: Mask and reference latent ``[B, 20, T, H, W]``, appended on the channel axis.
            audio: The audio of this pass.
            cache: Reuse of the blocks' residual across steps.

        Returns:
            ``[B, C, T, H, W]`` float32.
        """
        dtype = self.patch_embedding.weight.dtype
        if concat is not None:
            latents = torch.cat([latents, concat.to(latents.dtype)], dim=1)
        x = self.patch_embedding(latents.to(dtype))
        grid = (x.shape[2], x.shape[3], x.shape[4])
        x = x.flatten(2).transpose(1, 2)

        time = self.embed_time(timestep)
        modulation = linear_float(self.time_projection, time).unflatten(1, (6, -1))
        residual = None if cache is None else cache.reuse(modulation)
        if residual is None:
            before = x
            rope = rope_table(grid, self.config.dim // self.config.heads, x.device)
            for index, block in enumerate(self.blocks):
                x = block(x, modulation, rope, contexts, index=index, audio=audio)
            if cache is not None:
                cache.store(x - before)
        else:
            x = x + residual
        return unpatchify(self.head(x, time), grid)

    def embed_time(self, timestep: Tensor) -> Tensor:
        """Embed timesteps ``[B]`` in 0..1000 to ``[B, D]``, in float32."""
        half = self.config.freq_dim // 2
        frequencies = MAX_PERIOD ** (-torch.arange(half, device=timestep.device).double() / half)
        angles = timestep.double()[:, None] * frequencies
        sinusoid = torch.cat([angles.cos(), angles.sin()], dim=1).float()
        return linear_float(self.time_embedding, sinusoid)

    def embed_contexts(self, text: Tensor, image: Tensor | None = None) -> Contexts:
        """Bring text and image tokens to the width of the stream, once per chunk and prompt.

        Args:
            text: Text encoder output ``[B, M, text_dim]``; zeros are appended up to
                ``text_tokens`` and take part in attention, as trained.
            image: CLIP vision tokens ``[B, 257, image_dim]``; ignored by a model without
                ``img_emb``.
        """
        dtype = self.patch_embedding.weight.dtype
        missing = max(0, self.config.text_tokens - text.shape[1])
        embedded = self.text_embedding(F.pad(text.to(dtype), (0, 0, 0, missing)))
        if image is None or self.config.image_dim is None:
            return Contexts(embedded, None)
        return Contexts(embedded, self.img_emb(image.to(dtype)))


def linear_float(layers: nn.Sequential, x: Tensor) -> Tensor:
    """Run linears and activations in float32 although the weights may be stored shorter."""
    for layer in layers:
        if isinstance(layer, nn.Linear):
            x = F.linear(x, layer.weight.float(), layer.bias.float())
        else:
            x = layer(x)
    return x


def layer_norm_float(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """Layer norm in float32 whatever the stream's dtype, rounded back to it."""
    weight = None if norm.weight is None else norm.weight.float()
    bias = None if norm.bias is None else norm.bias.float()
    return F.layer_norm(x.float(), norm.normalized_shape, weight, bias, norm.eps).to(x.dtype)


def modulate(norm: nn.LayerNorm, x: Tensor, *, shift: Tensor, scale: Tensor) -> Tensor:
    """Norm in float32, round to the stream's dtype, modulate in float32, round again."""
    return (layer_norm_float(norm, x).float() * (1 + scale) + shift).to(x.dtype)


@functools.lru_cache(maxsize=8)
def rope_table(grid: tuple[int, int, int], head_dim: int, device: torch.device) -> Tensor:
    """Rotations of every token, complex ``[L, 1, head_dim / 2]``.

    The head's pairs are divided into time, rows and columns; a token's position on each axis is its
    integer index in the grid (T, H/2, W/2). Kept for the few grids a clip has.
    """
    side = 2 * (head_dim // 6)
    axes = []
    for axis, dim in enumerate((head_dim - 2 * side, side, side)):
        frequencies = MAX_PERIOD ** (-torch.arange(0, dim, 2, device=device).double() / dim)
        angles = torch.arange(grid[axis], device=device)[:, None] * frequencies
        shape = [1, 1, 1, dim // 2]
        shape[axis] = grid[axis]
        axes.append(torch.polar(torch.ones_like(angles), angles).view(shape).expand(*grid, -1))
    return torch.cat(axes, dim=-1).flatten(0, 2).unsqueeze(1).to(torch.complex64)


def apply_rope(x: Tensor, rope: Tensor) -> Tensor:
    """Rotate adjacent channel pairs of ``[B, L, heads, d]``.

    Differs: angles in double precision as published, but the product in single.
    """
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * rope).flatten(-2).to(x.dtype)


def unpatchify(patches: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Tokens ``[B, L, 4 * C]`` back to latents ``[B, C, T, H, W]``."""
    (t, h, w), (p, q, r) = grid, PATCH
    layout = "b (t h w) (p q r c) -> b c (t p) (h q) (w r)"
    return rearrange(patches, layout, t=t, h=h, w=w, p=p, q=q, r=r)
