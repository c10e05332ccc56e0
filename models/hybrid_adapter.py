"""The MagicInfinite audio adapter: audio tokens per latent frame, heard where the gates are open.

``HybridAudioAdapter`` holds the keys (``audio_encoder.*``, ``double_blocks.N.audio_attn.*``,
``single_blocks.N.audio_attn.*``). ``HybridAudioPass`` is one forward pass of a transformer with
audio in it: the transformer calls ``after_block`` after every block and needs to know nothing else.
No weights of the paper are public; the layers are as it describes them, and where it is silent as
in the code of its authors' earlier model, or as InfiniteTalk has them.

Letters: B batch, S speakers, F pixel frames, T latent frames, N tokens per latent frame,
L = T * N tokens, D width, A audio tokens per latent frame and speaker.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..frames import TEMPORAL_STRIDE
from .adapter import HOST_KEY, Toolkit
from .configs import HybridAdapterConfig
from .gating import SpeakerGates, everywhere, open_gates

GROUPED_AUDIO = f"{HOST_KEY}_grouped_audio"
"""Name of the audio windows ``[B, S, 4T, 5, layers, channels]`` in a host's conditioning."""

EPS = 1e-6


def group_frames(windows: Tensor) -> Tensor:
    """Four pixel frames for every latent frame, from the start of a clip.

    Latent frame 0 stands for one pixel frame, which is repeated; latent k for ``4k - 3`` to ``4k``.
    The four of a latent frame are the same wherever a denoising window begins, so a window's audio
    tokens are a slice of the clip's.

    Args:
        windows: Audio windows ``[S, F, ...]`` from frame 0 on, F = 4n + 1.

    Returns:
        ``[S, 4T, ...]``.
    """
    assert (windows.shape[1] - 1) % TEMPORAL_STRIDE == 0, f"{windows.shape[1]} frames is not 4n + 1"
    first = windows[:, :1].expand(-1, TEMPORAL_STRIDE - 1, *windows.shape[2:])
    return torch.cat([first, windows], dim=1)


class HybridAudioEncoder(nn.Module):
    """Audio windows to audio tokens; independent of timestep and latent."""

    def __init__(self, config: HybridAdapterConfig, toolkit: Toolkit):
        super().__init__()
        layers = toolkit.layers
        self.frame_tokens, self.token_dim = config.frame_tokens, config.token_dim
        self.proj1 = layers.Linear(config.window * config.feature_size, config.hidden)
        self.proj2 = layers.Linear(config.hidden, config.hidden)
        self.proj3 = layers.Linear(config.hidden, config.frame_tokens * config.token_dim)
        self.norm = layers.LayerNorm(config.token_dim, eps=1e-5)
        tokens = TEMPORAL_STRIDE * config.frame_tokens
        self.pos_embed = nn.Parameter(torch.zeros(tokens, config.token_dim))

    def forward(self, windows: Tensor) -> Tensor:
        """Project ``[S, 4T, 5, layers, channels]`` audio windows to ``[S, T, A, token_dim]``."""
        x = F.relu(self.proj2(F.relu(self.proj1(windows.flatten(2)))))
        x = self.proj3(x).unflatten(-1, (self.frame_tokens, self.token_dim))
        x = x.unflatten(1, (-1, TEMPORAL_STRIDE)).flatten(2, 3)
        return self.norm(x) + self.pos_embed.to(x)


