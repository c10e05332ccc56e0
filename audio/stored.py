"""Features of a whole track, encoded once and read again and again from a file without a name.

For whoever goes over a clip many times, as denoising windows do at every step: encoding at every
turn would take as long as the steps, and bring the encoder to a device that a network fills. Knows
features by span; it does not know how they are made.
"""

from __future__ import annotations

import tempfile
from typing import IO

import torch

from ..errors import InputError
from .features import PieceLayout
from .windows import FeatureSource


class StoredFeatures:
    """A `windows.FeatureSource` whose features are all encoded when the first of them is asked for.

    They lie in a temporary file, 0.9 MB per second at 12 layers of 768; in memory is what is being
    read. The file goes with the object.

    Args:
        source: Encodes them; asked once for every frame, in order.
    """

    def __init__(self, source: FeatureSource):
        self._source = source
        self._stored: tuple[IO[bytes], tuple[int, ...]] | None = None

    @property
    def frames(self) -> int:
        """Frames that have features."""
        return self._source.frames

    def features(self, start_frame: int, stop_frame: int) -> torch.Tensor:
        """Features of a span of frames, float32 ``[stop_frame - start_frame, layers, channels]``.

        Raises:
            InputError: There is no room for them on the disk.
            ValueError: A span that is empty or not within the track.
        """
        if not 0 <= start_frame < stop_frame <= self.frames:
            raise ValueError(
                f"expected a span within frames 0..{self.frames}, got {start_frame}..{stop_frame}"
            )
        if self._stored is None:
            self._stored = self._store()
        file, shape = self._stored
        size = torch.Size(shape).numel() * torch.float32.itemsize
        file.seek(start_frame * size)
        data = bytearray(file.read((stop_frame - start_frame) * size))
        return torch.frombuffer(data, dtype=torch.float32).view(-1, *shape)

    def _store(self) -> tuple[IO[bytes], tuple[int, ...]]:
        """The file, and the shape of one frame."""
        try:
            file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this object
            return file, self._write(file)
        except OSError as error:
            raise InputError(
                f"the audio features of {self.frames} frames could not be kept in "
                f"{tempfile.gettempdir()} ({error}): make room there, or set TMPDIR to a folder "
                "that has some."
            ) from error

    def _write(self, file: IO[bytes]) -> tuple[int, ...]:
        shape: tuple[int, ...] = ()
        step = PieceLayout.piece_frames
        for first in range(0, self.frames, step):
            piece = self._source.features(first, min(first + step, self.frames)).float().cpu()
            file.write(piece.contiguous().numpy().tobytes())
            shape = tuple(piece.shape[1:])
        file.flush()
        return shape
