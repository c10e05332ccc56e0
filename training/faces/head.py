"""The head without its hair: ears, skin with its shading, beard and cheeks."""

from __future__ import annotations

import numpy as np

from .canvas import OUTLINES, Canvas, column
from .colours import darker, mix
from .shapes import circle, ellipse


def _jaw_drop(canvas: Canvas) -> np.ndarray:
    return 1 + 0.09 * column(canvas.motion.mouth_open)


def _face_outline(canvas: Canvas) -> np.ndarray:
    """Signed distance to the face: an egg whose chin goes down with the mouth."""
    face, u, v = canvas.face, canvas.u, canvas.v
    low = np.clip(v, 0, 1.2)
    width = face.face_width * (1 - face.jaw * low * low)
    height = np.where(v > 0, _jaw_drop(canvas), np.float32(1))
    return ellipse(u, v, width, height)


def draw_head(canvas: Canvas) -> None:
    """Paint the head, ears first."""
    face = canvas.face
    width = face.face_width
    for side in (-1.0, 1.0):
        ear = canvas.region((-0.25, side * width - 0.3, 0.35, side * width + 0.3))
        shape = ellipse(ear.u - side * width * 0.98, ear.v - 0.05, face.ear_size, 0.2)
        ear.fill(shape, face.skin)
        ear.paint(ear.cover(shape + 0.09), face.shadow)
    canvas = canvas.region((-1.1, -width - 0.1, 1.2, width + 0.1))
    outline = _face_outline(canvas)
    coverage = canvas.fill(outline, face.skin)
    if face.drawing == "soft":
        depth = np.clip(0.35 * canvas.u + 0.35 * canvas.v + 0.2, 0, 1) + np.clip(
            0.5 + outline * 3, 0, 0.4
        )
        canvas.paint(coverage * depth * 0.8, face.shadow)
    elif face.drawing == "cel":
        lit = ellipse(canvas.u + 0.2, canvas.v + 0.12, width * 1.02, 1.02)
        canvas.paint(coverage * (1 - canvas.cover(lit)), face.shadow)
    if face.stubble:
        jaw = canvas.region((0.0, -width, 1.2, width))
        beard = ellipse(jaw.u, jaw.v + 0.12, width * 1.02, 0.46)
        shade = jaw.cover(_face_outline(jaw) + OUTLINES.get(face.drawing, 0.0) / 2)
        jaw.paint(shade * (1 - jaw.cover(beard)) * face.stubble, face.brow)
    if face.blush or face.freckles:
        _draw_cheeks(canvas)


def _draw_cheeks(canvas: Canvas) -> None:
    face = canvas.face
    rose = mix(face.skin, (0.93, 0.30, 0.32), 0.5)
    for side in (-1.0, 1.0):
        cheek = canvas.region((0.05, side * 0.48 - 0.24, 0.5, side * 0.48 + 0.24))
        u, v = cheek.u - side * 0.48, cheek.v - 0.27
        if face.blush:
            glow = np.clip(1.2 - np.sqrt((u / 0.22) ** 2 + (v / 0.15) ** 2), 0, 1)
            cheek.paint(glow * face.blush, rose)
        if face.freckles:
            for dot_u, dot_v in ((-0.09, -0.06), (0.03, -0.09), (0.1, 0.0), (-0.02, 0.03)):
                dot = circle(u - dot_u * side, v - dot_v, 0.024)
                cheek.paint(cheek.cover(dot) * 0.7, darker(face.skin, 0.62))
