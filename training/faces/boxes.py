"""Boxes for measurements: pixels that hold a part of a face at any opening and wobble."""

from __future__ import annotations

import numpy as np

from .canvas import Box, grown, head_to_tile
from .features import NOD, eye_extent, mouth_extent
from .haircuts import HAIR_CUTS, HairCut
from .identity import Identity
from .motion import SHIFT_LIMIT, TILT_LIMIT, Motion


def mouth_box(face: Identity, size: int, tile: int = 0) -> tuple[int, int, int, int]:
    """Pixels that hold the mouth at any opening and wobble: (top, left, bottom, right)."""
    return _pixel_box(face, grown(mouth_extent(face), NOD), size, tile)


def eye_box(face: Identity, size: int, tile: int = 0) -> tuple[int, int, int, int]:
    """Pixels that hold both eyes at any wobble: (top, left, bottom, right)."""
    top, left, bottom, _ = grown(eye_extent(face, -1.0), NOD)
    return _pixel_box(face, (top, left, bottom, -left), size, tile)


def face_box(face: Identity, size: int, tile: int = 0) -> tuple[int, int, int, int]:
    """Pixels that hold the head with its hair, ears included: (top, left, bottom, right)."""
    cut = HAIR_CUTS[face.hair_style] or HairCut(volume=0.0)
    top, side, bottom = -1.02 - cut.volume - 1.25 * cut.spikes - cut.bumps, 0.0, 1.1
    side = face.face_width + max(face.ear_size, cut.volume + cut.bumps)
    if cut.behind:
        side = max(side, face.face_width + cut.behind[0] + cut.bumps)
        bottom = max(bottom, cut.behind[1])
    for u, v, radius in cut.balls:
        side, top = max(side, abs(u) + radius), min(top, v - radius)
    return _pixel_box(face, grown((top, -side, bottom, side), 0.03), size, tile)


def _pixel_box(face: Identity, box: Box, size: int, tile: int) -> tuple[int, int, int, int]:
    """A head-units box at every allowed wobble, in pixels and inside its tile."""
    top, left, bottom, right = box
    swing = np.array([(-1, -1, -1), (-1, 1, 1), (1, -1, 1), (1, 1, -1)], np.float32)
    swing = np.concatenate([swing, -swing])
    still = np.zeros(len(swing), np.float32)
    shift_y, shift_x, tilt = (swing * (SHIFT_LIMIT, SHIFT_LIMIT, TILT_LIMIT)).T
    motion = Motion(shift_y, shift_x, tilt, *[still] * 6)
    corners_v = np.array([top, top, bottom, bottom])[:, None]
    corners_u = np.array([left, right, left, right])[:, None]
    y, x = head_to_tile(face, motion, corners_u, corners_v)
    rows = np.clip([np.floor(y.min() * size) - 1, np.ceil(y.max() * size) + 1], 0, size)
    columns = np.clip([np.floor(x.min() * size) - 1, np.ceil(x.max() * size) + 1], 0, size)
    offset = tile * size
    return int(rows[0]), int(columns[0]) + offset, int(rows[1]), int(columns[1]) + offset
