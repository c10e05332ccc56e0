"""Source videos on the clip's clock: drawn videos of every kind, whose pictures are numbered."""

import gc
import os
from fractions import Fraction
from io import BytesIO

import files
import numpy as np
import pytest
import torch
import videos

from endless_talk.errors import InputError
from endless_talk.reference.video import FileVideo, PicturesVideo


def shown(video):
    return [videos.number_of(video.picture(index)) for index in range(video.frames)]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "ts"])
@pytest.mark.parametrize("rate", [24, 25, 30, 50, Fraction(30000, 1001)])
def test_every_rate_shows_what_a_player_shows(rate, suffix, tmp_path):
    rate = Fraction(rate)
    count = int(rate * 2)
    video = FileVideo(
        videos.write_numbered(tmp_path / f"clip.{suffix}", count, rate=rate, options={"bf": "0"})
    )
    assert video.frames == int(count / rate * 25 + Fraction(1, 2))
    tolerance = Fraction(3, 2000)  # Matroska rounds to milliseconds
    for k, number in enumerate(shown(video)):
        assert number / rate <= Fraction(k, 25) + tolerance, "shown too early"
        assert (number + 1) / rate >= Fraction(k, 25) - tolerance or number == count - 1, "too late"
    assert video.rate == pytest.approx(float(rate), rel=0.02)


def test_a_variable_rate_is_followed_by_its_time_stamps(tmp_path):
    seconds = [0, 0.04, 0.05, 0.3, 0.31, 0.32, 0.33, 1.0, 1.5, 1.52]
    path = videos.write_numbered(tmp_path / "phone.mp4", len(seconds), seconds=seconds)
    video = FileVideo(path)
    expected = [sum(stamp <= k / 25 + 0.0005 for stamp in seconds) - 1 for k in range(video.frames)]
    assert shown(video) == expected
    assert set(expected) >= {0, 2, 6, 7, 9}, "the video is too simple to show anything"
    assert 38 <= video.frames <= 42


def test_a_file_that_does_not_start_at_zero_starts_with_its_first_picture(tmp_path):
    seconds = [3 + Fraction(index, 25) for index in range(20)]
    video = FileVideo(videos.write_numbered(tmp_path / "late.mkv", 20, seconds=seconds))
    assert video.frames == 20 and shown(video) == [*range(20)]


def test_a_turned_picture_is_upright_with_its_sides_exchanged(tmp_path):
    path = videos.write_numbered(tmp_path / "phone.mp4", 10)
    assert FileVideo(path).size == videos.SIZE
    video = FileVideo(videos.turn_clockwise(path))
    assert video.size == videos.SIZE[::-1]
    picture = video.picture(3)
    assert picture.shape == (*video.size, 3)
    corners = [picture[:10, :6], picture[:10, -6:], picture[-10:, :6], picture[-10:, -6:]]
    assert [corner.mean() > 200 for corner in corners] == [False, True, False, False]
    assert videos.number_of(picture) == 3
    small = video.picture(3, (16, 12))
    assert small.shape == (16, 12, 3) and small[:3, -2:].mean() > 200


def test_a_trim_window_is_all_there_is(tmp_path):
    path = videos.write_numbered(tmp_path / "clip.mp4", 100)
    video = FileVideo(path, start_seconds=1.2, duration_seconds=0.8)
    assert shown(video) == [*range(30, 50)]
    assert shown(FileVideo(path, start_seconds=3.0)) == [*range(75, 100)]
    assert shown(FileVideo(path, start_seconds=3.6, duration_seconds=9)) == [*range(90, 100)]
    between = FileVideo(path, start_seconds=1.22, duration_seconds=0.2)
    assert shown(between)[:3] == [30, 31, 32], "a picture is shown until the next one"


@pytest.mark.parametrize("gop", [5, 300])
def test_pictures_may_be_asked_for_in_any_order(gop, tmp_path):
    path = videos.write_numbered(tmp_path / "clip.mp4", 215, gop=gop, rate=10)
    video = FileVideo(path)
    rng = np.random.default_rng(1)
    asked = [0, video.frames - 1, 0, 300, 299, 301, *rng.integers(0, video.frames, 20)]
    expected = [int(index * 10 / 25 + 0.01) for index in asked]
    assert [videos.number_of(video.picture(int(index))) for index in asked] == expected
    video.close()
    assert videos.number_of(video.picture(250)) == 100, "it opens again"
    for outside in (-1, video.frames):
        with pytest.raises(IndexError):
            video.picture(outside)


