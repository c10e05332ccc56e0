"""Every voice comes to -23 LUFS, and what has no loudness stays as it is."""

import numpy as np
import pytest
from voices import made_up_voice

from endless_talk.audio.loudness import integrated_loudness, normalize_loudness
from endless_talk.errors import InputError


@pytest.mark.parametrize("gain", [0.1, 1.0, 30.0])
def test_any_level_comes_to_the_target(gain):
    normalized = normalize_loudness(gain * made_up_voice(3.0))
    assert integrated_loudness(normalized) == pytest.approx(-23.0, abs=1e-3)
    assert normalized.dtype == np.float32


def test_normalising_twice_changes_nothing_more():
    once = normalize_loudness(made_up_voice(2.0))
    np.testing.assert_allclose(normalize_loudness(once), once, rtol=1e-4)


def test_peaks_above_one_are_left_alone():
    sparse = np.zeros(32_000, np.float32)
    sparse[::4_000] = 0.5
    assert np.abs(normalize_loudness(sparse)).max() > 1.0


def test_a_tenth_of_a_second_comes_back_unchanged():
    voice = made_up_voice(0.1)
    assert integrated_loudness(voice) is None
    assert np.array_equal(normalize_loudness(voice), voice)


def test_the_shortest_sound_with_a_loudness_is_one_block():
    assert integrated_loudness(made_up_voice(0.4)[:6_399]) is None
    assert integrated_loudness(made_up_voice(0.4)[:6_400]) is not None


def test_silence_comes_back_unchanged():
    silence = np.zeros(16_000, np.float32)
    assert integrated_loudness(silence) == -np.inf
    assert np.array_equal(normalize_loudness(silence), silence)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_refused(value):
    voice = made_up_voice(1.0)
    voice[5] = value
    with pytest.raises(InputError, match="finite"):
        normalize_loudness(voice)
