"""Waveforms in memory become tracks as the published loader would make them."""

import sys

import numpy as np
import pytest
import torch
from voices import click, made_up_voice

from endless_talk.audio.track import resample, track_from_waveform
from endless_talk.errors import InputError


def sine(rate_hz, seconds=1.0, hertz=440.0):
    return np.sin(2 * np.pi * hertz * np.arange(round(rate_hz * seconds)) / rate_hz).astype("f4")


def test_stereo_at_44100_is_resampled_as_librosa_does():
    import librosa

    stereo = np.stack([sine(44_100), 0.5 * sine(44_100, hertz=1_000)])
    track = track_from_waveform(torch.from_numpy(stereo), 44_100)
    expected = librosa.resample(
        stereo.mean(axis=0), orig_sr=44_100, target_sr=16_000, res_type="soxr_hq"
    )
    assert np.array_equal(track.samples, expected)
    assert track.seconds == 1.0


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_the_number_of_samples_is_the_duration_rounded_up(rate_hz):
    samples = resample(np.zeros(rate_hz + 1, np.float32), rate_hz)
    assert samples.size == -(-(rate_hz + 1) * 16_000 // rate_hz)


def test_a_track_at_16_khz_is_not_touched():
    voice = made_up_voice(0.2)
    assert np.array_equal(track_from_waveform(torch.from_numpy(voice)[None], 16_000).samples, voice)


def test_seconds_are_counted_at_the_source_rate():
    track = track_from_waveform(np.zeros((1, 44_101), np.float32), 44_100)
    assert track.seconds == 44_101 / 44_100


@pytest.mark.parametrize("missing", [("librosa",), ("librosa", "soxr")])
def test_resampling_without_librosa_keeps_the_sound_and_its_time(monkeypatch, missing):
    published = resample(sine(44_100), 44_100)
    time = resample(click(1.0, 0.5, 44_100)[0], 44_100).argmax()
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    inner = slice(200, -200)  # resamplers differ where the sound begins and ends
    fallback = resample(sine(44_100), 44_100)
    assert fallback.size == published.size
    assert np.abs(fallback - published)[inner].max() < 1e-3
    assert resample(click(1.0, 0.5, 44_100)[0], 44_100).argmax() == time


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_refused(value):
    waveform = np.zeros((2, 100), np.float32)
    waveform[1, 40] = value
    with pytest.raises(InputError, match="finite"):
        track_from_waveform(waveform, 16_000)


@pytest.mark.parametrize(
    "waveform",
    [
        torch.zeros(1, 2, 100),
        torch.zeros(2, 100, dtype=torch.int16),
        torch.zeros(0, 100),
        torch.zeros(2, 0),
    ],
)
def test_waveforms_of_the_wrong_form_are_refused(waveform):
    with pytest.raises(InputError, match="expected"):
        track_from_waveform(waveform, 16_000)


@pytest.mark.parametrize("rate_hz", [0, 7, 10_000_000])
def test_rates_only_a_damaged_header_has_are_refused(rate_hz):
    with pytest.raises(InputError, match=f"got {rate_hz} Hz"):
        track_from_waveform(torch.zeros(1, 100), rate_hz)
