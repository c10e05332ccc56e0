"""Jobs on the command line: stopped, killed or changed, they make again only what they must."""

import json
import mmap
import os
import random
import shutil
import time
from dataclasses import replace
from pathlib import Path

import av
import files
import job_stubs as stubs
import pytest

from endless_talk import cli_talk
from endless_talk.cli import main
from endless_talk.talk import TalkSettings, journal_plan, plan_talk
from endless_talk.video.job_keys import digest

KILLS = 50


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    """Chunks of 17 frames instead of 81, so that a second of sound is several of them."""
    read = cli_talk.read_settings

    def shortened(*arguments):
        return replace(read(*arguments), chunk_frames=17, context_frames=5)

    monkeypatch.setattr(cli_talk, "read_settings", shortened)


@pytest.fixture
def inputs(tmp_path):
    folder = tmp_path / "inputs"
    folder.mkdir()
    files.picture(folder / "portrait.png")
    files.voice(folder / "voice.wav", 1.8)
    return folder


def arguments(inputs, root, *more):
    given = {"image": inputs / "portrait.png", "audio": inputs / "voice.wav", "job": "talk"}
    given |= {"folder": root, "size": "64x64", "steps": 1}
    flags = [text for name, value in given.items() for text in (f"--{name}", str(value))]
    return ["talk", *flags, *(str(each) for each in more)]


def talk(inputs, root, *more, weights=None):
    chosen = ["--random-weights"] if weights is None else ["--weights", weights]
    return main(arguments(inputs, root, *chosen, *more))


@pytest.fixture
def made(monkeypatch):
    """Chunks that were sampled, by index."""
    made, step_done = [], cli_talk.Progress.__call__

    def call(progress, chunk, step, steps, denoised):
        made.append(chunk.index)
        step_done(progress, chunk, step, steps, denoised)

    monkeypatch.setattr(cli_talk.Progress, "__call__", call)
    return made


def interrupt_at(index, monkeypatch):
    step_done = cli_talk.Progress.__call__

    def call(progress, chunk, *more):
        if chunk.index == index:
            raise KeyboardInterrupt
        step_done(progress, chunk, *more)

    monkeypatch.setattr(cli_talk.Progress, "__call__", call)


def frames(path):
    with av.open(str(path)) as source:
        return source.streams.video[0].frames, len(source.streams.audio)


def test_a_job_makes_the_clip_that_is_made_in_one_go(tmp_path, inputs, capsys):
    assert talk(inputs, tmp_path / "jobs") == 0
    said = capsys.readouterr().out
    clip = tmp_path / "jobs" / "talk" / "talk_00001_.mp4"
    assert f"{clip}: 45 frames (1.80 s)" in said
    plain = [
        each for each in arguments(inputs, "x") if each not in ("--job", "talk", "--folder", "x")
    ]
    out = tmp_path / "plain.mp4"
    assert main(["talk", *plain, "--random-weights", "--out", str(out)]) == 0
    assert frames(clip) == frames(out) == (45, 1)
    # Each chunk begins with a keyframe of its own, so the codes differ; pictures hardly do.
    difference = files.frames_of(clip).astype(int) - files.frames_of(out)
    assert abs(difference).mean() < 1


def test_a_finished_job_returns_at_once_and_loads_no_networks(tmp_path, inputs, monkeypatch, made):
    assert talk(inputs, tmp_path) == 0
    before = stubs.content(tmp_path / "talk")
    assert made == [0, 1, 2, 3]
    monkeypatch.setattr(cli_talk, "open_networks", lambda *_: pytest.fail("networks were loaded"))
    assert talk(inputs, tmp_path) == 0
    assert stubs.content(tmp_path / "talk") == before


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(
    tmp_path, inputs, capsys, made, monkeypatch
):
    with monkeypatch.context() as stopped:
        interrupt_at(2, stopped)
        assert talk(inputs, tmp_path) == 130
    said = capsys.readouterr().err
    assert "2 of 4 chunks are kept" in said and "talk_part.mp4" in said
    assert frames(tmp_path / "talk" / "talk_part.mp4") == (29, 1)
    status = json.loads((tmp_path / "talk" / "status.json").read_text())
    assert (status["state"], status["chunks_done"]) == ("stopped", 2)
    made.clear()
    assert talk(inputs, tmp_path) == 0
    assert "2 of 4 chunks are there already" in capsys.readouterr().out
    assert made == [2, 3]
    assert frames(tmp_path / "talk" / "talk_00001_.mp4") == (45, 1)


