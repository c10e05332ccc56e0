"""Audio features of a whole track, made on demand: 25 per second, and never all of them at once.

Knows how a track is cut so that a long one costs no more memory than a short one, and which parts
of the encoder may be cut at all. It knows the encoder only as the `FrameEncoder` protocol.

The convolutions of wav2vec2 are local except for one group norm, whose statistics are measured over
the whole track first; so convolution features in pieces are those of the whole track. The
transformer attends to everything, so tracks longer than 60 s are *not* encoded as published: pieces
of 40 s see 10 s of sound on either side instead of the whole track.

How much that matters depends on how far the weights look. Measured on 120 s of synthetic voice as
the difference to encoding it whole, in units of the features' standard deviation: root mean square
0.022 and at most 0.13 in the last layer (0.007 and 0.04 in the first) with freshly initialised
weights of the published size, 768 wide and 12 layers; 0.001 and 0.003 in a 48 wide network of 4
layers; but 0.7 and 3.8 when the 768 wide one is given random queries and keys five times larger,
which pick frames from anywhere in the track as no trained speech encoder should. Not measured with
the published weights.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from ..errors import InputError
from ..frames import FPS
from .track import SAMPLE_RATE_HZ

SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // FPS
"""Samples of a track that one video frame lasts: 640."""

TAIL_FRAMES = FPS
"""Frames of digital silence after a clip, so that its last audio windows look at silence."""

_STORED_PIECES = 2
_BLOCK_FEATURES = 500  # convolution features made at once: 10 s, 66 MB per copy at 512 channels


class FrameEncoder(Protocol):
    """A wav2vec2 encoder in the parts that may be run over a track in pieces.

    B is always 1 here, n counts samples, t convolution features.
    """

    @property
    def hop_samples(self) -> int:
        """Samples from one convolution feature to the next (320)."""
        ...

    @property
    def field_samples(self) -> int:
        """Samples that one convolution feature sees (400)."""
        ...

    def prepare(self, waveform: torch.Tensor) -> torch.Tensor:
        """Waveform of the whole track as the encoder wants it, ``[B, n]`` to ``[B, n]``."""
        ...

    def measure(self, waveform: torch.Tensor) -> Any:
        """Statistics of the whole prepared waveform ``[B, n]`` that `convolve` needs."""
        ...

    def convolve(self, waveform: torch.Tensor, statistics: Any) -> torch.Tensor:
        """Convolution features of a stretch of the prepared waveform, ``[B, t, C]``."""
        ...

    def encode(self, features: torch.Tensor) -> torch.Tensor:
        """Transformer at 25 fps, ``[B, frames, C]`` to ``[B, frames, layers, channels]``."""
        ...


@dataclass(frozen=True)
class PieceLayout:
    """How the transformer is run along a track, in frames.

    Attributes:
        whole_frames: Tracks up to this length are encoded whole, as published (60 s).
        piece_frames: New frames per piece of a longer track (40 s).
        margin_frames: Frames that a piece sees before and after its own (10 s).
    """

    whole_frames: int = 60 * FPS
    piece_frames: int = 40 * FPS
    margin_frames: int = 10 * FPS


def published_frame_count(samples: int) -> int:
    """Frames that the published code gives ``samples`` samples at 16 kHz.

    It truncates a floating point product, so 29 frames' worth of samples give 28. Only for parity.

    Source: InfiniteTalk, ``get_embedding``.
    """
    return int(samples / SAMPLE_RATE_HZ * FPS)


def pad_for_clip(samples: np.ndarray, clip_frames: int) -> np.ndarray:
    """Digital silence after a voice until one second past the end of the clip.

    Args:
        samples: Mono 16 kHz, ``[n]``.
        clip_frames: Frames of the clip, `frames.clip_frames` of its seconds.

    Returns:
        At least ``(clip_frames + 25) * 640`` samples; a longer voice is not cut.
    """
    missing = (clip_frames + TAIL_FRAMES) * SAMPLES_PER_FRAME - samples.size
    return np.pad(samples, (0, missing)) if missing > 0 else samples


class FeatureTrack:
    """Audio features of one speaker, a `windows.FeatureSource` that encodes what is asked for.

    Pieces lie on a fixed grid, so results do not depend on the order of requests, and only the two
    used last are kept (37 MB each at 12 layers of 768). Nothing is encoded before it is asked for.

    Args:
        encoder: The audio encoder; only used inside `features`.
        samples: Mono 16 kHz, ``[n]``, normally from `pad_for_clip`.
        frames: Frames that the track is resampled to; ``n // 640`` unless given
            (`published_frame_count` for parity).
        layout: How long tracks are cut.

    Raises:
        InputError: Fewer samples than one convolution feature or one frame needs.

    Source: InfiniteTalk, ``get_embedding`` and its ``Wav2Vec2Model``.
    Differs: tracks longer than 60 s are encoded in pieces; see the module.
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        samples: np.ndarray,
        *,
        frames: int | None = None,
        layout: PieceLayout | None = None,
    ):
        self._encoder = encoder
        self._samples = samples
        self._frames = samples.size // SAMPLES_PER_FRAME if frames is None else frames
        self._layout = layout or PieceLayout()
        self._prepared: tuple[torch.Tensor, Any] | None = None
        self._pieces: OrderedDict[int, torch.Tensor] = OrderedDict()
        if self._frames < 1 or samples.size < encoder.field_samples:
            raise InputError(
                f"expected at least {SAMPLES_PER_FRAME / SAMPLE_RATE_HZ:.2f} s of audio, got"
                f" {samples.size / SAMPLE_RATE_HZ:.4f} s; pad it with silence."
            )

    @property
    def frames(self) -> int:
        """Frames that have features."""
        return self._frames

    @property
    def stored_pieces(self) -> int:
        """Pieces held in memory now, at most two."""
        return len(self._pieces)

    def features(self, start_frame: int, stop_frame: int) -> torch.Tensor:
        """Encode, or take from the pieces at hand, the features of a span of frames.

        Returns:
            float32 ``[stop_frame - start_frame, layers, channels]`` in main memory, the caller's.

        Raises:
            ValueError: A span that is empty or not within the track.
        """
        if not 0 <= start_frame < stop_frame <= self._frames:
            raise ValueError(
                f"expected a span within frames 0..{self._frames}, got {start_frame}..{stop_frame}"
            )
        length = self._piece_frames
        parts = []
        for index in range(start_frame // length, (stop_frame - 1) // length + 1):
            first = index * length
            piece = self._piece(index)
            parts.append(piece[max(0, start_frame - first) : stop_frame - first])
        return torch.cat(parts)

    def convolution_features(self, start_frame: int, stop_frame: int) -> torch.Tensor:
        """Convolution features at 25 fps, before the transformer, ``[frames, C]``.

        Frame ``i`` samples the features of the whole track linearly at
        ``i * (count - 1) / (frames - 1)``, in float32 as the published interpolation does.
        """
        with torch.no_grad():
            waveform, statistics = self._prepare()
            hop, field = self._encoder.hop_samples, self._encoder.field_samples
            last = (waveform.shape[1] - field) // hop
            step = torch.tensor(last, dtype=torch.float32) / max(1, self._frames - 1)
            positions = torch.arange(start_frame, stop_frame) * step
            lower = positions.long().clamp(max=last)
            upper = (lower + 1).clamp(max=last)
            begin, stop = int(lower[0]), int(upper[-1]) + 1
            features = torch.cat(list(self._convolve(waveform, statistics, begin, stop)))
            weights = (positions - lower)[:, None].to(features)
            return torch.lerp(features[lower - begin], features[upper - begin], weights)

    @property
    def _piece_frames(self) -> int:
        layout = self._layout
        return self._frames if self._frames <= layout.whole_frames else layout.piece_frames

    def _prepare(self) -> tuple[torch.Tensor, Any]:
        if self._prepared is None:
            waveform = self._encoder.prepare(torch.from_numpy(self._samples)[None])
            self._prepared = waveform, self._encoder.measure(waveform)
        return self._prepared

    def _convolve(
        self, waveform: torch.Tensor, statistics: object, first: int, stop: int
    ) -> Iterator[torch.Tensor]:
        hop, field = self._encoder.hop_samples, self._encoder.field_samples
        for begin in range(first, stop, _BLOCK_FEATURES):
            end = min(begin + _BLOCK_FEATURES, stop)
            stretch = waveform[:, begin * hop : (end - 1) * hop + field]
            yield self._encoder.convolve(stretch, statistics)[0].cpu()

    def _piece(self, index: int) -> torch.Tensor:
        if index in self._pieces:
            self._pieces.move_to_end(index)
            return self._pieces[index]
        while len(self._pieces) >= _STORED_PIECES:  # before the next one is made, not after
            self._pieces.popitem(last=False)
        self._pieces[index] = self._encode_piece(index)
        return self._pieces[index]

    def _encode_piece(self, index: int) -> torch.Tensor:
        length, margin = self._piece_frames, self._layout.margin_frames
        start, stop = index * length, min((index + 1) * length, self._frames)
        begin, end = max(0, start - margin), min(stop + margin, self._frames)
        convolved = self.convolution_features(begin, end)
        with torch.no_grad():
            encoded = self._encoder.encode(convolved[None])[0]
            # A copy, because a view would keep the margins in memory.
            return encoded[start - begin : stop - begin].to("cpu", torch.float32, copy=True)
