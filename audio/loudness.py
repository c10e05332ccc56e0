"""Loudness of a voice: measured as BS.1770 says, brought to the level the encoder was trained with.

Knows samples only; it knows nothing of files, frames or networks.
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .track import SAMPLE_RATE_HZ

TARGET_LUFS = -23.0
"""Level of every speaker before encoding, as InfiniteTalk was trained."""

BLOCK_SECONDS = 0.4
"""Length of one gating block of BS.1770; shorter sound has no loudness."""

_SILENCE_LUFS = 100.0


def integrated_loudness(samples: np.ndarray) -> float | None:
    """Integrated loudness of mono 16 kHz ``samples`` ``[n]`` in LUFS.

    Returns:
        ``-inf`` for silence, None for sound shorter than one gating block of 0.4 s.

    Raises:
        InputError: NaN or infinite samples, or pyloudnorm is not installed.
    """
    try:
        import pyloudnorm
    except ImportError as error:
        raise InputError(
            "levelling the voice needs the package pyloudnorm, which is not installed: run "
            "`pip install pyloudnorm` in ComfyUI's environment, or switch normalize_loudness off."
        ) from error

    if not np.isfinite(samples).all():
        raise InputError(
            "loudness: expected finite samples, got NaN or infinity; export the audio again."
        )
    if samples.size < BLOCK_SECONDS * SAMPLE_RATE_HZ:
        return None
    meter = pyloudnorm.Meter(SAMPLE_RATE_HZ, block_size=BLOCK_SECONDS)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(meter.integrated_loudness(samples))


def normalize_loudness(samples: np.ndarray, target_lufs: float = TARGET_LUFS) -> np.ndarray:
    """Scale mono 16 kHz ``samples`` ``[n]`` to an integrated loudness of ``target_lufs``.

    Silence (beyond 100 LUFS either way) comes back unchanged. Peaks above 1 are left alone: nothing
    clips before the encoder.

    Raises:
        InputError: NaN or infinite samples.

    Source: InfiniteTalk, ``loudness_norm``.
    Differs: sound shorter than 0.4 s comes back unchanged; the published meter raises.
    """
    loudness = integrated_loudness(samples)
    if loudness is None or abs(loudness) > _SILENCE_LUFS:
        return samples
    gain = 10.0 ** ((target_lufs - loudness) / 20.0)
    return (samples * np.float64(gain)).astype(np.float32)
