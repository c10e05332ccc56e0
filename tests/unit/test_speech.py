"""A speech keeps every voice, its place in time, and its sound as it was handed in."""

import av
import numpy as np
import pytest
import torch
from voices import click, made_up_voice, tiny_encoder, write_media, write_silent_video

from endless_talk.audio.loudness import integrated_loudness
from endless_talk.audio.speech import Speech, make_speaker, mix_sound, single_waveform
from endless_talk.audio.video_sound import video_sound
from endless_talk.errors import InputError
from endless_talk.frames import FPS, clip_frames


class SizedEncoder:
    """The tiny encoder with the attributes the host's has; counts what it encodes."""

    def __init__(self, name="tiny", seed=0):
        self._encoder = tiny_encoder(seed=seed)
        self.name, self.calls = name, 0
        self.hidden, self.layers = self._encoder.config.hidden, self._encoder.config.layers

    def __getattr__(self, attribute):
        return getattr(self._encoder, attribute)

    def encode(self, features):
        self.calls += 1
        return self._encoder.encode(features)


def voice(seconds=1.0, rate_hz=16_000, channels=1, seed=0):
    samples = made_up_voice(seconds, seed, rate_hz)
    return torch.from_numpy(samples)[None].expand(channels, -1).clone()


@pytest.fixture(scope="module")
def encoder():
    return SizedEncoder()


def test_nothing_is_encoded_before_features_are_asked_for():
    encoder = SizedEncoder()
    speech = Speech((make_speaker(voice(), 16_000, encoder),))
    speech = speech.joined_by(make_speaker(voice(seed=1), 16_000, encoder, start_seconds=1.0))
    assert encoder.calls == 0
    features = speech.speakers[1].features.features(0, 4)
    assert features.shape == (4, encoder.layers, encoder.hidden) and encoder.calls == 1
    assert speech.speakers[1].feature_size == encoder.layers * encoder.hidden


def test_every_voice_has_features_to_the_end_of_the_clip(encoder):
    short = make_speaker(voice(1.0), 16_000, encoder)
    late = make_speaker(voice(1.0), 16_000, encoder, start_seconds=2.5)
    speech = Speech((short,)).joined_by(late)
    assert speech.seconds == late.seconds == 3.5
    for speaker in speech.speakers:
        assert speaker.features.frames >= clip_frames(speech.seconds)
    assert [speaker.start_seconds for speaker in speech.speakers] == [0, 2.5]


def test_a_start_moves_the_voice_and_nothing_else(encoder):
    early = make_speaker(voice(), 16_000, encoder, normalize=False)
    late = make_speaker(voice(), 16_000, encoder, start_seconds=2.0, normalize=False)
    np.testing.assert_array_equal(late.voice.samples[: 2 * 16_000], 0)
    np.testing.assert_array_equal(late.voice.samples[2 * 16_000 :], early.voice.samples)


def test_loudness_is_normalised_for_the_encoder_and_not_for_the_ear(encoder):
    quiet = voice(3.0) * 0.3
    speaker = make_speaker(quiet, 16_000, encoder)
    assert integrated_loudness(speaker.voice.samples) == pytest.approx(-23, abs=0.1)
    assert speaker.waveform is quiet
    untouched = make_speaker(quiet, 16_000, encoder, normalize=False)
    np.testing.assert_array_equal(untouched.voice.samples, quiet[0].numpy())


def test_a_single_voice_is_heard_untouched(encoder):
    stereo = voice(0.5, 44_100, 2)
    sound, rate_hz = mix_sound(Speech((make_speaker(stereo, 44_100, encoder),)))
    assert sound is stereo and rate_hz == 44_100


def test_voices_are_mixed_by_adding_them_at_their_starts(encoder):
    first, second = voice(1.0, channels=2), voice(1.0, channels=2, seed=1)
    speech = Speech((make_speaker(first, 16_000, encoder),)).joined_by(
        make_speaker(second, 16_000, encoder, start_seconds=0.5)
    )
    expected = torch.zeros(2, 24_000)
    expected[:, :16_000] += first
    expected[:, 8_000:] += second
    sound, rate_hz = mix_sound(speech)
    assert rate_hz == 16_000
    torch.testing.assert_close(sound, expected)


def test_a_mix_takes_the_highest_rate_and_stereo_and_keeps_time(encoder):
    low = torch.zeros(1, 16_000)
    low[0, 4_000] = 0.9
    high = torch.from_numpy(click(1.0, 0.25, 48_000))
    speech = Speech((make_speaker(low, 16_000, encoder),)).joined_by(
        make_speaker(high, 48_000, encoder, start_seconds=0.5)
    )
    sound, rate_hz = mix_sound(speech)
    assert rate_hz == 48_000 and sound.shape == (2, 72_000)
    assert abs(int(sound[1].abs().argmax()) - 12_000) <= 48  # the low voice's click, 1 ms
    assert int(sound[0, 24_000:].abs().argmax()) == pytest.approx(12_000, abs=12)


