"""Made-up speech for the tiny talking face, each sound with the mouth that says it.

Knows how to make voices (libespeak-ng, formants of its own) and noise, and what lips do while they
sound. It knows nothing of pictures and networks. A mouth opens with the loudness of the voice,
relative to the utterance; phonemes only modulate that: vowels open by their height, lips close for
p, b and m, they round for u and widen for i. Letters: F frames at 25 fps, n samples at 16 kHz.
"""

# IPA letters look like Latin ones.
# ruff: noqa: RUF001

from __future__ import annotations

import ctypes
import functools
import gc
import math
import os
import pickle
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from scipy.signal import sosfilt

from ..audio.envelope import FRAME_SAMPLES, smoothed, voice_envelope
from ..audio.loudness import normalize_loudness
from ..audio.track import SAMPLE_RATE_HZ, resample
from ..errors import InputError
from ..frames import FPS


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


# --- who speaks ---------------------------------------------------------------------------------

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
PAUSE_SECONDS = (0.2, 1.2)
"""Shortest and longest silence between two sentences."""


@dataclass(frozen=True)
class Voice:
    """A voice of libespeak-ng with its variant ("en-us+f2"), speed and pitch (0 to 99)."""

    name: str
    rate_wpm: int = 160
    pitch: int = 50


def draw_voice(rng: np.random.Generator, split: str) -> tuple[Voice, str]:
    """A voice of the split, and its language."""
    others = [language for language in VOICES[split] if language != "en"]
    language = "en" if rng.random() < ENGLISH_SHARE else str(rng.choice(others))
    name = f"{rng.choice(VOICES[split][language])}+{rng.choice(VARIANTS[split])}"
    rate = int(rng.integers(*RATES_WPM[split], endpoint=True))
    return Voice(name, rate, int(rng.integers(*PITCHES[split], endpoint=True))), language


# --- libespeak-ng -------------------------------------------------------------------------------

LIBRARY = "libespeak-ng.so.1"
INSTALL = "apt-get install espeak-ng-data libespeak-ng1"

_SYNCHRONOUS = 2
_PHONEME_EVENTS_IN_IPA = 0x0001 | 0x0002
_UTF8 = 1
_PHONEME_EVENT = 7
_RATE, _PITCH = 1, 3


class _EventName(ctypes.Union):
    _fields_ = (
        ("number", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("string", ctypes.c_char * 8),
    )


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventName),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Espeak:
    """The speech synthesiser, once per process.

    It keeps more than its settings between calls, the phase of its pulses and its tremor among
    them, and has no way to reset them: `say` is reproducible only from a fresh start.
    """

    def __init__(self) -> None:
        self._library = load_library()
        self.rate_hz = self._library.espeak_Initialize(
            _SYNCHRONOUS, 0, None, _PHONEME_EVENTS_IN_IPA
        )
        if self.rate_hz <= 0:
            raise InputError(f"libespeak-ng found no voices: run `{INSTALL}`.")
        ctypes.CDLL(None).srand(1)  # hisses are drawn from the C library's generator
        self._blocks: list[np.ndarray] = []
        self._marks: list[tuple[float, str]] = []
        self._callback = _Callback(self._take)  # the library holds no reference to it
        self._library.espeak_SetSynthCallback(self._callback)

    def say(self, text: str, voice: Voice) -> tuple[np.ndarray, list[Phoneme]]:
        """Speak ``text``.

        Returns:
            Samples at ``rate_hz``, ``[n]`` float32 in [-1, 1], and the phonemes in order; pauses
            have the name "".

        Raises:
            InputError: No such voice.
        """
        self._blocks, self._marks = [], []
        if self._library.espeak_SetVoiceByName(voice.name.encode()):
            raise InputError(f"libespeak-ng has no voice {voice.name}; see `espeak-ng --voices`.")
        for parameter, value in ((_RATE, voice.rate_wpm), (_PITCH, voice.pitch)):
            self._library.espeak_SetParameter(parameter, value, 0)
        data = text.encode() + b"\0"
        self._library.espeak_Synth(data, len(data), 0, 1, 0, _UTF8, None, None)
        samples = np.concatenate([np.zeros(0, np.int16), *self._blocks]).astype(np.float32) / 32768
        ends = [start for start, _ in self._marks[1:]] + [samples.size / self.rate_hz]
        phonemes = [
            Phoneme(name, start, end)
            for (start, name), end in zip(self._marks, ends, strict=True)
            if not name.startswith("(")  # "(en)" announces another language
        ]
        return samples, phonemes

    def _take(self, samples: Any, count: int, events: Any) -> int:
        if samples and count:
            self._blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type:
            event = events[index]
            if event.type == _PHONEME_EVENT:
                # Eight bytes, without a zero at the end when the name fills them.
                raw = ctypes.string_at(ctypes.addressof(event.id), 8).split(b"\0")[0]
                self._marks.append((event.audio_position / 1000, raw.decode(errors="ignore")))
            index += 1
        return 0


