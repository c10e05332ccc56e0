"""Files of every kind become the same mono track, at the right time, or one clear sentence."""

import av
import numpy as np
import pytest
import soundfile
from voices import click, made_up_voice, write_media, write_silent_video

from endless_talk.audio.decoding import decode_track
from endless_talk.errors import InputError

MEDIA = [  # file, codec, rate, tolerance of the duration: an AAC packet is padded at the end
    ("a.wav", "pcm_s16le", 44_100, 0.0),
    ("b.wav", "pcm_s24le", 48_000, 0.0),
    ("c.wav", "pcm_u8", 22_050, 0.0),
    ("d.wav", "pcm_f32le", 16_000, 0.0),
    ("e.mp3", "libmp3lame", 44_100, 0.0),
    ("f.m4a", "aac", 44_100, 1024 / 44_100),
    ("g.flac", "flac", 44_100, 0.0),
    ("h.opus", "libopus", 48_000, 0.0),
    ("i.mp4", "aac", 48_000, 1024 / 48_000),
    ("j.mkv", "aac", 32_000, 1024 / 32_000),
]


@pytest.mark.parametrize(("name", "codec", "rate_hz", "tolerance"), MEDIA)
def test_a_click_stays_at_its_time_and_the_clip_keeps_its_length(
    tmp_path, name, codec, rate_hz, tolerance
):
    waveform = click(1.5, 1.0, rate_hz)
    path = write_media(tmp_path / name, waveform, rate_hz, codec, video=name.endswith("mp4"))
    track = decode_track(path)
    assert track.samples.dtype == np.float32
    assert 1.5 <= track.seconds <= 1.5 + tolerance
    assert abs(track.samples.size - 16_000 * track.seconds) < 1
    energy = track.samples.astype(np.float64) ** 2
    centre = (energy * np.arange(energy.size)).sum() / energy.sum() / 16_000
    middle_of_click = 1.0 + 0.5 * (rate_hz // 4000) / rate_hz
    assert abs(centre - middle_of_click) < 1e-3


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_s32le", "pcm_u8", "pcm_f32le", "pcm_f64le"])
def test_sample_formats_are_scaled_alike_and_channels_averaged(tmp_path, codec):
    left, right = made_up_voice(0.5, seed=1), made_up_voice(0.5, seed=2)
    path = write_media(tmp_path / "a.wav", np.stack([left, right]), 16_000, codec)
    step = 2.0**-7 if codec == "pcm_u8" else 2.0**-15
    difference = decode_track(path).samples - (left + right) / 2
    assert np.abs(difference).max() <= step


def test_vorbis_in_ogg_decodes(tmp_path):
    voice = made_up_voice(1.0, rate_hz=22_050)
    soundfile.write(tmp_path / "a.ogg", voice, 22_050, format="OGG", subtype="VORBIS")
    track = decode_track(tmp_path / "a.ogg")
    assert track.seconds == pytest.approx(1.0, abs=1e-6)
    assert track.samples.size == 16_000


def test_decoding_a_wav_is_what_librosa_loads(tmp_path):
    import librosa

    stereo = np.stack([made_up_voice(1.0, seed=1, rate_hz=44_100), np.zeros(44_100, np.float32)])
    path = write_media(tmp_path / "a.wav", stereo, 44_100, "pcm_s16le")
    expected, _ = librosa.load(path, sr=16_000)
    np.testing.assert_allclose(decode_track(path).samples, expected, atol=1e-6)


def test_a_colon_in_the_name_is_no_protocol(tmp_path, monkeypatch):
    write_media(tmp_path / "take:1.wav", click(0.5, 0.2, 16_000), 16_000, "pcm_s16le")
    monkeypatch.chdir(tmp_path)
    assert decode_track("take:1.wav").seconds == 0.5


def test_a_missing_file_is_named_with_its_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"voice\.wav in {tmp_path}"):
        decode_track(tmp_path / "voice.wav")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="got a folder"):
        decode_track(tmp_path)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "voice.wav").touch()
    with pytest.raises(InputError, match="0 bytes"):
        decode_track(tmp_path / "voice.wav")


@pytest.mark.parametrize("name", ["voice.wav", "voice.mp3", "voice.mp4"])
def test_text_under_another_name_is_refused(tmp_path, name):
    (tmp_path / name).write_text("These are the words, not the voice.\n" * 50)
    with pytest.raises(InputError, match=f"^{name}: expected"):
        decode_track(tmp_path / name)


def test_a_video_without_sound_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected sound, but the file has none"):
        decode_track(write_silent_video(tmp_path / "silent.mp4"))


def test_a_header_without_samples_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0, np.float32), 16_000)
    with pytest.raises(InputError, match="0 samples"):
        decode_track(tmp_path / "a.wav")


def test_nan_in_a_file_is_refused_with_its_time(tmp_path):
    voice = made_up_voice(0.5)
    voice[4_000] = np.nan
    soundfile.write(tmp_path / "a.wav", voice, 16_000, subtype="FLOAT")
    with pytest.raises(InputError, match=r"NaN or infinity at 0\.250 s"):
        decode_track(tmp_path / "a.wav")


def test_an_absurd_rate_in_the_header_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", made_up_voice(0.5), 7)
    with pytest.raises(InputError, match="got 7 Hz"):
        decode_track(tmp_path / "a.wav")


@pytest.mark.parametrize(("name", "codec"), [("a.flac", "flac"), ("a.m4a", "aac")])
def test_after_damage_in_the_middle_the_sound_keeps_its_time(tmp_path, name, codec, caplog):
    waveform = np.stack([made_up_voice(3.0)] * 2) + click(3.0, 2.8, 16_000)
    path = write_media(tmp_path / name, waveform, 16_000, codec)
    content = bytearray(path.read_bytes())
    middle, length = len(content) // 2, len(content) // 8
    content[middle : middle + length] = bytes(length)
    path.write_bytes(content)
    track = decode_track(path)
    assert track.seconds == pytest.approx(3.0, abs=0.1)
    assert np.abs(track.samples).argmax() / 16_000 == pytest.approx(2.8, abs=2e-3)
    assert "sound missing" in caplog.text


def test_timestamps_that_jump_too_far_are_refused(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for first in (0, 11 * 16_000):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1_600), "i2"), "s16", "mono")
            frame.sample_rate, frame.pts = 16_000, first
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match=r"at 0\.10 s it is missing for 10\.90 s"):
        decode_track(path)


def test_a_download_cut_short_still_gives_its_beginning(tmp_path):
    path = write_media(tmp_path / "a.mp3", np.stack([made_up_voice(2.0)] * 2), 16_000, "libmp3lame")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    track = decode_track(path)
    assert 0.7 < track.seconds < 1.3
