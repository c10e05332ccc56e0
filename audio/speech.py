"""The speakers of a clip with all that belongs to each: features, place, start and sound.

Knows waveforms as they were handed in, and their tracks. It does not know where sound comes from,
what a face is (a region is a mask somebody made), nor how features reach a network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..frames import clip_frames
from .features import FeatureTrack, FrameEncoder, pad_for_clip
from .loudness import normalize_loudness
from .speakers import delay_track
from .track import Track, track_from_waveform
from .windows import FeatureSource

CHANNEL_COUNTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
"""Channels that sound comes in; other counts are more likely a mistake than a layout."""


class SizedEncoder(FrameEncoder, Protocol):
    """A `FrameEncoder` that tells the size of its features."""

    @property
    def name(self) -> str:
        """How messages call it."""
        ...

    @property
    def hidden(self) -> int:
        """Width of a layer."""
        ...

    @property
    def layers(self) -> int:
        """Layers stacked per frame."""
        ...


@dataclass(frozen=True, eq=False)
class Speaker:
    """One voice in the clip.

    Attributes:
        features: Audio features, encoded when they are asked for; frame 0 is the clip's first.
        voice: What the encoder hears, mono at 16 kHz, silence before the start included.
        encoder: Makes the features.
        seconds: When this voice ends, from the start of the clip.
        start_seconds: When it begins.
        strength: Factor on what this voice adds to the picture; 1 as published.
        region: Who says it, 0 and 1 at the resolution of the picture ``[H, W]``; None is everybody.
        waveform: The sound as it was handed in, ``[channels, n]``.
        rate_hz: Samples per second of ``waveform``.
        normalized: Whether the encoder hears it at -23 LUFS.
        track: Who says it in every frame of a video, with a ``summary``; nothing here looks inside.
            ``region`` is then where that face is first seen.
        rule: How pixels of the place become tokens where a mask tells a model who speaks: ``any``,
            ``area``, ``nearest`` or ``soft``.
    """

    features: FeatureSource
    voice: Track
    encoder: SizedEncoder
    seconds: float
    start_seconds: float
    strength: float
    region: Tensor | None
    waveform: Tensor
    rate_hz: int
    normalized: bool = True
    track: Any = None
    rule: str = "any"

    @property
    def place(self) -> str:
        """Where it is said, in words."""
        if self.track is not None:
            return self.track.summary
        return (
            "whole picture" if self.region is None else f"{self.region.mean():.1%} of the picture"
        )

    @property
    def hidden(self) -> int:
        """Width of one layer of features."""
        return self.encoder.hidden

    @property
    def layers(self) -> int:
        """Layers stacked per frame."""
        return self.encoder.layers

    @property
    def feature_size(self) -> int:
        """Features per frame, what an adapter's first layer counts."""
        return self.hidden * self.layers

    def lasting(self, seconds: float) -> Speaker:
        """The same voice in a clip of ``seconds``: silence up to its end is encoded as well."""
        samples = pad_for_clip(self.voice.samples, clip_frames(max(seconds, self.seconds)))
        return replace(self, features=FeatureTrack(self.encoder, samples))


@dataclass(frozen=True, eq=False)
class Speech:
    """The speakers of a clip, in the order in which the network numbers them."""

    speakers: tuple[Speaker, ...]

    @property
    def seconds(self) -> float:
        """When the last voice ends."""
        return max(speaker.seconds for speaker in self.speakers)

    @property
    def summary(self) -> str:
        """One line per speaker for the user: when, and where in the picture."""
        lines = []
        for number, speaker in enumerate(self.speakers, 1):
            span = f"{speaker.start_seconds:.2f} s to {speaker.seconds:.2f} s"
            lines.append(f"speaker {number}: {span}, {speaker.place}")
        return "\n".join(lines)

    def joined_by(self, speaker: Speaker) -> Speech:
        """One speaker more, after the others; whoever ends early stays silent to the end.

        Raises:
            InputError: The speaker was encoded with another encoder than the others.
        """
        first = self.speakers[0]
        if first.encoder is not speaker.encoder and first.feature_size != speaker.feature_size:
            raise InputError(
                f"Speaker 1 has {first.feature_size} audio features per frame, from "
                f"{first.encoder.name}, and speaker {len(self.speakers) + 1} has "
                f"{speaker.feature_size}, from {speaker.encoder.name}: connect the same wav2vec2 "
                "model to every speaker."
            )
        speakers = (*self.speakers, speaker)
        seconds = max(each.seconds for each in speakers)
        return Speech(tuple(each.lasting(seconds) for each in speakers))