@functools.cache
def load_library() -> ctypes.CDLL:
    """libespeak-ng, not yet initialised.

    Raises:
        InputError: It is not installed.
    """
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise InputError(
            f"made-up speech needs {LIBRARY}, which is not installed: run `{INSTALL}`."
        ) from error


def say(
    texts: Sequence[str],
    pauses_seconds: Sequence[float],
    voice: Voice,
    seconds: float = math.inf,
) -> tuple[np.ndarray, list[Phoneme]]:
    """Speak ``texts``, each followed by its pause, until ``seconds`` are full.

    The same every time, because it runs in a fork of this process, which never starts the
    synthesiser itself: see `Espeak`.

    Returns:
        Samples ``[n]`` float32 at 16 kHz, and the phonemes in order.

    Raises:
        InputError: libespeak-ng or the voice is missing.
    """
    load_library()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        _speak_into(write_end, texts, pauses_seconds, voice, seconds)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as answer:
        data = answer.read()
    os.waitpid(child, 0)
    if not data:
        raise RuntimeError(f"libespeak-ng crashed while {voice} said {list(texts)}.")
    said = pickle.loads(data)
    if isinstance(said, Exception):
        raise said
    samples, rate_hz, phonemes = said
    return resample(samples, rate_hz), phonemes


def _speak_into(pipe: int, *request: Any) -> NoReturn:
    """All that the fork does: speak, answer, and leave without the parent's clean-up."""
    try:
        gc.disable()  # what the parent left to collect is not ours
        try:
            said = _string_together(Espeak(), *request)
        except Exception as error:
            said = error
        with os.fdopen(pipe, "wb") as answer:
            pickle.dump(said, answer, protocol=5)
    finally:
        os._exit(0)


def _string_together(
    speaker: Espeak,
    texts: Sequence[str],
    pauses_seconds: Sequence[float],
    voice: Voice,
    seconds: float,
) -> tuple[np.ndarray, int, list[Phoneme]]:
    blocks, phonemes, length = [np.zeros(0, np.float32)], [], 0
    for text, pause in zip(texts, pauses_seconds, strict=True):
        sound, names = speaker.say(text, voice)
        phonemes += _moved(names, length / speaker.rate_hz)
        loud = np.flatnonzero(np.abs(sound) > 1e-4)
        sound = sound[: loud[-1] + 1 if loud.size else 0]  # its own pause is always the same
        silence = np.zeros(round(pause * speaker.rate_hz), np.float32)
        blocks += [sound, silence]
        length += sound.size + silence.size
        if length >= seconds * speaker.rate_hz:
            break
    return np.concatenate(blocks), speaker.rate_hz, phonemes


def _moved(phonemes: Sequence[Phoneme], seconds: float) -> list[Phoneme]:
    return [replace(each, start=each.start + seconds, end=each.end + seconds) for each in phonemes]


# --- the mouth ----------------------------------------------------------------------------------

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


# --- utterances ---------------------------------------------------------------------------------


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
    phonemes = _moved(phonemes, -first / SAMPLE_RATE_HZ)
    return Utterance(samples, *mouth_curves(samples, phonemes), "espeak")


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


def noise_utterance(rng: np.random.Generator, frames: int) -> Utterance:
    """Sound without speech, -70 to -8 dBFS unless its peaks forbid it; the mouth stays closed."""
    noise = _noise(rng, frames * FRAME_SAMPLES)
    samples = noise * min(10 ** (rng.uniform(-70, -8) / 20), 1 / np.abs(noise).max())
    closed = np.zeros(frames, np.float32)
    return Utterance(samples.astype(np.float32), closed, closed.copy(), "noise")


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


def silence_utterance(frames: int) -> Utterance:
    """Digital silence, mouth closed."""
    closed = np.zeros(frames, np.float32)
    samples = np.zeros(frames * FRAME_SAMPLES, np.float32)
    return Utterance(samples, closed, closed.copy(), "silence")


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


