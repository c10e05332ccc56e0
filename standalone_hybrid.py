"""The reference HunyuanVideo and its adapter behind the samplers' protocols.

What ``standalone`` is for Wan: builds the conditions of a chunk or denoising window, and turns a
guidance branch into one call of the transformer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .audio.windows import FeatureSource
from .models.hybrid import DEFAULT_GUIDANCE, HybridModel
from .models.hybrid_adapter import HybridAudioAdapter, HybridAudioPass
from .samplers.conditioning import latent_windows, padded_reference
from .samplers.guidance import BRANCH_INPUTS
from .samplers.plan import Chunk
from .samplers.protocols import VideoCodec
from .standalone import ChunkGates, WindowReader, clamped_windows


class HybridPrompt(NamedTuple):
    """A prompt as the network reads it.

    Attributes:
        tokens: Text and image tokens ``[M, text_dim]``, without padding.
        pooled: Pooled text ``[pooled_dim]``.
    """

    tokens: Tensor
    pooled: Tensor


@dataclass(frozen=True)
class Hearing:
    """What a branch hears: audio tokens ``[1, S, T, A, C]`` and the strength of each speaker."""

    tokens: Tensor
    strength: Tensor


@dataclass(frozen=True)
class HybridConditions:
    """What the networks read for one chunk.

    Attributes:
        prompts: By name (``positive``, ``negative``).
        concat: Reference latent and mask ``[1, 17, T, H, W]``, or None for a model whose first
            latent frame is replaced.
        voice: What branches with the voices hear.
        silence: What the others hear.
        gates: Where each speaker is heard, in both; None is everywhere.
    """

    prompts: Mapping[str, HybridPrompt]
    concat: Tensor | None
    voice: Hearing
    silence: Hearing
    gates: Tensor | None


class HybridConditioner:
    """Conditions for ``HybridPredictor``; encodes a reference frame once.

    ``prompts`` and ``strength`` may be set before a chunk, as ``samplers.timed`` does.

    Args:
        model: The transformer.
        adapter: The audio adapter.
        codec: The VAE.
        texts: ``positive`` and, with text guidance, ``negative``.
        voices: Audio features per speaker.
        gates: Where each speaker is heard; None is everywhere.
        windows: How audio windows are cut.
        strength: Factor on what the audio adds, one per speaker ``[S]``; None is 1.
    """

    def __init__(
        self,
        model: HybridModel,
        adapter: HybridAudioAdapter,
        codec: VideoCodec,
        *,
        texts: Mapping[str, HybridPrompt],
        voices: Sequence[FeatureSource],
        gates: ChunkGates | None = None,
        windows: WindowReader = clamped_windows,
        strength: Tensor | None = None,
    ):
        self.model, self.adapter, self.codec = model, adapter, codec
        self.prompts, self.voices = texts, voices
        self.gates, self.windows = gates, windows
        self.strength = torch.ones(len(voices)) if strength is None else strength
        self._seen: tuple[Tensor, int] | None = None
        self._concat: Tensor | None = None

    def conditions(self, chunk: Chunk, reference: Tensor) -> HybridConditions:
        """Conditions of a chunk with its reference frame ``[3, H, W]``."""
        seen = self._seen
        if seen is None or seen[0] is not reference or seen[1] != chunk.frames:
            if not self.model.config.family.holds_first_frame:
                self._concat = padded_reference(self.codec, reference, chunk.frames)[None]
            self._seen = (reference, chunk.frames)
        weight = self.adapter.audio_encoder.proj1.weight
        windows = latent_windows(self._read, chunk).to(weight)
        silent = torch.zeros_like(self.strength)
        if self.adapter.config.null_audio == "zeros":
            silent = torch.ones_like(self.strength)
        return HybridConditions(
            prompts=self.prompts,
            concat=self._concat,
            voice=Hearing(self.adapter.project(windows), self.strength),
            silence=Hearing(self.adapter.project(torch.zeros_like(windows)), silent),
            gates=None if self.gates is None else self.gates(chunk),
        )

    def _read(self, chunk: Chunk) -> Tensor:
        return torch.cat([self.windows(voice, chunk) for voice in self.voices])


class HybridPredictor:
    """One guidance branch of one step: a call of the transformer.

    Args:
        model: The transformer.
        adapter: The audio adapter.
        guidance: Guidance scale that a model with a guidance embedding is told.
        blind: Guidance branches that see no reference picture; a model whose first latent frame is
            replaced shows it in all of them.
    """

    def __init__(
        self,
        model: HybridModel,
        adapter: HybridAudioAdapter,
        guidance: float = DEFAULT_GUIDANCE,
        blind: Collection[str] = (),
    ):
        self.model, self.adapter, self.guidance, self.blind = model, adapter, guidance, blind

    def begin_chunk(self) -> None:
        """Nothing to forget."""

    def predict(
        self, latents: Tensor, sigma: float, branch: str, conditions: HybridConditions
    ) -> Tensor:
        """Velocity ``[C, T, H, W]`` of ``latents`` at ``sigma`` in [0, 1].

        A branch without the voices hears silence through the same gates, so that guidance changes
        nothing where nobody speaks.
        """
        text, hears = BRANCH_INPUTS[branch]
        prompt = conditions.prompts[text]
        heard = conditions.voice if hears else conditions.silence
        concat = conditions.concat
        if concat is not None and branch in self.blind:
            concat = torch.zeros_like(concat)
        velocity = self.model(
            latents[None],
            torch.full((1,), 1000.0 * sigma, device=latents.device),
            prompt.tokens[None],
            prompt.pooled[None],
            concat=concat,
            first_is_clean=self.model.config.family.holds_first_frame,
            guidance=self.guidance,
            audio=HybridAudioPass(
                self.adapter, heard.tokens, conditions.gates, heard.strength[None]
            ),
        )
        return velocity[0]
