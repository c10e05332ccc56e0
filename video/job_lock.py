"""One process per job: a lock of the system where it holds, else the heartbeat of the status.

A lock of the system ends with its process, so a job can go on at once after a crash. It may not
reach across machines that share a disk, and some disks have none; there a job is taken when its
last sign of life is old. Knows processes and time; it does not know what they do to the job.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import secrets
import sys
import time
from typing import IO, Any

from ..errors import InputError
from .job_folder import JobFolder, JobState, JobStatus

STALE_SECONDS = 120.0
"""A process that has shown no sign of life for so long is gone."""

BEAT_SECONDS = 10.0
"""How often a sign of life is written, at most."""

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
"""What disks without locks answer."""

_TAKEN = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK}
"""What a lock that somebody has answers."""

_LOCKED_BYTE = 1 << 30
"""Windows keeps others from reading the locked byte, so it lies behind what the file holds."""


class JobLock:
    """The right to write to a job's folder, from :meth:`acquire` to :meth:`release`.

    Args:
        folder: The job's folder; it exists.
    """

    def __init__(self, folder: JobFolder) -> None:
        self._folder = folder
        self._token = secrets.token_hex(8)
        self._file: IO[bytes] | None = None
        self._locked = False

    @property
    def held(self) -> bool:
        """Whether the job is this process's."""
        return self._file is not None

    def acquire(self) -> None:
        """Take the job.

        Raises:
            InputError: Another process renders it.
            OSError: The folder cannot be written to.
        """
        file = self._folder.lock_file.open("a+b")
        try:
            locked = lock_file(file)
            status = self._folder.read_status()
            if is_taken(self._folder, locked, status):
                raise _busy(self._folder, status)
            owner = {"machine": platform.node(), "pid": os.getpid(), "token": self._token}
            file.truncate(0)
            file.write(json.dumps(owner).encode())
            file.flush()
        except BaseException:
            file.close()
            raise
        self._file, self._locked = file, bool(locked)

    def check(self) -> None:
        """Refuse to write on when another process has taken the job meanwhile.

        Raises:
            InputError: It has; this process was silent for too long.
        """
        if self._locked or self._file is None:
            return
        if _owner(self._folder).get("token") != self._token:
            raise InputError(
                f"another process took over the job {self._folder.name!r}, because this one gave "
                f"no sign of life for {STALE_SECONDS:g} s; what it finished is kept."
            )

    def release(self) -> None:
        """Let others take the job; does nothing the second time."""
        if self._file is not None:
            self._file.close()
            self._file = None


def is_running(folder: JobFolder) -> bool:
    """Whether a process renders the job now."""
    try:
        with folder.lock_file.open("r+b") as file:
            return is_taken(folder, lock_file(file), folder.read_status())
    except (FileNotFoundError, PermissionError):  # never begun, or only to be read
        return False


def check_free(folder: JobFolder) -> None:
    """Refuse a job that another process renders; it is not taken by that, and may be later.

    Raises:
        InputError: Another process renders it.
    """
    if is_running(folder):
        raise _busy(folder, folder.read_status())


def is_taken(folder: JobFolder, locked: bool | None, status: JobStatus | None) -> bool:
    """Whether a job belongs to another process.

    Args:
        folder: The job's folder.
        locked: What the system's lock says, as from :func:`lock_file`.
        status: What the job says of itself.
    """
    if locked is False:
        return True
    if locked and _owner(folder).get("machine") in (None, platform.node()):
        return False
    if status is None or status.state is not JobState.RUNNING:
        return False
    return abs(time.time() - status.heartbeat) < STALE_SECONDS


def lock_file(file: IO[bytes]) -> bool | None:
    """Lock an open file until it is closed or the process ends.

    Returns:
        Whether it is locked now; None where the disk has no locks.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(_LOCKED_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


def _owner(folder: JobFolder) -> dict[str, Any]:
    """Who wrote into the lock file last; nothing when that cannot be read."""
    try:
        owner = json.loads(folder.lock_file.read_bytes())
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _busy(folder: JobFolder, status: JobStatus | None) -> InputError:
    seen = ""
    if status is not None:
        ago = max(0.0, time.time() - status.heartbeat)
        seen = f" (chunk {status.chunks_done + 1} of {status.chunks}, seen {ago:.0f} s ago)"
    return InputError(
        f"another process is rendering the job {folder.name!r}{seen}: wait for it or stop it, or "
        "choose another job name. "
        f"A process that was killed on another machine counts as gone after {STALE_SECONDS:g} s."
    )