def test_bytes_are_a_file_and_their_position_stays_the_callers(tmp_path):
    path = videos.write_numbered(tmp_path / "clip.mp4", 30)
    data = BytesIO(path.read_bytes())
    data.seek(7)
    video, other = FileVideo(data), FileVideo(data, start_seconds=0.4)
    assert [videos.number_of(part.picture(2)) for part in (video, other)] == [2, 12]
    assert data.tell() == 7


def test_content_is_what_is_shown_and_not_where_it_lies(tmp_path):
    path = videos.write_numbered(tmp_path / "clip.mp4", 40)
    copy = tmp_path / "moved" / "renamed.mp4"
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    os.utime(copy, (1, 1))
    content = FileVideo(path).content
    assert FileVideo(copy).content == content
    assert FileVideo(BytesIO(path.read_bytes())).content == content
    others = [
        FileVideo(path, start_seconds=0.2).content,
        FileVideo(path, duration_seconds=1.0).content,
        FileVideo(videos.write_numbered(tmp_path / "fast.mp4", 40, rate=30)).content,
        FileVideo(
            videos.write(
                tmp_path / "other.mp4", [videos.numbered(index + 1) for index in range(40)]
            )
        ).content,
    ]
    assert len({content, *others}) == 5


def resident_bytes():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is read from /proc")
def test_a_long_video_takes_no_more_memory_than_a_short_one(tmp_path):
    """A thousand pictures of 0.9 MB: kept, they would be seen."""
    path = videos.write(
        tmp_path / "long.mp4",
        [videos.numbered(7, (480, 640))] * 1000,
        options={"preset": "ultrafast"},
    )
    video = FileVideo(path)
    for index in range(0, 200, 4):
        video.picture(index)
    before = resident_bytes()
    for index in range(200, 1000, 4):
        video.picture(index)
    for index in range(0, 1000, 333):
        video.picture(index)
    assert resident_bytes() - before < 40e6


def test_a_damaged_stretch_is_left_out(tmp_path):
    path = videos.write_numbered(tmp_path / "clip.ts", 60, gop=6)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    path.write_bytes(bytes(data))
    numbers = shown(FileVideo(path))
    assert len(numbers) == 60 and numbers[0] == 0 and numbers[-1] == 59
    assert sum(number == index for index, number in enumerate(numbers)) > 30


def test_what_is_no_video_is_a_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no clip\.mp4"):
        FileVideo(tmp_path / "clip.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(InputError, match="cannot be read as a video"):
        FileVideo(tmp_path / "text.mp4")
    with pytest.raises(InputError, match="only sound"):
        FileVideo(files.voice(tmp_path / "voice.wav", 1.0))
    path = videos.write_numbered(tmp_path / "clip.mp4", 25)
    with pytest.raises(InputError, match=r"no picture from 4 s on, it ends at 1\.00 s"):
        FileVideo(path, start_seconds=4)
    icon = videos.write(tmp_path / "icon.mp4", [videos.numbered(1, (8, 8))] * 3)
    with pytest.raises(InputError, match="8x8 pixels"):
        FileVideo(icon)


@pytest.mark.parametrize("rate", [24.0, 25.0, 30.0, 50.0])
def test_pictures_in_memory_follow_the_same_clock(rate):
    count = int(rate)
    pictures = torch.stack([torch.from_numpy(videos.numbered(index)) for index in range(count)])
    video = PicturesVideo(pictures.float() / 255, rate)
    assert video.frames == 25 and video.size == videos.SIZE
    assert shown(video) == [int(Fraction(k, 25) * int(rate)) for k in range(25)]
    assert np.array_equal(video.picture(0), videos.numbered(0))
    assert video.picture(3, (12, 16)).shape == (12, 16, 3)
    assert video.content == PicturesVideo(pictures.float() / 255, rate).content
    assert video.content != PicturesVideo(pictures.float() / 255, rate + 1).content
    assert video.content != PicturesVideo(1 - pictures.float() / 255, rate).content


def test_pictures_that_are_no_video_are_refused():
    for images, rate in ((torch.zeros(0, 32, 32, 3), 25.0), (torch.zeros(2, 32, 32, 3), 0.0)):
        with pytest.raises(InputError, match="expected at least one"):
            PicturesVideo(images, rate)
    with pytest.raises(InputError, match="8x32"):
        PicturesVideo(torch.zeros(2, 32, 8, 3), 25.0)