def test_a_time_budget_ends_between_chunks_with_a_code_of_its_own(tmp_path, inputs, capsys, made):
    for done in (1, 2, 3):
        assert talk(inputs, tmp_path, "--time-budget", "0.00001") == 3
        assert f"is used up. {done} of 4 chunks are kept" in capsys.readouterr().out
    assert talk(inputs, tmp_path, "--time-budget", "0.00001") == 0
    assert made == [0, 1, 2, 3]


def test_chunks_can_be_removed_with_the_clip(tmp_path, inputs):
    assert talk(inputs, tmp_path, "--keep", "clip only") == 0
    assert not list(tmp_path.rglob("*.safetensors"))
    assert frames(tmp_path / "talk" / "talk_00001_.mp4") == (45, 1)


def test_a_failure_says_what_is_kept(tmp_path, inputs, capsys, monkeypatch):
    def full(progress, chunk, *_):
        if chunk.index == 1:
            raise OSError(28, os.strerror(28))

    monkeypatch.setattr(cli_talk.Progress, "__call__", full)
    assert talk(inputs, tmp_path) == 2
    kept, reason = capsys.readouterr().err.strip().splitlines()
    assert "1 of 4 chunks are kept" in kept and reason.endswith("No space left on device")


def plan(inputs, models="x", **changes):
    settings = TalkSettings(size="custom", custom_size=(64, 64), **changes)
    job = plan_talk(inputs / "portrait.png", inputs / "voice.wav", settings)
    return journal_plan(job, models)


def same_chunks(before, after):
    return sum(one == other for one, other in zip(before.keys, after.keys, strict=False))


