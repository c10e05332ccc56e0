"""Guidance: which predictions a step needs and how they become one.

Which directions there are is the folds' to say. Predictions are velocities (noise - data). Four of
them exist, by what the network was told:

=================  ===========  ==========
name               text         audio
=================  ===========  ==========
``full``           prompt       voice
``audio_only``     negative     voice
``text_only``      prompt       zero features
``unconditional``  negative     zero features
=================  ===========  ==========

All see the reference frame, except on demand ``unconditional``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from .folds import Direction, FoldedScales, Folds, ends, one_rule, weights

BRANCHES = ("full", "audio_only", "text_only", "unconditional")
"""Every prediction there is, in the order in which they are evaluated."""

UNCONDITIONAL = "unconditional"
"""The prediction with the least in it; on demand the reference frame is left out of it, too."""

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

    def begin_chunk(self, seed: int = 0) -> None:
        """Forget the previous chunk; ``seed`` is the new one's."""
        ...

    def branches(self, sigma: float) -> Sequence[str]:
        """Names of the predictions wanted at ``sigma``."""
        ...

    def combine(self, predictions: Mapping[str, Tensor], sigma: float) -> Tensor:
        """One velocity from those predictions, all of one shape."""
        ...


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Predictions in the order in which they are evaluated."""
    wanted = set(names)
    return tuple(name for name in BRANCHES if name in wanted)


def guidance_weights(text_scale: float, audio_scale: float) -> dict[str, float]:
    """Weight of every prediction under one rule; one of weight 0 is not needed.

    Source: InfiniteTalk, ``generate_infinitetalk``; see ``folds.one_rule``.
    Differs: a branch whose weight is exactly 0 is skipped: one evaluation for scales 1/1 instead of
    two, two instead of three for a scale of 1 or for equal scales.
    """
    return weights(one_rule(text_scale, audio_scale))


def reads_negative(branches: Iterable[str]) -> bool:
    """Whether any of these predictions is made with the negative prompt."""
    return any(BRANCH_INPUTS[name][0] == "negative" for name in branches)


def asked_branches(guidance: Guidance) -> frozenset[str]:
    """The predictions that a rule asks for at the highest or at the lowest noise level."""
    return frozenset(name for sigma in (1.0, 0.0) for name in guidance.branches(sigma))


def blind_branches(guidance: Guidance) -> frozenset[str]:
    """The predictions that are to be made without the reference frame."""
    drops = isinstance(guidance, FoldedScales) and guidance.drop_reference
    return frozenset({UNCONDITIONAL} if drops else ())


def calls_per_step(guidance: Guidance, sigmas: Tensor) -> list[int]:
    """Evaluations of the network in every step of a schedule ``[steps + 1]``.

    Samplers that look ahead, such as Heun, take every step twice; that is not counted.
    """
    return [len(guidance.branches(sigma)) for sigma in sigmas[:-1].tolist()]


@dataclass
class TalkGuidance(FoldedScales):
    """Classifier-free guidance along the text and along the audio; see ``FoldedScales``."""

    def branches(self, sigma: float) -> Sequence[str]:
        """The predictions that do not cancel at ``sigma``; with a jitter, all of its directions."""
        directions = self.directions(sigma)
        return in_order(ends(directions) if self.jitter else weights(directions))

    def combine(self, predictions: Mapping[str, Tensor], sigma: float) -> Tensor:
        """Weigh and add the predictions, each of any one shape."""
        weight = weights(self.drawn_directions(sigma))
        return functools.reduce(
            torch.add, [predictions[name] * weight[name] for name in in_order(weight)]
        )


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
class AdaptiveProjectedGuidance(FoldedScales):
    """APG along the directions of the folds, with published defaults.

    ``C + sum of (s - 1) P(direction)``, for C ``full``: every direction is projected against C and
    has a running average of its own, from its first step in the chunk on. So folds by noise level
    begin two averages at the switch. Meant against oversaturation at high scales.

    Source: InfiniteTalk, ``--use_apg``, for ``folds.one_rule``.
    Differs: with MagicInfinite's folds it is ours; neither paper has the two together.
    """

    text_scale: float = 5.0
    audio_scale: float = 4.0
    momentum: float = -0.75
    norm_threshold: float = 55.0
    eta: float = 0.0
    _running: dict[str, ProjectedDirection] = field(default_factory=dict, init=False, repr=False)

    def begin_chunk(self, seed: int = 0) -> None:
        """Forget the running directions, and draw anew."""
        super().begin_chunk(seed)
        self._running.clear()

    def branches(self, sigma: float) -> Sequence[str]:
        """The predictions of the directions whose scale is not 1."""
        return in_order(ends(self.directions(sigma)))

    def combine(self, predictions: Mapping[str, Tensor], sigma: float) -> Tensor:
        """Add the projected directions to the full prediction."""
        full = predictions["full"]
        out = full
        drawn = self.drawn_directions(sigma)
        for direction, now in zip(self.directions(sigma), drawn, strict=True):
            if direction.scale != 1:  # one drawn at 1 still moves its average
                out = out + (now.scale - 1) * self._project(direction, predictions)
        return out

    def _project(self, direction: Direction, predictions: Mapping[str, Tensor]) -> Tensor:
        state = self._running.setdefault(
            direction.name, ProjectedDirection(self.momentum, self.norm_threshold, self.eta)
        )
        change = predictions[direction.towards] - predictions[direction.away]
        return state.project(change, predictions["full"])


def describe_rule(guidance: TalkGuidance | AdaptiveProjectedGuidance) -> list[str]:
    """What a rule asks of the network and of the graph, one line each."""
    above, below = guidance.branches(1.0), guidance.branches(0.0)
    calls = f"{len(above)} network {'call' if len(above) == 1 else 'calls'} per step"
    line = f"{calls} ({', '.join(above)})"
    if above != below:
        line += f" from noise level {guidance.switch:g} up, {len(below)} below ({', '.join(below)})"
    lines = [line]
    if reads_negative((*above, *below)):
        lines.append("reads the negative prompt: connect one to the sampler")
    if guidance.drop_reference:
        asked = UNCONDITIONAL in (*above, *below)
        sees = "sees no reference picture (HunyuanVideo of 33 channels)"
        lines.append(f"{UNCONDITIONAL} {sees if asked else 'is not made: reference is not used'}")
    if guidance.folds in (Folds.TWO, Folds.AUDIO) and guidance.text_scale != 1:
        lines.append(f"the text scale is not used by '{guidance.folds.value}'")
    return lines
