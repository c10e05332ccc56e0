"""Who speaks where: attention to the speakers' masks puts every token on a one-dimensional axis.

The published name is L-RoPE: speakers own separate ranges of the axis, their audio tokens sit in
the middle of their range, and a rotary embedding makes a token listen to the voice next to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

RANGES = ((0.0, 4.0), (20.0, 24.0), (4.0, 8.0), (8.0, 12.0), (12.0, 16.0), (16.0, 20.0))
"""Range of the axis per speaker. Two as published (class range 24, interval 4); the free ranges in
between serve a third to sixth speaker, for whom no published weights were trained."""

KEY_POSITIONS = tuple((low + high) / 2 for low, high in RANGES)
"""Where the audio tokens of a speaker sit: 2 and 22 for the published two."""

BACKGROUND_POSITION = 12.0
"""Where tokens stand that belong to no speaker."""

ROPE_BASE = 10000.0

SLICE_FRACTION = 8
"""No tensor of the attention map is larger than an eighth of one head's full map."""


def rotate_by_position(x: Tensor, positions: Tensor) -> Tensor:
    """Rotary embedding of ``x`` ``[B, M, heads, d]`` at fractional ``positions`` ``[B, M]``.

    Adjacent channels are rotated as pairs, over the whole head, in float32.

    Source: InfiniteTalk, ``RotaryPositionalEmbedding1D``.
    """
    d = x.shape[-1]
    frequencies = ROPE_BASE ** (-torch.arange(0, d, 2, device=x.device, dtype=torch.float32) / d)
    angles = positions.float()[:, :, None, None] * frequencies
    cos, sin = angles.cos(), angles.sin()
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    rotated = torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1)
    return rotated.flatten(-2).to(x.dtype)


def reference_attention_map(q: Tensor, reference_k: Tensor, token_masks: Tensor) -> Tensor:
    """How much each token looks at each masked region of the first latent frame.

    Per head, queries are softmaxed against the keys of the first latent frame; the map of a class
    is the mean over heads of the attention inside its mask, divided by the mask's size. Computed
    head by head in slices of queries, accumulated in float32, so that no tensor exceeds
    ``L * N / 8`` elements.

    Args:
        q: Queries after RoPE ``[B, L, heads, d]``.
        reference_k: Keys after RoPE of the first latent frame ``[B, N, heads, d]``.
        token_masks: 0/1 masks per token of that frame ``[K, N]``, one row per class.

    Returns:
        ``[B, K, L]`` float32. A class without tokens gets 0.

    Source: InfiniteTalk, ``get_attn_map_with_target``.
    Differs: the published code averages two groups of ``heads // 2`` and thereby drops the last of
    an odd number of heads; it accumulates in bfloat16 and divides by zero for an empty mask.
    """
    batch, length, heads, d = q.shape
    masks = token_masks.to(q.device, torch.float32)
    masks = masks / masks.sum(dim=1, keepdim=True).clamp(min=1.0)
    total = torch.zeros(batch, len(masks), length, device=q.device)
    step = max(1, length // (SLICE_FRACTION * batch))
    for head in range(heads):
        keys = reference_k[:, :, head].transpose(1, 2)
        for start in range(0, length, step):
            rows = slice(start, start + step)
            scores = (q[:, rows, head] * d**-0.5) @ keys
            attended = scores.float().softmax(dim=-1) @ masks.T
            total[:, :, rows] += attended.transpose(1, 2)
    return total / heads


def speaker_positions(attention_map: Tensor) -> Tensor:
    """Place every token on the speakers' axis.

    Args:
        attention_map: ``[B, S + 1, L]``, background last.

    Returns:
        ``[B, L]`` float32: inside the range of the speaker whose map is largest there, stretched
        from that map's minimum to its maximum over the chunk; 12 where the background is largest.

    Source: InfiniteTalk, ``SingleStreamMutiAttention.forward``.
    """
    speakers = attention_map[:, :-1]
    low = speakers.amin(dim=-1, keepdim=True)
    high = speakers.amax(dim=-1, keepdim=True)
    ranges = torch.tensor(RANGES[: speakers.shape[1]], device=attention_map.device)
    start, stop = ranges[None, :, :1], ranges[None, :, 1:]
    placed = (speakers - low) / (high - low + 1e-8) * (stop - start) + start
    background = torch.full_like(placed[:, :1], BACKGROUND_POSITION)
    owner = attention_map.argmax(dim=1, keepdim=True)
    return torch.cat([placed, background], dim=1).gather(1, owner).squeeze(1)


def strength_at(positions: Tensor, strength: Tensor) -> Tensor:
    """Strength of every token: that of the speaker in whose range it stands, 1 in the background.

    Args:
        positions: ``[B, L]``.
        strength: ``[B, S]``.

    Returns:
        ``[B, L]`` in the type of ``strength``.
    """
    at = torch.ones_like(positions, dtype=strength.dtype)
    for (low, high), value in zip(RANGES, strength.unbind(1), strict=False):
        inside = (positions >= low) & (positions <= high) & (positions != BACKGROUND_POSITION)
        at = torch.where(inside, value[:, None], at)
    return at


@dataclass(frozen=True)
class SpeakerRouting:
    """Routing of one chunk: the masks of its speakers on the token grid.

    Attributes:
        token_masks: ``[S + 1, N]`` 0/1 masks on one latent frame's tokens, background last.
    """

    token_masks: Tensor

    def positions(self, q: Tensor, k: Tensor) -> Tensor:
        """Positions ``[B, L]`` of all tokens from a block's q and k ``[B, L, heads, d]``."""
        reference_k = k[:, : self.token_masks.shape[1]]
        return speaker_positions(reference_attention_map(q, reference_k, self.token_masks))
