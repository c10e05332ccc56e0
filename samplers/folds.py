"""Folds: along which directions guidance pushes, and at which noise levels.

A direction is what one condition changes: the difference of two predictions, named as in
``guidance``. One rule holds at every sigma; folds by noise level change at a switch. Knows names
and numbers, no tensors.

Letters: C ``full``, T ``audio_only``, A ``text_only``, N ``unconditional``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from statistics import NormalDist

from ..errors import InputError

SWITCH_SIGMA = 0.75
"""From here up MagicInfinite guides along text and audio together, below along each of them."""

LARGEST_JITTER = 1.0
"""A standard deviation as large as the guidance itself; beyond, half of the steps have none."""


class Folds(Enum):
    """Which directions there are; the value is what users choose."""

    ONE_RULE = "one rule"
    BY_NOISE = "by noise level"
    TWO = "two-fold"
    THREE = "three-fold"
    AUDIO = "audio only"


@dataclass(frozen=True)
class Direction:
    """What a condition changes.

    Attributes:
        name: ``text``, ``audio``, or ``both`` of them at once.
        towards: The prediction with the condition.
        away: The prediction without it.
        scale: Weight of the direction; 1 is no guidance.
    """

    name: str
    towards: str
    away: str
    scale: float


def one_rule(text_scale: float, audio_scale: float) -> tuple[Direction, ...]:
    """``N + s_t (C - T) + s_a (T - N)``: the text is what is dropped first.

    Without text guidance (scale 1) the audio is dropped from the prompted prediction:
    ``A + s_a (C - A)``.

    Source: InfiniteTalk, ``generate_infinitetalk``.
    """
    if text_scale == 1:
        return audio_fold(audio_scale)
    return (
        Direction("text", "full", "audio_only", text_scale),
        Direction("audio", "audio_only", "unconditional", audio_scale),
    )


def audio_fold(audio_scale: float) -> tuple[Direction, ...]:
    """``A + s_a (C - A)``: along the voice alone."""
    return (Direction("audio", "full", "text_only", audio_scale),)


def two_fold(audio_scale: float) -> tuple[Direction, ...]:
    """``N + s_a (C - N)``: along text and audio together, with the audio scale.

    Source: MagicInfinite eq. 7, first line, with ``s_a = 1 + omega_audio``.
    Differs: N keeps the reference frame, which the paper drops with the text and the audio, unless
    ``FoldedScales.drop_reference``; public weights were trained with it in every prediction.
    """
    return (Direction("both", "full", "unconditional", audio_scale),)


def three_fold(text_scale: float, audio_scale: float) -> tuple[Direction, ...]:
    """``N + s_t (A - N) + s_a (C - A)``: the audio is what is dropped first.

    Source: MagicInfinite eq. 7, second line, with ``s = 1 + omega``.
    Differs: the printed line has one A too many, see ``printed_three_fold``; taken from either of
    its two terms, what is left is this. N and the reference as in ``two_fold``.
    """
    return (
        Direction("text", "text_only", "unconditional", text_scale),
        Direction("audio", "full", "text_only", audio_scale),
    )


def printed_three_fold(text_scale: float, audio_scale: float) -> dict[str, float]:
    """Weights of MagicInfinite eq. 7, second line, to the letter; for comparison only.

    They add up to 2: for three equal predictions the sampler would go twice as far as any of them,
    and never arrive.
    """
    audio, text = audio_scale - 1, text_scale - 1
    return {
        "full": 1 + audio,
        "text_only": (1 + text) - audio,
        "unconditional": -text,
    }


def weights(directions: Iterable[Direction]) -> dict[str, float]:
    """Weight of every prediction in ``C + sum of (s - 1) (towards - away)``; they add up to 1.

    A prediction whose weight is 0 is left out: it is not needed.
    """
    total = {"full": 1.0}
    for direction in directions:
        strength = direction.scale - 1
        total[direction.towards] = total.get(direction.towards, 0.0) + strength
        total[direction.away] = total.get(direction.away, 0.0) - strength
    return {name: weight for name, weight in total.items() if weight != 0}


def ends(directions: Iterable[Direction]) -> set[str]:
    """Every prediction that a direction other than of scale 1 begins or ends in, and ``full``."""
    guided = [each for each in directions if each.scale != 1]
    return {"full", *(name for each in guided for name in (each.towards, each.away))}


@dataclass
class FoldedScales:
    """How strongly guidance pushes, along which directions, at which noise levels.

    Attributes:
        text_scale: Weight of the text direction, 5 as InfiniteTalk; 1 is no guidance.
        audio_scale: Weight of the audio direction, 4 as InfiniteTalk; 1 is no guidance.
            MagicInfinite counts from 0 instead: its omega is this minus 1.
        folds: Which directions; by noise level they are two-fold from the switch up, three-fold
            below it.
        switch: Sigma of that change, 0 to 1.
        jitter: Standard deviation of the scales as a part of what they exceed 1 by, drawn for every
            chunk and step; 0 is none. No draw turns a direction round: it ends at 1.
        drop_reference: Whether N sees no reference frame, as MagicInfinite eq. 7 has it; only a
            network with the reference beside the noisy latents can, and others keep it.
    """

    text_scale: float = 1.0
    audio_scale: float = 1.0
    folds: Folds = Folds.ONE_RULE
    switch: float = SWITCH_SIGMA
    jitter: float = 0.0
    drop_reference: bool = field(default=False, kw_only=True)
    _seed: int = field(default=0, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing.

        Raises:
            InputError: A scale is not finite, or switch or jitter are out of range.
        """
        for name, scale in (("text", self.text_scale), ("audio", self.audio_scale)):
            if not math.isfinite(scale):
                raise InputError(
                    f"the {name} scale of Talk Guidance is {scale}; give a number, 1 for none."
                )
        if not 0 <= self.switch <= 1:
            raise InputError(
                f"the switch of Talk Guidance is {self.switch}; it is a noise level from 0, the "
                "picture, to 1, pure noise: 0.75 as published."
            )
        if not 0 <= self.jitter <= LARGEST_JITTER:
            raise InputError(
                f"the jitter of Talk Guidance is {self.jitter}; give a part of the scales from 0, "
                f"none, to {LARGEST_JITTER:g}."
            )

    def begin_chunk(self, seed: int = 0) -> None:
        """Draw anew; ``seed`` is the chunk's, and matters to the jitter alone."""
        self._seed = seed

    def directions(self, sigma: float) -> tuple[Direction, ...]:
        """The directions at ``sigma``, with the scales as they are set."""
        text, audio, folds = self.text_scale, self.audio_scale, self.folds
        if folds is Folds.ONE_RULE:
            return one_rule(text, audio)
        if folds is Folds.AUDIO:
            return audio_fold(audio)
        if folds is Folds.TWO or (folds is Folds.BY_NOISE and sigma >= self.switch):
            return two_fold(audio)
        return three_fold(text, audio)

    def drawn_directions(self, sigma: float) -> tuple[Direction, ...]:
        """The directions at ``sigma``, with the scales of this chunk and step.

        Source: MagicInfinite, below eq. 7: scales from a Gaussian around omega. There it is part of
        the distillation; what it does to a finished network is for the user to find out.
        """
        return tuple(self._draw(each, sigma) for each in self.directions(sigma))

    def _draw(self, direction: Direction, sigma: float) -> Direction:
        if not self.jitter:
            return direction
        # Both folds of the audio scale share a draw, as they share the scale.
        name = "text" if direction.name == "text" else "audio"
        factor = max(0.0, 1 + self.jitter * standard_normal(f"{self._seed}:{name}:{sigma:.6f}"))
        return replace(direction, scale=1 + (direction.scale - 1) * factor)


def standard_normal(key: str) -> float:
    """One standard normal number that depends on ``key`` alone."""
    digest = hashlib.sha256(key.encode()).digest()
    return NormalDist().inv_cdf((int.from_bytes(digest[:6], "little") + 0.5) / 2**48)


def describe_calls(calls: Sequence[int], sigmas: Sequence[float], per: str = "chunk") -> str:
    """How often the network is called in a chunk, in words.

    Args:
        calls: Per step.
        sigmas: Noise level of every step.
        per: What the steps are of.
    """
    groups: list[list[int]] = []
    for step, count in enumerate(calls):
        if groups and calls[groups[-1][0]] == count:
            groups[-1].append(step)
        else:
            groups.append([step])
    first, *others = groups
    steps, per_step = _of(len(calls), "step"), f"{_of(calls[0], 'network call')} per step"
    if not others:
        return f"{steps} per {per}, {per_step}"
    parts = [f"{per_step} down to noise level {sigmas[first[-1]]:.3f} ({_of(len(first), 'step')})"]
    parts += [f"then {calls[group[0]]} ({_of(len(group), 'step')})" for group in others]
    return f"{steps} per {per}: {', '.join(parts)}, {sum(calls)} per {per}"


def _of(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