CHANGES = {
    "seed": {"seed": 1},
    "steps": {"steps": 3},
    "shift": {"shift": 5.0},
    "audio scale": {"audio_scale": 3.0},
    "colour strength": {"color_strength": 0.5},
    "chunk length": {"chunk_frames": 41},
    "context": {"context_frames": 5},
    "models": {"models": "y"},
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_changed_setting_makes_every_chunk_again(inputs, kind):
    files.voice(inputs / "voice.wav", 4)  # two chunks
    assert same_chunks(plan(inputs), plan(inputs, **CHANGES[kind])) == 0


def test_other_names_and_times_of_files_change_nothing(inputs):
    before = plan(inputs)
    moved = inputs.parent / "moved"
    shutil.copytree(inputs, moved)
    for path in moved.iterdir():
        os.utime(path, (1e9, 1e9))
    assert plan(moved) == before


def test_another_picture_makes_every_chunk_again(inputs):
    before = plan(inputs)
    files.picture(inputs / "portrait.png", (90, 80))
    assert same_chunks(before, plan(inputs)) == 0


def test_another_ending_makes_only_the_end_of_a_long_voice_again(inputs):
    files.voice(inputs / "voice.wav", 100)
    before = plan(inputs)
    files.voice(inputs / "voice.wav", 101)
    after = plan(inputs)
    # 81 frames and 72 more each: chunk 27 is the first to reach beyond 80 s.
    assert same_chunks(before, after) == 27 and after.sound_key != before.sound_key
    assert same_chunks(before, plan(inputs, stop_at_seconds=50)) == 17


def test_the_same_weights_elsewhere_go_on_and_other_weights_begin_anew(
    tmp_path, inputs, made, monkeypatch
):
    first = files.weights_folder(tmp_path / "first")
    with monkeypatch.context() as stopped:
        interrupt_at(2, stopped)
        assert talk(inputs, tmp_path, weights=first) == 130
    made.clear()
    second = tmp_path / "second"
    first.rename(second)
    assert talk(inputs, tmp_path, weights=second) == 0
    assert made == [2, 3]
    made.clear()
    files.weights_folder(second, seed=1)
    assert talk(inputs, tmp_path, weights=second) == 0
    assert made == [0, 1, 2, 3]


REFUSED = {
    "neither": ([], "--out"),
    "both": (["--job", "a", "--out", "a.mp4"], "either --out"),
    "path": (["--job", "../a"], "--job is '../a'"),
    "empty name": (["--job", ""], "--job"),
    "budget without a job": (["--out", "{}/a.mp4", "--time-budget", "1"], "--time-budget"),
    "no time": (["--job", "a", "--time-budget", "-1"], "time budget"),
    "overwrite": (["--job", "a", "--overwrite"], "--overwrite"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_makes_no_sense_is_refused_before_the_work(tmp_path, inputs, capsys, kind):
    given, words = REFUSED[kind]
    given = [each.format(tmp_path) for each in given]
    files_given = ["--image", str(inputs / "portrait.png"), "--audio", str(inputs / "voice.wav")]
    code = main(["talk", *files_given, "--random-weights", "--folder", str(tmp_path / "j"), *given])
    message = capsys.readouterr().err.strip()
    assert code == 2 and words in message and message.count("\n") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inputs"]


def test_a_folder_that_may_only_be_read_is_refused(inputs, tmp_path):
    for folder in (tmp_path, *tmp_path.parents[:2], inputs):
        folder.chmod(0o755)  # for nobody to look into

    def work():
        if os.getuid() == 0:
            os.setuid(65534)
        return talk(inputs, tmp_path / "jobs")

    assert stubs.forked(work) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inputs"]


class Watch:
    """What a forked command line says of itself while it samples, also when it is killed."""

    def __init__(self, log: Path):
        self.log, self.seen = log, mmap.mmap(-1, 2)

    def begin(self):
        self.seen[0] = self.seen[1] = 0

    def install(self):
        begin, call, seen = cli_talk.Progress.__init__, cli_talk.Progress.__call__, self.seen
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def begun(progress, *more):
            begin(progress, *more)
            seen[0] = 1

        def step_done(progress, chunk, step, steps, denoised):
            call(progress, chunk, step, steps, denoised)
            seen[1] += step == 1
            if step == steps:
                os.write(log, f"{chunk.index} {digest(denoised)}\n".encode())

        cli_talk.Progress.__init__, cli_talk.Progress.__call__ = begun, step_done

    def latents(self):
        """Digests of what was sampled, by chunk."""
        found = {}
        for line in self.log.read_text().splitlines():
            index, latents = line.split()
            found.setdefault(index, set()).add(latents)
        return found


def start_talk(inputs, root, watch):
    def work():
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        watch.install()
        return talk(inputs, root, "--steps", 2)

    watch.begin()
    return stubs.start(work)


def seconds_per_chunk(inputs, root, watch):
    """Of an uninterrupted run, from when the networks are loaded."""
    process = start_talk(inputs, root, watch)
    while not watch.seen[0]:
        time.sleep(0.001)
    started = time.monotonic()
    assert stubs.ended(process) == 0
    return (time.monotonic() - started) / 4


def test_kills_at_any_moment_lose_the_running_chunk_at_most(tmp_path, inputs):
    watch = Watch(tmp_path / "latents")
    seconds = seconds_per_chunk(inputs, tmp_path / "whole", watch)
    whole, moments = stubs.content(tmp_path / "whole" / "talk"), random.Random(0)
    kills = rounds = caught = 0
    while kills < KILLS:
        rounds += 1
        root = tmp_path / str(rounds)
        code = None
        while code != 0:
            before = len(list(root.glob("talk/.job/*.safetensors")))
            process = start_talk(inputs, root, watch)
            if kills < KILLS:
                while not watch.seen[0] and not finished(process):
                    time.sleep(0.001)
                time.sleep(moments.uniform(0, 2 * seconds))
                stubs.kill(process)
                kills += 1
            code = stubs.ended(process)
            caught += code != 0
            kept = len(list(root.glob("talk/.job/*.safetensors"))) - before
            assert code in (0, -9) and watch.seen[1] - kept <= 1
        assert stubs.content(root / "talk") == whole
        assert stubs.leftovers(root) == []
        shutil.rmtree(root)
    assert caught >= KILLS / 2, f"{caught} of {kills} kills hit a process that was at work"
    latents = watch.latents()
    assert len(latents) == 4 and all(len(each) == 1 for each in latents.values())


def finished(process):
    """Whether a process has ended; its code can still be asked for."""
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
