"""The InfiniteTalk audio adapter: audio features become tokens, and tokens move the mouth.

``AudioAdapter`` holds the published keys (``audio_proj.*``, ``blocks.N.audio_cross_attn.*``,
``blocks.N.norm_x.*``). ``AudioPass`` is one forward pass of a transformer with audio in it: the
transformer calls ``after_self_attention`` and ``after_cross_attention`` at every block and needs to
know nothing else. Neither knows which transformer it is, nor who owns its memory: the kinds of
layers and the attention function come from outside (``Toolkit``), torch's by default.

Letters: B batch, S speakers, F pixel frames, T latent frames, N tokens per latent frame,
L = T * N tokens, D width, A audio tokens per latent frame and speaker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..frames import TEMPORAL_STRIDE
from .attention import attention
from .configs import AdapterConfig
from .gating import SpeakerGates, open_gates
from .routing import KEY_POSITIONS, SpeakerRouting, rotate_by_position, strength_at

HALF_WINDOW = 2
"""Audio frames on either side of the middle one in an audio window."""


HOST_KEY = "endless_talk"
"""Under which a host finds our hooks, our additional model and the audio of a call."""

AUDIO, MASKS, STRENGTH = f"{HOST_KEY}_audio", f"{HOST_KEY}_masks", f"{HOST_KEY}_strength"
"""Names of what a host's conditioning carries to a call: audio windows
``[B, S, F, 5, layers, channels]``, the speakers' token masks ``[B, S + 1, N]`` (two speakers and
more), their strengths ``[B, S]``."""

GATES = f"{HOST_KEY}_gates"
"""Name of the speakers' gates ``[B, S, T or 1, N]``, which take the place of the token masks."""


@dataclass(frozen=True)
class Toolkit:
    """What the adapter is built from.

    Attributes:
        layers: Where ``Linear`` and ``LayerNorm`` come from; a host passes its own, which cast and
            offload.
        attend: As ``attention.attention``.
    """

    layers: Any = nn
    attend: Callable[..., Tensor] = attention


def group_audio_windows(windows: Tensor) -> tuple[Tensor, Tensor]:
    """Regroup per-frame audio windows into what each latent frame hears.

    The first latent frame stands for one pixel frame and hears its whole window. A later one
    stands for four: of the first it takes offsets -2, -1, 0, of the two in the middle offset 0, of
    the last offsets 0, 1, 2; away from the ends of the track these are 8 consecutive audio frames.

    Args:
        windows: ``[S, F, 5, layers, channels]`` with F = 4n + 1.

    Returns:
        First ``[S, 1, 5, layers, channels]`` and later ``[S, T - 1, 8, layers, channels]`` windows.

    Source: InfiniteTalk, the audio part of ``WanModel.forward``.
    """
    assert (windows.shape[1] - 1) % TEMPORAL_STRIDE == 0, f"{windows.shape[1]} frames is not 4n + 1"
    groups = windows[:, 1:].unflatten(1, (-1, TEMPORAL_STRIDE))
    past = groups[:, :, 0, : HALF_WINDOW + 1]
    present = groups[:, :, 1:-1, HALF_WINDOW]
    future = groups[:, :, -1, HALF_WINDOW:]
    return windows[:, :1], torch.cat([past, present, future], dim=2)


class AudioProjection(nn.Module):
    """Audio windows to audio tokens: two entry layers, a shared trunk, a norm.

    Independent of timestep and latent, so it is worth calling once per chunk.
    """

    def __init__(self, config: AdapterConfig, toolkit: Toolkit):
        super().__init__()
        layers = toolkit.layers
        self.tokens, self.token_dim = config.tokens, config.token_dim
        self.proj1 = layers.Linear(config.first_window * config.feature_size, config.hidden)
        self.proj1_vf = layers.Linear(config.group_window * config.feature_size, config.hidden)
        self.proj2 = layers.Linear(config.hidden, config.hidden)
        self.proj3 = layers.Linear(config.hidden, config.tokens * config.token_dim)
        self.norm = layers.LayerNorm(config.token_dim, eps=1e-5)

    def forward(self, windows: Tensor) -> Tensor:
        """Project ``[S, F, 5, layers, channels]`` audio windows to ``[S, T, A, token_dim]``."""
        first, later = group_audio_windows(windows)
        x = torch.cat([self.proj1(first.flatten(2)), self.proj1_vf(later.flatten(2))], dim=1)
        x = self.proj3(F.relu(self.proj2(F.relu(x))))
        x = x.unflatten(-1, (self.tokens, self.token_dim))
        return self.norm(x)


