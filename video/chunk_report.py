"""The figures of a clip's chunks in a few lines, for the report under the sampler.

Knows numbers, and which chunk begins when. It gives no marks: a line says what nobody would see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..frames import FPS
from .chunk_figures import ChunkFigures, NumberedChunk

NAMED = 3
"""Worst chunks that a line names."""


def figures_text(figures: Mapping[int, ChunkFigures], plan: Sequence[NumberedChunk]) -> list[str]:
    """The figures of a clip in a few lines: what is usual, the worst chunks, how it moves.

    Args:
        figures: By index of the chunk, as ``MeasuredSink`` has them.
        plan: The chunks of the clip.
    """
    seen = [(chunk, figures[chunk.index]) for chunk in plan if chunk.index in figures]
    if not seen:
        return []
    lines = []
    seams = [(chunk, figure.seam) for chunk, figure in seen if figure.seam is not None]
    if seams:
        lines.append(
            f"seams: {_usual(seams):.2f} of the steps between latent groups (1 is a seam that "
            f"nobody sees); largest {_named(seams, '.2f')}"
        )
    for name, what in (("color", "colour"), ("background", "colour of the rim")):
        values = [(chunk, float(getattr(figure, name))) for chunk, figure in seen]
        lines.append(
            f"{what}: {_usual(values):.4f} from the reference (0.01 is 2.5 levels of 255)"
            f"{_trend(values, '+.4f')}; largest {_named(values, '.4f')}"
        )
    sharpness = [(chunk, figure.sharpness) for chunk, figure in seen]
    if len(sharpness) > 1:
        lines.append(
            f"sharpness: {_usual(sharpness):.2f} of the first chunk's{_trend(sharpness, '+.2f')}; "
            f"least {_named(sharpness, '.2f', largest=False)}"
        )
    frozen = [_place(chunk) for chunk, figure in seen if figure.frozen]
    if frozen:
        more = f" and {len(frozen) - NAMED} more" if len(frozen) > NAMED else ""
        lines.append(f"next to nothing moves in {', '.join(frozen[:NAMED])}{more}")
    return lines


def _place(chunk: NumberedChunk) -> str:
    """``#14 (0:41)``: number and time of the first new frame."""
    seconds = (chunk.start_frame + chunk.context_frames) // FPS
    return f"#{chunk.index} ({seconds // 60}:{seconds % 60:02})"


def _usual(values: Sequence[tuple[NumberedChunk, float]]) -> float:
    return float(np.median([value for _, value in values]))


def _named(
    values: Sequence[tuple[NumberedChunk, float]], form: str, *, largest: bool = True
) -> str:
    """The most striking chunks with their values."""
    ordered = sorted(values, key=lambda pair: pair[1], reverse=largest)[:NAMED]
    return ", ".join(f"{value:{form}} in {_place(chunk)}" for chunk, value in ordered)


def _trend(values: Sequence[tuple[NumberedChunk, float]], form: str) -> str:
    """``, +0.0010 per minute``: the slope of a line; nothing for fewer than three chunks."""
    if len(values) < 3:
        return ""
    minutes = [chunk.start_frame / (60 * FPS) for chunk, _ in values]
    slope = float(np.polyfit(minutes, [value for _, value in values], 1)[0])
    return f", {slope:{form}} per minute"
