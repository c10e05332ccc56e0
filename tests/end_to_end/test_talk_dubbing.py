"""``talk --video``: a video to dub on the command line, from its shots to what is kept of it."""

import re

import drawn
import files
import job_talk
import numpy as np
import pytest
import videos
from PIL import Image

from endless_talk import cli_content, cli_talk
from endless_talk.cli import main
from endless_talk.reference import dubbing, motion
from endless_talk.samplers.streaming import HandOn
from endless_talk.talk import TalkSettings, plan_talk
from endless_talk.talk_sources import PictureFile, VideoFile
from endless_talk.video import robust_color

CUT, FRAMES = 25, 40
"""Frames at 25 per second: a shot of a second, and one of 15 frames."""

MAX_KEPT = 0.6
"""Difference to the source where it is kept, over that where the clip is made: 0.43 recorded, which
is what the small VAE loses; about 1 where nothing is kept."""


def scene(seed, red, blue):
    """A smooth picture like no other, more red or more blue."""
    coarse = np.random.default_rng(seed).integers(0, 120, (6, 8, 3)).astype(np.uint8)
    wide = np.array(Image.fromarray(coarse).resize((80, 64), Image.Resampling.BICUBIC))
    return np.clip(wide.astype(int) + np.array([red, 0, blue]), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A voice of a second, a video in two shots, one whose pictures tell their number, a mask."""
    folder = tmp_path_factory.mktemp("given")
    files.picture(folder / "portrait.png")
    files.voice(folder / "voice.wav", 1.0)
    shots = [scene(1, 120, 0)] * CUT + [scene(2, 0, 120)] * (FRAMES - CUT)
    videos.write(folder / "shots.mp4", shots)
    videos.write_numbered(folder / "slow.mp4", 30, rate=15)
    return folder


def dub(given, *more, video="shots.mp4", networks=("--random-weights",)):
    inputs = ["--video", given / video, "--audio", given / "voice.wav"]
    small = ["--size", "64x64", "--steps", "2"]
    return main(["talk", *(str(word) for word in (*inputs, *small, *networks, *more))])


def planned(given, video="slow.mp4", **how):
    settings = TalkSettings(size="custom", custom_size=(64, 64), chunk_frames=17, steps=2)
    source = VideoFile(given / video, **{"cuts": "none", **how})
    return plan_talk(source, given / "voice.wav", settings)


def seen(job):
    """The number of the picture that every chunk sees, by its first frame."""
    frames = {
        chunk.start_frame: job.reference.source.frame(chunk.start_frame) for chunk in job.plan
    }
    job.reference.close()
    return {
        start: videos.number_of(((frame + 1) * 127.5).permute(1, 2, 0).numpy())
        for start, frame in frames.items()
    }


def colors(frames):
    """Mean red less mean blue of every frame."""
    return frames[..., 0].mean(axis=(1, 2)) - frames[..., 2].mean(axis=(1, 2))


def test_every_shot_is_found_and_takes_the_colours_of_its_own_frame(given, tmp_path, capsys):
    assert dub(given, "--out", tmp_path / "clip.mp4") == 0
    assert "2 shots, from 0.00 s, 1.00 s" in capsys.readouterr().out
    frames = files.frames_of(tmp_path / "clip.mp4").astype(int)
    assert len(frames) == FRAMES, "the clip is as long as the video"
    assert colors(frames[:CUT]).min() > 60 and colors(frames[CUT:]).max() < -60


def test_a_cut_is_measured_as_no_seam(given, tmp_path, capsys):
    sheet = ("--check", tmp_path / "sheet.png", "--mouth", "20,38,44,56")
    assert dub(given, "--out", tmp_path / "shots.mp4", *sheet) == 0
    told = capsys.readouterr().out
    assert "2 chunks in 2 shots" in told and "seam" not in told
    assert (tmp_path / "sheet.png").exists()


def test_without_cuts_or_with_other_ones_the_shots_are_as_the_user_says(given, capsys):
    assert dub(given, "--cuts", "none", "--plan") == 0
    assert "shots" not in capsys.readouterr().out
    assert dub(given, "--cuts", "0.4, 1.2", "--plan") == 0
    assert "3 shots, from 0.00 s, 0.40 s, 1.20 s" in capsys.readouterr().out


def test_a_chunk_sees_the_picture_that_is_shown_where_it_starts(given):
    # 30 pictures at 15 per second: picture 4 is shown from frame 6.67 on, and 9 from 15 on.
    assert seen(planned(given)) == {0: 0, 8: 4, 16: 9, 24: 14, 32: 19, 40: 24}
    assert seen(planned(given, keyframe="0, 0.8")) == {0: 0, 8: 0, 16: 0, 24: 12, 32: 12, 40: 12}


@pytest.mark.parametrize(
    ("when_short", "pictures", "shots"),
    [
        ("hold", [0, 15, 24], 1),
        ("loop", [0, 15, 5], 2),
        ("bounce", [0, 15, 18], 1),
    ],
)
def test_a_clip_as_long_as_the_voice_goes_on_as_it_is_told(
    given, tmp_path, when_short, pictures, shots
):
    videos.write_numbered(tmp_path / "short.mp4", 25)
    files.voice(tmp_path / "voice.wav", 40 / 25)
    how = {"length": "audio", "when_short": when_short}
    job = planned(tmp_path, "short.mp4", **how)
    assert job.frames == 40
    assert [job.reference.source.source_frame(frame) for frame in (0, 15, 30)] == pictures
    assert sum(not chunk.context_frames for chunk in job.plan) == shots
    assert planned(tmp_path, "short.mp4", when_short=when_short).frames == 25


def test_a_voice_that_ends_before_the_video_leaves_it_silent(given, tmp_path):
    assert dub(given, "--out", tmp_path / "clip.mp4", video="slow.mp4") == 0
    assert len(files.frames_of(tmp_path / "clip.mp4")) == 50


def test_source_strength_skips_as_much_of_the_steps(given, tmp_path, capsys):
    out = ("--out", tmp_path / "clip.mp4")
    assert dub(given, *out, "--steps", "8", "--source-strength", "0.3", "--cuts", "none") == 0
    steps = int(re.search(r"of (\d) steps", capsys.readouterr().out)[1])
    assert 1 <= steps < 8 and len(files.frames_of(tmp_path / "clip.mp4")) == FRAMES


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A drawn face that the embedded model dubs, its right half kept; source, clip and mask."""
    folder = tmp_path_factory.mktemp("kept")
    source = drawn.talking(1501, frames=90).pixels
    videos.write(folder / "face.mp4", list(source), options={"crf": "5"})
    files.voice(folder / "voice.wav", 1.0)
    white = np.zeros((drawn.SIZE, drawn.SIZE), np.uint8)
    white[:, drawn.SIZE // 2 :] = 255
    Image.fromarray(white).save(folder / "mask.png")
    inputs = ["--video", folder / "face.mp4", "--audio", folder / "voice.wav"]
    target = ["--keep-mask", folder / "mask.png", "--out", folder / "clip.mp4"]
    assert main(["talk", *(str(word) for word in (*inputs, *target))]) == 0
    return source.astype(int), files.frames_of(folder / "clip.mp4").astype(int), white > 0


def test_what_the_mask_keeps_stays_as_in_the_video(kept):
    source, clip, white = kept
    assert len(clip) == len(source)
    apart = np.abs(clip - source).mean(axis=(0, 3))
    inner = np.roll(white, 8, axis=1) & white
    assert apart[inner].mean() <= MAX_KEPT * apart[~white].mean()


def test_a_dubbed_job_goes_on_and_knows_its_video_by_content(given, tmp_path, capsys, monkeypatch):
    job_talk.shorten_chunks(monkeypatch)
    job = ("--job", "dub", "--folder", tmp_path / "jobs")
    assert dub(given, *job, "--time-budget", "0.0001") == 3
    assert made(capsys) == [0]
    assert dub(given, *job) == 0
    first = made(capsys)
    assert first == list(range(1, len(first) + 1))
    (tmp_path / "moved").mkdir()
    for name in ("shots.mp4", "voice.wav"):
        (tmp_path / "moved" / name).write_bytes((given / name).read_bytes())
    assert dub(tmp_path / "moved", *job) == 0
    assert made(capsys) == []
    assert dub(given, *job, "--keyframe", "0, 1.2") == 0
    assert made(capsys)[0] == 1, "the first sees the frame that it saw"
    assert dub(given, *job, "--source-strength", "0.3") == 0
    assert made(capsys)[0] == 0


def made(capsys):
    said = capsys.readouterr().out
    return [int(number) - 1 for number in re.findall(r"^chunk (\d+)/\d+, f", said, re.MULTILINE)]


def test_a_slow_zoom_shows_every_chunk_another_view(given, tmp_path):
    settings = TalkSettings(size="custom", custom_size=(64, 64), chunk_frames=17)
    jobs = {
        way: plan_talk(
            PictureFile(given / "portrait.png", motion.Motion(way)), given / "voice.wav", settings
        )
        for way in cli_content.MOTIONS
    }
    for way, job in jobs.items():
        first, later = (job.reference.source.frame(start) for start in (0, 16))
        assert bool((first == later).all()) is (way == "still")


@pytest.mark.parametrize("anchor", cli_talk.COLOR_ANCHORS)
def test_every_colour_anchor_and_hand_on_renders(given, tmp_path, monkeypatch, anchor):
    job_talk.shorten_chunks(monkeypatch)
    clips = []
    for way in cli_talk.HAND_ON:
        out = tmp_path / f"{way}.mp4"
        options = ("--out", out, "--color-anchor", anchor, "--hand-on", way)
        assert dub(given, *options) == 0
        clips.append(files.frames_of(out).astype(int))
    matched = all(colors(clip[:CUT]).min() > 60 for clip in clips)
    assert matched is (anchor == "reference")
    assert np.abs(clips[0] - clips[1]).max() > 2


def test_arguments_name_what_the_parts_know():
    assert tuple(each.value for each in motion.Motion) == cli_content.MOTIONS
    assert cli_content.LENGTHS == dubbing.LENGTHS
    assert cli_content.WHEN_SHORT == dubbing.WHEN_SHORT
    assert cli_talk.COLOR_ANCHORS == robust_color.COLOR_ANCHORS
    assert tuple(each.value for each in HandOn) == cli_talk.HAND_ON


def half_white(path, size=(40, 40)):
    pixels = np.zeros(size, np.uint8)
    pixels[:, size[1] // 2 :] = 255
    Image.fromarray(pixels).save(path)
    return path


def white(path):
    Image.fromarray(np.full((64, 64), 255, np.uint8)).save(path)
    return path


WRONG = {
    "both": (lambda p, g: ["--image", g / "portrait.png"], "either --image"),
    "missing": (lambda p, g: ["--video", p / "no.mp4"], "no.mp4"),
    "text": (lambda p, g: ["--video", written(p / "a.mp4", b"hello")], "a.mp4"),
    "sound": (lambda p, g: ["--video", g / "voice.wav"], "only sound"),
    "a picture": (lambda p, g: ["--video", g / "portrait.png"], "single picture"),
    "motion": (lambda p, g: ["--motion", "slow zoom"], "--motion is for an --image"),
    "cuts": (lambda p, g: ["--cuts", "soon"], "12.4, 31"),
    "cuts past the end": (lambda p, g: ["--cuts", "9"], "cuts"),
    "strength": (lambda p, g: ["--source-strength", "1"], "less than 1"),
    "keyframe": (lambda p, g: ["--keyframe", "any"], "nearest sharp"),
    "a mask of another size": (lambda p, g: ["--keep-mask", half_white(p / "m.png")], "m.png"),
    "a white mask": (lambda p, g: ["--keep-mask", white(p / "m.png")], "white everywhere"),
    "no mask": (lambda p, g: ["--keep-mask", g / "no.png"], "no.png"),
}


def written(path, data):
    path.write_bytes(data)
    return path


def message_of(capsys, tmp_path, arguments):
    """The one sentence of a run that was refused and wrote nothing."""
    arguments = ["talk", "--random-weights", *(str(word) for word in arguments)]
    before = sorted(tmp_path.rglob("*"))
    assert main([*arguments, "--size", "64x64", "--out", str(tmp_path / "clip.mp4")]) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("endless-talk: ") and message.count("\n") == 0, message
    assert sorted(tmp_path.rglob("*")) == before
    return message


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_dubbed_is_refused(kind, given, tmp_path, capsys):
    make, says = WRONG[kind]
    more = make(tmp_path, given)
    inputs = ["--video", given / "shots.mp4", "--audio", given / "voice.wav", *more]
    assert says in message_of(capsys, tmp_path, inputs)


@pytest.mark.parametrize("flag", [name.replace("_", "-") for name in cli_content.DUBBING])
def test_what_is_for_a_video_is_refused_with_a_picture(flag, given, tmp_path, capsys):
    values = {"length": "audio", "when-short": "loop", "source-strength": "0.3"}
    inputs = ["--image", given / "portrait.png", "--audio", given / "voice.wav"]
    inputs += [f"--{flag}", values.get(flag, "none")]
    assert f"--{flag} is for a --video" in message_of(capsys, tmp_path, inputs)


def test_something_has_to_talk(given, tmp_path, capsys):
    message = message_of(capsys, tmp_path, ["--audio", given / "voice.wav"])
    assert "--image" in message and "--video" in message
