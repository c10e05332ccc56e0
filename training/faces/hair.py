"""Hair behind the head and in front of it."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, grown
from .colours import darker, mix
from .haircuts import HairCut
from .shapes import circle, ellipse, rounded_box, triangle_wave


def _skull(canvas: Canvas, cut: HairCut) -> np.ndarray:
    """Signed distance to the head with its hair."""
    u, v = canvas.u, canvas.v
    shape = ellipse(u, v + 0.08, canvas.face.face_width + cut.volume, 0.94 + cut.volume)
    if cut.bumps:
        shape += cut.bumps * np.cos(13 * u) * np.cos(13 * v)
    if cut.spikes:
        shape -= (
            cut.spikes
            * np.clip(-v - 0.45, 0, 0.5)
            * (1.2 + 1.2 * triangle_wave(u * 2.6))
            * np.clip((1 - np.abs(u)) * 4, 0, 1)
        )
    return shape


def draw_hair_behind(canvas: Canvas, cut: HairCut) -> None:
    """Paint what the head hides a part of: buns, tails and long hair."""
    face = canvas.face
    colour = darker(face.hair, 0.8)
    for u, v, radius in cut.balls:
        ball = canvas.region(grown((v, u, v, u), radius + 0.06))
        ball.fill(circle(ball.u - u, ball.v - v, radius), face.collar if cut.knitted else face.hair)
    if cut.behind:
        extra, bottom = cut.behind
        half = (bottom + 1.0) / 2
        shape = rounded_box(canvas.u, canvas.v - bottom + half, face.face_width + extra, half, 0.6)
        if cut.bumps:
            shape += cut.bumps * np.cos(13 * canvas.u) * np.cos(13 * canvas.v)
        canvas.fill(shape, colour)


def draw_hair_front(canvas: Canvas, cut: HairCut) -> None:
    """Paint what hides a part of the head: fringe, sides, or the cap."""
    face = canvas.face
    reach = face.face_width + cut.volume + 0.12
    canvas = canvas.region((-1.5, -reach, cut.sides_until + 0.1, reach))
    u, v = canvas.u, canvas.v
    if cut.fringe == "round":
        middle = 0.3 * cut.part * face.hair_side
        opening = ellipse(u - middle, v - 0.5, face.face_width * 0.94, 0.5 - cut.hairline)
    else:
        hairline = cut.hairline + 0.12 * u * u
        if cut.fringe == "zigzag":
            hairline = hairline + 0.09 * triangle_wave(u * 2.3)
        opening = np.maximum(np.abs(u) - face.face_width * 0.9, (hairline - v) * 0.85)
    # Sideburns end in a point at the ear.
    taper = 0 if cut.knitted else np.clip((face.face_width - np.abs(u)) * 1.2, 0, 0.35)
    skull = _skull(canvas, cut)
    shape = np.maximum(np.maximum(skull, -opening), (v - cut.sides_until + taper) * 0.7)
    coverage = canvas.fill(shape, face.collar if cut.knitted else face.hair)
    if cut.knitted:
        band = np.maximum(skull - 0.03, np.abs(v + 0.55 - 0.12 * u * u) - 0.1)
        canvas.fill(band, darker(face.collar, 0.8))
    elif face.drawing in ("soft", "cel"):
        fade = np.clip(1 - ((u + 0.25) / 0.28) ** 2, 0, 1) * np.clip((-v - 0.45) * 3, 0, 1)
        shine = np.abs(skull + 0.14) + 0.02 - 0.075 * fade
        canvas.paint(coverage * canvas.cover(shine) * 0.55, mix(face.hair, (1.0, 1.0, 1.0), 0.45))
