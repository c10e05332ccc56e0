"""Syllables of no language, from formants of our own."""

# IPA letters look like Latin ones.
# ruff: noqa: RUF001

from __future__ import annotations

import numpy as np
from scipy.signal import sosfilt

from ...audio.envelope import FRAME_SAMPLES
from ...audio.track import SAMPLE_RATE_HZ
from .mouth import mouth_curves
from .utterance import PAUSE_SECONDS, Phoneme, Utterance

FORMANTS_HZ = {
    "a": (750, 1250, 2550),
    "ɑ": (700, 1050, 2500),
    "e": (450, 2000, 2600),
    "i": (290, 2300, 3000),
    "o": (480, 850, 2450),
    "u": (320, 750, 2300),
    "ə": (500, 1450, 2500),
    "m": (270, 1050, 2150),
    "n": (280, 1600, 2550),
    "l": (360, 1250, 2700),
}
"""The three lowest resonances of an adult's vocal tract for each sound it can sing."""

VOWELS, HISSES = "aɑeiouə", "sʃf"
ONSETS = {"m": 0.12, "b": 0.12, "p": 0.12, "n": 0.2, "l": 0.2, "s": 0.1, "ʃ": 0.07, "f": 0.07}
"""How often each begins a syllable."""

BANDWIDTHS_HZ = (80, 110, 170)
_BLOCK = SAMPLE_RATE_HZ // 100


def synthetic_utterance(rng: np.random.Generator, frames: int) -> Utterance:
    """Random syllables from formant-filtered harmonics, hisses and closures; no language."""
    total = frames * FRAME_SAMPLES
    phonemes = _random_phonemes(rng, total / SAMPLE_RATE_HZ)
    time = np.arange(total // _BLOCK + 1) * (_BLOCK / SAMPLE_RATE_HZ)
    tract = rng.uniform(0.88, 1.22)
    voiced, hiss = np.zeros(time.size), np.zeros(time.size)
    formants = np.tile(np.array(FORMANTS_HZ["ə"], float), (time.size, 1))
    for phoneme in phonemes:
        inside = (time >= phoneme.start) & (time < phoneme.end)
        formants[inside] = FORMANTS_HZ.get(phoneme.name, FORMANTS_HZ["ə"])
        part = (time[inside] - phoneme.start) / (phoneme.end - phoneme.start)
        if phoneme.name in VOWELS:
            voiced[inside] = rng.uniform(0.45, 1.0) * (0.6 + 0.4 * np.sin(np.pi * part))
        elif phoneme.name in FORMANTS_HZ:
            voiced[inside] = 0.35
        elif phoneme.name in HISSES:
            hiss[inside] = rng.uniform(0.03, 0.15) * np.sin(np.pi * part)
    glide = np.hanning(7) / np.hanning(7).sum()
    formants = np.stack([np.convolve(np.pad(f, 3, "edge"), glide, "valid") for f in formants.T], 1)
    voiced, hiss = np.convolve(voiced, glide, "same"), np.convolve(hiss, glide, "same")
    sound = _sung(rng, voiced, formants * tract, total) + _hissed(rng, hiss, total)
    samples = (0.3 * sound / max(np.abs(sound).max(), 1e-6)).astype(np.float32)
    return Utterance(samples, *mouth_curves(samples, phonemes), "synthetic")


def _random_phonemes(rng: np.random.Generator, seconds: float) -> list[Phoneme]:
    """Words of two to eleven syllables with pauses between them; b and p are just quiet."""
    phonemes = []
    at = rng.uniform(-0.5, 0.6)
    speed = rng.uniform(0.75, 1.3)
    while at < seconds:
        for _ in range(rng.integers(2, 12)):
            if rng.random() < 0.75:
                onset = str(rng.choice(list(ONSETS), p=list(ONSETS.values())))
                length = speed * rng.uniform(0.05, 0.11)
                phonemes.append(Phoneme(onset, at, at + length))
                at += length
            length = speed * rng.uniform(0.07, 0.24)
            phonemes.append(Phoneme(str(rng.choice(list(VOWELS))), at, at + length))
            at += length
        at += rng.uniform(*PAUSE_SECONDS)
    return phonemes


def _sung(
    rng: np.random.Generator, loudness: np.ndarray, formants: np.ndarray, total: int
) -> np.ndarray:
    """Voiced sound ``[total]``: a pulse train through resonances that move in steps of 10 ms."""
    seconds = total / SAMPLE_RATE_HZ
    knots = np.arange(0, seconds + 0.4, 0.2)
    melody = rng.uniform(85, 240) * np.exp(rng.normal(0, 0.1, knots.size))
    time = np.arange(total) / SAMPLE_RATE_HZ
    cycles = np.cumsum(np.interp(time, knots, melody)) / SAMPLE_RATE_HZ
    phase = cycles % 1.0
    # Flow through the folds: opens smoothly, shuts fast; its derivative is what the tract hears.
    flow = np.where(phase < 0.6, np.sin(np.pi * phase / 0.6) ** 2 * phase, 0.0)
    pulses = np.diff(flow, prepend=0.0) + rng.normal(0, 2e-3, total)
    pulses *= np.interp(time, np.arange(loudness.size) * _BLOCK / SAMPLE_RATE_HZ, loudness)
    sound = np.empty(total)
    state = np.zeros((3, 2))
    for block, start in enumerate(range(0, total, _BLOCK)):
        sections = _resonators(formants[block])
        sound[start : start + _BLOCK], state = sosfilt(
            sections, pulses[start : start + _BLOCK], zi=state
        )
    return sound / max(np.abs(sound).max(), 1e-6)


def _resonators(formants_hz: np.ndarray) -> np.ndarray:
    """Second-order sections ``[3, 6]``, one resonance each, gain 1 at 0 Hz."""
    radius = np.exp(-np.pi * np.array(BANDWIDTHS_HZ) / SAMPLE_RATE_HZ)
    cosine = np.cos(2 * np.pi * formants_hz / SAMPLE_RATE_HZ)
    one, two = -2 * radius * cosine, radius**2
    zero = np.zeros(3)
    return np.stack([1 + one + two, zero, zero, zero + 1, one, two], axis=1)


def _hissed(rng: np.random.Generator, loudness: np.ndarray, total: int) -> np.ndarray:
    """Noise that grows brighter with frequency, ``[total]``; loudness in steps of 10 ms."""
    bright = np.diff(rng.normal(0, 1, total), prepend=0.0)
    return bright * np.interp(np.arange(total), np.arange(loudness.size) * _BLOCK, loudness)
