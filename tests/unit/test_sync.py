"""A mouth that follows a voice, early, late, or not at all."""

import math

import numpy as np
import pytest

from endless_talk.audio.envelope import smoothed
from endless_talk.video.sync import (
    SHORTEST_SHIFT_FRAMES,
    correlation,
    correlation_matrix,
    measure_sync,
    shuffled_correlations,
)


def voice(frames=400, seed=0):
    """Syllables of a few frames, like loudness."""
    return smoothed(smoothed(np.random.default_rng(seed).random(frames)))


def late(curve, frames):
    return np.interp(np.arange(curve.size) - frames, np.arange(curve.size), curve)


def test_a_mouth_that_is_the_voice_follows_it():
    sync = measure_sync(3 * voice() + 1, voice())
    assert sync.correlation == pytest.approx(1) == sync.best_correlation
    assert sync.lag_frames == pytest.approx(0, abs=0.05)
    assert sync.shuffled_mean_abs < 0.15 and sync.shuffled_max_abs < 0.35
    assert abs(sync.shuffled_mean) <= sync.shuffled_mean_abs


@pytest.mark.parametrize("frames", [-8, -3, 1, 2, 6])
def test_a_shifted_mouth_is_found_at_its_lag(frames):
    sync = measure_sync(late(voice(), frames), voice())
    assert sync.lag_frames == pytest.approx(frames, abs=0.1)
    assert sync.best_correlation > 0.98 > sync.correlation


@pytest.mark.parametrize("frames", [-1.4, 0.3, 2.5])
def test_a_lag_is_found_between_frames(frames):
    sync = measure_sync(late(voice(), frames), voice())
    assert sync.lag_frames == pytest.approx(frames, abs=0.15)


def test_another_voice_is_not_followed():
    sync = measure_sync(voice(seed=1), voice(seed=2))
    assert abs(sync.correlation) < 0.25
    assert sync.shuffled_mean_abs == pytest.approx(
        np.abs(shuffled_correlations(voice(seed=1), voice(seed=2))).mean()
    )


def test_a_constant_curve_has_no_correlation():
    for opening, envelope in ((np.full(100, 0.1), voice(100)), (voice(100), np.zeros(100))):
        sync = measure_sync(opening, envelope)
        assert math.isnan(sync.correlation) and math.isnan(sync.lag_frames)
        assert math.isnan(sync.shuffled_mean_abs)


@pytest.mark.parametrize("frames", [1, 2, 5, 2 * SHORTEST_SHIFT_FRAMES - 1])
def test_short_clips_have_no_control(frames):
    sync = measure_sync(voice(frames), voice(frames))
    assert math.isnan(sync.shuffled_max_abs)
    assert math.isnan(sync.correlation) == (frames < 3)


def test_every_shuffle_moves_the_voice_by_more_than_a_second():
    """A single syllable never meets itself, whichever way round it goes."""
    frames = 3 * SHORTEST_SHIFT_FRAMES
    syllable = np.zeros(frames)
    syllable[:20] = 1
    assert shuffled_correlations(syllable, syllable).max() < 0


def test_the_matrix_has_a_row_per_voice():
    voices = np.stack([voice(seed=1), voice(seed=2), voice(seed=3)])
    matrix = correlation_matrix(voices[[2, 0]], voices)
    assert matrix.shape == (3, 2)
    assert matrix[2, 0] == pytest.approx(1) == matrix[0, 1]
    assert matrix[1, 0] == pytest.approx(correlation(voices[1], voices[2]))


def test_curves_of_different_length_are_refused():
    with pytest.raises(ValueError, match="10"):
        measure_sync(voice(10), voice(11))
