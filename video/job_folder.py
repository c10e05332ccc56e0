"""The folder of a job: where its files are, and the two small ones that say what it is.

Knows names, the plan and the status as JSON, and whose they are. It does not know what is in a
segment, who may write, or how a clip is made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..frames import FPS
from .files import write_whole
from .job_keys import digest
from .job_names import check_job_name

SCHEMA = 1
"""Of plan, status and states; raised when an older version could not read them."""

HIDDEN = ".job"


class JobState(Enum):
    """How a job stands."""

    RUNNING = "running"
    STOPPED = "stopped"
    """By the user or the time limit; the same call goes on."""
    FAILED = "failed"
    FINISHED = "finished"


@dataclass(frozen=True)
class JobStatus:
    """What ``status.json`` says, for whoever watches from outside.

    Attributes:
        state: How the job stands.
        chunks_done: Chunks of the plan that are on the disk.
        chunks: Chunks of the plan.
        seconds_done: What they add to the clip.
        seconds: Length of the clip.
        clip: Name of the finished clip or of the part, or None.
        heartbeat: When this was written, in seconds since 1970.
        message: Why it stopped; while it runs, what is being done where a chunk takes many steps.
    """

    state: JobState
    chunks_done: int
    chunks: int
    seconds_done: float
    seconds: float
    clip: str | None
    heartbeat: float
    message: str


@dataclass(frozen=True)
class JobPlan:
    """What a job is to make.

    Attributes:
        keys: Key of every chunk, in order; size and quality are part of them.
        kept_frames: What each adds to the clip.
        size: ``(height, width)`` of the clip.
        crf: x264's constant rate factor.
        sound_key: Digest of what is heard; another sound is another clip of the same chunks.
        stop_frame: Where the clip ends if that is before its chunks do, in frames; its chunks are
            those of the whole clip all the same.
        states: Keys of what is kept between the steps of a clip that is denoised as a whole.
    """

    keys: tuple[str, ...]
    kept_frames: tuple[int, ...]
    size: tuple[int, int]
    crf: int = 12
    sound_key: str = ""
    stop_frame: int | None = None
    states: tuple[str, ...] = ()

    @property
    def shown_frames(self) -> tuple[int, ...]:
        """Frames of each chunk that are in the clip; chunks behind its end are left out."""
        if self.stop_frame is None:
            return self.kept_frames
        shown, left = [], self.stop_frame
        for kept in self.kept_frames:
            if left > 0:
                shown.append(min(kept, left))
            left -= kept
        return tuple(shown)

    @property
    def frames(self) -> int:
        """Frames of the clip."""
        return sum(self.shown_frames)

    @property
    def ends_early(self) -> bool:
        """Whether the clip ends before its chunks do."""
        return self.frames < sum(self.kept_frames)

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return self.frames / FPS

    @property
    def clip_key(self) -> str:
        """Key of the finished clip."""
        if self.ends_early:
            return digest(self.keys[: len(self.shown_frames)], self.sound_key, self.frames)
        return digest(self.keys, self.sound_key)


@dataclass(frozen=True)
class JobRecord:
    """What ``plan.json`` holds.

    Attributes:
        plan: What the job was last asked to make.
        clips: Key and bytes of the finished clips, by file name. Written before a clip gets its
            name, so one that is missing was never finished, or was deleted.
        sound: Where the sound was, if it is a file, for exporting it later.
    """

    plan: JobPlan
    clips: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    sound: str | None = None


class JobFolder:
    """Names of a job's files.

    Args:
        root: The folder of all jobs.
        name: The job.

    Raises:
        InputError: The name could leave the folder.
    """

    def __init__(self, root: Path, name: str) -> None:
        check_job_name(name)
        self.name = name
        self.path = root / name
        self.hidden = self.path / HIDDEN
        self.part = self.path / f"{name}_part.mp4"
        self.status_file = self.path / "status.json"
        self.plan_file = self.hidden / "plan.json"
        self.lock_file = self.hidden / "lock"

    def create(self) -> None:
        """Make the folder if it is not there.

        Raises:
            InputError: A file is in its place.
            OSError: It cannot be written to.
        """
        for folder in (self.path, self.hidden):
            if folder.exists() and not folder.is_dir():
                raise InputError(
                    f"{folder} is a file; the job {self.name!r} needs a folder there: rename the "
                    "file, or choose another job name."
                )
            folder.mkdir(parents=True, exist_ok=True)

    def clips(self) -> dict[int, Path]:
        """Finished clips by number."""
        numbered = re.compile(re.escape(self.name) + r"_([0-9]+)_\.mp4")
        found = {}
        for path in self.path.iterdir() if self.path.is_dir() else ():
            if match := numbered.fullmatch(path.name):
                found[int(match[1])] = path
        return dict(sorted(found.items()))

    def next_clip(self) -> Path:
        """A name behind all numbers that are taken."""
        return self.path / f"{self.name}_{max(self.clips(), default=0) + 1:05}_.mp4"

    def read_status(self) -> JobStatus | None:
        """The status, or None where there is none.

        Raises:
            InputError: It is damaged, of another program, or of a newer version.
        """
        values = self._read(self.status_file)
        if values is None:
            return None
        with self._understood(self.status_file):
            values["state"] = JobState(values["state"])
            return JobStatus(**values)

    def write_status(self, status: JobStatus) -> None:
        """Replace the status."""
        values = {"schema": SCHEMA, **asdict(status), "state": status.state.value}
        self._write(self.status_file, values)

    def read_record(self) -> JobRecord | None:
        """Plan and clips, or None where there are none.

        Raises:
            InputError: They are damaged, of another program, or of a newer version.
        """
        values = self._read(self.plan_file)
        if values is None:
            return None
        with self._understood(self.plan_file):
            chunks, stop = values["chunks"], values.get("stop_frame")
            plan = JobPlan(
                keys=tuple(str(chunk["key"]) for chunk in chunks),
                kept_frames=tuple(int(chunk["frames"]) for chunk in chunks),
                size=(int(values["size"][0]), int(values["size"][1])),
                crf=int(values["crf"]),
                sound_key=str(values["sound_key"]),
                stop_frame=None if stop is None else int(stop),
                states=tuple(str(key) for key in values.get("states", ())),
            )
            clips = {
                name: (str(clip["key"]), int(clip["bytes"]))
                for name, clip in values["clips"].items()
            }
            return JobRecord(plan, clips, values["sound"])

    def write_record(self, record: JobRecord) -> None:
        """Replace plan and clips."""
        plan = record.plan
        chunks = zip(plan.keys, plan.kept_frames, strict=True)
        values = {
            "schema": SCHEMA,
            "size": plan.size,
            "crf": plan.crf,
            "sound_key": plan.sound_key,
            "stop_frame": plan.stop_frame,
            **({"states": plan.states} if plan.states else {}),
            "sound": record.sound,
            "clips": {n: {"key": key, "bytes": size} for n, (key, size) in record.clips.items()},
            "chunks": [{"key": key, "frames": frames} for key, frames in chunks],
        }
        self._write(self.plan_file, values)

    def _write(self, path: Path, values: Mapping[str, Any]) -> None:
        text = json.dumps(values, indent=1, ensure_ascii=False)
        write_whole(path, text.encode(), folder=self.hidden)

    def _read(self, path: Path) -> dict[str, Any] | None:
        """JSON of ours, without its schema."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        with self._understood(path):
            values = json.loads(data)
            check_schema(values.pop("schema"), path, self.name)
            return values

    def _understood(self, path: Path) -> _Understood:
        return _Understood(path, self.name)


class _Understood:
    """A context in which a file is read: what does not fit becomes a sentence."""

    def __init__(self, path: Path, job: str) -> None:
        self.path, self.job = path, job

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, InputError):
            return
        if isinstance(error, (ValueError, KeyError, TypeError, AttributeError, IndexError)):
            raise InputError(
                f"{self.path} is damaged, or of another program, and was left as it is: choose "
                f"another name than {self.job!r} for the job, or move the file away."
            ) from error


def check_schema(schema: Any, path: Path, job: str) -> None:
    """Refuse what a newer version wrote.

    Raises:
        InputError: It did.
        ValueError: This is no schema.
    """
    if not isinstance(schema, int) or schema < 1:
        raise ValueError(f"{path.name} has the schema {schema!r}")
    if schema > SCHEMA:
        raise InputError(
            f"{path} was written by a newer EndlessTalk (schema {schema}, this one reads "
            f"{SCHEMA}) and was left as it is: update EndlessTalk, or choose another name than "
            f"{job!r} for the job."
        )
