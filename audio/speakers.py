"""Several voices in one clip: who speaks when, silence for the others, and the mix.

Knows tracks and their loudness. It knows nothing of files, faces or networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import InputError
from .loudness import TARGET_LUFS, normalize_loudness
from .track import SAMPLE_RATE_HZ, Track

Place = Literal["add", "para"]
"""``add``: one speaker after another. ``para``: all start together."""


@dataclass(frozen=True)
class Speakers:
    """The voices of a clip, all of one length.

    Attributes:
        tracks: What each speaker's encoder hears, silence included.
        mix: Their plain sum, never limited; the sound of the published clip.
    """

    tracks: tuple[Track, ...]
    mix: Track


def combine_speakers(
    voices: Sequence[Track | None], place: Place, *, target_lufs: float | None = TARGET_LUFS
) -> Speakers:
    """Lay voices along one clip, each brought to the target loudness on its own first.

    Args:
        voices: One track per speaker; None is a speaker who says nothing, silence as long as the
            longest of the others (and ``add`` then gives that silence its turn, as published).
        place: ``add`` or ``para``.
        target_lufs: Loudness of every voice; None leaves them as they are.

    Raises:
        InputError: No voice at all, or an unknown ``place``.

    Source: InfiniteTalk, ``audio_prepare_multi``.
    Differs: any number of speakers; ``para`` of different lengths pads the shorter with silence,
    where the published sum raises.
    """
    present = [voice for voice in voices if voice is not None]
    if not present:
        raise InputError("expected at least one speaker with audio, got none; add a voice.")
    longest = max(present, key=lambda voice: voice.samples.size)
    missing = Track(np.zeros_like(longest.samples), longest.seconds)
    filled = [_at_loudness(voice or missing, target_lufs) for voice in voices]
    if place == "add":
        tracks = _one_after_another(filled)
    elif place == "para":
        length, seconds = longest.samples.size, longest.seconds
        tracks = tuple(_silence_around(voice, 0, length, seconds) for voice in filled)
    else:
        raise InputError(f"expected place 'add' or 'para', got {place!r}; choose one of the two.")
    return Speakers(tracks, Track(_sum(tracks), tracks[0].seconds))


def delay_track(track: Track, start_seconds: float) -> Track:
    """Let a voice begin ``start_seconds`` into the clip, with digital silence in front.

    Raises:
        InputError: A negative or infinite start.
    """
    if not (math.isfinite(start_seconds) and start_seconds >= 0):
        raise InputError(
            f"expected a start of 0 s or later, got {start_seconds} s; trim the audio to begin"
            " within it."
        )
    silence = np.zeros(round(start_seconds * SAMPLE_RATE_HZ), np.float32)
    return Track(np.concatenate([silence, track.samples]), start_seconds + track.seconds)


def _at_loudness(voice: Track, target_lufs: float | None) -> Track:
    if target_lufs is None:
        return voice
    return Track(normalize_loudness(voice.samples, target_lufs), voice.seconds)


def _one_after_another(voices: list[Track]) -> tuple[Track, ...]:
    length = sum(voice.samples.size for voice in voices)
    seconds = sum(voice.seconds for voice in voices)
    tracks, first = [], 0
    for voice in voices:
        tracks.append(_silence_around(voice, first, length, seconds))
        first += voice.samples.size
    return tuple(tracks)


def _silence_around(voice: Track, first: int, length: int, seconds: float) -> Track:
    samples = np.zeros(length, np.float32)
    samples[first : first + voice.samples.size] = voice.samples
    return Track(samples, seconds)


def _sum(tracks: Sequence[Track]) -> np.ndarray:
    mix = tracks[0].samples.copy()
    for track in tracks[1:]:
        mix += track.samples
    return mix