class AudioCrossAttention(nn.Module):
    """Each latent frame attends to its own audio tokens; no norms on q and k."""

    def __init__(self, config: AdapterConfig, toolkit: Toolkit):
        super().__init__()
        self.attend = toolkit.attend
        self.q_linear = toolkit.layers.Linear(config.dim, config.dim)
        self.kv_linear = toolkit.layers.Linear(config.token_dim, 2 * config.dim)
        self.proj = toolkit.layers.Linear(config.dim, config.dim)

    def forward(self, x: Tensor, tokens: Tensor, heads: int, positions: Tensor | None) -> Tensor:
        """Attend.

        Args:
            x: Normed token stream ``[B, L, D]``, frame-major.
            tokens: Audio tokens ``[B, S, T, A, token_dim]``, speakers in order.
            heads: Attention heads of the base.
            positions: Where each token stands on the axis that separates speakers (``[B, L]``), or
                None with one speaker, who needs no such axis.
        """
        batch, speakers, latents = tokens.shape[:3]
        q = self.q_linear(x).unflatten(-1, (heads, -1))
        k, v = self.kv_linear(tokens).chunk(2, dim=-1)
        k, v = k.unflatten(-1, (heads, -1)), v.unflatten(-1, (heads, -1))
        if positions is not None:
            q = rotate_by_position(q, positions)
            speaker_positions = torch.tensor(KEY_POSITIONS[:speakers], device=x.device)
            flat = speaker_positions.repeat_interleave(latents * k.shape[3])
            k = rotate_by_position(k.flatten(1, 3), flat.expand(batch, -1)).view_as(k)
        # Frames become batch: [B * T, N, heads, d] against [B * T, S * A, heads, d].
        q = q.unflatten(1, (latents, -1)).flatten(0, 1)
        k = k.transpose(1, 2).flatten(2, 3).flatten(0, 1)
        v = v.transpose(1, 2).flatten(2, 3).flatten(0, 1)
        out = self.attend(q, k, v, exact=True)
        return self.proj(out.unflatten(0, (batch, latents)).flatten(1, 2))


class AdapterBlock(nn.Module):
    """What the adapter adds to one block of the base."""

    def __init__(self, config: AdapterConfig, toolkit: Toolkit):
        super().__init__()
        self.norm_x = toolkit.layers.LayerNorm(config.dim, eps=1e-6)
        self.audio_cross_attn = AudioCrossAttention(config, toolkit)


class AudioAdapter(nn.Module):
    """The adapter's weights under their published names.

    Args:
        config: Its sizes.
        toolkit: What it is built from.

    Source: InfiniteTalk, ``AudioProjModel`` and ``SingleStreamMutiAttention``.
    """

    def __init__(self, config: AdapterConfig, toolkit: Toolkit | None = None):
        super().__init__()
        toolkit = toolkit or Toolkit()
        self.config = config
        self.audio_proj = AudioProjection(config, toolkit)
        self.blocks = nn.ModuleList(AdapterBlock(config, toolkit) for _ in range(config.layers))

    def project(self, windows: Tensor) -> Tensor:
        """Audio windows of every speaker ``[S, F, 5, layers, channels]`` to ``[1, S, T, A, C]``.

        The windows come in the type the projection computes in.
        """
        return self.audio_proj(windows).unsqueeze(0)


@dataclass
class AudioPass:
    """One forward pass with audio: what the blocks of any transformer ask the adapter.

    Attributes:
        adapter: The adapter.
        tokens: Audio tokens ``[B, S, T, A, token_dim]``.
        heads: Attention heads of the base.
        routing: Who stands where, for two speakers and more; None for one.
        strength: Factor on what audio adds, one per row of the batch and speaker ``[B, S]``; None
            is 1, as published. A token takes its speaker's, the background is left alone.
        gates: Where each speaker is heard ``[B or 1, S, T or 1, N]`` in [0, 1], instead of
            routing: every gated token hears its speaker alone, the rest of the picture nobody.
    """

    adapter: AudioAdapter
    tokens: Tensor
    heads: int
    routing: SpeakerRouting | None = None
    strength: Tensor | None = None
    gates: Tensor | None = None

    def __post_init__(self):
        self._positions: Tensor | None = None
        self._gates: SpeakerGates | None = None
        if self.gates is not None:
            assert self.routing is None, "gates take the place of routing"
            self._gates = open_gates(self.gates, self.strength)

    def after_self_attention(self, q: Tensor, k: Tensor) -> None:
        """Learn who stands where from a block's q and k ``[B, L, heads, d]`` after RoPE."""
        if self.routing is not None:
            self._positions = self.routing.positions(q, k)

    def after_cross_attention(self, index: int, x: Tensor) -> Tensor:
        """Add the audio to the residual stream ``[B, L, D]`` of block ``index``.

        Source: InfiniteTalk: plain residual, no gate. Differs: a strength, 1 by default, as the
        ComfyUI implementations have, and on demand the gates of MagicInfinite eq. 2.
        """
        block = self.adapter.blocks[index]
        assert isinstance(block, AdapterBlock)
        tokens = self.tokens.to(x.dtype)
        if self._gates is not None:
            return self._gates.add(x, lambda s, rows: self._hear(block, tokens[:, s : s + 1], rows))
        out = block.audio_cross_attn(block.norm_x(x), tokens, self.heads, self._positions)
        return x + self._weigh(out)

    def _hear(self, block: AdapterBlock, tokens: Tensor, rows: Tensor) -> Tensor:
        """What one speaker ``[B, 1, T, A, token_dim]`` adds to gated tokens ``[B, T, n, D]``."""
        x = block.norm_x(rows.flatten(1, 2))
        out = block.audio_cross_attn(x, tokens, self.heads, None)
        return out.unflatten(1, rows.shape[1:3])

    def _weigh(self, out: Tensor) -> Tensor:
        """Apply the strengths to what the audio adds, ``[B, L, D]``."""
        if self.strength is None:
            return out
        strength = self.strength.to(out)
        if self._positions is None:
            return out * strength[:, :1, None]
        return out * strength_at(self._positions, strength)[:, :, None]
