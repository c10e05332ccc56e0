"""Gates: where each speaker is heard, as a factor per token, and work on those tokens alone.

A gate is 1 where a face is, 0 where nothing may follow the voice, anything between at soft edges.
Audio cross-attention is a residual times the gate, so tokens whose gate is 0 in every latent frame
need no queries: they are left out before the first multiplication. It knows no network.

Letters: B batch, S speakers, T latent frames, N tokens per latent frame, L = T * N, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SpeakerGates:
    """The gates of one forward pass, with the tokens that they leave to compute.

    Attributes:
        weights: Factor on what each speaker adds ``[B or 1, S, T or 1, N]``, strengths included.
        tokens: Per speaker, indices of the tokens whose gate is above 0 in any latent frame.
    """

    weights: Tensor
    tokens: tuple[Tensor, ...]

    def add(self, stream: Tensor, hear: Callable[[int, Tensor], Tensor]) -> Tensor:
        """The stream with every speaker's audio added where its gate is open.

        Args:
            stream: ``[B, L, D]``, frame-major; it is not written to.
            hear: What a speaker (its index) adds to gated tokens ``[B, T, n, D]``.
        """
        frames = stream.unflatten(1, (-1, self.weights.shape[-1]))
        out = frames.clone()
        for speaker, index in enumerate(self.tokens):
            if not len(index):
                continue
            heard = hear(speaker, frames[:, :, index])
            weight = self.weights[:, speaker, :, index, None].to(heard)
            out.index_add_(2, index, (heard * weight).to(out))
        return out.flatten(1, 2)


def open_gates(gates: Tensor, strength: Tensor | None = None) -> SpeakerGates:
    """Prepare the gates of a pass.

    Where gates overlap they are divided by their sum, if that is above 1, so that two voices never
    move a token further than one does.

    Args:
        gates: ``[B or 1, S, T or 1, N]`` in [0, 1].
        strength: Factor on what a speaker adds, ``[B or 1, S]``; None is 1.
    """
    gates = gates.float()
    weights = gates / gates.sum(dim=1, keepdim=True).clamp(min=1.0)
    if strength is not None:
        weights = weights * strength.to(weights)[:, :, None, None]
    used = (weights != 0).any(dim=2).any(dim=0)
    return SpeakerGates(weights, tuple(torch.nonzero(row).flatten() for row in used))


def everywhere(speakers: int, tokens: int, device: torch.device | str) -> Tensor:
    """Gates of speakers without a place: open over the whole picture, ``[1, S, 1, N]``."""
    return torch.ones(1, speakers, 1, tokens, device=device)
