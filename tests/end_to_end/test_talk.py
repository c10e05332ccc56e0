"""From a picture and a voice to an mp4, as the command line does it."""

import av
import files
import numpy as np
import pytest
from PIL import Image

from endless_talk.cli import main
from endless_talk.models import recipes

SMALL = ["--size", "64x64", "--steps", "1"]


@pytest.fixture
def portrait(tmp_path):
    return files.picture(tmp_path / "portrait.png")


def talk(image, audio, out, *more):
    arguments = ["talk", "--image", image, "--audio", audio, "--out", out, *SMALL, *more]
    return main([str(argument) for argument in arguments])


def probe(path):
    with av.open(str(path)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        facts = {
            "video": video.codec_context.name,
            "sound": sound.codec_context.name,
            "size": (video.height, video.width),
            "rate": float(video.average_rate),
            "video_seconds": float(video.duration * video.time_base),
            "sound_seconds": float(sound.duration * sound.time_base),
        }
        facts["frames"] = sum(1 for _ in container.decode(video=0))
    return facts


@pytest.mark.parametrize(
    ("seconds", "frames"),
    [(0.1, 3), (81 / 25, 81), (82 / 25, 82), (4.99, 125)],
    ids=["a tenth of a second", "one chunk", "one frame more", "two chunks"],
)
def test_audio_of_any_length_gives_a_clip_of_its_length(tmp_path, portrait, seconds, frames):
    audio, out = files.voice(tmp_path / "voice.wav", seconds), tmp_path / "clip.mp4"
    assert talk(portrait, audio, out, "--random-weights") == 0
    facts = probe(out)
    assert facts["frames"] == frames
    assert facts["video_seconds"] == pytest.approx(frames / 25, abs=1e-3)
    assert facts["sound_seconds"] == pytest.approx(seconds, abs=0.05)
    assert (facts["video"], facts["sound"]) == ("h264", "aac")
    assert facts["size"] == (64, 64) and facts["rate"] == 25
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "clip.mp4",
        "portrait.png",
        "voice.wav",
    ]


def test_silence_is_a_voice_too(tmp_path, portrait):
    audio = files.voice(tmp_path / "silence.wav", 0.5, level=0.0)
    assert talk(portrait, audio, tmp_path / "clip.mp4", "--random-weights") == 0
    assert probe(tmp_path / "clip.mp4")["frames"] == 13


def test_random_weights_are_announced(tmp_path, portrait, capsys):
    audio = files.voice(tmp_path / "voice.wav", 0.1)
    talk(portrait, audio, tmp_path / "clip.mp4", "--random-weights")
    assert "never trained" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_frames_and_another_gives_others(tmp_path, portrait):
    audio = files.voice(tmp_path / "voice.wav", 0.2)
    weights = files.weights_folder(tmp_path / "weights")
    clips = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        out = tmp_path / f"{name}.mp4"
        assert talk(portrait, audio, out, "--weights", weights, "--seed", seed) == 0
        clips.append(files.frames_of(out).astype(int))
    assert np.array_equal(clips[0], clips[1])
    assert np.abs(clips[0] - clips[2]).max() > 2


def test_weight_files_give_the_clip_of_the_networks_they_came_from(tmp_path, portrait):
    audio = files.voice(tmp_path / "voice.wav", 0.2)
    weights = files.weights_folder(tmp_path / "weights", seed=42)
    assert talk(portrait, audio, tmp_path / "a.mp4", "--weights", weights) == 0
    assert talk(portrait, audio, tmp_path / "b.mp4", "--random-weights", "--seed", 42) == 0
    assert np.array_equal(files.frames_of(tmp_path / "a.mp4"), files.frames_of(tmp_path / "b.mp4"))


@pytest.fixture
def built_in(tmp_path, monkeypatch):
    """A built-in set of random weights, so that what is tested does not depend on the trained."""
    folder = files.weights_folder(tmp_path / "demo", set_name=recipes.BUILT_IN)
    monkeypatch.setattr(recipes, "BUILT_IN_FOLDER", folder)


def run(*arguments):
    return main(["talk", *(str(argument) for argument in arguments)])


