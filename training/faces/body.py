"""Neck and shoulders, which stay where they are."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from .canvas import OUTLINES, Canvas, canvas_of
from .identity import Identity
from .motion import Motion
from .shapes import ellipse, rounded_box


def draw_body(face: Identity, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Paint neck and shoulders once for all frames.

    Returns:
        Colour times coverage, ``[3, size, size]``, and 1 - coverage, ``[size, size]``.
    """
    still = Motion(*(np.zeros(1, np.float32) for _ in fields(Motion)))
    on_black = canvas_of(face, still, np.zeros((1, 3, size, size), np.float32), size)
    on_white = canvas_of(face, still, np.ones((1, 3, size, size), np.float32), size)
    for canvas in (on_black, on_white):
        _draw_still_body(canvas)
    missing = on_white.pixels[0, 0] - on_black.pixels[0, 0]
    return on_black.pixels[0], missing


def _draw_still_body(canvas: Canvas) -> None:
    face, u, v = canvas.face, canvas.u, canvas.v
    shoulders = rounded_box(u, v - 2.0, 1.3, 0.88, 0.5)
    neck = rounded_box(u, v - 0.9, 0.34, 0.45, 0.1)
    if face.neckline == "turtle":
        canvas.fill(neck, face.skin)
        canvas.fill(np.minimum(shoulders, rounded_box(u, v - 1.3, 0.42, 0.22, 0.08)), face.shirt)
        return
    shirt = canvas.fill(shoulders, face.shirt)
    if face.striped:
        stripes = np.abs((v * 6) % 1 - 0.5) / 6 - 0.04
        canvas.paint(shirt * canvas.cover(stripes), face.collar)
    if face.neckline == "vee":
        opening = np.abs(u) * 0.8 + (v - 1.55) * 0.6
        collar = np.maximum(opening - 0.1, shoulders)
        skin = np.maximum(np.minimum(opening, v - 1.1), rounded_box(u, v - 1.3, 0.34, 0.85, 0.1))
    else:
        opening = ellipse(u, v - 1.1, 0.46, 0.3)
        collar = opening - 0.09
        skin = np.minimum(opening, neck)
    canvas.paint(canvas.cover(collar), face.collar)
    canvas.fill(skin, face.skin)
    # The chin's shadow.
    inset = OUTLINES.get(face.drawing, 0.0) / 2
    chin = np.maximum(skin + inset, ellipse(u, v - 0.5, 0.75, 0.68))
    canvas.paint(canvas.cover(chin), face.shadow)