def under_noise(rng: np.random.Generator, utterance: Utterance) -> Utterance:
    """The same speech with noise 10 to 30 dB below it, in its pauses as well."""
    level = np.sqrt(np.mean(np.square(utterance.samples)))
    level *= 10 ** (-rng.uniform(10, 30) / 20)
    noise = level * _noise(rng, utterance.samples.size)
    return replace(utterance, samples=(utterance.samples + noise).astype(np.float32))


DEMO_SECONDS = 21.6
DEMO_VOICE = Voice("en-us-nyc+m7", rate_wpm=150, pitch=45)
DEMO = (
    ("Hello! I am only a drawing, but I have learned to talk.", 0.5),
    ("This project is called Endless Talk.", 0.6),
    ("You give it a portrait and a voice, and it makes a video, as long as you like.", 0.7),
    ("One minute? Ten minutes? An hour?", 0.3),
    ("No problem at all!", 0.7),
    ("Now it is your turn: bring a picture, and let it speak.", 0.0),
)
"""What the demo voice says, with pauses in seconds."""


def demo_voice(path: Path) -> None:
    """Write the recorded demo voice of the repository: 21.6 s of an evaluation voice, mono FLAC.

    Args:
        path: File to write; overwritten.
    """
    import av

    texts, pauses = zip(*DEMO, strict=True)
    spoken, _ = say(texts, pauses, DEMO_VOICE)
    lead = round(0.3 * SAMPLE_RATE_HZ)
    samples = np.zeros(round(DEMO_SECONDS * SAMPLE_RATE_HZ), np.float32)
    samples[lead : lead + spoken.size] = normalize_loudness(spoken, -20.0)
    frame = av.AudioFrame.from_ndarray(
        np.round(samples.clip(-1, 1) * 32767).astype(np.int16)[None], format="s16", layout="mono"
    )
    frame.sample_rate = SAMPLE_RATE_HZ
    with av.open(str(path), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=SAMPLE_RATE_HZ, layout="mono")
        resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE_HZ, frame_size=4096)
        for block in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(block))
        container.mux(stream.encode(None))


# --- what is said -------------------------------------------------------------------------------

TRAIN_TEXTS = {
    "en": (
        "The baker opens his shop before the sun comes up.",
        "My brother bought a purple bicycle at the market.",
        "Please put the blue plates back on the table.",
        "We walked along the river until it was dark.",
        "Every summer the whole village meets by the pond.",
        "She keeps her pencils in an old coffee tin.",
        "How many people do you think will come tomorrow?",
        "The train to the coast leaves from platform five.",
        "A small grey cat sleeps on top of the piano.",
        "Nobody remembered to water the tomatoes.",
        "Could you move a little closer to the window?",
        "Bring an umbrella, because it may rain all week.",
        "The museum has a room full of broken clocks.",
        "I would rather have soup than another sandwich.",
        "Our neighbours painted their front door bright green.",
        "When the bell rings, everyone runs outside.",
        "He whistles while he mends the garden fence.",
        "There is always someone laughing in that kitchen.",
        "Mum made a big bowl of mashed potatoes.",
        "The farmer found a map behind the barn.",
        "Do you know who moved the yellow boat?",
        "They sell warm bread and fresh honey on Sundays.",
        "Turn left at the church, then follow the wall.",
        "It took us three hours to climb that hill.",
        "The children built a bridge from empty boxes.",
        "Yesterday I saw a fox by the railway line.",
        "Their favourite song is much too long for the radio.",
        "Open the door slowly, the hinges are rusty.",
        "A warm wind was blowing over the empty beach.",
        "What would you do with a free afternoon?",
        "The nurse wrote the numbers on a piece of paper.",
        "Most of the apples fell down during the storm.",
        "Grandfather polished his boots every morning.",
        "This lamp has been flickering since Monday.",
        "Please remember to feed the goldfish.",
        "The judge liked the smallest cake best.",
        "Somebody has left a glove on the bench.",
        "I am looking for a book about birds.",
        "The plumber will be back before midday.",
        "Why is the moon so large tonight?",
        "We ought to go home before it snows.",
        "Her voice was calm, but her hands were shaking.",
        "The puppy pulled the blanket off the bed.",
        "You can borrow my hammer for as long as you like.",
        "Four tall poplars stand beside the road.",
        "He put the money in a box below the stairs.",
        "A good map is worth more than a fast horse.",
        "The whole team met on the roof for lunch.",
        "She has never been afraid of deep water.",
        "Smoke was coming out of the old chimney.",
        "In the evening we play cards and drink tea.",
        "This bus is full, so we wait for the next one.",
        "Be careful, that step is very slippery.",
        "The bees are busy in the lavender.",
        "We need seven screws, two planks and some glue.",
        "The price went from twelve to eighteen pounds.",
        "My number is four, nine, zero, two, six.",
        "It happened in nineteen eighty seven.",
        "Room one hundred and thirty is upstairs.",
        "About sixty four percent of them agreed.",
        "Maybe the amber lamp above my bed is broken.",
        "Five fine foxes fought over a fish.",
        "Who knew that you could cook so well?",
        "Please pass me the pepper and the butter.",
        "Wow!",
        "Oh no!",
        "Well, maybe.",
        "Of course!",
        "Yes, please.",
        "Good morning!",
        "Hm, I see.",
        "Come on, hurry up!",
    ),
    "es": (
        "La panadera abre la tienda muy temprano.",
        "Mi hermano compró una bicicleta azul.",
        "¿Dónde está la llave de la puerta?",
        "Por la noche bebemos un poco de vino.",
        "El pueblo tiene una plaza muy bonita.",
        "¡Vamos, que llegamos tarde!",
    ),
    "it": (
        "Il gatto dorme sotto il tavolo della cucina.",
        "Domani andiamo al mare con i bambini.",
        "Quanto costa un chilo di pomodori?",
        "La musica era bella ma troppo forte.",
        "Buongiorno a tutti!",
    ),
    "de": (
        "Der Bäcker macht heute früher auf.",
        "Meine Schwester wohnt über einer Buchhandlung.",
        "Wir haben fünf Äpfel und zwei Birnen gekauft.",
        "Kannst du bitte das Fenster zumachen?",
        "Am Abend gehen wir oft am Fluss spazieren.",
    ),
    "fr": (
        "Le facteur passe toujours avant midi.",
        "Nous avons mangé une tarte aux pommes.",
        "Où as-tu posé mon parapluie bleu?",
        "La petite fille joue dans le jardin.",
        "Bonjour, comment allez-vous?",
    ),
    "pt": (
        "O menino brinca na praia com o cachorro.",
        "Amanhã vamos comprar um presente para ela.",
        "Você quer um pouco de café?",
        "A janela da sala está aberta.",
        "Muito obrigado!",
    ),
}
"""Sentences to train on, by language."""

