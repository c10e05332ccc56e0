"""The reference dual-to-single-stream video transformer (HunyuanVideo), in ComfyUI's key layout.

It exists for the command line, for training the embedded model and for parity; users' 13B weights
run in ComfyUI. One forward pass predicts velocity (noise - data). Text and image tokens of the
multimodal encoder are one sequence, ``text`` here. Audio comes in through ``AudioHooks``; of it the
transformer knows only what it calls.

Letters: B batch, C channels, T latent frames, H and W latent height and width, N tokens per latent
frame (H/2 * W/2), L = T * N video tokens (frame-major), M text tokens, D width.
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
from .configs import HybridConfig
from .wan import PATCH, WanRMSNorm, apply_rope

ROPE_AXES = (16, 56, 56)
"""Channels of a head that turn with time, row and column."""

ROPE_THETA = 256.0
MAX_PERIOD = 10000.0
MLP_RATIO = 4
EPS = 1e-6

GUIDANCE_UNIT = 1000.0
"""Guidance scales enter their sinusoid times this."""

DEFAULT_GUIDANCE = 6.0
"""Guidance scale that the published weights were distilled around."""


class AudioHooks(Protocol):
    """What a block asks of the audio: see ``hybrid_adapter.HybridAudioPass``."""

    def after_block(self, kind: str, index: int, video: Tensor) -> Tensor:
        """Video tokens ``[B, L, D]`` after a ``double`` or ``single`` block, with audio in them."""
        ...


class Modulated(NamedTuple):
    """Shift, scale and gate of one branch of a block, each broadcastable to its tokens."""

    shift: Tensor
    scale: Tensor
    gate: Tensor


class Times(NamedTuple):
    """What modulates the tokens.

    Attributes:
        moving: Embedded time, pooled text and guidance ``[B, D]``.
        still: The same at time 0 for the tokens of a replaced first frame, or None.
        still_tokens: How many tokens at the head of a sequence those are.
    """

    moving: Tensor
    still: Tensor | None = None
    still_tokens: int = 0


class MLPEmbedder(nn.Module):
    """Two linear layers around a SiLU."""

    def __init__(self, in_dim: int, dim: int):
        super().__init__()
        self.in_layer, self.out_layer = nn.Linear(in_dim, dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Embed ``[B, in_dim]`` to ``[B, D]``."""
        return self.out_layer(F.silu(self.in_layer(x)))


class PatchEmbed(nn.Module):
    """Latents to tokens."""

    def __init__(self, in_channels: int, dim: int):
        super().__init__()
        self.proj = nn.Conv3d(in_channels, dim, PATCH, PATCH)


class RefinerAttention(nn.Module):
    """Self-attention of text tokens, without positions."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Attend ``[B, M, D]`` to itself."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        return self.proj(attention(q, k, v))


class RefinerBlock(nn.Module):
    """A transformer block whose two residuals are gated by time and mean text."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(dim, 2 * dim))
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=EPS), nn.LayerNorm(dim, eps=EPS)
        self.self_attn = RefinerAttention(dim, heads)
        self.mlp = nn.Sequential(
            nn.Linear(dim, MLP_RATIO * dim), nn.SiLU(), nn.Linear(MLP_RATIO * dim, dim)
        )

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Refine ``[B, M, D]`` under ``[B, D]``."""
        first, second = self.adaLN_modulation(c)[:, None].chunk(2, dim=-1)
        x = x + self.self_attn(self.norm1(x)) * first
        return x + self.mlp(self.norm2(x)) * second


class TokenRefinerBlocks(nn.Module):
    """The refiner's blocks, under the name that the published keys give them."""

    def __init__(self, config: HybridConfig):
        super().__init__()
        blocks = (RefinerBlock(config.dim, config.heads) for _ in range(config.refiner_blocks))
        self.blocks = nn.ModuleList(blocks)


