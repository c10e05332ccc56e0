"""The overview of a clip: one small picture per chunk, numbered, with the time it starts at.

Knows pictures and captions; it does not know how chunks are made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

THUMBNAIL_WIDTH = 160
COLUMNS = 6
CAPTION_HEIGHT = 18
INK, PAPER = (235, 235, 235), (24, 24, 24)


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


def contact_sheet(thumbnails: Sequence[np.ndarray], captions: Sequence[str]) -> Tensor:
    """Thumbnails in rows with a caption under each.

    Args:
        thumbnails: uint8 ``[h, w, 3]``, all of one size, at least one.
        captions: A few characters each.

    Returns:
        ``[1, H, W, 3]`` float32 in [0, 1], as a host's picture batch.
    """
    from PIL import Image, ImageDraw

    height, width = thumbnails[0].shape[:2]
    columns = min(COLUMNS, len(thumbnails))
    rows = math.ceil(len(thumbnails) / columns)
    cell = height + CAPTION_HEIGHT
    sheet = Image.new("RGB", (columns * width, rows * cell), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (picture, caption) in enumerate(zip(thumbnails, captions, strict=True)):
        row, column = divmod(index, columns)
        sheet.paste(Image.fromarray(picture), (column * width, row * cell))
        draw.text((column * width + 4, row * cell + height + 3), caption, fill=INK)
    return torch.from_numpy(np.asarray(sheet).astype(np.float32) / 255)[None]