class HybridAudioAttention(nn.Module):
    """The tokens of each latent frame attend to its own audio tokens; no positions, no time."""

    def __init__(self, config: HybridAdapterConfig, toolkit: Toolkit):
        super().__init__()
        layers, dim = toolkit.layers, config.dim
        self.attend, self.heads = toolkit.attend, config.heads
        self.norm = layers.LayerNorm(dim, eps=EPS)
        self.q = layers.Linear(dim, dim)
        self.kv = layers.Linear(config.token_dim, 2 * dim)
        self.q_norm = layers.RMSNorm(dim // config.heads, eps=EPS)
        self.k_norm = layers.RMSNorm(dim // config.heads, eps=EPS)
        self.proj = layers.Linear(dim, dim)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Attend ``[B, T, n, D]`` to audio tokens ``[B, T, A, token_dim]``."""
        q = self.q(self.norm(x)).unflatten(-1, (self.heads, -1)).flatten(0, 1)
        k, v = self.kv(tokens).unflatten(-1, (2, self.heads, -1)).flatten(0, 1).unbind(2)
        out = self.attend(self.q_norm(q), self.k_norm(k), v, exact=True)
        return self.proj(out.unflatten(0, x.shape[:2]))


class HybridAdapterBlock(nn.Module):
    """What the adapter adds after one block of the base."""

    def __init__(self, config: HybridAdapterConfig, toolkit: Toolkit):
        super().__init__()
        self.audio_attn = HybridAudioAttention(config, toolkit)


class HybridAudioAdapter(nn.Module):
    """The adapter's weights.

    New weights change nothing: the output projections begin at zero.

    Args:
        config: Its sizes.
        toolkit: What it is built from.

    Source: MagicInfinite 3.2 and 4.1.3.
    """

    def __init__(self, config: HybridAdapterConfig, toolkit: Toolkit | None = None):
        super().__init__()
        toolkit = toolkit or Toolkit()
        self.config = config
        self.audio_encoder = HybridAudioEncoder(config, toolkit)
        self.double_blocks, self.single_blocks = (
            nn.ModuleDict({str(i): HybridAdapterBlock(config, toolkit) for i in layers})
            for layers in (config.double_layers, config.single_layers)
        )
        for module in self.modules():
            if isinstance(module, HybridAudioAttention) and module.proj.weight is not None:
                nn.init.zeros_(module.proj.weight)
                nn.init.zeros_(module.proj.bias)

    def project(self, windows: Tensor) -> Tensor:
        """Audio windows of every speaker ``[S, 4T, 5, layers, channels]`` to ``[1, S, T, A, C]``.

        The windows come in the type the encoder computes in.
        """
        return self.audio_encoder(windows).unsqueeze(0)

    def attention_after(self, kind: str, index: int) -> HybridAudioAttention | None:
        """The audio cross-attention after a ``double`` or ``single`` block, or None."""
        blocks = self.double_blocks if kind == "double" else self.single_blocks
        if str(index) not in blocks:
            return None
        block = blocks[str(index)]
        assert isinstance(block, HybridAdapterBlock)
        return block.audio_attn


@dataclass
class HybridAudioPass:
    """One forward pass with audio: what the blocks of any transformer ask the adapter.

    Attributes:
        adapter: The adapter.
        tokens: Audio tokens ``[B, S, T, A, token_dim]``.
        gates: Where each speaker is heard ``[B or 1, S, T or 1, N]`` in [0, 1]; None is everywhere.
        strength: Factor on what a speaker adds ``[B or 1, S]``; None is 1. 0 for a row is the base
            without audio.
    """

    adapter: HybridAudioAdapter
    tokens: Tensor
    gates: Tensor | None = None
    strength: Tensor | None = None

    def __post_init__(self):
        self._gates: SpeakerGates | None = None

    def after_block(self, kind: str, index: int, video: Tensor) -> Tensor:
        """Add the audio to the video tokens ``[B, L, D]`` after a block.

        Source: MagicInfinite eq. 2. Differs: a sum over speakers, and a strength of each.
        """
        attention = self.adapter.attention_after(kind, index)
        if attention is None:
            return video
        tokens = self.tokens.to(video.dtype)
        return self._opened(video).add(video, lambda s, x: attention(x, tokens[:, s]))

    def _opened(self, video: Tensor) -> SpeakerGates:
        if self._gates is None:
            speakers, latents = self.tokens.shape[1:3]
            gates = self.gates
            if gates is None:
                gates = everywhere(speakers, video.shape[1] // latents, video.device)
            strength = None if self.strength is None else self.strength.to(video.device)
            self._gates = open_gates(gates.to(video.device), strength)
        return self._gates