EVAL_TEXTS = {
    "en": (
        "The ferry brings post and milk to the island.",
        "An owl has moved into our attic.",
        "Would you mind holding this ladder for me?",
        "Peter baked a loaf with pumpkin seeds.",
        "The shop on the corner repairs shoes and bags.",
        "We planted beans beside the garage.",
        "Every Tuesday the choir rehearses upstairs.",
        "My aunt collects maps of places that never existed.",
        "Please switch off the heating when you leave.",
        "The mayor forgot her speech and told a joke.",
        "Seven swans were swimming under the bridge.",
        "He built a tiny boat inside a bottle.",
        "What time does the swimming pool open?",
        "The wallpaper in this room must be very old.",
        "A little music makes the work go faster.",
        "I found your umbrella behind the sofa.",
        "The engineers tested the pump for nine days.",
        "Some people prefer the mountains in winter.",
        "You should see the view from up here.",
        "Both of them became famous painters.",
        "The soup needs more pepper and less water.",
        "They arrived at half past eleven.",
        "That makes forty two points for our team.",
        "It costs nineteen euros and fifty cents.",
        "Few of us believed the story at first.",
        "Mother bought ripe plums by the pound.",
        "Never mind!",
        "How wonderful!",
        "Thanks, goodbye.",
    ),
    "es": (
        "El barco sale del puerto a las ocho.",
        "Nunca he visto tanta nieve en abril.",
        "¡Qué buena idea!",
        "Mi abuelo toca la guitarra los domingos.",
        "El tren llega dentro de veinte minutos.",
        "Ella trabaja en una tienda de flores.",
    ),
    "fr": (
        "Le musée ferme à six heures le dimanche.",
        "Ma voisine répare de vieux vélos.",
        "Quelle bonne surprise!",
        "Le chat dort sur la chaise de la cuisine.",
        "Il reste trois places près de la fenêtre.",
        "Elle apprend le piano depuis un an.",
    ),
    "pt": (
        "O comboio parte da estação às nove.",
        "A minha avó faz um bolo de laranja.",
        "Que boa notícia!",
        "Os vizinhos regressam na quinta-feira.",
        "O rio corre devagar até ao lago.",
        "Ele guarda as chaves na gaveta da cozinha.",
    ),
}
"""Sentences that training never hears."""

TEXTS = {"train": TRAIN_TEXTS, "eval": EVAL_TEXTS}
