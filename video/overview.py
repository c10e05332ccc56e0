"""The overview of a clip: one small picture per chunk, with its number, its start and its figures.

Knows pictures, captions and the figures of a chunk; it does not know how chunks are made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .chunk_figures import ChunkFigures

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

Color = tuple[int, int, int]

THUMBNAIL_WIDTH = 160
WIDTHS = (THUMBNAIL_WIDTH, 128, 96, 80)
"""Of the thumbnails, the fewer pixels the more chunks there are."""

COLUMNS = 6
LARGEST_WIDTH, LARGEST_HEIGHT = 1920, 4096
"""Pixels of a sheet without its legend; hundreds of chunks in portrait format may be higher."""

MOST_CHUNKS = 400
"""On a sheet; of a longer clip every second, every third and so on is shown."""

CAPTION_HEIGHT, LINE_HEIGHT, MARGIN = 18, 12, 4
BAR_HEIGHT, BAR_PITCH, NAME_WIDTH = 6, 11, 40
SMALLEST_NAMED = 128
"""Narrower thumbnails have no room for the names of the bars; the legend has their order."""

INK, PAPER, TRACK = (235, 235, 235), (24, 24, 24), (64, 64, 64)
GOOD, FAIR, POOR = (92, 184, 92), (232, 176, 64), (226, 84, 76)


@dataclass(frozen=True)
class Bar:
    """One of a chunk's figures as a bar.

    Attributes:
        name: What stands before it.
        field: The figure.
        full: Value of a bar over its whole length.
        tick: Where a mark is.
        good: Up to here nobody sees it.
        fair: Up to here only those see it who look for it.
        legend: What it says.
        ratio: Whether a half is as far off as a double.
    """

    name: str
    field: str
    full: float
    tick: float
    good: float
    fair: float
    legend: str
    ratio: bool = False

    def color(self, value: float) -> Color:
        """Green, amber or red."""
        away = max(value, 1 / max(value, 1e-6)) if self.ratio else value
        return GOOD if away <= self.good else FAIR if away <= self.fair else POOR


BARS = (
    Bar("seam", "seam", 3, 1, 1.25, 2, "step into the chunk; at the tick it is as any other"),
    Bar("colour", "color", 0.05, 0.01, 0.01, 0.03, "away from the reference, 5 % at most"),
    Bar("rim", "background", 0.05, 0.01, 0.01, 0.03, "the same along the picture's rim"),
    Bar("sharp", "sharpness", 2, 1, 1.15, 1.5, "against the first chunk; same at the tick", True),
)
"""From top to bottom."""

BARS_HEIGHT = BAR_PITCH * len(BARS) + MARGIN


def thumbnail(frame: Tensor, width: int = THUMBNAIL_WIDTH) -> np.ndarray:
    """A frame ``[3, H, W]`` in [-1, 1] as uint8 ``[h, width, 3]`` in its own shape."""
    pixels = frame.float().add(1).mul(127.5).round().clamp(0, 255).to("cpu", torch.uint8)
    return small_picture(pixels.movedim(0, -1).contiguous().numpy(), width)


def small_picture(pixels: np.ndarray, width: int = THUMBNAIL_WIDTH) -> np.ndarray:
    """A picture uint8 ``[H, W, 3]`` at another width, in its own shape."""
    from PIL import Image

    image = Image.fromarray(pixels)
    height = max(1, round(width * image.height / image.width))
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))


def shown_chunks(chunks: int) -> range:
    """Indices of the chunks of a clip that have room on a sheet: the first, and every so many."""
    return range(0, chunks, math.ceil(chunks / MOST_CHUNKS) or 1)


def contact_sheet(
    thumbnails: Sequence[np.ndarray],
    captions: Sequence[str],
    figures: Sequence[ChunkFigures | None] | None = None,
) -> Tensor:
    """Thumbnails in rows with a caption under each, and bars under that.

    Args:
        thumbnails: uint8 ``[h, w, 3]``, all of one size, at least one. They are made smaller where
            there are many.
        captions: A few characters each, in one line or two.
        figures: Of each chunk, None where they are not known; without them there are no bars.

    Returns:
        ``[1, H, W, 3]`` float32 in [0, 1], as a host's picture batch.
    """
    from PIL import Image, ImageDraw

    lines = max(caption.count("\n") for caption in captions)
    below = CAPTION_HEIGHT + LINE_HEIGHT * lines + (BARS_HEIGHT if figures else 0)
    columns, width, height = cells(len(thumbnails), thumbnails[0].shape[:2], below)
    rows = math.ceil(len(thumbnails) / columns)
    legend = legend_lines(columns * width) if figures else []
    bottom = rows * (height + below)
    footer = LINE_HEIGHT * len(legend) + 2 * MARGIN if legend else 0
    sheet = Image.new("RGB", (columns * width, bottom + footer), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (picture, caption) in enumerate(zip(thumbnails, captions, strict=True)):
        left, top = index % columns * width, index // columns * (height + below)
        small = picture if picture.shape[1] == width else small_picture(picture, width)
        sheet.paste(Image.fromarray(small), (left, top))
        text = "\n".join(fitting(line, width - 2 * MARGIN) for line in caption.splitlines())
        draw.multiline_text((left + MARGIN, top + height + 3), text, fill=INK, spacing=2)
        if figures is not None and (of_chunk := figures[index]) is not None:
            draw_bars(draw, of_chunk, left, top + height + below - BARS_HEIGHT + 2, width)
            if of_chunk.frozen:
                draw_mark(draw, "frozen", left, top)
    for row, line in enumerate(legend):
        draw.text((MARGIN, bottom + MARGIN + row * LINE_HEIGHT), line, fill=INK)
    return torch.from_numpy(np.asarray(sheet).astype(np.float32) / 255)[None]


def cells(count: int, size: tuple[int, ...], below: int) -> tuple[int, int, int]:
    """Columns, and width and height of the thumbnails in them.

    Args:
        count: How many there are.
        size: ``(height, width)`` of each as it came.
        below: Pixels under each.
    """
    columns, (height, width) = count, size
    for width in (size[1], *(width for width in WIDTHS if width < size[1])):
        height = max(1, round(width * size[0] / size[1]))
        square = math.ceil(math.sqrt(count * (height + below) / width))
        columns = max(1, min(max(COLUMNS, square), LARGEST_WIDTH // width, count))
        if math.ceil(count / columns) * (height + below) <= LARGEST_HEIGHT:
            break
    return columns, width, height


def fitting(text: str, width: int) -> str:
    """As much of a text as fits a width in pixels; a seed may have nineteen digits."""
    from PIL import ImageFont

    font, kept = ImageFont.load_default(), text
    while kept and font.getlength(kept) > width:
        kept = kept.rstrip("…")[:-1] + "…" if len(kept) > 2 else ""
    return kept


def draw_bars(draw: ImageDraw, figures: ChunkFigures, left: int, top: int, width: int) -> None:
    """Draw a chunk's figures below each other."""
    named = width >= SMALLEST_NAMED
    first = left + MARGIN + (NAME_WIDTH if named else 0)
    last = left + width - MARGIN - 1
    for row, bar in enumerate(BARS):
        y = top + row * BAR_PITCH
        if named:
            draw.text((left + MARGIN, y - 4), bar.name, fill=INK)
        draw.rectangle((first, y, last, y + BAR_HEIGHT - 1), fill=TRACK)
        value = getattr(figures, bar.field)
        if value is not None:
            stop = first + round((last - first) * min(1.0, value / bar.full))
            draw.rectangle((first, y, stop, y + BAR_HEIGHT - 1), fill=bar.color(value))
        tick = first + round((last - first) * bar.tick / bar.full)
        draw.line((tick, y - 1, tick, y + BAR_HEIGHT), fill=INK)


def draw_mark(draw: ImageDraw, word: str, left: int, top: int) -> None:
    """A word on the corner of a thumbnail."""
    box = draw.textbbox((left + MARGIN, top + MARGIN), word)
    draw.rectangle((box[0] - 2, box[1] - 2, box[2] + 2, box[3] + 2), fill=POOR)
    draw.text((left + MARGIN, top + MARGIN), word, fill=PAPER)


def legend_lines(width: int) -> list[str]:
    """What the bars say, in lines of a width in pixels."""
    from PIL import ImageFont

    font, lines = ImageFont.load_default(), [""]
    texts = [f"{bar.name}: {bar.legend}." for bar in BARS]
    for word in " ".join([*texts, "Green is good, red can be seen."]).split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width - 2 * MARGIN:
            longer = word
            lines.append("")
        lines[-1] = longer
    return lines
