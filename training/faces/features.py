"""What a nod slides over the head: nose, mouth, eyes, brows and glasses."""

from __future__ import annotations

import numpy as np

from .canvas import OUTLINES, Box, Canvas, column, grown
from .colours import darker, mix
from .identity import Identity
from .shapes import circle, ellipse, rounded_box

NOD = 0.04
"""How far a full nod slides the features, in head units."""

_MOUTH_V = 0.5
_EYE_V = -0.1
_THROAT = (0.20, 0.04, 0.07)
_TONGUE = (0.82, 0.36, 0.38)
_TEETH = (0.98, 0.97, 0.94)


def draw_features(canvas: Canvas) -> None:
    """Paint the features onto a head, from back to front."""
    canvas = _nodded(canvas)
    _draw_nose(canvas)
    _draw_mouth(canvas)
    for side in (-1.0, 1.0):
        _draw_eye(canvas, side)
        _draw_brow(canvas, side)
    if canvas.face.glasses != "none":
        _draw_glasses(canvas)


def _nodded(canvas: Canvas) -> Canvas:
    """The same pixels with the features' coordinates, which a nod slides over the head."""
    v = canvas.v - NOD * column(canvas.motion.nod)
    return Canvas(canvas.pixels, canvas.u, v, canvas.edge, canvas.face, canvas.motion)


def _draw_nose(canvas: Canvas) -> None:
    face = canvas.face
    canvas = canvas.region((-0.2, -0.2, 0.4, 0.2))
    u, v = canvas.u / face.nose_size, (canvas.v - 0.2) / face.nose_size
    colour = darker(face.skin, 0.66, warmth=0.05)
    if face.nose == "button":
        shape = ellipse(u, v, 0.1, 0.075)
        colour = darker(face.skin, 0.82, warmth=0.05)
    elif face.nose == "curve":
        shape = np.maximum(np.abs(v - 0.04 + 5 * u * u) - 0.026, np.abs(u) - 0.1)
    elif face.nose == "wedge":
        shape = np.maximum(np.maximum(v - 0.06, u * 0.9 - v * 0.38 - 0.085), -u - 0.01)
    else:
        stem = np.maximum(np.abs(u - 0.2 * v) - 0.026, np.abs(v + 0.05) - 0.12)
        shape = np.minimum(stem, np.maximum(np.abs(v - 0.06) - 0.026, np.abs(u + 0.05) - 0.075))
    canvas.paint(canvas.cover(shape * face.nose_size), colour)


def mouth_extent(face: Identity) -> Box:
    """The mouth with its lips at any opening, in head units."""
    half = face.mouth_width * 1.17 + face.lip_thickness
    top = _MOUTH_V - 0.13 - face.smile - 1.3 * face.lip_thickness
    return top, -half, _MOUTH_V + 0.43 + 1.3 * face.lip_thickness, half


def _draw_mouth(canvas: Canvas) -> None:
    face, motion = canvas.face, canvas.motion
    canvas = canvas.region(grown(mouth_extent(face), NOD + 0.02))
    opening, width = column(motion.mouth_open), column(motion.mouth_width)
    wide, rounded = np.maximum(width, 0), np.maximum(-width, 0)
    half = face.mouth_width * (1 + 0.17 * wide - 0.45 * rounded)
    above = 0.02 + 0.11 * opening * (1 - 0.28 * wide)
    below = 0.02 + 0.37 * opening * (1 - 0.28 * wide)
    # Rounded lips part a little even for quiet sounds.
    above, below = above + 0.02 * rounded * opening, below + 0.02 * rounded * opening
    bend = face.smile * (1 - rounded) * (1 - 0.5 * opening)
    u = canvas.u
    v = canvas.v - _MOUTH_V + bend * (u / half) ** 2
    lower = v > 0
    lip = face.lip_thickness * (1 + 0.35 * rounded)
    bow = 0.03 * np.clip(1 - np.abs(u) * 9, 0, 1)
    outer = ellipse(
        u, np.where(lower, v, v - bow), half + 0.5 * lip, np.where(lower, below, above) + lip
    )
    inner = ellipse(u, v, half * 0.97, np.where(lower, below, above))
    if face.drawing in OUTLINES:
        canvas.paint(canvas.cover(outer - 0.025) * 0.7, face.line)
    canvas.paint(canvas.cover(outer), face.lips)
    canvas.paint(canvas.cover(outer + 0.02) * lower * 0.25, (1.0, 0.85, 0.82))
    inside = canvas.cover(inner)
    canvas.paint(inside, _THROAT)
    # Tongue and teeth come slowly, so that a wider opening always stays the darker one.
    rise = below * 0.5 * np.clip(1.6 * opening, 0, 1) + 0.001
    tongue = ellipse(u, v - below * 1.05, half * 0.62, rise)
    canvas.paint(canvas.cover(np.maximum(tongue, inner + 0.02)), _TONGUE)
    bite = (
        0.17 * np.maximum(opening - 0.15, 0) * (1 - 0.28 * wide) - 0.05 * opening * (u / half) ** 2
    )
    teeth = np.maximum(v + above - bite, inner + 0.015)
    canvas.paint(canvas.cover(teeth) * np.clip(8 * opening - 1.2, 0, 1), _TEETH)


