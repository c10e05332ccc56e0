"""The plain frame sink: frames go in, one finished mp4 comes out, or nothing at all.

It knows the order of things - encode, add sound, rename - and cleans up when that order is broken.
It does not know codecs, and it does not resume: what was written before a crash is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from .files import check_target, publish, unfinished
from .h264 import FrameEncoder
from .mux import write_clip
from .sound import Sound

if TYPE_CHECKING:
    from torch import Tensor


class VideoSink:
    """Takes frames as they are made and leaves a video with sound under ``path``.

    Use it as a context: leaving without :meth:`finish`, by an error or by Ctrl+C, leaves no file. A
    file that already has the name is replaced only when the new one is complete.

    Args:
        path: The clip, ``*.mp4``, in a folder that exists.
        size: Height and width in pixels, both even.
        crf: x264's constant rate factor; 12 is visually lossless, 0 lossless (which few browsers
            play).
        metadata: Tags to store in the file, such as the workflow.
        total: Frames of the clip; what is appended past them is left out. None takes all.

    Raises:
        InputError: An odd size, another suffix or a ``crf`` out of range.
        OSError: The folder does not exist or cannot be written to.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        *,
        crf: int = 12,
        metadata: Mapping[str, str] | None = None,
        total: int | None = None,
    ) -> None:
        self.path, self.total = Path(path), total
        check_target(self.path, ".mp4")
        self._metadata = dict(metadata or {})
        self._part = unfinished(self.path.absolute())
        self._encoder = FrameEncoder(self._part, size, crf=crf)
        # FFmpeg opens the file with the first frame; whether it can be written is known now.
        self._part.touch()

    @property
    def frames(self) -> int:
        """Frames appended so far."""
        return self._encoder.frames

    def append(self, frames: Tensor) -> None:
        """Encode ``frames``, ``[3, F, H, W]`` in [-1, 1], and keep none of them.

        Values outside the range are clamped; any device and float dtype.

        Raises:
            InputError: Another size, a non-float dtype, or values that are not finite.
            RuntimeError: The clip is finished or discarded.
        """
        left = frames.shape[1] if self.total is None else self.total - self.frames
        if left > 0:
            self._encoder.append(frames[:, :left])

    def commit(self, state: Mapping[str, Tensor]) -> None:
        """Everything appended so far is one complete chunk; this sink has nothing to record."""

    def recall(self, chunk: object) -> None:
        """This sink begins with nothing."""

    def finish(self, sound: Sound | None = None) -> Path:
        """Add the sound and give the clip its name.

        May be called again, with another sound, if it fails.

        Returns:
            The path of the clip.

        Raises:
            RuntimeError: No frame was appended.
        """
        if not self.frames:
            raise RuntimeError(f"{self.path.name} has no frames; append some before finishing it.")
        self._encoder.close()
        clip = unfinished(self.path)
        try:
            write_clip(clip, [self._part], sound, self._metadata)
            publish(clip, self.path)
        finally:
            clip.unlink(missing_ok=True)
        self._part.unlink()
        return self.path

    def discard(self) -> None:
        """Remove the unfinished file; does nothing once the clip is finished or discarded."""
        self._encoder.abandon()
        self._part.unlink(missing_ok=True)

    def __enter__(self) -> VideoSink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.discard()
