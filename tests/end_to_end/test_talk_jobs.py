"""``talk --job`` on the command line: what is made, what is made again, and what is said."""

import json
import re
import shutil

import av
import files
import job_stubs as stubs
import job_talk
import numpy as np
import pytest
from job_talk import run, talk

from endless_talk import cli_talk
from endless_talk.models.networks import random_networks


@pytest.fixture(autouse=True)
def _short_chunks(monkeypatch):
    job_talk.shorten_chunks(monkeypatch)


@pytest.fixture
def given(tmp_path):
    return job_talk.inputs(tmp_path / "given")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Inputs and a finished job, made once; copy it before changing it."""
    folder = tmp_path_factory.mktemp("rendered")
    job_talk.inputs(folder / "given")
    with pytest.MonkeyPatch.context() as patch:
        job_talk.shorten_chunks(patch)
        assert talk(folder / "given", folder / "jobs") == 0
    return folder


@pytest.fixture
def finished(rendered, tmp_path):
    shutil.copytree(rendered, tmp_path, dirs_exist_ok=True)
    return tmp_path


def status(root, name="talk"):
    return json.loads((root / name / "status.json").read_text())


def made(said: str) -> list[int]:
    """Chunks that were rendered, counted from 1."""
    return [int(number) for number in re.findall(r"^chunk (\d+)/\d+, frames", said, re.MULTILINE)]


def test_a_job_is_a_numbered_clip_with_sound_and_its_chunks(finished):
    job = finished / "jobs" / "talk"
    assert sorted(path.name for path in job.iterdir()) == [
        ".job",
        "status.json",
        "talk_00001_.mp4",
    ]
    with av.open(str(job / "talk_00001_.mp4")) as clip:
        sound = clip.streams.audio[0]
        assert float(sound.duration * sound.time_base) == pytest.approx(1.64, abs=0.05)
    assert len(files.frames_of(job / "talk_00001_.mp4")) == 41
    assert len(list(job.glob(".job/*.mp4"))) == job_talk.CHUNKS
    assert (status(finished / "jobs")["state"], status(finished / "jobs")["chunks_done"]) == (
        "finished",
        4,
    )


def test_the_frames_of_a_job_are_those_of_one_go(finished):
    given, out = finished / "given", finished / "clip.mp4"
    assert run(given / "portrait.png", given / "voice.wav", "--out", out) == 0
    whole = files.frames_of(out).astype(int)
    job = files.frames_of(finished / "jobs/talk/talk_00001_.mp4").astype(int)
    # Every chunk begins with a keyframe of its own, so that the encoder's loss differs.
    assert np.abs(whole - job).mean() < 1.0


def test_a_finished_job_returns_at_once_and_loads_no_network(finished, monkeypatch, capsys):
    def no_loading(*_):
        raise AssertionError("networks were loaded")

    monkeypatch.setattr(cli_talk, "open_networks", no_loading)
    before = stubs.content(finished / "jobs/talk")
    assert talk(finished / "given", finished / "jobs") == 0
    assert "talk_00001_.mp4" in capsys.readouterr().out
    assert stubs.content(finished / "jobs/talk") == before


def test_moved_and_renamed_inputs_are_the_same_inputs(finished, capsys):
    moved = finished / "elsewhere"
    moved.mkdir()
    image = (finished / "given/portrait.png").rename(moved / "face.png")
    audio = (finished / "given/voice.wav").rename(moved / "words.wav")
    assert run(image, audio, "--job", "talk", "--folder", finished / "jobs") == 0
    said = capsys.readouterr().out
    assert made(said) == [] and "talk_00001_.mp4" in said


def test_another_machine_with_the_same_files_goes_on(finished, tmp_path, capsys):
    root = finished / "jobs"
    worker = tmp_path / "worker"
    assert talk(finished / "given", root, "--seed", 7, "--time-budget", 0.0001) == 3
    shutil.copytree(root, worker / "mounted")
    shutil.copytree(finished / "given", worker / "in")
    capsys.readouterr()
    assert talk(worker / "in", worker / "mounted", "--seed", 7) == 0
    assert made(capsys.readouterr().out) == [2, 3, 4]


def test_a_time_budget_ends_between_two_chunks_and_the_same_command_goes_on(
    rendered, tmp_path, capsys
):
    given, root = rendered / "given", tmp_path / "jobs"
    for chunk in (1, 2, 3):
        assert talk(given, root, "--time-budget", 0.0001) == 3
        said = capsys.readouterr().out
        assert made(said) == [chunk]
        assert "time budget of 0.0001 min is used up" in said
        assert f"{chunk} of 4 chunks are kept" in said and "talk_part.mp4" in said
        stopped = status(root)
        assert (stopped["state"], stopped["chunks_done"]) == ("stopped", chunk)
        assert "time budget" in stopped["message"] and stopped["clip"] == "talk_part.mp4"
    assert talk(given, root, "--time-budget", 0.0001) == 0
    assert made(capsys.readouterr().out) == [4]
    assert not (root / "talk/talk_part.mp4").exists()
    assert stubs.content(root / "talk") == stubs.content(rendered / "jobs/talk")


def test_a_longer_try_keeps_what_the_shorter_one_made(given, tmp_path, capsys):
    root = tmp_path / "jobs"
    assert talk(given, root, "--stop-at", 1.0) == 0
    assert made(capsys.readouterr().out) == [1, 2]
    tried = stubs.content(root / "talk")
    assert talk(given, root, "--stop-at", 1.2) == 0
    assert made(capsys.readouterr().out) == [3]
    assert talk(given, root) == 0
    assert made(capsys.readouterr().out) == [4]
    assert tried.items() <= stubs.content(root / "talk").items()
    clips = sorted((root / "talk").glob("*.mp4"))
    assert [len(files.frames_of(clip)) for clip in clips] == [25, 30, 41]


def test_the_chunks_of_a_try_are_those_of_one_go(rendered, tmp_path):
    assert talk(rendered / "given", tmp_path, "--stop-at", 0.9) == 0
    tried = stubs.content(tmp_path / "talk", clips=False)
    assert len(tried) == 4 and tried.items() <= stubs.content(rendered / "jobs/talk").items()


def test_a_try_in_one_go_has_the_frames_of_the_job(rendered, tmp_path):
    given, out = rendered / "given", tmp_path / "clip.mp4"
    assert run(given / "portrait.png", given / "voice.wav", "--out", out, "--stop-at", 0.9) == 0
    tried = files.frames_of(out).astype(int)
    whole = files.frames_of(rendered / "jobs/talk/talk_00001_.mp4").astype(int)
    # Every chunk begins with a keyframe of its own, so that the encoder's loss differs.
    assert len(tried) == 23 and np.abs(tried - whole[:23]).mean() < 1.0


def test_another_seed_makes_all_again_and_the_first_is_still_there(finished, capsys):
    root, first = finished / "jobs", finished / "jobs/talk/talk_00001_.mp4"
    data = first.read_bytes()
    assert talk(finished / "given", root, "--seed", 7) == 0
    assert made(capsys.readouterr().out) == [1, 2, 3, 4]
    assert first.read_bytes() == data and (root / "talk/talk_00002_.mp4").exists()
    assert talk(finished / "given", root) == 0
    said = capsys.readouterr().out
    assert made(said) == [] and "talk_00001_.mp4" in said


def test_changed_weights_make_all_again_and_moved_ones_none(given, tmp_path, capsys):
    root = tmp_path / "jobs"
    weights = files.weights_folder(tmp_path / "weights")
    assert talk(given, root, "--stop-at", 1.0, networks=("--weights", weights)) == 0
    assert made(capsys.readouterr().out) == [1, 2]
    moved = weights.rename(tmp_path / "moved")
    assert talk(given, root, "--stop-at", 1.0, networks=("--weights", moved)) == 0
    assert made(capsys.readouterr().out) == []
    # Of the same name, size and header.
    files.save(random_networks(1).vae.state_dict(), moved / "vae.safetensors")
    assert talk(given, root, "--stop-at", 1.0, networks=("--weights", moved)) == 0
    assert made(capsys.readouterr().out) == [1, 2]


def test_clip_only_leaves_no_chunks(given, tmp_path):
    root = tmp_path / "jobs"
    assert talk(given, root, "--stop-at", 0.4, "--keep", "clip only") == 0
    assert sorted(path.name for path in (root / "talk/.job").iterdir()) == ["lock", "plan.json"]
    assert talk(given, root, "--stop-at", 0.4, "--keep", "clip only") == 0


@pytest.fixture
def stopping(monkeypatch):
    """Makes the third chunk raise."""

    def stop_with(error):
        call = cli_talk.Progress.__call__

        def raising(self, chunk, *more):
            if chunk.index == 2:
                raise error
            call(self, chunk, *more)

        monkeypatch.setattr(cli_talk.Progress, "__call__", raising)

    return stop_with


@pytest.mark.parametrize(
    ("error", "code", "state", "words"),
    [
        (KeyboardInterrupt(), 130, "stopped", "stopped. 2 of 4 chunks are kept"),
        (OSError(28, "No space left on device"), 2, "failed", "No space left"),
    ],
    ids=["Ctrl+C", "full disk"],
)
def test_what_was_finished_is_kept_and_said(
    given, tmp_path, capsys, monkeypatch, stopping, error, code, state, words
):
    root = tmp_path / "jobs"
    stopping(error)
    assert talk(given, root) == code
    told = capsys.readouterr().err
    assert words in told and "2 of 4 chunks are kept" in told and "talk_part.mp4" in told
    assert "Traceback" not in told and status(root)["state"] == state
    assert len(files.frames_of(root / "talk/talk_part.mp4")) == 25
    monkeypatch.undo()
    job_talk.shorten_chunks(monkeypatch)
    assert talk(given, root) == 0
    assert made(capsys.readouterr().out) == [3, 4]


WRONG = {
    "no target": ([], "--out"),
    "two targets": (["--job", "talk", "--out", "clip.mp4"], "--out"),
    "a budget without a job": (["--out", "clip.mp4", "--time-budget", "5"], "--job"),
    "overwrite": (["--job", "talk", "--overwrite"], "numbered"),
    "no time": (["--job", "talk", "--time-budget", "nan"], "give minutes"),
    "time below 0": (["--job", "talk", "--time-budget", "-1"], "give minutes"),
    "up": (["--job", "../talk"], "--job is '../talk'"),
    "a path": (["--job", "a/b"], "letters"),
    "an absolute path": (["--job", "/talk"], "letters"),
    "nothing": (["--job", ""], "letters"),
    "hidden": (["--job", ".job"], "letters"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_arguments_that_make_no_sense_are_refused_before_anything_is_written(
    kind, given, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    more, words = WRONG[kind]
    before = sorted(tmp_path.rglob("*"))
    assert run(given / "portrait.png", given / "voice.wav", *more) == 2
    message = capsys.readouterr().err.strip()
    assert words in message and message.count("\n") == 0 and "Traceback" not in message
    assert sorted(tmp_path.rglob("*")) == before


def test_a_job_that_another_process_renders_is_refused(finished, capsys):
    from endless_talk.video.job_folder import JobFolder
    from endless_talk.video.job_lock import JobLock

    lock = JobLock(JobFolder(finished / "jobs", "talk"))
    lock.acquire()
    before = stubs.content(finished / "jobs/talk")
    assert talk(finished / "given", finished / "jobs", "--seed", 7) == 2
    assert "is rendering the job 'talk'" in capsys.readouterr().err
    lock.release()
    assert stubs.content(finished / "jobs/talk") == before
