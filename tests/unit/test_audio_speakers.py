"""Voices of one clip have one length, keep their turns and sum up to the mix."""

import numpy as np
import pytest
from voices import made_up_voice

from endless_talk.audio.loudness import normalize_loudness
from endless_talk.audio.speakers import combine_speakers, delay_track
from endless_talk.audio.track import Track
from endless_talk.errors import InputError


def voice(seconds, seed=0, gain=1.0):
    return Track(gain * made_up_voice(seconds, seed), seconds)


@pytest.mark.parametrize("place", ["add", "para"])
def test_all_tracks_have_one_length_and_the_mix_is_their_sum(place):
    combined = combine_speakers([voice(1.0), voice(0.6, 1), voice(0.8, 2)], place)
    lengths = {track.samples.size for track in (*combined.tracks, combined.mix)}
    assert lengths == {38_400 if place == "add" else 16_000}
    assert combined.mix.seconds == pytest.approx(2.4 if place == "add" else 1.0)
    total = np.sum([track.samples for track in combined.tracks], axis=0)
    np.testing.assert_allclose(combined.mix.samples, total, atol=1e-7)


def test_one_after_another_means_exactly_one_speaks_at_a_time():
    parts = [voice(0.5), voice(0.7, 1), voice(0.6, 2)]
    combined = combine_speakers(parts, "add")
    first = 0
    for track, part in zip(combined.tracks, parts, strict=True):
        size = part.samples.size
        own = slice(first, first + size)
        assert np.array_equal(track.samples[own], normalize_loudness(part.samples))
        assert np.count_nonzero(track.samples) == np.count_nonzero(track.samples[own])
        first += size


def test_speakers_are_normalised_each_on_its_own():
    quiet, loud = combine_speakers([voice(1.0, gain=0.1), voice(1.0, gain=2.0)], "para").tracks
    np.testing.assert_allclose(quiet.samples, loud.samples, rtol=1e-4, atol=1e-6)


def test_levels_stay_when_no_target_is_given():
    track = combine_speakers([voice(1.0, gain=0.01)], "para", target_lufs=None).tracks[0]
    assert np.array_equal(track.samples, voice(1.0, gain=0.01).samples)


def test_the_shorter_voice_is_followed_by_silence():
    long, short = combine_speakers([voice(1.0), voice(0.5, 1)], "para").tracks
    assert long.samples.size == short.samples.size
    assert not short.samples[8_000:].any()


def test_a_missing_speaker_is_silent_as_long_as_the_other():
    combined = combine_speakers([None, voice(0.5)], "para")
    assert not combined.tracks[0].samples.any()
    assert np.array_equal(combined.mix.samples, combined.tracks[1].samples)


def test_exchanging_the_speakers_of_para_exchanges_the_tracks():
    one, two = voice(0.5), voice(0.7, 1)
    forward, backward = combine_speakers([one, two], "para"), combine_speakers([two, one], "para")
    for track, twin in zip(forward.tracks, reversed(backward.tracks), strict=True):
        assert np.array_equal(track.samples, twin.samples)


@pytest.mark.parametrize("voices", [[], [None, None]])
def test_no_voice_at_all_is_refused(voices):
    with pytest.raises(InputError, match="at least one speaker"):
        combine_speakers(voices, "add")


def test_an_unknown_place_is_refused():
    with pytest.raises(InputError, match="'add' or 'para', got 'both'"):
        combine_speakers([voice(0.5)], "both")


def test_a_start_puts_silence_in_front():
    delayed = delay_track(voice(0.5), 0.25)
    assert delayed.seconds == 0.75
    assert not delayed.samples[:4_000].any()
    assert np.array_equal(delayed.samples[4_000:], voice(0.5).samples)


@pytest.mark.parametrize("start", [-0.1, np.nan, np.inf])
def test_a_start_before_the_clip_is_refused(start):
    with pytest.raises(InputError, match="0 s or later"):
        delay_track(voice(0.5), start)
