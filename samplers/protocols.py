"""What the loops need from the outside: a denoiser, a video codec, a frame sink, their inputs.

The command line and ComfyUI provide different ones; the loops cannot tell them apart.

Letters: C latent channels, T latent frames, F pixel frames, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from .plan import Chunk

StepCallback = Callable[[int, int, Tensor], None]
"""Called after every step with step (from 1), steps and the current estimate of the latents
``[C, T, H, W]``; shows progress, and may raise to stop."""

ChunkCallback = Callable[[Chunk, int, int, Tensor], None]
"""The same over a whole clip, with the chunk in front."""


class Denoiser(Protocol):
    """From noise to latents, with the context held clean."""

    def denoise(
        self,
        noise: Tensor,
        conditions: Any,
        sigmas: Tensor,
        *,
        held: Tensor,
        start: Tensor | None = None,
        pinned: tuple[Tensor, Tensor] | None = None,
        callback: StepCallback | None = None,
    ) -> Tensor:
        """Denoise one chunk.

        Args:
            noise: ``[C, T, H, W]``.
            conditions: What this denoiser's networks read; opaque to the loops.
            sigmas: ``[steps + 1]``, descending; the last is 0.
            held: Clean context latents ``[C, Th, H, W]``, written to the head of the input of every
                model call and of the result.
            start: Clean latents ``[C, T, H, W]``, noised to ``sigmas[0]``, to begin from instead of
                zeros, which is noise alone.
            pinned: Latents and mask ``[1, T, H, W]``; where the mask is 1 the latents are kept.
            callback: Called after every step.
        """
        ...


class VideoCodec(Protocol):
    """Frames to latents and back."""

    def encode(self, frames: Tensor) -> Tensor:
        """Encode ``[3, F, H, W]`` in [-1, 1] to normalised latents ``[C, T, H/8, W/8]``."""
        ...

    def decode(self, latents: Tensor) -> Iterator[Tensor]:
        """Decode to blocks of consecutive frames ``[3, f, H, W]`` in [-1, 1]."""
        ...


class FrameSink(Protocol):
    """Where finished frames go; nothing before it is kept in memory."""

    def append(self, frames: Tensor) -> None:
        """Take the next frames ``[3, f, H, W]`` in [-1, 1]."""
        ...

    def commit(self, state: Mapping[str, Tensor]) -> None:
        """Everything appended so far is whole, and ``state`` is what the next chunk starts from."""
        ...

    def recall(self, chunk: Chunk) -> Mapping[str, Tensor] | None:
        """The state a chunk was committed with, if the sink holds it already, else None.

        Values are read when they are asked for.
        """
        ...

    def finish(self, sound: Any) -> Path:
        """Add the sound, close, and return the finished file."""
        ...


class Reference(Protocol):
    """The reference frame of every chunk.

    The same frame asked for twice in a row is the same tensor *object*, so that conditioners may
    keep what they computed from it. Nobody writes to it.
    """

    def frame(self, start_frame: int) -> Tensor:
        """The frame ``[3, H, W]`` in [-1, 1] of the chunk that starts at ``start_frame``."""
        ...


class Conditioner(Protocol):
    """Builds what a denoiser's networks read for one chunk."""

    def conditions(self, chunk: Chunk, reference: Tensor) -> Any:
        """Conditions of ``chunk`` with its reference frame ``[3, H, W]``."""
        ...


class ColorMatch(Protocol):
    """Keeps colours where the reference has them."""

    def apply(self, frames: Tensor) -> Tensor:
        """Correct frames ``[3, f, H, W]``; every frame on its own."""
        ...
