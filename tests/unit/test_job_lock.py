"""One process per job, on one machine and across machines that share a disk."""

import errno
import json
import os
import time
from dataclasses import replace

import job_stubs as stubs
import pytest

from endless_talk.errors import InputError
from endless_talk.video import job_lock
from endless_talk.video.job_folder import JobFolder, JobState, JobStatus
from endless_talk.video.job_lock import JobLock, check_free, is_running
from endless_talk.video.journal import JobSink

RUNNING = JobStatus(JobState.RUNNING, 3, 9, 1.0, 3.0, None, 0.0, "")


@pytest.fixture
def folder(tmp_path):
    folder = JobFolder(tmp_path, "talk")
    folder.create()
    return folder


def beat(folder, seconds_ago, **changes):
    status = replace(RUNNING, heartbeat=time.time() - seconds_ago, **changes)
    folder.write_status(status)


def taken(folder):
    lock = JobLock(folder)
    try:
        lock.acquire()
    except InputError as error:
        return str(error)
    lock.release()
    return None


def hold(folder, ready, seconds=60):
    """What another process does: render, and say when it has begun."""

    def work():
        clip = stubs.Clip()
        with JobSink(folder, clip.job):
            os.write(ready, b".")
            time.sleep(seconds)

    return work


@pytest.fixture
def other(folder):
    """Another process that has the job."""
    reader, writer = os.pipe()
    process = stubs.start(hold(folder, writer))
    os.read(reader, 1)
    yield process
    stubs.kill(process)
    stubs.ended(process)


def test_a_second_process_is_refused_with_a_sentence(folder, other):
    clip = stubs.Clip()
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"'talk' \(chunk 1 of 4, seen \d+ s ago\)") as caught:
        clip.render(folder.path.parent)
    assert "choose another job name" in str(caught.value)
    with pytest.raises(InputError, match="choose another job name"):
        check_free(folder)
    assert is_running(folder)
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before


def test_a_job_goes_on_at_once_when_its_process_was_killed(folder, other):
    stubs.kill(other)
    os.waitid(os.P_PID, other, os.WEXITED | os.WNOWAIT)
    assert folder.read_status().state is JobState.RUNNING, "it could not say goodbye"
    assert not is_running(folder)
    assert stubs.Clip().render(folder.path.parent) is not None


def test_jobs_of_other_names_do_not_wait(folder, other):
    assert stubs.Clip().render(folder.path.parent, name="another") is not None


def test_a_job_is_free_again_when_it_is_left(folder):
    stubs.Clip().render(folder.path.parent, stop=stubs.stop_at(1))
    assert taken(folder) is None
    stubs.Clip().render(folder.path.parent)
    assert taken(folder) is None and not is_running(folder)
    check_free(folder)
    assert taken(folder) is None, "to look is not to take"


def elsewhere(folder):
    folder.lock_file.write_text(json.dumps({"machine": "another", "pid": 1, "token": "x"}))


def test_another_machine_that_shows_signs_of_life_has_the_job(folder):
    elsewhere(folder)
    beat(folder, 60)
    assert "chunk 4 of 9, seen 60 s ago" in taken(folder)
    assert is_running(folder)
    beat(folder, 121)
    assert taken(folder) is None
    assert not is_running(folder)


@pytest.mark.parametrize("state", [JobState.STOPPED, JobState.FAILED, JobState.FINISHED])
def test_a_machine_that_said_goodbye_has_the_job_no_longer(folder, state):
    elsewhere(folder)
    beat(folder, 1, state=state)
    assert taken(folder) is None


def test_a_clock_that_is_far_ahead_does_not_hold_a_job_for_ever(folder):
    elsewhere(folder)
    beat(folder, -3600)
    assert taken(folder) is None


def test_a_damaged_lock_file_is_nobodys(folder):
    for text in ("", "x", "[]", "\x00"):
        folder.lock_file.write_text(text)
        beat(folder, 1)
        assert taken(folder) is None


@pytest.fixture
def no_locks(monkeypatch):
    """A disk that has no locks."""
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_):
        raise OSError(errno.ENOTSUP, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_without_locks_the_heartbeat_decides_on_one_machine_too(folder, no_locks):
    clip = stubs.Clip()
    with JobSink(folder, clip.job):
        assert "another process" in taken(folder)
        assert is_running(folder)
        beat(folder, 119)
        assert taken(folder) is not None
    assert taken(folder) is None
    assert clip.render(folder.path.parent) is not None


def test_without_locks_a_process_that_slept_too_long_notices_that_the_job_went_on(folder, no_locks):
    clip = stubs.Clip()
    with pytest.raises(InputError, match="took over"), JobSink(folder, clip.job) as slow:
        clip.stream(slow, stop=stubs.stop_at(1))
        beat(folder, 121)
        path = clip.render(folder.path.parent)
        after = stubs.content(folder.path)
        clip.stream(slow)
    assert stubs.content(folder.path) == after
    assert folder.read_status().clip == path.name and folder.read_status().state.value == "finished"


def test_other_trouble_with_the_lock_is_not_taken_for_a_busy_job(folder, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def broken(*_):
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(OSError, match="broken"):
        JobLock(folder).acquire()


def test_a_job_that_was_never_begun_does_not_run(tmp_path):
    assert not is_running(JobFolder(tmp_path, "talk"))


def test_the_owner_is_written_for_whoever_wonders(folder):
    lock = JobLock(folder)
    lock.acquire()
    owner = json.loads(folder.lock_file.read_text())
    assert owner["pid"] == os.getpid() and owner["machine"] == job_lock.platform.node()
    lock.release()
    lock.release()
    assert not lock.held
