"""A picture of which face has which number.

Knows pixels and Pillow; it knows nothing of where the faces came from.
"""

from __future__ import annotations

import math

import numpy as np

from .faces import Faces, dilated

COLOURS = ((255, 99, 71), (65, 165, 255), (255, 200, 40), (120, 220, 110), (214, 120, 255))
"""Outlines of the preview, in turn."""

LARGEST_PIXELS = 832 * 480
"""Of a preview of a video: there are many."""


def preview_size(size: tuple[int, int]) -> tuple[int, int]:
    """The size ``(height, width)`` at which a video's pictures are shown; never enlarged."""
    scale = min(1.0, math.sqrt(LARGEST_PIXELS / (size[0] * size[1])))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def draw_faces(faces: Faces, picture: np.ndarray | None) -> np.ndarray:
    """The picture with every face outlined and numbered from the left, uint8 ``[H, W, 3]``.

    Args:
        faces: What to draw; who has no pixel is left out.
        picture: uint8 ``[H, W, 3]`` of the faces' size; None is black.
    """
    from PIL import Image, ImageDraw, ImageFont

    height, width = faces.size
    base = np.zeros((height, width, 3), np.uint8) if picture is None else picture
    shade = base.astype(np.float32)
    line = max(1, min(height, width) // 200)  # pixels
    for index, region in enumerate(faces.regions):
        colour = np.array(COLOURS[index % len(COLOURS)], np.float32)
        inside = region.numpy() > 0
        edge = (dilated(region, line).numpy() > 0) & ~inside
        shade[inside] = 0.75 * shade[inside] + 0.25 * colour
        shade[edge] = colour
    image = Image.fromarray(shade.round().astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for index, region in enumerate(faces.regions):
        rows, columns = region.nonzero(as_tuple=True)
        if not len(rows):
            continue
        tall = float(rows.max() - rows.min() + 1)
        draw.text(
            (float(columns.float().mean()), float(rows.float().mean())),
            str(index + 1),
            fill="white",
            stroke_fill="black",
            stroke_width=2 * line,
            font=ImageFont.load_default(size=max(12.0, min(tall / 2, height / 6))),
            anchor="mm",
        )
    return np.array(image)
