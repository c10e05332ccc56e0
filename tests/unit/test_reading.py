"""Videos and pictures on the clock of 25 frames per second."""

from fractions import Fraction
from io import BytesIO

import av
import numpy as np
import pytest
import torch

from endless_talk.errors import InputError
from endless_talk.video.reading import BLOCK_FRAMES, PictureFrames, VideoFrames
from endless_talk.video.sink import VideoSink


def grey(levels, size=(32, 48)):
    """One frame per level in [-1, 1], ``[3, F, H, W]``."""
    return torch.tensor(levels, dtype=torch.float32).view(1, -1, 1, 1).expand(3, -1, *size)


LEVELS = torch.linspace(-0.9, 0.9, 20).tolist()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Twenty grey frames, each brighter than the one before."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    with VideoSink(path, (32, 48)) as sink:
        sink.append(grey(LEVELS))
        sink.finish()
    return path


def levels_of(frames):
    blocks = list(frames)
    assert all(block.shape[0] == 3 and block.shape[2:] == (32, 48) for block in blocks)
    assert all(0 < block.shape[1] <= BLOCK_FRAMES for block in blocks)
    return torch.cat(blocks, dim=1).mean(dim=(0, 2, 3)).numpy()


def other_rate(path, rate, count):
    """A video of another frame rate, ``count`` frames from black to white."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "5", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for level in np.linspace(0, 255, count):
            frame = np.full((32, 48, 3), round(level), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_every_frame_of_a_clip_is_read_once_with_its_colour(clip):
    np.testing.assert_allclose(levels_of(VideoFrames(clip)), LEVELS, atol=0.012)


def test_colours_are_on_average_what_was_written(clip):
    """FFmpeg's quick conversion is a level of 255 too dark, 0.008 of this range."""
    assert np.mean(levels_of(VideoFrames(clip)) - LEVELS) == pytest.approx(0, abs=0.003)


def test_a_clip_can_be_read_again_and_from_bytes(clip):
    frames = VideoFrames(BytesIO(clip.read_bytes()))
    first = levels_of(frames)
    np.testing.assert_array_equal(levels_of(frames), first)
    np.testing.assert_array_equal(levels_of(VideoFrames(str(clip))), first)
    assert frames.name == "the video" and VideoFrames(clip).name == "clip.mp4"


@pytest.mark.parametrize(
    ("start", "duration", "part"),
    [
        (0.2, 0.0, slice(5, 20)),
        (0.0, 0.4, slice(0, 10)),
        (0.2, 0.2, slice(5, 10)),
        (0.6, 9, slice(15, 20)),
    ],
)
def test_a_part_of_a_clip(clip, start, duration, part):
    frames = VideoFrames(clip, start_seconds=start, duration_seconds=duration)
    np.testing.assert_allclose(levels_of(frames), LEVELS[part], atol=0.012)


@pytest.mark.parametrize(
    "rate", [Fraction(25, 2), Fraction(30), Fraction(50), Fraction(24000, 1001)]
)
def test_other_rates_last_as_long(tmp_path, rate):
    count = round(2 * rate)
    levels = levels_of(VideoFrames(other_rate(tmp_path / "other.mp4", rate, count)))
    assert abs(len(levels) - 50) <= 1
    # A ramp in time stays the same ramp, within a frame of the source.
    expected = np.clip(np.arange(len(levels)) / 25 * float(rate) / (count - 1), 0, 1) * 2 - 1
    assert np.abs(levels - expected).max() < 2 / (count - 1) + 0.05


def test_a_part_ends_in_time_where_frames_are_held(tmp_path):
    slow = other_rate(tmp_path / "slow.mp4", Fraction(5), 10)
    assert len(levels_of(VideoFrames(slow, duration_seconds=0.48))) == 12


def test_a_part_behind_the_end_is_a_sentence(clip):
    with pytest.raises(InputError, match=r"clip\.mp4 has no picture from 3 s on"):
        list(VideoFrames(clip, start_seconds=3.0))


def test_what_is_no_video_is_a_sentence(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(InputError, match=r"text\.mp4 cannot be read as a video"):
        list(VideoFrames(tmp_path / "text.mp4"))
    with pytest.raises(FileNotFoundError, match=r"gone\.mp4"):
        VideoFrames(tmp_path / "gone.mp4")


def test_sound_alone_is_a_sentence(tmp_path):
    from files import voice

    with pytest.raises(InputError, match="no pictures, only sound"):
        list(VideoFrames(voice(tmp_path / "voice.wav", 0.5)))


def test_pictures_in_memory_are_the_same_frames():
    images = ((grey(LEVELS) + 1) / 2).permute(1, 2, 3, 0)
    frames = PictureFrames(images, 25.0)
    np.testing.assert_allclose(levels_of(frames), LEVELS, atol=1e-6)
    np.testing.assert_allclose(levels_of(frames), LEVELS, atol=1e-6)
    alpha = torch.cat([images, torch.zeros(20, 32, 48, 1)], dim=-1)
    np.testing.assert_allclose(levels_of(PictureFrames(alpha, 25.0)), LEVELS, atol=1e-6)


@pytest.mark.parametrize(
    ("rate", "shown"), [(50.0, range(0, 20, 2)), (12.5, [i // 2 for i in range(40)])]
)
def test_pictures_of_another_rate_are_held_or_left_out(rate, shown):
    images = ((grey(LEVELS) + 1) / 2).permute(1, 2, 3, 0)
    expected = [LEVELS[index] for index in shown]
    np.testing.assert_allclose(levels_of(PictureFrames(images, rate)), expected, atol=1e-6)


@pytest.mark.parametrize(("count", "rate"), [(0, 25.0), (4, 0.0)])
def test_no_pictures_or_no_rate_is_a_sentence(count, rate):
    with pytest.raises(InputError, match=f"{count} pictures at {rate:g}"):
        PictureFrames(torch.zeros(count, 8, 8, 3), rate)
