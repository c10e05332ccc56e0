"""The whole picture: faces side by side before a background."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .body import draw_body
from .canvas import Canvas, canvas_of
from .features import draw_features
from .hair import draw_hair_behind, draw_hair_front
from .haircuts import HAIR_CUTS
from .head import draw_head
from .identity import Identity
from .motion import Motion
from .shapes import triangle_wave


def render(faces: Sequence[Identity], motions: Sequence[Motion], size: int) -> np.ndarray:
    """Draw faces side by side before the first one's background.

    Args:
        faces: From left to right, each in a square tile of its own.
        motions: One per face, all of F frames.
        size: Height of the picture in pixels.

    Returns:
        ``[F, size, size * len(faces), 3]`` uint8.

    Raises:
        ValueError: Motions are missing or of different lengths.
    """
    lengths = {len(motion) for motion in motions}
    if len(faces) != len(motions) or len(lengths) != 1:
        raise ValueError(
            f"{len(faces)} faces need as many motions of one length, got {len(motions)} "
            f"with {sorted(lengths)} frames."
        )
    frames = lengths.pop()
    behind = _background(faces[0], size, len(faces))
    bodies = [draw_body(face, size) for face in faces]
    out = np.empty((frames, size, size * len(faces), 3), np.uint8)
    # Blocks of about 64k pixels stay in a core's cache.
    block = max(1, 65536 // (size * size))
    for first in range(0, frames, block):
        last = min(first + block, frames)
        pixels = np.repeat(behind[None], last - first, axis=0)
        for tile, (face, motion) in enumerate(zip(faces, motions, strict=True)):
            view = pixels[..., tile * size : (tile + 1) * size]
            _draw_face(canvas_of(face, motion.between(first, last), view, size), bodies[tile])
        out[first:last] = (pixels * 255 + 0.5).astype(np.uint8).transpose(0, 2, 3, 1)
    return out


def _background(face: Identity, size: int, tiles: int) -> np.ndarray:
    """What is behind everybody, ``[3, size, size * tiles]`` float32."""
    y = (np.arange(size, dtype=np.float32)[:, None] + 0.5) / size
    x = (np.arange(size * tiles, dtype=np.float32)[None] + 0.5) / size
    phase = face.backdrop_phase
    if face.background == "gradient":
        share = np.clip(y + 0.3 * (phase - 0.5) * (2 * x - 1), 0, 1)
    elif face.background == "two_tone":
        share = np.clip(0.5 + (y - 0.35 - 0.3 * phase) * size, 0, 1)
    elif face.background == "disc":
        share = np.clip(0.5 - (np.hypot(x - tiles / 2, y - 0.5) - 0.46 * tiles**0.5) * size, 0, 1)
    elif face.background == "dots":
        row = np.floor(y * 4)
        a = (x * 4 + 0.5 * (row % 2) + phase) % 1 - 0.5
        b = (y * 4) % 1 - 0.5
        share = np.clip(0.5 - (np.hypot(a, b) - 0.2) / 4 * size, 0, 1)
    elif face.background == "stripes":
        share = np.clip(0.5 + 0.09 * triangle_wave((x + (phase - 0.5) * y) * 3) * size / 1.1, 0, 1)
    elif face.background == "hills":
        ridge = 0.5 + 0.1 * np.sin(2 * np.pi * (x * 0.9 + phase)) + 0.05 * np.sin(11 * x)
        share = np.clip(0.5 + (y - ridge) * size * 0.8, 0, 1)
    else:
        share = np.zeros_like(x + y)
    first, second = (np.array(c, np.float32)[:, None, None] for c in face.backdrop)
    return np.ascontiguousarray(
        first + (second - first) * np.broadcast_to(share, (size, size * tiles))
    )


def _draw_face(canvas: Canvas, body: tuple[np.ndarray, np.ndarray]) -> None:
    """Paint one face into its tile, from back to front."""
    cut = HAIR_CUTS[canvas.face.hair_style]
    if cut:
        draw_hair_behind(canvas, cut)
    colour, missing = body
    np.multiply(canvas.pixels, missing, out=canvas.pixels)
    np.add(canvas.pixels, colour, out=canvas.pixels)
    draw_head(canvas)
    if cut:
        draw_hair_front(canvas, cut)
    draw_features(canvas)
