"""What every chunk looks like, in a few plain numbers taken on its way to the encoder.

Knows frames, a reference picture and where a chunk begins. It decides nothing from the numbers, and
of a chunk it keeps its last frame until the next one comes, on a coarse grid of pixels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..frames import FPS, TEMPORAL_STRIDE
from .motion import STILL_LEVEL, STILL_SHARE
from .seams import ChunkSpan, group_frames

FIGURES, LAST_FRAME = "figures", "figures_last_frame"
"""Names in a chunk's state: its figures as bytes of JSON, and the pixels of its last frame that the
next chunk's seam is measured from."""

GRID_ROWS = 120
"""Every so many rows and columns that about 120 rows remain, one pixel is looked at; means of
picture and steps need no more."""

SHORTEST_STILL_FRAMES = FPS // 2
"""A chunk that adds fewer frames is not called frozen."""

RIM = 8
"""The rim is an eighth of the width on either side and an eighth of the height above."""


class NumberedChunk(ChunkSpan, Protocol):
    """What is read of a planned chunk, in pixel frames."""

    @property
    def index(self) -> int:
        """0 for the first."""
        ...


class ReferenceSource(Protocol):
    """Gives the reference frame of a chunk."""

    def frame(self, start_frame: int) -> Tensor:
        """``[3, H, W]`` in [-1, 1] for the chunk that starts there; equal ones are one object."""
        ...


class Sink(Protocol):
    """Where frames go, ``samplers.protocols.FrameSink``."""

    def append(self, frames: Tensor) -> None:
        """Take the next frames."""
        ...

    def commit(self, state: Mapping[str, Tensor]) -> None:
        """A chunk is whole."""
        ...

    def recall(self, chunk: Any) -> Mapping[str, Tensor] | None:
        """The state a chunk was committed with."""
        ...

    def finish(self, sound: Any) -> Path:
        """Close the clip."""
        ...


