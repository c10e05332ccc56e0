"""Sound beside pictures: the same instant, copied where possible, cut where needed."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from endless_talk.audio.decoding import decode_track
from endless_talk.errors import InputError
from endless_talk.video.sink import VideoSink
from endless_talk.video.sound import Sound

SIZE = (16, 16)
SECONDS = 2.9  # shorter than the 75 frames of a clip, so that nothing needs to be cut


def clicking(rate_hz, channels=1, seconds=SECONDS, at=1.0):
    """Silence with a 2 ms click centred at one second, ``[channels, n]``."""
    time = np.arange(round(seconds * rate_hz)) / rate_hz - at
    click = np.cos(2 * np.pi * 2000 * time) * np.cos(np.pi * time / 0.002) ** 2
    return np.tile(np.where(np.abs(time) < 0.001, 0.8 * click, 0), (channels, 1)).astype(np.float32)


def record(
    path, codec, rate_hz, *, channels=1, container=None, picture=False, late=0.0, seconds=SECONDS
):
    """A media file with the click, its sound beginning at ``late`` seconds of the file."""
    layout = {1: "mono", 2: "stereo"}[channels]
    with av.open(str(path), "w", format=container) as output:
        if picture:
            video = output.add_stream("libx264", rate=25, width=16, height=16, pix_fmt="yuv420p")
        track = output.add_stream(codec, rate=rate_hz, layout=layout)
        if picture:
            for index in range(10):
                image = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
                image.pts = index
                output.mux(video.encode(image))
            output.mux(video.encode(None))
        packed = clicking(rate_hz, channels, seconds).T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(packed), format="flt", layout=layout
        )
        frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
        frame.pts = round(late * rate_hz)
        output.mux(track.encode(frame))
        output.mux(track.encode(None))
    return path


def flashing(frames=75):
    """Black, but white in frame 25."""
    clip = torch.full((3, frames, *SIZE), -1.0)
    clip[:, 25:26] = 1
    return clip


def finish(folder, sound, frames=75):
    with VideoSink(folder / "clip.mp4", SIZE) as sink:
        sink.append(flashing(frames))
        return sink.finish(sound)


def heard(path):
    """Decoded sound of the first channel and its rate, first decoded sample first."""
    with av.open(str(path)) as source:
        frames = list(source.decode(audio=0))
        rate_hz = frames[0].sample_rate
        convert = av.AudioResampler("flt", "mono", rate_hz)
        blocks = [part.to_ndarray()[0] for frame in frames for part in convert.resample(frame)]
    return np.concatenate(blocks), rate_hz


def click_seconds(path):
    samples, rate_hz = heard(path)
    loud = np.abs(samples) * (np.abs(samples) > np.abs(samples).max() * 0.3)
    return float((loud * np.arange(len(loud))).sum() / loud.sum() / rate_hz)


def sound_of(path):
    """Codec, rate and channels of the sound, its start and length in seconds, and its packets."""
    with av.open(str(path)) as source:
        stream = source.streams.audio[0]
        context = stream.codec_context
        facts = (context.codec.canonical_name, context.sample_rate, context.channels)
        length = (stream.duration or 0) * stream.time_base
        packets = [bytes(packet) for packet in source.demux(stream) if packet.size]
        return facts, (stream.start_time, length), packets


SOURCES = {
    "wav": {"codec": "pcm_s16le", "rate_hz": 48000},
    "flac": {"codec": "flac", "rate_hz": 44100, "channels": 2},
    "ogg": {"codec": "libopus", "rate_hz": 48000},
    "mp3": {"codec": "libmp3lame", "rate_hz": 44100, "channels": 2},
    "m4a": {"codec": "aac", "rate_hz": 44100, "container": "ipod"},
    "aac": {"codec": "aac", "rate_hz": 48000, "container": "adts"},
    "ts": {"codec": "aac", "rate_hz": 48000, "picture": True, "container": "mpegts"},
    "mp4": {"codec": "aac", "rate_hz": 48000, "channels": 2, "picture": True},
    "mkv": {"codec": "aac", "rate_hz": 44100, "picture": True},
    "late.mkv": {"codec": "libmp3lame", "rate_hz": 48000, "picture": True, "late": 0.5},
    "late.mp4": {"codec": "aac", "rate_hz": 48000, "picture": True, "late": 0.5},
    "late.opus.mkv": {"codec": "libopus", "rate_hz": 48000, "picture": True, "late": 0.5},
}


@pytest.mark.parametrize("name", SOURCES)
def test_the_click_is_heard_while_the_flash_is_seen(tmp_path, name):
    source = record(tmp_path / f"source.{name}", **SOURCES[name])
    # Some files do not say how much of their sound is priming, so decoders give that too.
    expected = click_seconds(source)
    assert name in ("aac", "ts", "late.mp4") or expected == pytest.approx(1.0, abs=1e-4)
    path = finish(tmp_path, Sound(source))
    assert click_seconds(path) == pytest.approx(expected, abs=1e-4)
    with av.open(str(path)) as clip:
        video = clip.streams.video[0]
        assert video.duration * video.time_base == 3
        flashes = [
            frame.pts * frame.time_base
            for frame in clip.decode(video)
            if frame.to_ndarray(format="gray").mean() > 128
        ]
    assert flashes == [1]
    assert sound_of(path)[1][0] == 0


@pytest.mark.parametrize("name", ["mp3", "m4a", "mp4", "mkv", "late.mkv", "late.mp4"])
def test_sound_an_mp4_can_hold_is_copied(tmp_path, name):
    source = record(tmp_path / f"source.{name}", **SOURCES[name])
    path = finish(tmp_path, Sound(source))
    assert sound_of(path)[0] == sound_of(source)[0]
    assert sound_of(path)[2] == sound_of(source)[2]


@pytest.mark.parametrize("name", ["wav", "flac", "ogg"])
def test_other_sound_becomes_aac_of_the_same_rate_and_channels(tmp_path, name):
    source = record(tmp_path / f"source.{name}", **SOURCES[name])
    path = finish(tmp_path, Sound(source))
    assert sound_of(path)[0] == ("aac", *sound_of(source)[0][1:])
    assert float(sound_of(path)[1][1]) == pytest.approx(SECONDS, abs=0.001)


@pytest.mark.parametrize("codec", ["pcm_s16le", "libmp3lame", "aac"])
def test_sound_longer_than_the_clip_is_cut_to_it(tmp_path, codec):
    container = {"pcm_s16le": "wav", "libmp3lame": "mp3", "aac": "ipod"}[codec]
    source = record(tmp_path / "source", codec, 44100, container=container, seconds=4)
    path = finish(tmp_path, Sound(source))
    facts, (start, length), _ = sound_of(path)
    assert (facts[0], start, length) == ("aac", 0, 3)
    assert click_seconds(path) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(("extra", "cut"), [(0.039, False), (0.041, True)])
def test_up_to_one_frame_more_is_not_cut(tmp_path, extra, cut):
    samples = torch.from_numpy(clicking(48000, seconds=3 + extra))
    path = finish(tmp_path, Sound(samples=samples, rate_hz=48000))
    assert float(sound_of(path)[1][1]) == pytest.approx(3 if cut else 3 + extra, abs=1e-3)


def test_the_padding_of_the_last_packet_is_no_reason_to_encode_again(tmp_path):
    source = record(tmp_path / "source.mp3", "libmp3lame", 16000, seconds=3)
    path = finish(tmp_path, Sound(source))
    assert sound_of(path)[2] == sound_of(source)[2]


@pytest.mark.parametrize(
    ("rate_hz", "expected"), [(48000, 48000), (16000, 16000), (192000, 96000), (5000, 7350)]
)
def test_samples_keep_their_rate_or_get_the_nearest(tmp_path, rate_hz, expected):
    samples = torch.from_numpy(clicking(rate_hz, 2))
    path = finish(tmp_path, Sound(samples=samples, rate_hz=rate_hz))
    assert sound_of(path)[0] == ("aac", expected, 2)
    assert click_seconds(path) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(("channels", "expected"), [(1, 1), (2, 2), (6, 6), (8, 8), (10, 1)])
def test_samples_keep_their_channels_up_to_8(tmp_path, channels, expected):
    samples = torch.from_numpy(clicking(48000, channels))
    path = finish(tmp_path, Sound(samples=samples, rate_hz=48000))
    assert sound_of(path)[0] == ("aac", 48000, expected)


def test_a_file_of_many_channels_is_mixed_down_and_none_is_lost(tmp_path):
    import wave

    with wave.open(str(tmp_path / "ten.wav"), "wb") as output:
        output.setnchannels(10)
        output.setsampwidth(2)
        output.setframerate(48000)
        track = np.zeros((round(SECONDS * 48000), 10))
        track[:, 9] = clicking(48000)[0]
        output.writeframes((track * 32767).astype("<i2").tobytes())
    path = finish(tmp_path, Sound(tmp_path / "ten.wav"))
    assert sound_of(path)[0] == ("aac", 48000, 1)
    assert click_seconds(path) == pytest.approx(1.0, abs=1e-4)
    assert np.abs(heard(path)[0]).max() == pytest.approx(0.08, rel=0.2)


def test_a_sound_track_much_longer_than_the_clip_is_not_read_to_its_end(tmp_path, monkeypatch):
    from endless_talk.video import sound as module

    taken = []
    blocks = module._sample_frames
    monkeypatch.setattr(
        module,
        "_sample_frames",
        lambda *given: (taken.append(1) or block for block in blocks(*given)),
    )
    finish(tmp_path, Sound(samples=torch.zeros(1, 48000 * 60), rate_hz=48000), frames=26)
    assert len(taken) < 10


def test_unusable_sounds_are_refused_when_they_are_named(tmp_path):
    silent = tmp_path / "silent.mp4"
    with VideoSink(silent, SIZE) as sink:
        sink.append(flashing(26))
        sink.finish()
    with pytest.raises(InputError, match="has no sound"):
        Sound(silent)
    (tmp_path / "text.wav").write_text("not a sound")
    with pytest.raises(InputError, match="not a media file"):
        Sound(tmp_path / "text.wav")
    with pytest.raises(FileNotFoundError, match=r"no gone\.wav in"):
        Sound(tmp_path / "gone.wav")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"samples": torch.zeros(1, 9)},
        {"samples": torch.zeros(1, 9), "rate_hz": 0},
        {"samples": torch.zeros(9), "rate_hz": 16000},
        {"samples": torch.zeros(1, 0), "rate_hz": 16000},
        {"samples": torch.zeros(1, 9, dtype=torch.int16), "rate_hz": 16000},
        {"samples": torch.full((1, 9), float("nan")), "rate_hz": 16000},
    ],
)
def test_unusable_samples_are_refused(given):
    with pytest.raises(InputError):
        Sound(**given)


def sound_file(path, tracks, hole_seconds=0.0):
    """A matroska with PCM tracks; each is half a second, an optional hole, half a second."""
    rate = 16000
    with av.open(str(path), "w") as container:
        streams = [
            container.add_stream("pcm_s16le", rate=rate, layout=layout) for layout, _ in tracks
        ]
        for stream, (layout, level) in zip(streams, tracks, strict=True):
            for part in range(2):
                time = np.arange(rate // 2) / rate
                wave = (level * 20000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)
                packed = np.repeat(wave, 2 if layout == "stereo" else 1)[None]
                frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
                frame.sample_rate = rate
                frame.pts = part * (rate // 2 + round(hole_seconds * rate))
                frame.time_base = Fraction(1, rate)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def clip_with(tmp_path, source, frames):
    out = tmp_path / "clip.mp4"
    with VideoSink(out, (32, 32)) as sink:
        sink.append(torch.zeros(3, frames, 32, 32))
        return sink.finish(Sound(path=source))


def test_sound_behind_a_hole_keeps_its_time(tmp_path):
    source = sound_file(tmp_path / "hole.mkv", [("mono", 1.0)], hole_seconds=1.0)
    samples, rate = heard(clip_with(tmp_path, source, 50))
    loud = [
        np.abs(samples[int(a * rate) : int(b * rate)]).max() for a, b in ((0.1, 0.4), (1.6, 1.9))
    ]
    silent = np.abs(samples[int(0.7 * rate) : int(1.4 * rate)]).max()
    assert min(loud) > 0.3 > 0.01 > silent


def test_of_several_tracks_the_one_that_drives_the_lips_is_heard(tmp_path):
    source = sound_file(tmp_path / "two.mkv", [("mono", 0.0), ("stereo", 1.0)])
    samples, _ = heard(clip_with(tmp_path, source, 25))
    voice = decode_track(source).samples
    assert np.abs(samples).max() > 0.3 and np.abs(voice).max() > 0.3


def test_a_colon_in_a_name_is_no_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sound_file(tmp_path / "plain.mkv", [("mono", 1.0)]).rename(tmp_path / "a:b.mkv")
    with VideoSink(Path("c:d.mp4"), (32, 32)) as sink:
        sink.append(torch.zeros(3, 25, 32, 32))
        sink.finish(Sound(path=Path("a:b.mkv")))
    assert heard(tmp_path / "c:d.mp4")[0].size
