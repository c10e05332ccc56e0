"""The frame sink that loses nothing: every chunk is on the disk before the next one begins.

It knows the order of things: segment, state, status; at the end the clip, before the end the part.
It does not know what makes frames, nor what a key stands for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from ..frames import FPS
from .files import UNFINISHED, publish, publish_new, unfinished
from .h264 import FrameEncoder, check_settings
from .job_folder import JobFolder, JobPlan, JobRecord, JobState, JobStatus
from .job_lock import BEAT_SECONDS, JobLock
from .job_segments import Segments
from .mux import count_frames, write_clip
from .sound import Sound

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)


class Keep(Enum):
    """What stays on the disk when a clip is finished."""

    CHUNKS = "all chunks"
    """Every chunk, so that one of them can be made again."""

    CLIP = "clip only"


class Indexed(Protocol):
    """A chunk of the plan."""

    @property
    def index(self) -> int:
        """0 for the first."""
        ...


class JobSink:
    """Takes chunks as they are made, keeps those that are whole, and joins them to the clip.

    Use it as a context, around as much of the work as a user may stop: leaving it before
    :meth:`finish` writes what is there as the part file, with sound, and says in the status why.
    Nobody else can write to the job until it is left.

    Args:
        folder: Where the job is; made if it is not there.
        plan: What is to be made.
        sound: What is heard, also in the part.
        metadata: Tags to store in the clip, such as the workflow.
        keep: What stays when the clip is finished.
        cancels: Errors that are the user's wish; anything else is a failure.

    Attributes:
        message: Why it stopped, for the status.
        doing: What is being done between two chunks, for the status.
        clip: The finished clip.
        part: What is there of it.

    Raises:
        InputError: Another process renders the job, its files are of a newer version or damaged, or
            a size or crf that cannot be encoded.
        OSError: The folder cannot be written to.
    """

    def __init__(
        self,
        folder: JobFolder,
        plan: JobPlan,
        *,
        sound: Sound | None = None,
        metadata: Mapping[str, str] | None = None,
        keep: Keep = Keep.CHUNKS,
        cancels: tuple[type[BaseException], ...] = (KeyboardInterrupt,),
    ) -> None:
        check_settings(plan.size, plan.crf)
        self.folder, self.plan, self.keep = folder, plan, keep
        self.message = "stopped before the clip was complete"
        self.doing = ""
        self.clip: Path | None = None
        self.part: Path | None = None
        self._sound, self._metadata, self._cancels = sound, dict(metadata or {}), cancels
        self._segments = Segments(folder)
        self._lock = JobLock(folder)
        self._index: int | None = None
        self._open: tuple[FrameEncoder, Path] | None = None
        self._beat = 0.0
        folder.create()
        self._lock.acquire()
        try:
            self._begin()
        except BaseException:
            self._lock.release()
            raise

    def _begin(self) -> None:
        """Read what is there, tidy up after a crash, and write the plan."""
        record = self.folder.read_record()
        self.folder.read_status()
        self._held = {k for k, key in enumerate(self.plan.keys) if self._segments.holds(key)}
        for leftover in self.folder.hidden.glob(UNFINISHED):
            leftover.unlink(missing_ok=True)
        sound = None if self._sound is None or self._sound.path is None else self._sound.path
        self._record = JobRecord(
            self.plan,
            {} if record is None else record.clips,
            None if sound is None else str(sound.absolute()),
        )
        self.clip = finished_clip(self.folder, self.plan)
        if self._record != record:
            self.folder.write_record(self._record)
        if self.clip is None:
            self._write_status(JobState.RUNNING)

    @property
    def missing(self) -> list[int]:
        """Chunks that have to be made, by index; none when the clip is finished already."""
        if self.clip is not None:
            return []
        return [k for k in range(len(self.plan.shown_frames)) if k not in self._held]

    def recall(self, chunk: Indexed) -> Mapping[str, Tensor] | None:
        """The state of a chunk that is there, else None, and the next frames are this chunk's."""
        if chunk.index in self._held:
            return self._segments.state(self.plan.keys[chunk.index])
        self._index = chunk.index
        return None

    def state_of(self, key: str) -> Mapping[str, Tensor] | None:
        """The state of any chunk that was ever made here, such as of one that is made again."""
        return self._segments.state(key) if self._segments.holds(key) else None

    def append(self, frames: Tensor) -> None:
        """Encode frames ``[3, F, H, W]`` in [-1, 1] of the chunk last asked for; keep none of them.

        Raises:
            InputError: Another size, a non-float dtype, or values that are not finite.
            RuntimeError: No chunk was asked for, or the job is left.
        """
        if self._index is None:
            raise RuntimeError(f"{self.folder.name}: recall a chunk before appending its frames.")
        if self._open is None:
            path = unfinished(self._segments.video(self.plan.keys[self._index]))
            self._open = FrameEncoder(path, self.plan.size, crf=self.plan.crf), path
        self._open[0].append(frames)
        self.beat()

    def commit(self, state: Mapping[str, Tensor]) -> None:
        """The chunk is whole, and ``state`` is what the next one starts from.

        Raises:
            RuntimeError: It has other frames than planned.
            OSError: It could not be written; what was there before still is.
        """
        if self._open is None or self._index is None:
            raise RuntimeError(f"{self.folder.name}: append a chunk's frames before committing it.")
        index, (encoder, part) = self._index, self._open
        planned = self.plan.kept_frames[index]
        if encoder.frames != planned:
            raise RuntimeError(f"chunk {index} has {encoder.frames} frames, its plan {planned}")
        self._lock.check()
        encoder.close()
        check_frames(part, planned)
        self._segments.save(self.plan.keys[index], part, planned, state)
        self._open = self._index = None
        self._held.add(index)
        self._write_status(JobState.RUNNING)

    def beat(self) -> None:
        """Show a sign of life, every ten seconds at most; call it as often as you like."""
        if time.monotonic() - self._beat >= BEAT_SECONDS:
            self._lock.check()
            self._write_status(JobState.RUNNING)

    def finish(self, sound: Sound | None = None) -> Path:
        """Join the chunks to a numbered clip, unless that was done before.

        Args:
            sound: Instead of the sink's own.

        Raises:
            RuntimeError: Chunks are missing.
        """
        if self.missing:
            raise RuntimeError(f"{self.folder.name}: chunks {self.missing} are not made yet.")
        if self.clip is None:
            self._lock.check()
            self.clip = self._publish_clip(sound or self._sound)
        self.folder.part.unlink(missing_ok=True)
        if self.keep is Keep.CLIP:
            for key in self._segments.stored():
                self._segments.remove(key)
        self.message = ending(self.plan)
        self._write_status(JobState.FINISHED)
        self._lock.release()
        return self.clip

    def discard(self) -> None:
        """Leave without a part file, such as when nothing is to be shown of the job."""
        self._abandon()
        self._lock.release()

    def __enter__(self) -> JobSink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._lock.held:
            return
        try:
            self._leave(error)
        except OSError as trouble:
            if error is None:
                raise
            # The first error is the one to show; what is on the disk is kept either way.
            logger.warning("%s: the part was not written: %s", self.folder.name, trouble)
        finally:
            self._lock.release()

    def _leave(self, error: BaseException | None) -> None:
        """Write the part file and why it is one."""
        self._abandon()
        if self.clip is not None:  # found finished, and there is nothing to tell
            return
        state = JobState.STOPPED
        if isinstance(error, self._cancels):
            self.message = "stopped by the user"
        elif error is not None:
            state, self.message = JobState.FAILED, str(error) or type(error).__name__
        self._lock.check()
        try:
            self.part = self._write_part()
        finally:
            self._write_status(state)

    def _abandon(self) -> None:
        """Let go of the chunk that is being made."""
        if self._open is not None:
            encoder, path = self._open
            encoder.abandon()
            path.unlink(missing_ok=True)
            self._open = None

    def _publish_clip(self, sound: Sound | None) -> Path:
        joined = unfinished(self._segments.video("clip"))
        try:
            self._join(joined, len(self.plan.shown_frames), sound)
            while True:
                path = self.folder.next_clip()
                entry = self.plan.clip_key, joined.stat().st_size
                clips = {**self._record.clips, path.name: entry}
                # Before the name, so that a crash between the two makes no second clip.
                self._record = JobRecord(self.plan, clips, self._record.sound)
                self.folder.write_record(self._record)
                try:
                    publish_new(joined, path)
                except FileExistsError:
                    continue
                return path
        finally:
            joined.unlink(missing_ok=True)

    def _write_part(self) -> Path | None:
        """What is there from the beginning without a gap, or None when chunk 0 is missing."""
        chunks = leading(self._held, self.plan)
        if not chunks:
            return None
        joined = unfinished(self._segments.video("part"))
        try:
            self._join(joined, chunks, self._sound)
            publish(joined, self.folder.part)
        finally:
            joined.unlink(missing_ok=True)
        return self.folder.part

    def _join(self, path: Path, chunks: int, sound: Sound | None) -> None:
        segments = [self._segments.video(key) for key in self.plan.keys[:chunks]]
        frames = sum(self.plan.shown_frames[:chunks])
        write_clip(path, segments, sound, self._metadata, frames=frames)
        check_frames(path, frames)

    def _write_status(self, state: JobState) -> None:
        clip = self.clip or self.part
        shown = self.plan.shown_frames
        finished = self.clip is not None
        done = [frames for k, frames in enumerate(shown) if finished or k in self._held]
        self.folder.write_status(
            JobStatus(
                state=state,
                chunks_done=len(done),
                chunks=len(shown),
                seconds_done=sum(done) / FPS,
                seconds=self.plan.seconds,
                clip=None if clip is None else clip.name,
                heartbeat=round(time.time(), 3),
                message=self.doing if state is JobState.RUNNING else self.message,
            )
        )
        self._beat = time.monotonic()


def finished_clip(folder: JobFolder, plan: JobPlan) -> Path | None:
    """The clip of a plan, if it was finished and is still there.

    Raises:
        InputError: The job's files are damaged or of a newer version.
    """
    record = folder.read_record()
    for name, (key, size) in reversed(list(({} if record is None else record.clips).items())):
        path = folder.path / name
        if key == plan.clip_key and path.is_file() and path.stat().st_size == size:
            return path
    return None


def ending(plan: JobPlan) -> str:
    """What is to say of where a finished clip ends; nothing when its chunks end there too."""
    if not plan.ends_early:
        return ""
    return f"ends early: {plan.seconds:.2f} of {sum(plan.kept_frames) / FPS:.2f} s were asked for"


def leading(held: set[int], plan: JobPlan) -> int:
    """How many of the clip's chunks there are from the first on without a gap."""
    count = 0
    while count in held and count < len(plan.shown_frames):
        count += 1
    return count


def check_frames(path: Path, frames: int) -> None:
    """Refuse a file that the disk did not take to its end, although nobody said so.

    Raises:
        OSError: It has other frames than were written.
    """
    found = count_frames(path)
    if found != frames:
        raise OSError(f"{path.name} has {found} of {frames} frames; is the disk full?")