def test_a_late_single_voice_has_silence_in_front(encoder):
    speaker = make_speaker(voice(1.0, channels=6), 16_000, encoder, start_seconds=0.5)
    sound, _ = mix_sound(Speech((speaker,)))
    assert sound.shape == (6, 24_000) and not sound[:, :8_000].any()
    torch.testing.assert_close(sound[:, 8_000:], speaker.waveform)


def test_speakers_of_different_encoders_are_refused(encoder):
    other = SizedEncoder("wide")
    other.hidden = 99
    with pytest.raises(InputError, match="from wide"):
        Speech((make_speaker(voice(), 16_000, encoder),)).joined_by(
            make_speaker(voice(), 16_000, other)
        )


@pytest.mark.parametrize(
    ("waveform", "says"),
    [
        (torch.zeros(1, 3, 100), "3 channels"),
        (torch.zeros(2, 1, 100), "batch"),
        (torch.zeros(1, 100), "batch"),
        (torch.zeros(1, 1, 0), "empty"),
    ],
)
def test_audio_that_is_not_one_sound_is_a_sentence(waveform, says):
    with pytest.raises(InputError, match=says):
        single_waveform(waveform)


@pytest.mark.parametrize("channels", [1, 2, 6, 8])
def test_usual_layouts_are_averaged_for_the_encoder(encoder, channels):
    waveform = single_waveform(voice(channels=channels)[None])
    speaker = make_speaker(waveform, 16_000, encoder, normalize=False)
    np.testing.assert_allclose(speaker.voice.samples, voice()[0].numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"start_seconds": -1.0}, "start of 0 s or later"),
        ({"start_seconds": float("nan")}, "start of 0 s or later"),
        ({"strength": -0.5}, "strength"),
        ({"strength": float("inf")}, "strength"),
    ],
)
def test_numbers_out_of_range_are_a_sentence(encoder, change, says):
    with pytest.raises(InputError, match=says):
        make_speaker(voice(), 16_000, encoder, **change)


def test_sound_with_nan_is_a_sentence(encoder):
    broken = voice()
    broken[0, 1600] = float("nan")
    with pytest.raises(InputError, match="NaN"):
        make_speaker(broken, 16_000, encoder)


def test_the_sound_of_a_video_stays_with_its_pictures(tmp_path):
    path = write_media(tmp_path / "a.mp4", click(4.0, 2.5, 48_000), 48_000, "aac", video=True)
    whole, rate_hz = video_sound(str(path))
    part, _ = video_sound(str(path), start_seconds=2.0, duration_seconds=1.0)
    assert rate_hz == 48_000 and whole.shape[0] == part.shape[0] == 2
    assert peak_seconds(whole, rate_hz) == pytest.approx(2.5, abs=0.002)
    assert part.shape[1] == rate_hz
    assert peak_seconds(part, rate_hz) == pytest.approx(0.5, abs=0.002)


def test_sound_that_begins_late_in_a_video_gets_silence_in_front(tmp_path):
    path = tmp_path / "late.mkv"
    late = delayed_copy(
        write_media(tmp_path / "a.mkv", click(2.0, 0.5, 48_000), 48_000, "pcm_s16le", video=True),
        path,
        seconds=1.0,
    )
    sound, rate_hz = video_sound(str(late))
    assert peak_seconds(sound, rate_hz) == pytest.approx(1.5, abs=0.002)


def test_a_video_without_sound_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match="no sound"):
        video_sound(str(write_silent_video(tmp_path / "silent.mp4")))
    path = write_media(tmp_path / "a.mp4", click(1.0, 0.5, 48_000), 48_000, "aac", video=True)
    with pytest.raises(InputError, match="after 9 s"):
        video_sound(str(path), start_seconds=9.0)


def test_the_summary_says_who_speaks_when(encoder):
    region = torch.zeros(10, 10)
    region[:5] = 1
    speech = Speech((make_speaker(voice(), 16_000, encoder),)).joined_by(
        make_speaker(voice(), 16_000, encoder, start_seconds=1.0, region=region)
    )
    assert speech.summary.splitlines() == [
        "speaker 1: 0.00 s to 1.00 s, whole picture",
        "speaker 2: 1.00 s to 2.00 s, 50.0% of the picture",
    ]


def peak_seconds(sound, rate_hz):
    return int(sound[0].abs().argmax()) / rate_hz


def delayed_copy(source, target, seconds):
    """The same streams, the sound shifted to begin later than the pictures."""
    with av.open(str(source)) as inside, av.open(str(target), "w") as outside:
        streams = {s: outside.add_stream_from_template(s) for s in inside.streams}
        for packet in inside.demux():
            if packet.dts is None:
                continue
            if packet.stream.type == "audio":
                shift = round(seconds / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            packet.stream = streams[packet.stream]
            outside.mux(packet)
    return target


def test_fps_is_the_clock_of_the_features(encoder):
    speaker = make_speaker(voice(2.0), 16_000, encoder)
    assert speaker.features.frames == 2 * FPS + FPS  # a second of silence behind the voice