def _draw_eye(canvas: Canvas, side: float) -> None:
    face, motion = canvas.face, canvas.motion
    middle = side * face.eye_distance
    canvas = canvas.region(grown(eye_extent(face, side), NOD + 0.02))
    blink = column(motion.blink)
    u = canvas.u - middle
    v = canvas.v - _EYE_V + face.eye_slant * side * u - 0.35 * face.eye_height * blink
    v = v - 0.07 * blink * (1 - (u / face.eye_width) ** 2)
    height = np.maximum(face.eye_height * (1 - blink), 0.006)
    lid = mix(face.line, (0.1, 0.07, 0.08), 0.6)
    # The upper lid cuts the ellipse off, or everybody would stare.
    below_lid = -v - height * (1 - face.lid)
    lash = ellipse(u, v + 0.03, face.eye_width + 0.025, height + 0.025)
    canvas.paint(canvas.cover(np.maximum(lash, below_lid - 0.05)), lid)
    white = np.maximum(ellipse(u, v, face.eye_width, height), below_lid)
    white = canvas.cover(white) * np.clip(3 - 3 * blink, 0, 1)
    canvas.paint(white, (0.98, 0.98, 0.97))
    radius = min(0.74 * face.eye_width, 0.95 * face.eye_height)
    reach_u, reach_v = 0.6 * (face.eye_width - radius), 0.35 * (face.eye_height - 0.5 * radius)
    a = canvas.u - middle - reach_u * column(motion.gaze_x)
    b = canvas.v - _EYE_V + 0.12 * radius - reach_v * column(motion.gaze_y)
    distance = np.sqrt(a * a + b * b)
    canvas.paint(white * canvas.cover(distance - radius), darker(face.iris, 0.7))
    canvas.paint(white * canvas.cover(distance - radius * 0.84), face.iris)
    canvas.paint(white * canvas.cover(distance - radius * 0.52), (0.05, 0.04, 0.06))
    shine = circle(a + 0.38 * radius, b + 0.42 * radius, max(0.3 * radius, 0.045))
    canvas.paint(white * canvas.cover(shine), (1.0, 1.0, 1.0))


def eye_extent(face: Identity, side: float) -> Box:
    """An eye with its lid line, in head units."""
    middle, half = side * face.eye_distance, face.eye_width + 0.05
    tall = face.eye_height + 0.09
    return _EYE_V - tall, middle - half, _EYE_V + tall, middle + half


def _draw_brow(canvas: Canvas, side: float) -> None:
    face = canvas.face
    middle = side * face.eye_distance * 1.04
    height = _EYE_V - face.eye_height - 0.15
    canvas = canvas.region((height - 0.2, middle - 0.3, height + 0.2, middle + 0.3))
    u = (canvas.u - middle) * side
    v = canvas.v - height - 0.03 * column(canvas.motion.blink)
    v = v + face.brow_slant * u + face.brow_arch * (1 - (u / 0.2) ** 2) - 0.03
    thickness = face.brow_thickness * (1.15 - 1.2 * np.clip(u + 0.1, -0.2, 0.4))
    round_ends = np.sqrt(np.clip(1 - (u / 0.235) ** 4, 0, 1))
    shape = np.maximum(np.abs(v) - thickness * round_ends, np.abs(u) - 0.235)
    canvas.paint(canvas.cover(shape), face.brow)


def _draw_glasses(canvas: Canvas) -> None:
    face = canvas.face
    canvas = canvas.region((-0.5, -1.0, 0.3, 1.0))
    reach = face.eye_width + 0.07
    u, v = np.abs(canvas.u) - max(face.eye_distance, reach + 0.03), canvas.v - _EYE_V - 0.02
    if face.glasses == "round":
        lens = circle(u, v, reach + 0.01)
    else:
        lens = rounded_box(u, v, reach, face.eye_height + 0.05, 0.08)
    bridge = np.maximum(np.abs(v + 0.02) - 0.025, np.abs(canvas.u) - 0.1)
    arm = np.maximum(np.maximum(np.abs(v + 0.05) - 0.025, reach - u), np.abs(canvas.u) - 0.86)
    rim = np.minimum(np.minimum(np.abs(lens) - 0.025, np.maximum(bridge, -lens)), arm)
    canvas.paint(canvas.cover(rim), face.glasses_colour)