@dataclass(frozen=True)
class ChunkFigures:
    """One chunk; colours and steps in fractions of full scale.

    Attributes:
        seam: Step from the chunk before to this one's first new frame, in units of the steps
            between the latent groups of both; 1 is a seam that nobody sees. None where nothing is
            continued: the first chunk, the first of a shot.
        color: How far the chunk's mean colour is from the reference's, mean of the channels.
        background: The same along the left, right and upper rim, where portraits have background.
        sharpness: Gradient energy relative to the first chunk's; 1 is as sharp.
        frozen: Whether next to nothing moves.
        group: Mean step between latent groups of this chunk; None where it has no such border.
        motion: Median step between all its frames.
        edges: Gradient energy, in squares of full scale per pixel.
    """

    seam: float | None
    color: float
    background: float
    sharpness: float
    frozen: bool
    group: float | None
    motion: float
    edges: float

    def to_json(self) -> str:
        """One line; floats come back as they were."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ChunkFigures:
        """The figures of a line, also of one with names that this version does not know."""
        values = json.loads(text)
        return cls(**{field.name: values[field.name] for field in fields(cls)})


class MeasuredSink:
    """A sink that takes the figures of every chunk before the frames go on to the encoder.

    The figures travel in the chunk's state, so that whatever keeps the state keeps them, and a
    clip that is resumed has the figures of one that was not interrupted.

    Args:
        sink: Where the frames go.
        reference: What the colours are held against.

    Attributes:
        figures: Of every chunk so far, by the chunk's index; chunks that were kept by something
            that keeps no figures are missing.
    """

    def __init__(self, sink: Sink, reference: ReferenceSource) -> None:
        self.sink, self.reference = sink, reference
        self.figures: dict[int, ChunkFigures] = {}
        self._chunk: NumberedChunk | None = None
        self._meter: ChunkMeter | None = None
        self._last: Callable[[], Tensor | None] = lambda: None

    def recall(self, chunk: NumberedChunk) -> Mapping[str, Tensor] | None:
        """What the sink holds of a chunk, its figures read; else the next frames are measured."""
        state = self.sink.recall(chunk)
        if state is None:
            self._chunk, self._meter = chunk, None
            return None
        if FIGURES in state:
            self.figures[chunk.index] = ChunkFigures.from_json(text_of(state[FIGURES]))
        self._last = lambda: state.get(LAST_FRAME)
        return state

    def append(self, frames: Tensor) -> None:
        """Pass frames on, and look at them."""
        self.sink.append(frames)
        if self._meter is None:
            chunk = self._chunk
            assert chunk is not None, "the loop recalls a chunk before it makes it"
            self._meter = ChunkMeter(chunk, self.reference.frame(chunk.start_frame), self._last())
        self._meter.append(frames)

    def commit(self, state: Mapping[str, Tensor]) -> None:
        """A chunk is whole: its figures go into its state."""
        meter, self._meter = self._meter, None
        assert meter is not None and meter.last is not None, "a chunk adds a frame or more"
        last = meter.last
        self.figures[meter.chunk.index] = figures = meter.figures(self.figures)
        self._last = lambda: last
        self.sink.commit({**state, FIGURES: bytes_of(figures.to_json()), LAST_FRAME: last})

    def finish(self, sound: Any) -> Path:
        """Close the clip."""
        return self.sink.finish(sound)


class ChunkMeter:
    """Takes the new frames of one chunk and keeps some ten numbers of each.

    Args:
        chunk: The chunk.
        reference: Its reference frame, ``[3, H, W]`` in [-1, 1]; any size.
        before: The last frame of the chunk before, as ``last`` was left there; None is unknown.
    """

    def __init__(self, chunk: NumberedChunk, reference: Tensor, before: Tensor | None) -> None:
        self.chunk, self.last = chunk, before
        self._continues = chunk.context_frames > 0 and before is not None
        self._reference = _mean_colors(_grid(reference[:, None])[:, 0])
        self._colors: list[Tensor] = []
        self._steps: list[float] = []
        self._edges: list[float] = []

    def append(self, frames: Tensor) -> None:
        """Look at ``[3, f, H, W]`` in [-1, 1], on any device."""
        grid = _grid(frames)
        for index in range(grid.shape[1]):
            frame = grid[:, index].clone()
            before = frame if self.last is None else self.last
            if not len(self._colors) % TEMPORAL_STRIDE:
                self._edges.append(_edge_energy(frames[:, index]))
            self._colors.append(_mean_colors(frame))
            self._steps.append(float((frame - before).abs_().mean()))
            self.last = frame

    def figures(self, earlier: Mapping[int, ChunkFigures]) -> ChunkFigures:
        """Of all frames so far, held against those of the chunks before, by their index."""
        chunk, steps = self.chunk, np.array(self._steps)
        first_frame = chunk.start_frame + chunk.context_frames
        borders = [frame - first_frame for frame in group_frames([chunk])]
        borders = [border for border in borders if border < steps.size]
        group = float(steps[borders].mean()) if borders else None
        within = steps[1:] if steps.size > 1 else steps
        motion, edges = float(np.median(within)), float(np.median(self._edges))
        before = [earlier[index] for index in sorted(earlier) if index < chunk.index]
        usual = float(np.median([figures.motion for figures in before])) if before else 0.0
        moved = torch.stack(self._colors).mean(0).sub_(self._reference).abs_().mean(1)
        return ChunkFigures(
            seam=self._seam(group, earlier) if self._continues else None,
            color=float(moved[0]),
            background=float(moved[1]),
            sharpness=edges / before[0].edges if before and before[0].edges else 1.0,
            frozen=steps.size >= SHORTEST_STILL_FRAMES
            and motion < max(STILL_LEVEL, STILL_SHARE * usual),
            group=group,
            motion=motion,
            edges=edges,
        )

    def _seam(self, group: float | None, earlier: Mapping[int, ChunkFigures]) -> float | None:
        """The first step in units of the groups on both sides."""
        before = earlier.get(self.chunk.index - 1)
        groups = [group, None if before is None else before.group]
        known = [step for step in groups if step is not None]
        return self._steps[0] / max(float(np.mean(known)), STILL_LEVEL) if known else None


def bytes_of(text: str) -> Tensor:
    """A text as a tensor, ``[n]`` uint8."""
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


def text_of(values: Tensor) -> str:
    """The text that ``bytes_of`` made a tensor of."""
    return bytes(values.cpu().numpy()).decode()


def _grid(frames: Tensor) -> Tensor:
    """A coarse grid of pixels of ``[3, f, H, W]`` in [-1, 1]: ``[3, f, h, w]`` in 0..1, CPU."""
    step = _spacing(frames)
    return _shares(frames[:, :, ::step, ::step])


def _spacing(frames: Tensor) -> int:
    return max(1, frames.shape[-2] // GRID_ROWS)


def _shares(pixels: Tensor) -> Tensor:
    return pixels.detach().to("cpu", torch.float32).add(1).mul_(0.5).clamp_(0, 1)


def _mean_colors(grid: Tensor) -> Tensor:
    """Mean colours of a picture ``[3, h, w]`` and of its rim, ``[2, 3]``, float64."""
    height, width = grid.shape[1:]
    rows, columns = max(1, height // RIM), max(1, width // RIM)
    inside = grid[:, rows:, columns : width - columns]
    whole = grid.sum((1, 2), dtype=torch.float64)
    rim = whole - inside.sum((1, 2), dtype=torch.float64)
    return torch.stack([whole / (height * width), rim / (height * width - inside[0].numel())])


def _edge_energy(frame: Tensor) -> float:
    """Mean squared step of green, the most of brightness, to the right and down, on the grid."""
    step, green = _spacing(frame), frame[1]
    here = _shares(green[:-1:step, :-1:step])
    right, down = _shares(green[:-1:step, 1::step]), _shares(green[1::step, :-1:step])
    return float(right.sub_(here).square_().mean() + down.sub_(here).square_().mean())
