"""Guidance: which predictions a step needs and how they become one.

Predictions are velocities (noise - data). Four of them exist, by what the network was told:

=================  ===========  ==========
name               text         audio
=================  ===========  ==========
``full``           prompt       voice
``audio_only``     negative     voice
``text_only``      prompt       zero features
``unconditional``  negative     zero features
=================  ===========  ==========
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

BRANCHES = ("full", "audio_only", "text_only", "unconditional")
"""Every prediction there is, in the order in which they are evaluated."""

BRANCH_INPUTS = {
    "full": ("positive", True),
    "audio_only": ("negative", True),
    "text_only": ("positive", False),
    "unconditional": ("negative", False),
}
"""Which prompt a branch reads, and whether it hears the voices."""

NEGATIVE_PROMPT = (
    "bright tones, overexposed, static, blurred details, subtitles, style, works, paintings, "
    "images, static, overall gray, worst quality, low quality, JPEG compression residue, ugly, "
    "incomplete, extra fingers, poorly drawn hands, poorly drawn faces, deformed, disfigured, "
    "misshapen limbs, fused fingers, still picture, messy background, three legs, many people in "
    "the background, walking backwards"
)
"""What ``negative`` says when the user says nothing; InfiniteTalk's default."""


class Guidance(Protocol):
    """Chooses and combines predictions; may remember between the steps of a chunk."""

    def begin_chunk(self) -> None:
        """Forget the previous chunk."""
        ...

    def branches(self, sigma: float) -> Sequence[str]:
        """Names of the predictions wanted at ``sigma``."""
        ...

    def combine(self, predictions: Mapping[str, Tensor], sigma: float) -> Tensor:
        """One velocity from those predictions, all of one shape."""
        ...


def guidance_weights(text_scale: float, audio_scale: float) -> dict[str, float]:
    """Weight of every prediction; a weight of 0 means that the prediction is not needed.

    With text guidance: ``N + s_t (C - T) + s_a (T - N)`` for C ``full``, T ``audio_only``,
    N ``unconditional``. Without (scale 1): ``A + s_a (C - A)`` for A ``text_only``. The weights add
    up to 1, and scales of 1 leave ``full`` alone.

    Source: InfiniteTalk, ``generate_infinitetalk``.
    Differs: a branch whose weight is exactly 0 is skipped: one evaluation for scales 1/1 instead of
    two, two instead of three for a scale of 1 or for equal scales.
    """
    if text_scale == 1:
        weights = {"full": audio_scale, "text_only": 1 - audio_scale}
    else:
        weights = {
            "full": text_scale,
            "audio_only": audio_scale - text_scale,
            "unconditional": 1 - audio_scale,
        }
    return {name: weights[name] for name in BRANCHES if weights.get(name, 0) != 0}


@dataclass(frozen=True)
class TalkGuidance:
    """Classifier-free guidance along the text and along the audio.

    Attributes:
        text_scale: Weight of the text direction, 5 as published; 1 is no guidance.
        audio_scale: Weight of the audio direction, 4 as published (3 to 5); 1 is no guidance.
    """

    text_scale: float = 1.0
    audio_scale: float = 1.0

    def begin_chunk(self) -> None:
        """Nothing to forget."""

    def branches(self, sigma: float) -> Sequence[str]:
        """The predictions that do not cancel; the same at every sigma."""
        return tuple(guidance_weights(self.text_scale, self.audio_scale))

    def combine(self, predictions: Mapping[str, Tensor], sigma: float) -> Tensor:
        """Weigh and add the predictions, each of any one shape."""
        weights = guidance_weights(self.text_scale, self.audio_scale)
        terms = [predictions[name] * weight for name, weight in weights.items()]
        return functools.reduce(torch.add, terms)


@dataclass
class ProjectedDirection:
    """One direction of adaptive projected guidance: damped, limited, made orthogonal.

    Attributes:
        momentum: Factor on the running direction; negative damps what repeats.
        norm_threshold: Longest direction let through; 0 or less is no limit.
        eta: How much of the part parallel to the conditional prediction stays.
    """

    momentum: float
    norm_threshold: float
    eta: float
    running: Tensor | None = None

    def project(self, direction: Tensor, conditional: Tensor) -> Tensor:
        """Condition a direction on what came before and on the conditional prediction.

        Source: InfiniteTalk, ``adaptive_projected_guidance``; norms over the whole tensor, the
        projection in double precision.
        """
        self.running = (
            direction if self.running is None else direction + self.momentum * self.running
        )
        limited = self.running
        if self.norm_threshold > 0:
            norm = torch.linalg.vector_norm(limited)
            limited = limited * torch.clamp(self.norm_threshold / norm, max=1.0)
        wide, unit = limited.double(), conditional.double()
        unit = unit / torch.linalg.vector_norm(unit).clamp(min=1e-12)
        parallel = (wide * unit).sum() * unit
        return (wide - parallel + self.eta * parallel).to(direction.dtype)


@dataclass
class AdaptiveProjectedGuidance:
    """APG along the text and along the audio, with published defaults.

    ``C + (s_t - 1) P(C - T) + (s_a - 1) P(T - N)``, or ``C + (s_a - 1) P(C - A)`` when the text
    scale is 1; names as in ``guidance_weights``. Meant against oversaturation at high scales.

    Source: InfiniteTalk, ``--use_apg``.
    """

    text_scale: float = 5.0
    audio_scale: float = 4.0
    momentum: float = -0.75
    norm_threshold: float = 55.0
    eta: float = 0.0
    _directions: dict[str, ProjectedDirection] = field(default_factory=dict, repr=False)

    def begin_chunk(self) -> None:
        """Forget the running directions."""
        self._directions.clear()

    def branches(self, sigma: float) -> Sequence[str]:
        """The predictions of the directions whose weight is not 0."""
        if self.text_scale == 1:
            return ("full",) if self.audio_scale == 1 else ("full", "text_only")
        if self.audio_scale == 1:
            return ("full", "audio_only")
        return ("full", "audio_only", "unconditional")

    def combine(self, predictions: Mapping[str, Tensor], sigma: float) -> Tensor:
        """Add the projected directions to the full prediction."""
        full = predictions["full"]
        out = full
        if self.text_scale != 1:
            text = full - predictions["audio_only"]
            out = out + (self.text_scale - 1) * self._project("text", text, full)
        if self.audio_scale != 1:
            if self.text_scale == 1:
                audio = full - predictions["text_only"]
            else:
                audio = predictions["audio_only"] - predictions["unconditional"]
            out = out + (self.audio_scale - 1) * self._project("audio", audio, full)
        return out

    def _project(self, name: str, direction: Tensor, conditional: Tensor) -> Tensor:
        state = self._directions.setdefault(
            name, ProjectedDirection(self.momentum, self.norm_threshold, self.eta)
        )
        return state.project(direction, conditional)
