"""What everything here makes: sound with its mouth, and the phonemes it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

PAUSE_SECONDS = (0.2, 1.2)
"""Shortest and longest silence between two sentences."""


@dataclass(frozen=True)
class Utterance:
    """A few seconds of sound and the mouth that makes it.

    Attributes:
        samples: Mono float32 at 16 kHz, ``[F * 640]``; not clipped, so peaks may pass 1.
        mouth_open: How far the lips are apart, ``[F]`` float32, 0 closed to 1.
        mouth_width: Their shape, ``[F]`` float32: -1 rounded, 0 at rest, 1 wide.
        kind: What sounds: "espeak", "synthetic", "noise" or "silence".
    """

    samples: np.ndarray
    mouth_open: np.ndarray
    mouth_width: np.ndarray
    kind: str


@dataclass(frozen=True)
class Phoneme:
    """A speech sound by its IPA name, from ``start`` to ``end`` in seconds."""

    name: str
    start: float
    end: float


def moved(phonemes: Sequence[Phoneme], seconds: float) -> list[Phoneme]:
    """The same phonemes so many seconds later."""
    return [replace(each, start=each.start + seconds, end=each.end + seconds) for each in phonemes]
