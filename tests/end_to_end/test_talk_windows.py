"""``talk --sampler sliding``: clips and jobs in windows, of both systems, and what is refused."""

import shutil

import files
import job_talk
import numpy as np
import pytest
from job_talk import run

from endless_talk import cli_sliding
from endless_talk.check import check_clip
from endless_talk.cli import build_parser, main
from endless_talk.models.recipes import BUILT_IN_FOLDER, HYBRID_FOLDER
from endless_talk.samplers.blend import Blend
from endless_talk.samplers.sliding import FirstFrame
from endless_talk.samplers.windows import LastWindow
from endless_talk.talk_sliding import WindowSettings

ASSETS = BUILT_IN_FOLDER.parent
WINDOWS = ("--sampler", "sliding", "--window-frames", "17", "--overlap", "8", "--steps", "3")
HYBRID = (
    *("--weights", HYBRID_FOLDER),
    *("--vae", BUILT_IN_FOLDER / "vae.safetensors"),
    *("--wav2vec", BUILT_IN_FOLDER / "wav2vec.safetensors"),
)
FRAMES = 41


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    return job_talk.inputs(tmp_path_factory.mktemp("given"))


def slide(given, *more):
    """The exit code of ``talk`` in three windows of random networks."""
    return run(given / "portrait.png", given / "voice.wav", *WINDOWS, *more)


def in_job(given, root, *more):
    return slide(given, "--job", "talk", "--folder", root, *more)


@pytest.fixture(scope="module")
def finished(given, tmp_path_factory):
    """A job that was never interrupted; copy it before changing it."""
    root = tmp_path_factory.mktemp("finished") / "jobs"
    assert in_job(given, root) == 0
    return root


def segments(root):
    return {path.name: path.read_bytes() for path in (root / "talk/.job").glob("*.mp4")}


def test_the_choices_are_those_of_the_samplers():
    for choices, kind in (
        (cli_sliding.BLENDS, Blend),
        (cli_sliding.FIRST_FRAMES, FirstFrame),
        (cli_sliding.LAST_WINDOWS, LastWindow),
    ):
        assert choices == tuple(each.value for each in kind)


def test_every_argument_is_heeded():
    arguments = ["talk", "--audio", "v.wav", "--sampler", "sliding", "--window-frames", "21"]
    arguments += ["--overlap", "8", "--blend", "linear, open ends", "--first-frame", "anchor slot"]
    options = build_parser().parse_args([*arguments, "--last-window", "shift"])
    assert cli_sliding.read_windows(options, None) == WindowSettings(
        21, 2, Blend.LINEAR_OPEN, FirstFrame.ANCHOR, LastWindow.SHIFT
    )


def test_a_clip_in_one_go_is_that_of_a_job(given, finished, tmp_path, capsys):
    out = tmp_path / "clip.mp4"
    assert slide(given, "--out", out) == 0
    said = capsys.readouterr().out
    assert "3 windows of 17 frames that share 8, 3 steps" in said
    assert "step 3/3, 3 windows" in said
    whole, job = files.frames_of(out), files.frames_of(finished / "talk/talk_00001_.mp4")
    assert len(whole) == len(job) == FRAMES
    assert np.abs(whole.astype(int) - job).mean() < 1.0


@pytest.mark.parametrize("moment", [(1, 0), (2, 1)], ids=["between steps", "in a step"])
def test_a_job_goes_on_after_the_last_step_that_was_made(
    given, finished, tmp_path, capsys, monkeypatch, moment
):
    """Stopped while a window is looked at; the clip is the same to the last byte."""
    steps, windows = moment
    look = cli_sliding.WindowProgress.look

    def looked(self, window):
        look(self, window)
        if (self.step, window.index) == (steps, windows):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cli_sliding.WindowProgress, "look", looked)
        assert in_job(given, tmp_path) == 130
    assert f"{steps} of 3 steps and 0 of 1 chunks are kept" in capsys.readouterr().err
    assert in_job(given, tmp_path, "--plan") == 0
    assert f"{3 - steps} of 3 steps and 1 of 1 pieces to make" in capsys.readouterr().out
    assert in_job(given, tmp_path) == 0
    said = capsys.readouterr().out
    assert f"{steps} of 3 steps are there already" in said and f"step {steps}/3" not in said
    assert segments(tmp_path) == segments(finished)


