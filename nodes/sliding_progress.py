"""Progress of a clip that is denoised as a whole: steps over all windows, then its pieces."""

from __future__ import annotations

import logging
import time
from typing import Any

import comfy.model_management
import comfy.utils
import latent_preview
import numpy as np
from PIL import Image
from torch import Tensor

from ..samplers.plan import Chunk
from ..samplers.windows import DenoisingWindow
from ..video.journal import JobSink
from .progress import PREVIEW_SIZE, duration
from .sliding_plan import SlidePlan
from .sockets import show_under_node


class SlideProgress:
    """A bar, a line under the node, a message in the job's status, and pictures.

    Args:
        slide: The plan.
        journal: Shows a sign of life.
        done: Steps that were made in earlier runs.
        node_id: The node to show it on.
        model: Its latent format decides what a preview looks like.
    """

    def __init__(
        self, slide: SlidePlan, journal: JobSink, done: int, node_id: str | None, model: Any
    ):
        self.journal, self.node_id = journal, node_id
        self.steps, self.windows = slide.clip.steps, len(slide.windows.windows)
        self.pieces, self.step, self.looked = len(slide.pieces.plan), done, 0
        total = self.steps * self.windows + self.pieces
        self.bar = comfy.utils.ProgressBar(total, node_id=node_id)
        self.previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
        self.started, self.begun_at = time.monotonic(), done

    def look(self, window: DenoisingWindow) -> None:
        """A window is done; raises when the user cancelled."""
        self.looked = window.index + 1
        self.show(self.describe())
        self.bar.update_absolute(self.evaluated)
        comfy.model_management.throw_exception_if_processing_interrupted()

    def __call__(self, step: int, steps: int, denoised: Tensor) -> None:
        """A step is done; shows the middle of the clip as it looks now."""
        self.step, self.looked = step, 0
        preview = None
        if self.previewer is not None:
            middle = denoised.shape[1] // 2
            frame = denoised[None, :, middle : middle + 1]
            preview = self.previewer.decode_latent_to_preview_image("JPEG", frame)
        self.bar.update_absolute(self.evaluated, preview=preview)
        self.journal.doing = f"{step} of {steps} steps are done"
        self.journal.beat()

    @property
    def evaluated(self) -> int:
        """Windows evaluated so far, over all steps."""
        return min(self.step * self.windows + self.looked, self.steps * self.windows)

    def describe(self) -> str:
        """``step 2/6, window 3/7 · 1 h 05 left``; what is left goes by what this run made."""
        made = self.evaluated - self.begun_at * self.windows
        missing = self.steps * self.windows - self.evaluated
        left = (time.monotonic() - self.started) / max(1, made) * missing
        step = min(self.step + 1, self.steps)
        return (
            f"step {step}/{self.steps}, window {self.looked}/{self.windows} · {duration(left)} left"
        )

    def show(self, text: str) -> None:
        """Say it under the node and in the job's status."""
        self.journal.doing = text
        self.journal.beat()
        show_under_node(self.node_id, text, level=logging.DEBUG)

    def show_frame(self, frame: np.ndarray, chunk: Chunk) -> None:
        """A piece is decoded; its first frame, uint8 ``[h, w, 3]``."""
        picture = ("JPEG", Image.fromarray(frame), PREVIEW_SIZE)
        self.bar.update_absolute(self.steps * self.windows + chunk.index + 1, preview=picture)
        self.show(f"piece {chunk.index + 1}/{self.pieces} decoded")
