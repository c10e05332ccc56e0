"""Sentences that libespeak-ng says, in voices and words of two splits."""

from __future__ import annotations

import math

import numpy as np

from ...audio.envelope import FRAME_SAMPLES
from ...audio.track import SAMPLE_RATE_HZ
from ...frames import FPS
from .espeak import Voice, say
from .mouth import mouth_curves
from .texts import TEXTS
from .utterance import PAUSE_SECONDS, Utterance, moved

VOICES = {
    "train": {
        "en": ("en-us", "en-gb-scotland", "en-029", "en-gb-x-rp"),
        "es": ("es",),
        "it": ("it",),
        "de": ("de",),
        "fr": ("fr-be",),
        "pt": ("pt-br",),
    },
    "eval": {
        "en": ("en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-us-nyc"),
        "es": ("es-419",),
        "fr": ("fr-ch",),
        "pt": ("pt",),
    },
}
"""Voices of libespeak-ng by split and language; the splits share none."""

VARIANTS = {
    "train": ("m1", "m2", "m3", "m4", "m5", "m6", "f1", "f2", "f3"),
    "eval": ("m7", "m8", "f4", "f5"),
}
"""Throats for every voice; none whispers or croaks."""

RATES_WPM = {"train": (120, 200), "eval": (115, 205)}
PITCHES = {"train": (30, 80), "eval": (25, 85)}

ENGLISH_SHARE = 0.7


def draw_voice(rng: np.random.Generator, split: str) -> tuple[Voice, str]:
    """A voice of the split, and its language."""
    others = [language for language in VOICES[split] if language != "en"]
    language = "en" if rng.random() < ENGLISH_SHARE else str(rng.choice(others))
    name = f"{rng.choice(VOICES[split][language])}+{rng.choice(VARIANTS[split])}"
    rate = int(rng.integers(*RATES_WPM[split], endpoint=True))
    return Voice(name, rate, int(rng.integers(*PITCHES[split], endpoint=True))), language


def espeak_utterance(rng: np.random.Generator, frames: int, split: str = "train") -> Utterance:
    """Sentences of one voice with pauses between them, cut to ``frames`` frames.

    Args:
        rng: Decides on everything.
        frames: F.
        split: "train" or "eval"; they share neither voices nor texts.

    Raises:
        InputError: libespeak-ng is not installed.
    """
    voice, language = draw_voice(rng, split)
    # Half of the utterances begin in mid-speech, the others after up to half a second.
    start = rng.uniform(0.0, 2.0) if rng.random() < 0.5 else -rng.uniform(0.0, 0.5)
    stop = start + frames / FPS
    # An exclamation and its pause take half a second or more.
    count = 2 + 2 * max(0, math.ceil(stop))
    texts = [str(each) for each in rng.choice(TEXTS[split][language], count)]
    spoken, phonemes = say(texts, rng.uniform(*PAUSE_SECONDS, count).tolist(), voice, stop)
    size = frames * FRAME_SAMPLES
    first = round(start * SAMPLE_RATE_HZ)
    padded = np.pad(spoken, (max(0, -first), size))
    samples = padded[max(0, first) :][:size]
    phonemes = moved(phonemes, -first / SAMPLE_RATE_HZ)
    return Utterance(samples, *mouth_curves(samples, phonemes), "espeak")