def test_the_time_budget_ends_a_job_between_steps(given, tmp_path, capsys):
    assert in_job(given, tmp_path, "--time-budget", "0.000001") == 3
    assert "1 of 3 steps and 0 of 1 chunks are kept" in capsys.readouterr().out
    assert in_job(given, tmp_path) == 0


def test_other_colours_decode_again_and_sample_nothing(given, finished, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "jobs")
    assert in_job(given, tmp_path / "jobs", "--plan") == 0
    assert "nothing to make" in capsys.readouterr().out
    assert in_job(given, tmp_path / "jobs", "--color-strength", "0.5") == 0
    assert "\nstep " not in capsys.readouterr().out
    assert (tmp_path / "jobs/talk/talk_00002_.mp4").exists()


@pytest.mark.parametrize(
    "changed",
    [
        ("--seed", "7"),
        ("--window-frames", "13"),
        ("--overlap", "4"),
        ("--blend", "linear"),
        ("--first-frame", "anchor slot"),
        ("--audio-scale", "2"),
    ],
    ids=lambda changed: changed[0],
)
def test_what_the_latents_are_made_from_makes_them_again(
    given, finished, tmp_path, capsys, changed
):
    shutil.copytree(finished, tmp_path / "jobs")
    assert in_job(given, tmp_path / "jobs", "--plan", *changed) == 0
    assert "3 of 3 steps and 1 of 1 pieces to make" in capsys.readouterr().out


REFUSED = {
    "windows of the streaming sampler": (("--sampler", "streaming", "--overlap", "8"), "sliding"),
    "no sampler named": (("--blend", "paper"), "--blend is for --sampler sliding"),
    "hand on": (("--sampler", "sliding", "--hand-on", "latents"), "for --sampler streaming"),
    "motion": (("--sampler", "sliding", "--motion", "slow zoom"), "for --sampler streaming"),
    "overlap of 6": (("--sampler", "sliding", "--overlap", "6"), "a multiple of 4"),
    "window of 16": (("--sampler", "sliding", "--window-frames", "16"), "use 13 or 17"),
    "no picture": (("--sampler", "sliding", "--first-frame", "first window only"), "anchor slot"),
    "hybrid, streamed": (HYBRID, "add --sampler sliding"),
    "hybrid, foreign VAE": ((*HYBRID[:2], "--sampler", "sliding"), "name the file with --vae"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_in_a_sentence(given, tmp_path, capsys, case):
    arguments, says = REFUSED[case]
    networks = () if "--weights" in arguments else ("--random-weights",)
    picture, voice = given / "portrait.png", given / "voice.wav"
    target = ("--out", tmp_path / "clip.mp4")
    assert run(picture, voice, *target, *arguments, networks=networks) == 2
    said = capsys.readouterr()
    assert says in said.err and "Traceback" not in said.err
    assert not list(tmp_path.iterdir())


def test_magicinfinites_demo_speaks_in_the_windows_it_was_trained_on(tmp_path, capsys):
    out, voice = tmp_path / "clip.mp4", ASSETS / "speech.flac"
    arguments = ["--image", ASSETS / "portrait.png", "--audio", voice, "--out", out]
    arguments += ["--stop-at", "6", "--sampler", "sliding", "--device", "cpu", *HYBRID]
    assert main(["talk", *map(str, arguments)]) == 0
    said = capsys.readouterr().out
    assert "3 windows of 81 frames that share 20, 4 steps, built-in demo" in said
    assert "warning" not in said
    measured = check_clip(out, voice, image=ASSETS / "portrait.png")
    assert measured.mouths[0].sync.correlation > 0.75