class TokenRefiner(nn.Module):
    """Text encoder output to the width of the stream.

    Differs: HunyuanVideo averages the text over its unpadded tokens, ComfyUI and this over all;
    text comes without padding here.
    """

    def __init__(self, config: HybridConfig):
        super().__init__()
        self.input_embedder = nn.Linear(config.text_dim, config.dim)
        self.t_embedder = MLPEmbedder(config.freq_dim, config.dim)
        self.c_embedder = MLPEmbedder(config.text_dim, config.dim)
        self.individual_token_refiner = TokenRefinerBlocks(config)

    def forward(self, text: Tensor, sinusoid: Tensor) -> Tensor:
        """Refine ``[B, M, text_dim]`` to ``[B, M, D]``; ``sinusoid`` is the time's."""
        c = self.t_embedder(sinusoid) + self.c_embedder(text.mean(dim=1))
        x = self.input_embedder(text)
        for block in self.individual_token_refiner.blocks:
            x = block(x, c)
        return x


class Modulation(nn.Module):
    """Shifts, scales and gates from the embedded time."""

    def __init__(self, dim: int, branches: int):
        super().__init__()
        self.branches = branches
        self.lin = nn.Linear(dim, 3 * branches * dim)

    def forward(self, times: Times, tokens: int | None) -> list[Modulated]:
        """One triple per branch.

        Args:
            times: Embedded times.
            tokens: Length of the sequence, whose head may stand still; None for one that does not.
        """
        parts = self._parts(times.moving)
        if tokens is None or times.still is None:
            return [Modulated(*parts[i : i + 3]) for i in range(0, len(parts), 3)]
        still = min(times.still_tokens, tokens)
        both = [
            torch.cat([head.expand(-1, still, -1), rest.expand(-1, tokens - still, -1)], dim=1)
            for head, rest in zip(self._parts(times.still), parts, strict=True)
        ]
        return [Modulated(*both[i : i + 3]) for i in range(0, len(both), 3)]

    def _parts(self, vec: Tensor) -> tuple[Tensor, ...]:
        return self.lin(F.silu(vec))[:, None].chunk(3 * self.branches, dim=-1)


class QKNorm(nn.Module):
    """RMS norms of queries and keys, per head."""

    def __init__(self, head_dim: int):
        super().__init__()
        self.query_norm, self.key_norm = WanRMSNorm(head_dim, EPS), WanRMSNorm(head_dim, EPS)


class StreamAttention(nn.Module):
    """What one stream of a double block brings to the joint attention."""

    def __init__(self, config: HybridConfig):
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.dim, 3 * config.dim)
        self.norm = QKNorm(config.head_dim)
        self.proj = nn.Linear(config.dim, config.dim)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values ``[B, n, heads, d]`` of ``[B, n, D]``."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        return self.norm.query_norm(q), self.norm.key_norm(k), v


def feed_forward(dim: int) -> nn.Sequential:
    """The MLP of a stream."""
    return nn.Sequential(
        nn.Linear(dim, MLP_RATIO * dim),
        nn.GELU(approximate="tanh"),
        nn.Linear(MLP_RATIO * dim, dim),
    )


def modulate(x: Tensor, by: Modulated) -> Tensor:
    """Norm without weights, scale, shift."""
    return F.layer_norm(x, x.shape[-1:], eps=EPS) * (1 + by.scale) + by.shift


