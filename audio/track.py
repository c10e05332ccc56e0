"""A voice as samples: the mono 16 kHz track, and how sound at any other rate becomes one.

Knows sampling rates and what makes a waveform unusable. It knows nothing of files, frames or
networks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import InputError

SAMPLE_RATE_HZ = 16_000
"""Samples per second of every track; wav2vec2 was trained at this rate only."""

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 2_000, 768_000


@dataclass(frozen=True)
class Track:
    """One voice.

    Attributes:
        samples: Mono float32 at 16 kHz, ``[n]``, usually in [-1, 1] but never clipped.
        seconds: Duration counted at the *source* rate, so that the clip length does not depend on
            how resampling rounded the number of samples.
    """

    samples: np.ndarray
    seconds: float


def track_from_waveform(waveform: torch.Tensor | np.ndarray, rate_hz: int, name: str = "") -> Track:
    """Bring a waveform in memory to a track: mean of the channels, resampled to 16 kHz.

    Args:
        waveform: ``[channels, samples]``, floating point, in [-1, 1].
        rate_hz: Samples per second of ``waveform``.
        name: What to call it in a message, for instance a file name.

    Raises:
        InputError: Not two axes, not floating point, no samples, NaN or infinite samples, or a rate
            outside 2 000..768 000 Hz.

    Source: InfiniteTalk, ``audio_prepare_single`` (librosa's load at 16 kHz, mono).
    """
    label = name or "the audio"
    if isinstance(waveform, torch.Tensor):
        waveform = waveform.detach().to("cpu").numpy()
    if waveform.ndim != 2 or not np.issubdtype(waveform.dtype, np.floating):
        raise InputError(
            f"{label}: expected floating point samples as [channels, samples], got {waveform.dtype}"
            f" {list(waveform.shape)}; pass one clip of a batch and scale integers to [-1, 1]."
        )
    if waveform.shape[0] == 0:
        raise InputError(f"{label}: expected at least one channel, got none; connect other audio.")
    return track_from_mono(waveform.mean(axis=0, dtype=np.float32), rate_hz, label)


def track_from_mono(samples: np.ndarray, rate_hz: int, label: str) -> Track:
    """Check one channel of samples, ``[n]`` float32, and resample it to a track.

    Raises:
        InputError: See `track_from_waveform`.
    """
    check_rate(rate_hz, label)
    if samples.size == 0:
        raise InputError(f"{label}: expected sound, got 0 samples; use a file that plays.")
    if not np.isfinite(samples).all():
        first = int(np.flatnonzero(~np.isfinite(samples))[0])
        raise InputError(
            f"{label}: expected finite samples, got NaN or infinity at {first / rate_hz:.3f} s;"
            " export the audio again."
        )
    return Track(resample(samples, rate_hz), samples.size / rate_hz)


def check_rate(rate_hz: int, label: str) -> None:
    """Refuse sampling rates that only a damaged header has.

    Raises:
        InputError: Outside 2 000..768 000 Hz.
    """
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        raise InputError(
            f"{label}: expected a sampling rate of {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz, got"
            f" {rate_hz} Hz; the header is probably damaged, export the audio again."
        )


def resample(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Resample mono float32 ``[n]`` to 16 kHz, ``ceil(n * 16000 / rate_hz)`` samples.

    librosa's ``soxr_hq``, the published resampler, where librosa can be imported; else soxr itself
    at the same quality, which gives the same samples; else FFmpeg's resampler, whose stop band
    differs slightly and whose timing does not.
    """
    if rate_hz == SAMPLE_RATE_HZ:
        return np.ascontiguousarray(samples, dtype=np.float32)
    for method in (_resample_librosa, _resample_soxr):
        try:
            resampled = method(samples, rate_hz)
        except ImportError:
            continue
        return _fit_length(resampled, samples.size, rate_hz)
    return _fit_length(_resample_ffmpeg(samples, rate_hz), samples.size, rate_hz)


def _resample_librosa(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    import librosa

    return librosa.resample(
        samples, orig_sr=rate_hz, target_sr=SAMPLE_RATE_HZ, res_type="soxr_hq", fix=False
    )


def _resample_soxr(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    import soxr

    return soxr.resample(samples, rate_hz, SAMPLE_RATE_HZ, quality="HQ")


def _resample_ffmpeg(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    import av

    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
    blocks = []
    for first in range(0, samples.size, rate_hz):
        block = np.ascontiguousarray(samples[None, first : first + rate_hz])
        frame = av.AudioFrame.from_ndarray(block, format="flt", layout="mono")
        frame.sample_rate = rate_hz
        blocks += [out.to_ndarray()[0] for out in resampler.resample(frame)]
    blocks += [out.to_ndarray()[0] for out in resampler.resample(None)]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _fit_length(resampled: np.ndarray, source_samples: int, rate_hz: int) -> np.ndarray:
    # A resampler's own count may be one off; librosa fixes it the same way.
    length = math.ceil(source_samples * SAMPLE_RATE_HZ / rate_hz)
    fitted = np.zeros(length, np.float32)
    fitted[: resampled.size] = resampled[:length]
    return fitted
