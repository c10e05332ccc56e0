"""Frames from where they are kept, a file or the CPU, to where the networks of a clip run."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .samplers.protocols import Reference, VideoCodec


class FramesOnDevice:
    """A reference whose frames are where the networks run.

    Args:
        reference: Gives the frames.
        device: Where they are wanted.
    """

    def __init__(self, reference: Reference, device: torch.device):
        self.reference, self.device = reference, device
        self._latest: tuple[Tensor, Tensor] | None = None

    def frame(self, start_frame: int) -> Tensor:
        """See ``protocols.Reference``."""
        frame = self.reference.frame(start_frame)
        if self._latest is None or self._latest[0] is not frame:
            self._latest = frame, frame.to(self.device)
        return self._latest[1]


class CodecOnDevice:
    """A VAE that takes frames and latents from anywhere; a resumed job's come from the disk.

    Args:
        codec: The VAE.
        device: Where it runs.
    """

    def __init__(self, codec: VideoCodec, device: torch.device):
        self.codec, self.device = codec, device

    def encode(self, frames: Tensor) -> Tensor:
        """See ``protocols.VideoCodec``."""
        return self.codec.encode(frames.to(self.device))

    def decode(self, latents: Tensor) -> Iterator[Tensor]:
        """See ``protocols.VideoCodec``."""
        return self.codec.decode(latents.to(self.device))