class DoubleBlock(nn.Module):
    """Video and text with weights of their own, attending to both together."""

    def __init__(self, config: HybridConfig):
        super().__init__()
        dim = config.dim
        self.img_mod, self.txt_mod = Modulation(dim, 2), Modulation(dim, 2)
        self.img_attn, self.txt_attn = StreamAttention(config), StreamAttention(config)
        self.img_mlp, self.txt_mlp = feed_forward(dim), feed_forward(dim)

    def forward(
        self, video: Tensor, text: Tensor, times: Times, rope: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Transform video ``[B, L, D]`` and text ``[B, M, D]``."""
        video_mod = self.img_mod(times, video.shape[1])
        text_mod = self.txt_mod(times, None)
        q, k, v = self.img_attn.project(modulate(video, video_mod[0]))
        text_q, text_k, text_v = self.txt_attn.project(modulate(text, text_mod[0]))
        q = torch.cat([text_q, apply_rope(q, rope)], dim=1)
        k = torch.cat([text_k, apply_rope(k, rope)], dim=1)
        out = attention(q, k, torch.cat([text_v, v], dim=1))
        text_out, video_out = out.split([text.shape[1], video.shape[1]], dim=1)
        video = video + self.img_attn.proj(video_out) * video_mod[0].gate
        video = video + self.img_mlp(modulate(video, video_mod[1])) * video_mod[1].gate
        text = text + self.txt_attn.proj(text_out) * text_mod[0].gate
        text = text + self.txt_mlp(modulate(text, text_mod[1])) * text_mod[1].gate
        return video, text


class SingleBlock(nn.Module):
    """Text and video as one sequence; attention and MLP side by side.

    Differs: with a replaced first frame, as many tokens at the head of ``[text, video]`` stand
    still as a frame has, because ComfyUI, whose sequence begins with the text, has it so.
    HunyuanVideo's own sequence begins with the video, and the same count is its first frame.
    """

    def __init__(self, config: HybridConfig):
        super().__init__()
        dim, self.heads = config.dim, config.heads
        self.split = [3 * dim, MLP_RATIO * dim]
        self.linear1 = nn.Linear(dim, sum(self.split))
        self.linear2 = nn.Linear((1 + MLP_RATIO) * dim, dim)
        self.norm = QKNorm(config.head_dim)
        self.modulation = Modulation(dim, 1)

    def forward(self, x: Tensor, times: Times, rope: Tensor) -> Tensor:
        """Transform ``[B, M + L, D]``; ``rope`` leaves the text where it is."""
        (mod,) = self.modulation(times, x.shape[1])
        qkv, mlp = self.linear1(modulate(x, mod)).split(self.split, dim=-1)
        q, k, v = qkv.unflatten(-1, (3, self.heads, -1)).unbind(2)
        q = apply_rope(self.norm.query_norm(q), rope)
        k = apply_rope(self.norm.key_norm(k), rope)
        out = torch.cat([attention(q, k, v), F.gelu(mlp, approximate="tanh")], dim=-1)
        return x + self.linear2(out) * mod.gate


class FinalLayer(nn.Module):
    """Tokens to latent patches."""

    def __init__(self, config: HybridConfig):
        super().__init__()
        self.linear = nn.Linear(config.dim, math.prod(PATCH) * config.out_channels)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(config.dim, 2 * config.dim))

    def forward(self, x: Tensor, times: Times) -> Tensor:
        """Project video tokens ``[B, L, D]`` to ``[B, L, 4 * C]``."""
        if times.still is None:
            return self.linear(self._modulated(x, times.moving))
        first, rest = x.tensor_split([times.still_tokens], dim=1)
        parts = [self._modulated(first, times.still), self._modulated(rest, times.moving)]
        return self.linear(torch.cat(parts, dim=1))

    def _modulated(self, x: Tensor, vec: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(vec)[:, None].chunk(2, dim=-1)
        return F.layer_norm(x, x.shape[-1:], eps=EPS) * (1 + scale) + shift


class HybridModel(nn.Module):
    """HunyuanVideo, for text-to-video and both kinds of image-to-video.

    Source: HunyuanVideo and HunyuanVideo-I2V, as ComfyUI has them.
    """

    def __init__(self, config: HybridConfig):
        super().__init__()
        dim = config.dim
        self.config = config
        self.img_in = PatchEmbed(config.in_channels, dim)
        self.time_in = MLPEmbedder(config.freq_dim, dim)
        self.vector_in = MLPEmbedder(config.pooled_dim, dim)
        if config.guidance_embed:
            self.guidance_in = MLPEmbedder(config.freq_dim, dim)
        self.txt_in = TokenRefiner(config)
        self.double_blocks = nn.ModuleList(DoubleBlock(config) for _ in range(config.double_blocks))
        self.single_blocks = nn.ModuleList(SingleBlock(config) for _ in range(config.single_blocks))
        self.final_layer = FinalLayer(config)

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        text: Tensor,
        pooled: Tensor,
        *,
        concat: Tensor | None = None,
        first_is_clean: bool = False,
        guidance: float | Tensor | None = DEFAULT_GUIDANCE,
        audio: AudioHooks | None = None,
    ) -> Tensor:
        """Predict the velocity (noise - data).

        Args:
            latents: Noisy latents ``[B, C, T, H, W]``; positions in time count from 0 in every
                call, wherever in the clip it stands.
            timestep: 0..1000, ``[B]``.
            text: Text and image tokens ``[B, M, text_dim]``, without padding.
            pooled: Pooled text ``[B, pooled_dim]``.
            concat: Reference latent and mask ``[B, C + 1, T, H, W]``, appended on the channel
                axis, by a model of 33 channels.
            first_is_clean: Latent frame 0 is the clean reference, and its tokens are modulated as
                at time 0 (token replace).
            guidance: Guidance scale, a number or ``[B]``, for a model that has it as an input.
            audio: The audio of this pass.

        Returns:
            ``[B, C, T, H, W]`` in the type of the weights.
        """
        dtype = self.img_in.proj.weight.dtype
        if concat is not None:
            latents = torch.cat([latents, concat.to(latents)], dim=1)
        x = self.img_in.proj(latents.to(dtype))
        grid = (x.shape[2], x.shape[3], x.shape[4])
        video = x.flatten(2).transpose(1, 2)
        frame_tokens = grid[1] * grid[2] if first_is_clean else 0
        times = self._times(timestep, pooled.to(dtype), guidance, frame_tokens)
        words = self.txt_in(text.to(dtype), self._sinusoid(timestep))
        rope = rope_table(grid, 0, x.device)
        for index, block in enumerate(self.double_blocks):
            video, words = block(video, words, times, rope)
            if audio is not None:
                video = audio.after_block("double", index, video)
        lengths = [words.shape[1], video.shape[1]]
        rope = rope_table(grid, words.shape[1], x.device)
        for index, block in enumerate(self.single_blocks):
            joined = block(torch.cat([words, video], dim=1), times, rope)
            words, video = joined.split(lengths, dim=1)
            if audio is not None:
                video = audio.after_block("single", index, video)
        return unpatchify(self.final_layer(video, times), grid)

    def _times(
        self,
        timestep: Tensor,
        pooled: Tensor,
        guidance: float | Tensor | None,
        still_tokens: int,
    ) -> Times:
        """Embed time, pooled text and guidance."""
        base = self.vector_in(pooled)
        if self.config.guidance_embed and guidance is not None:
            scale = torch.as_tensor(guidance, device=timestep.device).expand(len(timestep))
            base = base + self.guidance_in(self._sinusoid(GUIDANCE_UNIT * scale))
        moving = base + self.time_in(self._sinusoid(timestep))
        if not still_tokens:
            return Times(moving)
        still = base + self.time_in(self._sinusoid(torch.zeros_like(timestep)))
        return Times(moving, still, still_tokens)

    def _sinusoid(self, values: Tensor) -> Tensor:
        """Sinusoids ``[B, freq_dim]`` of ``[B]``, cosines first."""
        half = self.config.freq_dim // 2
        steps = torch.arange(half, device=values.device, dtype=torch.float32)
        angles = values.float()[:, None] * torch.exp(-math.log(MAX_PERIOD) * steps / half)
        sinusoid = torch.cat([angles.cos(), angles.sin()], dim=1)
        return sinusoid.to(self.img_in.proj.weight.dtype)


@functools.lru_cache(maxsize=8)
def rope_table(grid: tuple[int, int, int], text: int, device: torch.device) -> Tensor:
    """Rotations of ``text`` tokens, which have none, and of every video token.

    Returns:
        Complex ``[text + L, 1, head_dim / 2]``. A token's position on each axis is its integer
        index in the grid (T, H/2, W/2).
    """
    axes = []
    for axis, dim in enumerate(ROPE_AXES):
        frequencies = ROPE_THETA ** (-torch.arange(0, dim, 2, device=device).double() / dim)
        angles = torch.arange(grid[axis], device=device)[:, None] * frequencies
        shape = [1, 1, 1, dim // 2]
        shape[axis] = grid[axis]
        axes.append(torch.polar(torch.ones_like(angles), angles).view(shape).expand(*grid, -1))
    video = torch.cat(axes, dim=-1).flatten(0, 2).unsqueeze(1).to(torch.complex64)
    return torch.cat([torch.ones_like(video[:1]).expand(text, -1, -1), video])


def unpatchify(patches: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Tokens ``[B, L, C * 4]`` back to latents ``[B, C, T, H, W]``."""
    (t, h, w), (p, q, r) = grid, PATCH
    layout = "b (t h w) (c p q r) -> b c (t p) (h q) (w r)"
    return rearrange(patches, layout, t=t, h=h, w=w, p=p, q=q, r=r)