def make_speaker(
    waveform: Tensor,
    rate_hz: int,
    encoder: SizedEncoder,
    *,
    start_seconds: float = 0.0,
    strength: float = 1.0,
    region: Tensor | None = None,
    normalize: bool = True,
    track: Any = None,
    rule: str = "any",
) -> Speaker:
    """Prepare a voice; nothing is encoded before a chunk asks for features.

    Args:
        waveform: ``[channels, n]`` in [-1, 1]; its channels are averaged for the encoder.
        rate_hz: Samples per second.
        encoder: The audio encoder.
        start_seconds: When the voice begins in the clip.
        strength: Factor on what it adds to the picture.
        region: Where its speaker is, ``[H, W]``; None is the whole picture.
        normalize: Bring it to -23 LUFS first, as the adapter was trained.
        track: Where its speaker is in every frame of a video.
        rule: How pixels of the place become tokens.

    Raises:
        InputError: Sound that cannot be used, or a start or strength out of range.
    """
    if not (math.isfinite(strength) and strength >= 0):
        raise InputError(f"strength is {strength}; expected 0 or more, and 1 as published.")
    voice = track_from_waveform(waveform, rate_hz)
    if normalize:
        voice = Track(normalize_loudness(voice.samples), voice.seconds)
    voice = delay_track(voice, start_seconds) if start_seconds else voice
    samples = pad_for_clip(voice.samples, clip_frames(voice.seconds))
    return Speaker(
        features=FeatureTrack(encoder, samples),
        voice=voice,
        encoder=encoder,
        seconds=voice.seconds,
        start_seconds=start_seconds,
        strength=strength,
        region=region,
        waveform=waveform,
        rate_hz=rate_hz,
        normalized=normalize,
        track=track,
        rule=rule,
    )


def single_waveform(waveform: Tensor) -> Tensor:
    """The one clip of sound in a batch ``[B, channels, n]``, as ``[channels, n]``.

    Raises:
        InputError: Several clips, no samples, or an unusual number of channels.
    """
    if waveform.ndim != 3 or waveform.shape[0] != 1:
        raise InputError(
            f"The audio is a batch of shape {list(waveform.shape)}; expected one sound as "
            "[1, channels, samples]. Use one Encode Speaker node for each voice."
        )
    channels, samples = waveform.shape[1:]
    if samples == 0:
        raise InputError("The audio is empty (0 samples); load a sound that plays.")
    if channels not in CHANNEL_COUNTS:
        known = ", ".join(f"{count} ({name})" for count, name in CHANNEL_COUNTS.items())
        raise InputError(
            f"The audio has {channels} channels; expected {known}. Mix it down to stereo first."
        )
    return waveform[0].detach().to("cpu", torch.float32)


def mix_sound(speech: Speech) -> tuple[Tensor, int]:
    """The voices as they were handed in, each at its start, as one sound.

    A single voice that starts at 0 is passed through untouched. Several are put at the highest
    rate among them, in stereo if one of them is, and added without limiting.

    Returns:
        ``[channels, n]`` and samples per second.

    Source: InfiniteTalk, ``audio_prepare_multi`` (the plain sum).
    Differs: from the original sound, not from the levelled mono tracks.
    """
    first = speech.speakers[0]
    if len(speech.speakers) == 1 and first.start_seconds == 0:
        return first.waveform, first.rate_hz
    rate_hz = max(speaker.rate_hz for speaker in speech.speakers)
    if len(speech.speakers) == 1:
        channels = first.waveform.shape[0]
    else:
        channels = 2 if any(each.waveform.shape[0] > 1 for each in speech.speakers) else 1
    length = max(math.ceil(speaker.seconds * rate_hz) for speaker in speech.speakers)
    mix = torch.zeros(channels, length)
    for speaker in speech.speakers:
        sound = _resampled(_with_channels(speaker.waveform, channels), speaker.rate_hz, rate_hz)
        start = round(speaker.start_seconds * rate_hz)
        sound = sound[:, : length - start]
        mix[:, start : start + sound.shape[1]] += sound
    return mix, rate_hz


def _with_channels(waveform: Tensor, channels: int) -> Tensor:
    if waveform.shape[0] == channels:
        return waveform
    return waveform.mean(dim=0, keepdim=True).expand(channels, -1)


def _resampled(waveform: Tensor, rate_hz: int, target_hz: int) -> Tensor:
    """A waveform ``[channels, n]`` at another rate, in blocks of a second."""
    if rate_hz == target_hz:
        return waveform
    import av

    layout = CHANNEL_COUNTS[waveform.shape[0]]
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=target_hz)
    blocks = []
    for first in range(0, waveform.shape[1], rate_hz):
        block = np.ascontiguousarray(waveform[:, first : first + rate_hz].numpy())
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate = rate_hz
        blocks += [out.to_ndarray() for out in resampler.resample(frame)]
    blocks += [out.to_ndarray() for out in resampler.resample(None)]
    return torch.from_numpy(np.concatenate(blocks, axis=1))
