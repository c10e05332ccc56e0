"""Kills at random moments of sampling: at most the running chunk is lost, and no byte is another.

The process is ended by a timer of the system that counts the CPU time of the process, so the
moments do not depend on how busy the machine is. Nothing of Python runs after it.
"""

import os
import random
import signal
import time
from pathlib import Path

import job_stubs as stubs
import job_talk
import pytest

from endless_talk import cli_talk, talk
from endless_talk.video.job_folder import JobFolder
from endless_talk.video.job_keys import digest
from endless_talk.video.job_segments import Segments
from endless_talk.video.journal import JobSink

KILLS = 50
KILLED = -getattr(signal, "SIGPROF", 0)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and CPU timers")


class Watched:
    """Jobs of the command line in processes of their own, with a log of what they did.

    The log is written past the journal, line by line: ``begin CHUNK``, ``latents CHUNK DIGEST``,
    ``commit CHUNK``, ``seconds S`` of CPU that sampling took.

    Args:
        folder: Where inputs, jobs and the log are.
    """

    def __init__(self, folder: Path):
        self.given, self.root = job_talk.inputs(folder / "given"), folder / "jobs"
        self.log = os.open(folder / "log", os.O_RDWR | os.O_CREAT | os.O_APPEND)
        # Imports at use take longer than a chunk; each process would pay for them.
        assert self._work("warm") == 0

    def run(self, name: str, moment: float | None = None) -> tuple[int, list[list[str]]]:
        """Exit code and log of one run, killed after ``moment`` CPU seconds of sampling."""
        os.ftruncate(self.log, 0)
        code = stubs.forked(lambda: self._work(name, moment))
        lines = os.pread(self.log, 1 << 20, 0).decode().splitlines()
        return code, [line.split() for line in lines]

    def _work(self, name, moment=None):
        target = ("--job", name, "--folder", self.root)
        portrait, voice = self.given / "portrait.png", self.given / "voice.wav"
        with pytest.MonkeyPatch.context() as patch:
            job_talk.shorten_chunks(patch)
            patch.setattr(cli_talk, "Progress", self._progress(cli_talk.Progress))
            patch.setattr(JobSink, "commit", self._committing(JobSink.commit))
            patch.setattr(talk, "stream_talk", self._sampling(talk.stream_talk, moment))
            return job_talk.run(portrait, voice, *target, "--steps", "2")

    def _say(self, *words):
        os.write(self.log, f"{' '.join(str(word) for word in words)}\n".encode())

    def _sampling(self, stream_talk, moment):
        def sampling(*arguments):
            if moment is not None:
                signal.setitimer(signal.ITIMER_PROF, moment)
            before = time.process_time()
            complete = stream_talk(*arguments)
            signal.setitimer(signal.ITIMER_PROF, 0)
            self._say("seconds", time.process_time() - before)
            return complete

        return sampling

    def _progress(self, progress):
        def step_done(shown, chunk, step, steps, denoised):
            if step == 1:
                self._say("begin", chunk.index)
            if step == steps:
                self._say("latents", chunk.index, digest(denoised))

        return type("Silent", (progress,), {"__call__": step_done})

    def _committing(self, commit):
        def committing(sink, state):
            index = sink._index
            commit(sink, state)
            self._say("commit", index)

        return committing


def said(log, word):
    return [line[1] for line in log if line[0] == word]


def latents(log):
    return {line[1]: line[2] for line in log if line[0] == "latents"}


def check_folder(folder: Path) -> None:
    """What a job looks like from outside at any moment."""
    job = JobFolder(folder.parent, folder.name)
    assert job.read_status() is not None
    plan, segments = job.read_record().plan, Segments(job)
    for key, frames in zip(plan.keys, plan.kept_frames, strict=True):
        if segments.holds(key):
            assert segments.problem(key, frames) is None
    assert job.clips() == {}, "a clip has its name only when it is finished"


def test_a_kill_at_any_moment_loses_the_running_chunk_at_most(tmp_path):
    jobs = Watched(tmp_path)
    code, whole = jobs.run("whole")
    assert (code, said(whole, "commit")) == (0, ["0", "1", "2", "3"])
    (seconds,) = said(whole, "seconds")
    moments = random.Random(5)
    expected = stubs.content(jobs.root / "whole")
    kills, within, name, done = 0, 0, 0, []
    while kills < KILLS or done:
        last = kills >= KILLS
        moment = None if last else moments.uniform(0, float(seconds) / 2)
        code, log = jobs.run(f"job{name}", moment)
        begun, committed = said(log, "begin"), said(log, "commit")
        # A chunk that was whole on the disk when the kill came, a moment before it was logged.
        spared = begun[:1] == [str(len(done) + 1)] or (code == 0 and not begun)
        done += [str(len(done))] * spared
        assert not set(begun) & set(done), "a finished chunk was made again"
        assert begun == [str(index) for index in range(len(done), len(done) + len(begun))]
        assert latents(log).items() <= latents(whole).items()
        done += committed
        if code == KILLED:
            kills += 1
            within += len(begun) > len(committed)
            check_folder(jobs.root / f"job{name}")
            continue
        assert code == 0 and len(done) == job_talk.CHUNKS
        assert renamed(stubs.content(jobs.root / f"job{name}"), name) == expected
        assert stubs.leftovers(jobs.root / f"job{name}") == []
        name, done = name + 1, []
    print(f"{kills} kills, {within} within a chunk, {name} jobs, {seconds} s of sampling each")
    assert within >= KILLS / 5, "the kills hardly hit a chunk"


def renamed(content, name):
    """The files of a job as if it had been called ``whole``."""
    return {key.replace(f"job{name}_", "whole_"): data for key, data in content.items()}
