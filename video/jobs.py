"""All jobs of a folder: what there is, what it takes, and what can be removed, exported or checked.

Knows journals; it makes no frames.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import InputError
from ..frames import FPS
from .files import check_target, publish, unfinished
from .job_folder import HIDDEN, JobFolder, JobRecord, JobState, JobStatus
from .job_lock import JobLock, is_running
from .job_segments import Segments
from .job_states import JobStates
from .journal import check_frames, finished_clip, leading
from .mux import write_clip
from .sound import Sound


@dataclass(frozen=True)
class JobSummary:
    """How a job stands.

    Attributes:
        name: The job.
        status: What it says of itself; None when that cannot be read.
        running: Whether a process renders it now.
        bytes: What it takes on the disk, clips included.
        chunk_bytes: What of it are chunks, which ``prune_job`` can remove.
        trouble: Why it cannot be read, or empty.
    """

    name: str
    status: JobStatus | None
    running: bool
    bytes: int
    chunk_bytes: int
    trouble: str = ""

    @property
    def state(self) -> str:
        """The state in a word; a job that says it runs and does not was killed."""
        if self.status is None:
            return "unreadable" if self.trouble else "empty"
        killed = self.status.state is JobState.RUNNING and not self.running
        return "interrupted" if killed else self.status.state.value


def list_jobs(root: Path) -> list[JobSummary]:
    """The jobs of a folder by name; folders that are not jobs are left out.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root} with jobs; name it with --folder.")
    names = sorted(path.name for path in root.iterdir() if (path / HIDDEN).is_dir())
    return [summarize(JobFolder(root, name)) for name in names]


def summarize(folder: JobFolder) -> JobSummary:
    """How one job stands."""
    sizes = {path: path.stat().st_size for path in folder.path.rglob("*") if path.is_file()}
    chunks = sum(size for path, size in sizes.items() if path.parent == folder.hidden)
    try:
        status, trouble, running = folder.read_status(), "", is_running(folder)
    except InputError as error:
        status, trouble, running = None, str(error), False
    return JobSummary(folder.name, status, running, sum(sizes.values()), chunks, trouble)


def open_job(root: Path, name: str) -> tuple[JobFolder, JobRecord]:
    """A job that exists, and its plan.

    Raises:
        FileNotFoundError: There is no such job.
        InputError: Its name could leave the folder, or its files are damaged or too new.
    """
    folder = JobFolder(root, name)
    record = folder.read_record()
    if record is None:
        raise FileNotFoundError(
            f"there is no job {name!r} in {root}; see `endless-talk jobs list`."
        )
    return folder, record


def prune_job(root: Path, name: str, *, unfinished_too: bool = False, unused: bool = False) -> int:
    """Remove the chunks of a job; its clips stay.

    Args:
        root: The folder of all jobs.
        name: The job.
        unfinished_too: Also when its clip is not finished, or ends before its chunks do, so that
            rendering begins anew.
        unused: Only chunks that its plan does not use, of earlier settings; always allowed.

    Returns:
        The bytes that are free now.

    Raises:
        InputError: The job runs, or its clip is not finished or not whole.
    """
    folder, record = open_job(root, name)
    lock = JobLock(folder)
    lock.acquire()
    try:
        finished = finished_clip(folder, record.plan) is not None
        allowed = unfinished_too or unused
        if not (finished or allowed):
            raise InputError(
                f"the job {name!r} is not finished, and its chunks are all there is of it: finish "
                "it, or remove them with --all, or with --unused those of earlier settings."
            )
        whole = finished_clip(folder, replace(record.plan, stop_frame=None)) is not None
        if not (whole or allowed):
            raise InputError(
                f"the clip of the job {name!r} ends early, and the whole one would go on from its "
                "chunks: render it whole, or remove them with --all."
            )
        segments = Segments(folder)
        used = {*record.plan.keys, *record.plan.states} if unused else set()
        return sum(segments.remove(key) for key in segments.stored() if key not in used)
    finally:
        lock.release()


def export_job(root: Path, name: str, out: Path, sound: Sound | None = None) -> float:
    """Write what is there of a clip from its beginning as a clip of its own; the job may run.

    Args:
        root: The folder of all jobs.
        name: The job.
        out: The clip, an mp4; replaced.
        sound: What is heard; None is silent, except for finished clips, which have their own.

    Returns:
        Its length in seconds.

    Raises:
        InputError: Nothing is there yet.
    """
    folder, record = open_job(root, name)
    check_target(out, ".mp4")
    plan, segments = record.plan, Segments(folder)
    held = {k for k, key in enumerate(plan.keys) if segments.holds(key)}
    clip, chunks = finished_clip(folder, plan), leading(held, plan)
    if clip is None and not chunks:
        raise InputError(f"the job {name!r} has no finished chunk yet; there is nothing to export.")
    frames = plan.frames if clip is not None else sum(plan.shown_frames[:chunks])
    part = unfinished(out)
    try:
        if clip is not None:
            shutil.copyfile(clip, part)
        else:
            paths = [segments.video(key) for key in plan.keys[:chunks]]
            write_clip(part, paths, sound, frames=frames)
        check_frames(part, frames)
        publish(part, out)
    finally:
        part.unlink(missing_ok=True)
    return frames / FPS


def verify_job(root: Path, name: str) -> tuple[int, list[str]]:
    """Read every chunk of a job, and its clip.

    Returns:
        How many chunks are whole, and a sentence for everything that is not; chunks that were not
        made yet, or were removed after the clip, are in neither.
    """
    folder, record = open_job(root, name)
    plan, segments = record.plan, Segments(folder)
    whole, problems = 0, []
    for index, (key, frames) in enumerate(zip(plan.keys, plan.kept_frames, strict=True)):
        if not segments.exists(key):
            continue
        problem = segments.problem(key, frames)
        if problem is None:
            whole += 1
        else:
            problems.append(f"chunk {index}: {problem}; the next run makes it again")
    problems += JobStates(folder, plan.states).problems()
    for clip, (_, size) in record.clips.items():
        path = folder.path / clip
        if path.exists() and path.stat().st_size != size:
            problems.append(f"{clip}: has {path.stat().st_size} bytes, was finished with {size}")
    return whole, problems
