"""The frames of a clip whose latents are known, decoded and kept piece by piece.

Never all of a clip is there as frames. Knows a plan of pieces and protocols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from ..frames import TEMPORAL_STRIDE, latent_frames
from .plan import Chunk
from .protocols import ColorMatch, FrameSink, VideoCodec
from .streaming import stitch

PIECE_FRAMES, LEAD_FRAMES = 81, 17
"""Frames decoded at once, and how many of them only warm up the causal VAE and are dropped."""

FADE_FRAMES = 8
"""Frames in which a piece takes over from the one before, where the VAE decodes no frame the same
in both. Two latent frames; HunyuanVideo fades over a quarter of a tile of 64."""


def slide_clip(
    pieces: Sequence[Chunk],
    *,
    latents: Callable[[], Tensor | None],
    codec: VideoCodec,
    sink: FrameSink,
    color: ColorMatch | None = None,
    stop: Callable[[object], bool] | None = None,
    fade_frames: int = 0,
) -> bool:
    """Decode the pieces of a clip that the sink does not hold yet.

    A piece is decoded with some latent frames before it, whose frames are dropped: the causal VAE
    then continues where the piece before ended.

    Args:
        pieces: In order; the context frames of each are those that are dropped.
        latents: The clip's latents ``[C, T, H, W]``, made or read when a piece is missing; None
            stops here.
        codec: The VAE.
        sink: Takes the frames of each piece, then a commit.
        color: Applied to frames that are used.
        stop: Asked before every piece that is missing; True ends here.
        fade_frames: Frames at the head of a piece that fade over from what the piece before,
            decoded on, shows there; a multiple of 4. 0 for a VAE whose frames are the same in both.

    Returns:
        Whether the clip is complete.
    """
    clip: Tensor | None = None
    behind: Tensor | None = None
    for before, piece in zip([None, *pieces], pieces, strict=False):
        if sink.recall(piece) is not None:
            behind = None
            continue
        clip = latents() if clip is None else clip
        if clip is None or (stop is not None and stop(piece)):
            return False
        if fade_frames and before is not None and behind is None:
            behind = last_of(decoded(clip, before, codec, fade_frames), before)
        frames = Piece(decoded(clip, piece, codec, fade_frames), piece, behind)
        stitch(frames, piece, None, sink, None if color is None else color.apply)
        behind = frames.behind() if fade_frames and piece is not pieces[-1] else None
        sink.commit({})
    return True


def decoded(clip: Tensor, piece: Chunk, codec: VideoCodec, more_frames: int) -> Iterator[Tensor]:
    """The frames of a piece, and of what follows it in the clip, in blocks ``[3, f, H, W]``."""
    first = piece.start_frame // TEMPORAL_STRIDE
    return codec.decode(clip[:, first : first + latent_frames(piece.frames + more_frames)])


def last_of(blocks: Iterable[Tensor], piece: Chunk) -> Tensor:
    """What is decoded behind a piece."""
    frames = Piece(blocks, piece, None)
    return frames.behind()


class Piece:
    """The frames of a piece, which begin as the piece before would have gone on.

    Args:
        blocks: Frames of the piece and of what follows, ``[3, f, H, W]`` each.
        piece: Which of them are the piece's.
        before: What the piece before shows from the first frame that is kept on, or None.
    """

    def __init__(self, blocks: Iterable[Tensor], piece: Chunk, before: Tensor | None):
        self._blocks, self._piece, self._before = blocks, piece, before
        self._behind: list[Tensor] = []
        self._frames = self._split()

    def __iter__(self) -> Iterator[Tensor]:
        return self._frames

    def behind(self) -> Tensor:
        """The frames behind the piece; draws what has not been drawn yet."""
        for _ in self._frames:
            pass
        return torch.cat(self._behind, dim=1)

    def _split(self) -> Iterator[Tensor]:
        end = 0
        for block in self._blocks:
            start, end = end, end + block.shape[1]
            own = max(0, self._piece.frames - start)
            if own:
                yield self._faded(block[:, :own], start)
            if end > self._piece.frames:
                self._behind.append(block[:, own:].clone())

    def _faded(self, frames: Tensor, start: int) -> Tensor:
        """Frames from ``start`` of the piece on, with as much of the one before as is due."""
        if self._before is None:
            return frames
        first, count = self._piece.context_frames, self._before.shape[1]
        begin, stop = max(start, first), min(start + frames.shape[1], first + count)
        if begin >= stop:
            return frames
        shares = torch.arange(begin - first + 1, stop - first + 1).to(frames) / (count + 1)
        faded = frames.clone()
        own = frames[:, begin - start : stop - start]
        other = self._before[:, begin - first : stop - first].to(frames)
        faded[:, begin - start : stop - start] = other.lerp(own, shares.view(-1, 1, 1))
        return faded
