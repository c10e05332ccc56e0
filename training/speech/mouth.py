"""What lips do while a voice sounds: they follow its loudness, and the phonemes modulate that."""

# IPA letters look like Latin ones.
# ruff: noqa: RUF001

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

import numpy as np

from ...audio.envelope import smoothed, voice_envelope
from ...frames import FPS
from .utterance import Phoneme

WIDEST = 1.12
OPEN_OF_CONSONANT = 0.9
OPEN_OF = dict.fromkeys("aɑæɐʌ", WIDEST) | dict.fromkeys("ɔɒɛœə", 1.0)
OPEN_OF |= dict.fromkeys("fv", 0.55)
"""Factor on the opening by IPA letter; f and v are quiet as well, so the lip meets the teeth."""

CLOSURE_SECONDS = {"p": (0.04, 0.1), "b": (0.04, 0.1), "m": (0.02, 0.14)}
"""Where to look for closed lips, before and after a phoneme begins: stops begin at their burst."""

BESIDE_CLOSED = 0.85
"""Factor on the frames before and after a closure, when the lips are on their way."""

WIDTH_OF = dict.fromkeys("uʊʉwɯ", -1.0) | dict.fromkeys("oɔøyʏ", -0.8) | dict.fromkeys("œɒ", -0.5)
WIDTH_OF |= dict.fromkeys("ʃʒ", -0.4) | dict.fromkeys("aɑæɐʌəɜ", 0.1)
WIDTH_OF |= dict.fromkeys("iɪ", 1.0) | dict.fromkeys("eɛ", 0.7) | dict.fromkeys("szɨ", 0.4)
"""Width by IPA letter; the others leave the lips to their neighbours."""


def mouth_curves(samples: np.ndarray, phonemes: Sequence[Phoneme]) -> tuple[np.ndarray, np.ndarray]:
    """Opening and width of the mouth that says ``samples``.

    Args:
        samples: Mono 16 kHz, ``[n]``, without noise.
        phonemes: What is said, in seconds from the first sample.

    Returns:
        ``[F]`` float32 in [0, 1] and ``[F]`` float32 in [-1, 1].
    """
    envelope = voice_envelope(samples)
    factor, width = _shapes(phonemes, envelope.size)
    opening = envelope * factor * _lips(phonemes, envelope) / WIDEST
    speaking = smoothed(np.clip(envelope / 0.1, 0, 1))
    return opening.clip(0, 1).astype(np.float32), (width * speaking).astype(np.float32)


def _shapes(phonemes: Sequence[Phoneme], frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Factor on the opening, and width, that the phonemes ask for, ``[F]`` each."""
    steps = 8
    time = (np.arange(frames * steps) + 0.5) / (FPS * steps)
    factor = np.full(time.size, OPEN_OF_CONSONANT)
    width = np.full(time.size, np.nan)
    for phoneme in phonemes:
        inside = slice(*np.searchsorted(time, (phoneme.start, phoneme.end)))
        if not phoneme.name:
            width[inside] = 0.0
            continue
        part = (time[inside] - phoneme.start) / (phoneme.end - phoneme.start + 1e-9)
        letters = _letters(phoneme.name)
        ends = [OPEN_OF.get(letters[at], OPEN_OF_CONSONANT) for at in (0, -1)]  # diphthongs glide
        factor[inside] = ends[0] + (ends[1] - ends[0]) * part
        ends = [WIDTH_OF.get(letters[at], np.nan) for at in (0, -1)]
        width[inside] = ends[0] + (ends[1] - ends[0]) * part
    known = np.flatnonzero(~np.isnan(width))
    if known.size:  # lips that a consonant leaves free are on their way from vowel to vowel
        width = np.interp(np.arange(width.size), known, width[known])
    return _per_frame(factor, steps, 1), _per_frame(np.nan_to_num(width), steps, 2)


def _letters(name: str) -> str:
    """An IPA name without its marks for length and nasality: "ẽː" is "e"."""
    plain = unicodedata.normalize("NFD", name)
    return "".join(each for each in plain if each.isalpha() and each != "ː") or "?"


def _per_frame(curve: np.ndarray, steps: int, reach: int) -> np.ndarray:
    """Average of ``curve`` around each frame's middle, ``steps`` values a frame; ``[F]``.

    The weights fall from the middle to 0 at ``reach`` frames: no frame sees a jump.
    """
    kernel = np.convolve(np.ones(reach * steps), np.ones(reach * steps + 1))
    padded = np.pad(curve, kernel.size // 2 - steps // 2, mode="edge")
    return np.convolve(padded, kernel / kernel.sum(), mode="valid")[::steps]


def _lips(phonemes: Sequence[Phoneme], envelope: np.ndarray) -> np.ndarray:
    """Factor that closes the lips for p, b and m, ``[F]``: 0 in the quietest frame of each."""
    lips = np.ones(envelope.size)
    for phoneme in phonemes:
        if phoneme.name[:1] not in CLOSURE_SECONDS:
            continue
        before, after = CLOSURE_SECONDS[phoneme.name[0]]
        first = max(0, math.floor((phoneme.start - before) * FPS))
        last = math.floor(min(phoneme.end, phoneme.start + after) * FPS)
        if last < first or first >= envelope.size:
            continue
        closed = first + int(np.argmin(envelope[first : last + 1]))
        beside = slice(max(0, closed - 1), closed + 2)
        lips[beside] = np.minimum(lips[beside], BESIDE_CLOSED)
        lips[closed] = 0.0
    return lips
