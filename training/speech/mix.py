"""The mix of utterances that training hears."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .noise import noise_utterance, silence_utterance, under_noise
from .spoken import espeak_utterance
from .synthetic import synthetic_utterance
from .utterance import Utterance


def draw_utterance(rng: np.random.Generator, frames: int, split: str = "train") -> Utterance:
    """One utterance of the training mix, at a random level.

    55 % espeak, 25 % synthetic, 12 % noise, 3 % silence, 5 % espeak with noise 10..30 dB below it.
    """
    draw = rng.random()
    if draw < 0.12:
        return noise_utterance(rng, frames)
    if draw < 0.15:
        return silence_utterance(frames)
    if draw < 0.40:
        utterance = synthetic_utterance(rng, frames)
    else:
        utterance = espeak_utterance(rng, frames, split)
        if draw < 0.45:
            utterance = under_noise(rng, utterance)
    peak = max(float(np.abs(utterance.samples).max()), 1e-6)
    gain = 10 ** (rng.uniform(-30, 0) / 20) / peak
    return replace(utterance, samples=(utterance.samples * gain).astype(np.float32))
