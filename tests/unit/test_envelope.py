"""The loudness of a voice per frame."""

import numpy as np
import pytest
from voices import made_up_voice

from endless_talk.audio.envelope import FRAME_SAMPLES, smoothed, voice_envelope


def test_a_sound_is_loud_in_its_own_frames():
    samples = np.zeros(50 * FRAME_SAMPLES, np.float32)
    samples[20 * FRAME_SAMPLES : 30 * FRAME_SAMPLES] = 0.3
    envelope = voice_envelope(samples)
    assert envelope.shape == (50,)
    np.testing.assert_allclose(envelope[21:29], 1, atol=1e-6)
    np.testing.assert_allclose(envelope[[19, 20, 29, 30]], [0.25, 0.75, 0.75, 0.25], atol=1e-6)
    assert not envelope[:19].any() and not envelope[31:].any()


@pytest.mark.parametrize("gain", [0.5, 4.0])
def test_the_gain_does_not_matter(gain):
    voice = made_up_voice(4.0)
    quieter = voice_envelope((gain * voice).astype(np.float32))
    np.testing.assert_allclose(quieter, voice_envelope(voice), atol=0.03)


def test_half_the_pressure_is_two_thirds_of_the_opening():
    samples = np.concatenate([np.full(25 * FRAME_SAMPLES, 0.4), np.full(25 * FRAME_SAMPLES, 0.2)])
    assert voice_envelope(samples)[35] == pytest.approx(0.65, abs=0.01)


@pytest.mark.parametrize("level", [0.0, 0.0004])
def test_what_is_below_the_floor_is_silence(level):
    noise = level * np.sign(np.random.default_rng(0).normal(size=16000))
    assert not voice_envelope(noise.astype(np.float32)).any()


def test_the_floor_holds_beside_quiet_speech():
    samples = np.full(50 * FRAME_SAMPLES, 0.002)
    samples[25 * FRAME_SAMPLES :] = 0.0004
    envelope = voice_envelope(samples)
    assert envelope[:24].min() > 0.9 and not envelope[27:].any()


def test_noise_far_below_the_speech_is_silence():
    samples = np.full(50 * FRAME_SAMPLES, 0.3)
    samples[25 * FRAME_SAMPLES :] = 0.3 * 0.019
    assert not voice_envelope(samples)[27:].any()


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (640, 1), (959, 1), (961, 2), (6400, 10)])
def test_the_length_is_the_nearest_number_of_frames(samples, frames):
    assert voice_envelope(np.full(samples, 0.1, np.float32)).size == frames


def test_smoothing_keeps_constants_and_spreads_a_peak():
    np.testing.assert_allclose(smoothed(np.ones(5)), 1)
    np.testing.assert_allclose(smoothed(np.eye(5)[2]), [0, 0.25, 0.5, 0.25, 0])
