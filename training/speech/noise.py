"""Sound that opens no mouth: noise, alone or under speech, and silence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...audio.envelope import FRAME_SAMPLES
from ...audio.track import SAMPLE_RATE_HZ
from .utterance import Utterance


def noise_utterance(rng: np.random.Generator, frames: int) -> Utterance:
    """Sound without speech, -70 to -8 dBFS unless its peaks forbid it; the mouth stays closed."""
    noise = _noise(rng, frames * FRAME_SAMPLES)
    samples = noise * min(10 ** (rng.uniform(-70, -8) / 20), 1 / np.abs(noise).max())
    closed = np.zeros(frames, np.float32)
    return Utterance(samples.astype(np.float32), closed, closed.copy(), "noise")


def under_noise(rng: np.random.Generator, utterance: Utterance) -> Utterance:
    """The same speech with noise 10 to 30 dB below it, in its pauses as well."""
    level = np.sqrt(np.mean(np.square(utterance.samples)))
    level *= 10 ** (-rng.uniform(10, 30) / 20)
    noise = level * _noise(rng, utterance.samples.size)
    return replace(utterance, samples=(utterance.samples + noise).astype(np.float32))


def silence_utterance(frames: int) -> Utterance:
    """Digital silence, mouth closed."""
    closed = np.zeros(frames, np.float32)
    samples = np.zeros(frames * FRAME_SAMPLES, np.float32)
    return Utterance(samples, closed, closed.copy(), "silence")


def _noise(rng: np.random.Generator, total: int) -> np.ndarray:
    """White, pink, brown, hum or clicks, or two of them, ``[total]``, root mean square 1."""
    kinds = rng.choice(5, size=rng.integers(1, 3), replace=False)
    parts = [rng.uniform(0.3, 1) * _normalised(_one_noise(rng, total, kind)) for kind in kinds]
    sound = np.sum(parts, axis=0)
    if rng.random() < 0.5:  # the level wanders, or comes in gusts
        knots = rng.integers(3, 4 + 3 * total // SAMPLE_RATE_HZ)
        levels = rng.uniform(0.05, 1, knots)
        sound *= np.interp(np.linspace(0, knots - 1, total), np.arange(knots), levels)
    return _normalised(sound)


def _one_noise(rng: np.random.Generator, total: int, kind: int) -> np.ndarray:
    if kind < 3:  # white, pink, brown: power falls with frequency to the 0, 1, 2
        spectrum = np.fft.rfft(rng.normal(0, 1, total))
        hz = np.fft.rfftfreq(total, 1 / SAMPLE_RATE_HZ)
        return np.fft.irfft(spectrum * np.maximum(hz, 30.0) ** (-kind / 2), total)
    if kind == 3:
        time = np.arange(total) / SAMPLE_RATE_HZ
        mains = rng.choice([50.0, 60.0]) * rng.uniform(0.995, 1.005)
        partials = [
            rng.uniform(0, 1) / order * np.sin(2 * np.pi * (mains * order * time + rng.random()))
            for order in range(1, 9)
        ]
        return np.sum(partials, axis=0)
    clicks = np.zeros(total)
    count = rng.integers(1, 2 + 6 * total // SAMPLE_RATE_HZ)
    clicks[rng.integers(0, total, count)] = rng.uniform(-1, 1, count)
    tail = np.exp(-np.arange(160) / rng.uniform(2, 40)) * rng.normal(0, 1, 160)
    return np.convolve(clicks, tail)[:total]


def _normalised(sound: np.ndarray) -> np.ndarray:
    return sound / max(np.sqrt(np.mean(np.square(sound))), 1e-9)
