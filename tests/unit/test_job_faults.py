"""A kill, or a full disk, before, after and inside every operation of the journal.

The operations are found by running once; each test process is a fork, so that it dies for real.
"""

import errno
import json
import mmap
import os
import resource
import shutil
from pathlib import Path

import job_stubs as stubs
import pytest
import torch

from endless_talk.errors import InputError
from endless_talk.video import files as whole_files
from endless_talk.video import journal
from endless_talk.video.job_folder import JobFolder
from endless_talk.video.mux import count_frames
from endless_talk.video.sound import Sound

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")

DEAD = 77


def sound():
    return Sound(samples=torch.zeros(1, 26240), rate_hz=16000)


def clip():
    return stubs.Clip(sound_key="silence")


class Operations:
    """Counts what the journal does to the disk, and strikes before, inside or after one of it.

    Args:
        at: Which operation, from 0; None only counts.
        where: ``before``, ``inside`` or ``after``.
        strike: What happens there.
    """

    PATCHED = (
        (Path, "mkdir"),
        (Path, "write_bytes"),
        (Path, "replace"),
        (Path, "unlink"),
        (os, "link"),
        (os, "fsync"),
        (journal.FrameEncoder, "append"),
        (journal.FrameEncoder, "close"),
        (journal, "write_clip"),
    )

    def __init__(self, at=None, where="before", strike=lambda: os._exit(DEAD)):
        self.at, self.where, self.strike, self.done = at, where, strike, []

    def install(self):
        for owner, name in self.PATCHED:
            setattr(owner, name, self.watched(name, getattr(owner, name)))
        return self

    def watched(self, name, real):
        def operation(*arguments, **more):
            index = len(self.done)
            self.done.append(name)
            if index != self.at:
                return real(*arguments, **more)
            if self.where == "before":
                self.strike()
            if self.where == "inside":
                self.half(name, real, arguments)
            result = real(*arguments, **more)
            self.strike()
            return result

        return operation

    def half(self, name, real, arguments):
        """Do half of what writes more than a name."""
        if name == "write_bytes":
            path, data = arguments
            real(path, data[: len(data) // 2])
        elif name == "write_clip":
            real(*arguments)
            os.truncate(arguments[0], os.path.getsize(arguments[0]) // 2)
        elif name == "append":
            encoder, frames = arguments
            real(encoder, frames[:, :1])
        self.strike()


def render_forked(root, operations=None, made=None):
    """Render in a fork; its exit code. ``made`` counts the chunks begun, and outlives a kill."""

    def work():
        def heard(chunk):
            if made is not None:
                made[0] += 1

        if operations is not None:
            operations.install()
        clip().render(root, stubs.Denoiser(heard), sound=sound())
        return 0

    return stubs.forked(work)


def count_operations(root):
    """Names of everything an uninterrupted run does to the disk."""
    reader, writer = os.pipe()

    def work():
        operations = Operations().install()
        clip().render(root, sound=sound())
        os.write(writer, json.dumps(operations.done).encode())

    assert stubs.forked(work) == 0
    return json.loads(os.read(reader, 1 << 20))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run: its operations, and what it left."""
    root = tmp_path_factory.mktemp("whole")
    return count_operations(root), stubs.content(root / "talk")


def held(root):
    folder = root / "talk"
    return len(list(folder.glob(".job/*.safetensors")))


def test_the_operations_are_all_there(whole):
    operations, content = whole
    assert {name for _, name in Operations.PATCHED} == set(operations)
    assert len(operations) > 80 and len(content) == 4 + 4 + 1


@pytest.mark.parametrize("where", ["before", "inside", "after"])
def test_a_kill_at_any_operation_loses_the_running_chunk_at_most(tmp_path, whole, where):
    operations, content = whole
    writing = {"write_bytes", "write_clip", "append"}
    made = mmap.mmap(-1, 1)
    for at, name in enumerate(operations):
        if where == "inside" and name not in writing:
            continue
        root = tmp_path / str(at)
        made[0] = 0
        assert render_forked(root, Operations(at, where), made) == DEAD, name
        begun, kept = made[0], held(root)
        assert begun - kept <= 1, f"{where} {at} ({name}): {begun} chunks begun, {kept} kept"
        denoiser = stubs.Denoiser()
        path = clip().render(root, denoiser, sound=sound())
        assert len(denoiser.made) == 4 - kept
        assert path.name == "talk_00001_.mp4"
        assert stubs.content(root / "talk") == content, f"{where} {at} ({name})"
        assert stubs.leftovers(root) == []
        names = sorted(entry.name for entry in (root / "talk").iterdir())
        assert names == [".job", "status.json", "talk_00001_.mp4"]
        assert JobFolder(root, "talk").read_status().state.value == "finished"
        shutil.rmtree(root)


def no_space():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_is_full_at_any_operation_loses_nothing_that_was_finished(tmp_path, whole):
    operations, content = whole
    for at, name in enumerate(operations):
        if name == "unlink":
            continue
        root = tmp_path / str(at)

        def work(root=root, at=at):
            Operations(at, "inside", no_space).install()
            try:
                clip().render(root, sound=sound())
            except OSError as error:
                return 3 if error.errno == errno.ENOSPC else 4

        assert stubs.forked(work) == 3, name
        before = {
            p: d for p, d in stubs.content(root / "talk").items() if p.endswith("safetensors")
        }
        assert before.items() <= content.items()
        denoiser = stubs.Denoiser()
        clip().render(root, denoiser, sound=sound())
        assert len(denoiser.made) == 4 - len(before)
        assert stubs.content(root / "talk") == content, f"{at} ({name})"
        assert stubs.leftovers(root) == []
        shutil.rmtree(root)


@pytest.mark.parametrize("limit", [600, 2000, 5000, 12000, 20000])
def test_a_file_that_may_not_grow_stops_the_job_with_a_reason_and_nothing_is_lost(
    tmp_path, whole, limit
):
    _, content = whole

    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            clip().render(tmp_path, sound=sound())
        except OSError:
            return 3

    largest = max(len(data) for data in content.values())
    assert stubs.forked(work) == (3 if limit < largest else 0)
    kept = held(tmp_path)
    denoiser = stubs.Denoiser()
    clip().render(tmp_path, denoiser, sound=sound())
    assert len(denoiser.made) == 4 - kept
    assert stubs.content(tmp_path / "talk") == content
    assert stubs.leftovers(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 160 KB, where mounting one works."""
    import subprocess

    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here; the limit on file sizes stands in for it")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_up_stops_the_job_and_more_room_lets_it_go_on(small_disk, whole):
    _, content = whole
    blob = small_disk / "blob"
    blob.write_bytes(bytes(90_000))
    with pytest.raises(OSError):
        clip().render(small_disk, sound=sound())
    kept = held(small_disk)
    blob.unlink()
    denoiser = stubs.Denoiser()
    clip().render(small_disk, denoiser, sound=sound())
    assert len(denoiser.made) == 4 - kept < 4
    assert stubs.content(small_disk / "talk") == content


def as_nobody(work):
    """Run in a fork without the rights of an administrator, whom no folder keeps out."""

    def bare():
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        return work()

    return stubs.forked(bare)


@pytest.fixture
def readable():
    """A folder that others may look into; pytest's own may not be."""
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def refused(root):
    def work():
        try:
            clip().render(root, sound=sound())
        except PermissionError as error:
            return 5 if error.filename else 6

    return work


def test_a_folder_that_may_only_be_read_is_refused_and_left_alone(readable):
    assert as_nobody(refused(readable)) == 5
    assert list(readable.iterdir()) == []
    clip().render(readable, stop=stubs.stop_at(2), sound=sound())
    before = {path: path.read_bytes() for path in readable.rglob("*") if path.is_file()}
    assert as_nobody(refused(readable)) == 5
    assert {path: path.read_bytes() for path in readable.rglob("*") if path.is_file()} == before


def test_an_encoder_that_loses_frames_without_a_word_is_not_believed(tmp_path, monkeypatch):
    real = journal.FrameEncoder.close

    def lossy(encoder):
        real(encoder)
        path = next((tmp_path / "talk" / ".job").glob(".*.part"))
        short = journal.FrameEncoder(path, stubs.SIZE)
        short.append(torch.zeros(3, 3, *stubs.SIZE))
        real(short)

    monkeypatch.setattr(journal.FrameEncoder, "close", lossy)
    with pytest.raises(OSError, match="3 of 17 frames"):
        clip().render(tmp_path, sound=sound())
    assert held(tmp_path) == 0


def test_a_part_that_cannot_be_written_does_not_hide_why_it_stopped(tmp_path, monkeypatch, caplog):
    def full(*_, **__):
        no_space()

    def lose(chunk):
        if chunk.index == 2:
            raise InputError("the model was lost")

    monkeypatch.setattr(journal, "write_clip", full)
    with pytest.raises(InputError, match="model was lost"):
        clip().render(tmp_path, stop=lose, sound=sound())
    assert "part was not written" in caplog.text
    status = JobFolder(tmp_path, "talk").read_status()
    assert (status.message, status.clip, status.chunks_done) == ("the model was lost", None, 2)
    with pytest.raises(OSError, match="No space"):
        clip().render(tmp_path, stop=stubs.stop_at(2), sound=sound())


def test_whole_files_are_whole_or_absent(tmp_path):
    path = tmp_path / "a.json"
    whole_files.write_whole(path, b"old")

    def work():
        Operations(0, "inside").install()
        whole_files.write_whole(path, b"x" * 1000)

    assert stubs.forked(work) == DEAD
    assert path.read_bytes() == b"old"
    whole_files.write_whole(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_killed_job_can_be_exported_at_once(tmp_path, whole):
    operations, _ = whole
    from endless_talk.video.jobs import export_job

    at = max(k for k, name in enumerate(operations) if name == "append")
    assert render_forked(tmp_path, Operations(at)) == DEAD
    assert export_job(tmp_path, "talk", tmp_path / "out.mp4") * 25 == 33
    assert count_frames(tmp_path / "out.mp4") == 33
