"""Signed distances to shapes, negative inside, in the units of their coordinates."""

from __future__ import annotations

import numpy as np


def ellipse(u: np.ndarray, v: np.ndarray, radius_u, radius_v) -> np.ndarray:  # noqa: ANN001
    """Signed distance to an axis-aligned ellipse, exact to first order at its edge."""
    a, b = u / radius_u, v / radius_v
    length = np.sqrt(a * a + b * b) + 1e-4
    a /= radius_u
    b /= radius_v
    slope = np.sqrt(a * a + b * b) + 1e-4
    return length * (length - 1) / slope


def circle(u: np.ndarray, v: np.ndarray, radius: float) -> np.ndarray:
    """Signed distance to a circle."""
    return np.sqrt(u * u + v * v) - radius


def rounded_box(
    u: np.ndarray, v: np.ndarray, half_u: float, half_v: float, corner: float
) -> np.ndarray:
    """Signed distance to a rectangle with round corners."""
    a, b = np.abs(u) - (half_u - corner), np.abs(v) - (half_v - corner)
    outside = np.sqrt(np.maximum(a, 0) ** 2 + np.maximum(b, 0) ** 2)
    return outside + np.minimum(np.maximum(a, b), 0) - corner


def triangle_wave(x: np.ndarray) -> np.ndarray:
    """A triangle wave of period 1 between -1 and 1."""
    return 4 * np.abs(x - np.floor(x) - 0.5) - 1