def test_without_weights_the_built_in_demo_speaks_its_own_way(tmp_path, portrait, built_in, capsys):
    audio, out = files.voice(tmp_path / "voice.wav", 0.2), tmp_path / "a.mp4"
    assert run("--image", portrait, "--audio", audio, "--out", out) == 0
    said = capsys.readouterr().out
    assert "at 64x64, 1 chunk of 2 steps, built-in demo" in said and "warning" not in said
    assert probe(out)["size"] == (64, 64)


def test_what_the_built_in_demo_was_not_made_for_is_warned_of(tmp_path, portrait, built_in, capsys):
    audio, out = files.voice(tmp_path / "voice.wav", 0.1), tmp_path / "a.mp4"
    inputs = ("--image", portrait, "--audio", audio, "--out", out)
    assert run(*inputs, "--size", "80x64", "--steps", 1) == 0
    said = capsys.readouterr().out
    assert "choose 64x64" in said and "set steps to 2" in said
    assert probe(out)["size"] == (64, 80)


def test_stop_at_ends_early_with_the_frames_of_the_whole_clip(tmp_path, portrait):
    audio = files.voice(tmp_path / "voice.wav", 1.0)
    whole, start = tmp_path / "whole.mp4", tmp_path / "start.mp4"
    assert talk(portrait, audio, whole, "--random-weights") == 0
    assert talk(portrait, audio, start, "--random-weights", "--stop-at", "0.4") == 0
    facts = probe(start)
    assert facts["frames"] == 10
    assert facts["sound_seconds"] == pytest.approx(0.4, abs=0.05)
    beginning = files.frames_of(whole)[:10].astype(int)
    assert np.abs(files.frames_of(start).astype(int) - beginning).mean() < 1.0


def test_the_voice_changes_the_frames(tmp_path, portrait):
    loud = files.voice(tmp_path / "loud.wav", 1.0, level=0.5)
    quiet = files.voice(tmp_path / "quiet.wav", 1.0, level=0.0)
    for name, audio in (("a", loud), ("b", quiet)):
        assert talk(portrait, audio, tmp_path / f"{name}.mp4", "--random-weights") == 0
    first, second = (files.frames_of(tmp_path / f"{name}.mp4").astype(int) for name in "ab")
    assert np.abs(first - second).max() > 2


@pytest.mark.parametrize(
    "kind", ["rgba", "grey", "palette", "rotated", "odd size", "jpeg"], ids=str
)
def test_pictures_of_many_kinds_are_taken(tmp_path, kind):
    path = tmp_path / ("picture.jpg" if kind in ("jpeg", "rotated") else "picture.png")
    if kind == "rotated":
        exif = Image.Exif()
        exif[0x0112] = 6
        files.picture(path, (80, 120), exif=exif)
    elif kind == "odd size":
        files.picture(path, (97, 61))
    else:
        modes = {"rgba": "RGBA", "grey": "L", "palette": "P", "jpeg": "RGB"}
        files.picture(path, mode=modes[kind])
    audio = files.voice(tmp_path / "voice.wav", 0.1)
    assert talk(path, audio, tmp_path / "clip.mp4", "--random-weights") == 0
    assert probe(tmp_path / "clip.mp4")["frames"] == 3


def test_ctrl_c_leaves_no_file(tmp_path, portrait, monkeypatch, capsys):
    from endless_talk import cli_talk

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_talk.Progress, "__call__", interrupted)
    audio, out = files.voice(tmp_path / "voice.wav", 0.2), tmp_path / "clip.mp4"
    assert talk(portrait, audio, out, "--random-weights") == 130
    assert "stopped" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["portrait.png", "voice.wav"]


def test_an_existing_clip_is_replaced_only_when_asked(tmp_path, portrait):
    audio, out = files.voice(tmp_path / "voice.wav", 0.1), tmp_path / "clip.mp4"
    out.write_bytes(b"finished work")
    assert talk(portrait, audio, out, "--random-weights") == 2
    assert out.read_bytes() == b"finished work"
    assert talk(portrait, audio, out, "--random-weights", "--overwrite") == 0
    assert probe(out)["frames"] == 3
