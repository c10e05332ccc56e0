"""The reference networks behind the samplers' protocols: what ``bridge`` is for ComfyUI.

Builds the conditions of a chunk from features, reference and masks, and turns a guidance branch
into one call of the transformer. Knows every network, and no files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .audio.windows import FeatureSource, audio_windows
from .models.adapter import AudioAdapter, AudioPass
from .models.routing import SpeakerRouting
from .models.wan import Contexts, WanModel
from .samplers.conditioning import reference_condition
from .samplers.guidance import BRANCH_INPUTS
from .samplers.plan import Chunk
from .samplers.protocols import VideoCodec
from .samplers.teacache import TeaCache


@dataclass(frozen=True)
class ChunkConditions:
    """What the networks read for one chunk.

    Attributes:
        contexts: Embedded text and image tokens per prompt (``positive``, ``negative``).
        concat: Mask and reference latent ``[1, 20, T, H, W]``.
        voice: Audio tokens of the speakers ``[1, S, T, A, C]``.
        silence: Audio tokens of zero features: one speaker, under gates as many as speak.
        strength: Factor on what the audio adds, one per speaker ``[S]``.
        gates: Where each speaker is heard ``[1, S, T or 1, N]``, instead of routing, or None.
    """

    contexts: Mapping[str, Contexts]
    concat: Tensor
    voice: Tensor
    silence: Tensor
    strength: Tensor
    gates: Tensor | None = None


ChunkGates = Callable[[Chunk], Tensor]
"""Where each speaker is heard during a chunk, ``[1, S, T or 1, N]`` in [0, 1]."""

WindowReader = Callable[[FeatureSource, Chunk], Tensor]
"""Cuts the audio windows ``[1, F, 5, layers, channels]`` of one speaker for a chunk."""


def clamped_windows(source: FeatureSource, chunk: Chunk) -> Tensor:
    """Audio windows of a chunk; past the end of the track its last frame, silence, is repeated."""
    return audio_windows(source, chunk.start_frame, chunk.frames)


class WanConditioner:
    """Conditions for ``WanPredictor``; recomputes nothing while the reference frame stays the same.

    ``prompts`` and ``strength`` may be set before a chunk, as ``samplers.timed`` does.

    Args:
        model: The transformer.
        adapter: The audio adapter.
        codec: The VAE.
        texts: Text encoder output ``[M, text_dim]`` for ``positive`` and, with text guidance,
            ``negative``.
        voices: Audio features per speaker.
        image_tokens: CLIP vision tokens ``[1, 257, image_dim]`` of a reference frame, or None for a
            model that has none.
        windows: How audio windows are cut.
        strength: Factor on what the audio adds, one per speaker ``[S]``; None is 1.
        gates: Where each speaker is heard, which takes the place of routing; None is no gate.
    """

    def __init__(
        self,
        model: WanModel,
        adapter: AudioAdapter,
        codec: VideoCodec,
        *,
        texts: Mapping[str, Tensor],
        voices: Sequence[FeatureSource],
        image_tokens: Callable[[Tensor], Tensor] | None = None,
        windows: WindowReader = clamped_windows,
        strength: Tensor | None = None,
        gates: ChunkGates | None = None,
    ):
        self.model, self.adapter, self.codec = model, adapter, codec
        self.prompts, self.voices, self.gates = texts, voices, gates
        self.image_tokens, self.windows = image_tokens, windows
        self.strength = torch.ones(len(voices)) if strength is None else strength
        self._seen: tuple[Tensor, int] | None = None
        self._concat = torch.empty(0)
        self._image: Tensor | None = None
        self._embedded: dict[str, tuple[Tensor, Contexts]] = {}

    def conditions(self, chunk: Chunk, reference: Tensor) -> ChunkConditions:
        """Conditions of a chunk with its reference frame ``[3, H, W]``."""
        seen = self._seen
        if seen is None or seen[0] is not reference or seen[1] != chunk.frames:
            self._look_at(reference, chunk.frames)
        windows = torch.cat([self.windows(voice, chunk) for voice in self.voices])
        windows = windows.to(self._concat.device, self.adapter.audio_proj.proj1.weight.dtype)
        gates = None if self.gates is None else self.gates(chunk).to(self._concat.device)
        quiet = torch.zeros_like(windows[:1] if gates is None else windows)
        return ChunkConditions(
            contexts={name: self._embed(name, text) for name, text in self.prompts.items()},
            concat=self._concat,
            voice=self.adapter.project(windows),
            silence=self.adapter.project(quiet),
            strength=self.strength,
            gates=gates,
        )

    def _look_at(self, reference: Tensor, frames: int) -> None:
        """Everything that depends on the reference frame alone."""
        self._concat = reference_condition(self.codec, reference, frames)[None]
        self._image = None if self.image_tokens is None else self.image_tokens(reference)
        self._embedded.clear()
        self._seen = (reference, frames)

    def _embed(self, name: str, text: Tensor) -> Contexts:
        """A prompt with the image tokens, embedded when it is another one."""
        known = self._embedded.get(name)
        if known is None or known[0] is not text:
            known = self._embedded[name] = text, self.model.embed_contexts(text[None], self._image)
        return known[1]


class WanPredictor:
    """One guidance branch of one step: a call of the transformer.

    Args:
        model: The transformer.
        adapter: The audio adapter.
        routing: Where the speakers stand, for two and more.
        cache: TeaCache, or None to run every block at every step.
    """

    def __init__(
        self,
        model: WanModel,
        adapter: AudioAdapter,
        *,
        routing: SpeakerRouting | None = None,
        cache: TeaCache | None = None,
    ):
        self.model, self.adapter, self.routing, self.cache = model, adapter, routing, cache

    def begin_chunk(self) -> None:
        """Forget the cached residuals of the previous chunk."""
        if self.cache is not None:
            self.cache.begin_chunk()

    def predict(
        self, latents: Tensor, sigma: float, branch: str, conditions: ChunkConditions
    ) -> Tensor:
        """Velocity ``[C, T, H, W]`` of ``latents`` at ``sigma`` in [0, 1].

        A branch without the voice hears one silent speaker, and is not routed, whatever the number
        of speakers; under gates it hears silence where the voices are heard, so that guidance
        changes nothing anywhere else.
        """
        text, hears = BRANCH_INPUTS[branch]
        routed = hears and conditions.gates is None
        audio = AudioPass(
            self.adapter,
            conditions.voice if hears else conditions.silence,
            self.model.config.heads,
            self.routing if routed else None,
            conditions.strength[None] if hears else None,
            conditions.gates,
        )
        velocity = self.model(
            latents[None],
            torch.full((1,), 1000.0 * sigma, device=latents.device),
            conditions.contexts[text],
            concat=conditions.concat,
            audio=audio,
            cache=None if self.cache is None else self.cache.branch(branch),
        )
        return velocity[0]
