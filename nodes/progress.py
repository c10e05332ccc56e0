"""Progress of a clip in ComfyUI: a bar, a line under the node, pictures, and the words for time."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import comfy.utils
import latent_preview
import numpy as np
from PIL import Image
from torch import Tensor

from ..frames import FPS
from ..samplers.plan import Chunk
from ..samplers.protocols import FrameSink
from ..video.journal import JobSink
from ..video.overview import thumbnail
from ..video.sound import Sound
from .clip_plan import ClipPlan
from .sockets import show_under_node

PREVIEW_SIZE = 512


class Progress:
    """Progress over the whole clip: a bar, a line under the node, and pictures.

    Args:
        clip: The plan.
        journal: Knows what is missing, and shows a sign of life.
        node_id: The node to show it on.
        model: Its latent format decides what a preview looks like.
    """

    def __init__(self, clip: ClipPlan, journal: JobSink, node_id: str | None, model: Any):
        self.clip, self.journal, self.node_id = clip, journal, node_id
        self.steps, self.missing = clip.steps, journal.missing
        self.bar = comfy.utils.ProgressBar(len(clip.plan) * self.steps, node_id=node_id)
        self.previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
        self.started = time.monotonic()

    def __call__(self, chunk: Chunk, step: int, steps: int, denoised: Tensor) -> None:
        """A step is done; shows the middle of the chunk as it looks now."""
        self.journal.beat()
        done = chunk.index * steps + step
        preview = None
        if self.previewer is not None:
            middle = denoised.shape[1] // 2
            frame = denoised[None, :, middle : middle + 1]
            preview = self.previewer.decode_latent_to_preview_image("JPEG", frame)
        self.bar.update_absolute(done, preview=preview)
        show_under_node(self.node_id, self.describe(chunk, step), level=logging.DEBUG)

    def describe(self, chunk: Chunk, step: int) -> str:
        """``#3, 4 of 63 · step 3/6 · 0:09 of 3:00 · 1 h 35 left``.

        What is left goes by the chunks that are made in this run.
        """
        done = self.missing.index(chunk.index) * self.steps + step
        total = len(self.missing) * self.steps
        left = (time.monotonic() - self.started) / done * (total - done)
        return (
            f"{chunk.label}, {chunk.index + 1} of {len(self.clip.plan)} · "
            f"step {step}/{self.steps} · {clock(chunk.first_new_frame / FPS)} of "
            f"{clock(self.clip.frames / FPS)} · {duration(left)} left"
        )

    def show_frame(self, frame: np.ndarray, chunk: Chunk) -> None:
        """A decoded frame, uint8 ``[h, w, 3]``, whatever the preview setting."""
        picture = ("JPEG", Image.fromarray(frame), PREVIEW_SIZE)
        self.bar.update_absolute((chunk.index + 1) * self.steps, preview=picture)


class WatchedSink:
    """A sink that shows a frame of every chunk that is made, and counts them."""

    def __init__(self, sink: FrameSink, progress: Progress):
        self.sink, self.progress = sink, progress
        self.made = 0
        self._chunk: Chunk | None = None
        self._first: Tensor | None = None

    def recall(self, chunk: Chunk) -> Mapping[str, Tensor] | None:
        """What the sink holds already."""
        self._chunk = chunk
        return self.sink.recall(chunk)

    def append(self, frames: Tensor) -> None:
        """Pass frames on."""
        if self._first is None:
            self._first = frames[:, 0].clone()
        self.sink.append(frames)

    def commit(self, state: Mapping[str, Tensor]) -> None:
        """A chunk is whole."""
        self.sink.commit(state)
        assert self._first is not None and self._chunk is not None
        self.progress.show_frame(thumbnail(self._first, PREVIEW_SIZE), self._chunk)
        self.made += 1
        self._first = None

    def finish(self, sound: Sound | None) -> Path:
        """Close the clip."""
        return self.sink.finish(sound)


def clock(seconds: float) -> str:
    """``1:05``, or ``1:02:05`` from an hour on."""
    whole = int(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``1 h 35``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02}"
