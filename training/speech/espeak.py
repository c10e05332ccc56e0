"""The speech synthesiser libespeak-ng, and how it says the same thing the same way every time."""

from __future__ import annotations

import ctypes
import functools
import gc
import math
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from ...audio.track import resample
from ...errors import InputError
from .utterance import Phoneme, moved

LIBRARY = "libespeak-ng.so.1"
INSTALL = "apt-get install espeak-ng-data libespeak-ng1"

_SYNCHRONOUS = 2
_PHONEME_EVENTS_IN_IPA = 0x0001 | 0x0002
_UTF8 = 1
_PHONEME_EVENT = 7
_RATE, _PITCH = 1, 3


@dataclass(frozen=True)
class Voice:
    """A voice of libespeak-ng with its variant ("en-us+f2"), speed and pitch (0 to 99)."""

    name: str
    rate_wpm: int = 160
    pitch: int = 50


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
        phonemes += moved(names, length / speaker.rate_hz)
        loud = np.flatnonzero(np.abs(sound) > 1e-4)
        sound = sound[: loud[-1] + 1 if loud.size else 0]  # its own pause is always the same
        silence = np.zeros(round(pause * speaker.rate_hz), np.float32)
        blocks += [sound, silence]
        length += sound.size + silence.size
        if length >= seconds * speaker.rate_hz:
            break
    return np.concatenate(blocks), speaker.rate_hz, phonemes
