"""One picture of a measurement: voice and mouth over time, seams, and drift below.

Knows curves and Pillow. Every pixel column is the mean of the frames it stands for, so that clips
of any length fit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ..frames import FPS
from .measurement import ClipMeasurement

WIDTH, PANEL, GAP, LEFT = 960, 110, 26, 46
"""Pixels: the picture, a panel's height, the caption above it, the scale beside it."""

PAPER, INK, FAINT = (255, 255, 255), (40, 40, 40), (205, 205, 205)
VOICE, MOUTH, SEAM, STILL = (186, 205, 224), (200, 60, 50), (150, 150, 150), (255, 226, 150)
BACKGROUND, SKIN, IDENTITY = (60, 140, 80), (215, 130, 60), (90, 90, 190)

LEAST_DRIFT = 0.02
"""Full height of the drift panel at least, so that rounding does not look like drift."""


def plot_measurement(clip: ClipMeasurement) -> np.ndarray:
    """Panels from top to bottom: one per face, then drift, uint8 ``[H, 960, 3]``."""
    panels = len(clip.mouths) + 1
    height = panels * (PANEL + GAP) + GAP
    image = Image.new("RGB", (WIDTH, height), PAPER)
    draw = ImageDraw.Draw(image)
    for index, mouth in enumerate(clip.mouths):
        top = index * (PANEL + GAP) + GAP
        name = "" if mouth.sync is None else f", r = {mouth.sync.correlation:.2f} at lag 0"
        for frozen in clip.frozen:
            if frozen.face in (0, index + 1):
                ends = _x(np.array([frozen.start, frozen.stop]), clip.frames)
                draw.rectangle([ends[0], top, ends[1], top + PANEL], fill=STILL)
        if mouth.voice is not None:
            _area(draw, clip.envelopes[mouth.voice], top, VOICE)
        _line(draw, mouth.curve.opening, top, MOUTH)
        _frame(draw, clip, top, "1")
        _caption(draw, top, [(f"face {index + 1}{name}:", INK), ("voice", VOICE), ("mouth", MOUTH)])
    _drift(draw, clip, (panels - 1) * (PANEL + GAP) + GAP)
    return np.asarray(image)


def plot_image(clip: ClipMeasurement) -> Tensor:
    """The same as the host's picture batch, ``[1, H, 960, 3]`` float32 in [0, 1]."""
    return torch.from_numpy(plot_measurement(clip).astype(np.float32) / 255)[None]


def _drift(draw: ImageDraw.ImageDraw, clip: ClipMeasurement, top: int) -> None:
    skin = np.mean([mouth.face.skin for mouth in clip.mouths], axis=0)
    identity = np.mean([mouth.face.identity for mouth in clip.mouths], axis=0)
    curves = [("skin", np.abs(skin).mean(axis=1), SKIN), ("identity", identity, IDENTITY)]
    if clip.curves.background is not None:
        mean = np.abs(clip.curves.background).mean(axis=1)
        curves.insert(0, ("background", mean, BACKGROUND))
    full = max(LEAST_DRIFT, *(float(curve.max()) for _, curve, _ in curves))
    for _, curve, colour in curves:
        _line(draw, curve / full, top, colour)
    _frame(draw, clip, top, f"{full:.3f}")
    words = [(name, colour) for name, _, colour in curves]
    _caption(draw, top, [(f"error against {clip.reference}, of full scale:", INK), *words])
    seconds = clip.frames / FPS
    step = next(s for s in (0.5, 1, 2, 5, 10, 30, 60, 300, 600, 3600) if seconds / s <= 16)
    for tick in np.arange(0, seconds + 1e-6, step):
        x = float(_x(np.array([tick * FPS]), clip.frames)[0])
        draw.line([x, top + PANEL, x, top + PANEL + 4], fill=INK)
        draw.text((x, top + PANEL + 5), f"{tick:g} s", fill=INK, anchor="ma")


def _frame(draw: ImageDraw.ImageDraw, clip: ClipMeasurement, top: int, full: str) -> None:
    """The scale, and the seams over what was drawn."""
    for x in _x(np.array(clip.seam_frames, float), clip.frames):
        for y in range(top, top + PANEL, 6):
            draw.line([x, y, x, y + 2], fill=SEAM)
    draw.rectangle([LEFT, top, WIDTH - 10, top + PANEL], outline=FAINT)
    draw.text((LEFT - 5, top), full, fill=INK, anchor="ra")
    draw.text((LEFT - 5, top + PANEL), "0", fill=INK, anchor="rd")


def _caption(draw: ImageDraw.ImageDraw, top: int, words: Sequence[tuple[str, tuple]]) -> None:
    x = float(LEFT)
    for word, colour in words:
        draw.text((x, top - 15), word, fill=colour)
        x += draw.textlength(word) + 10


def _area(draw: ImageDraw.ImageDraw, curve: np.ndarray, top: int, colour: tuple) -> None:
    for x, y in _points(curve, top):
        draw.line([x, top + PANEL, x, y], fill=colour)


def _line(draw: ImageDraw.ImageDraw, curve: np.ndarray, top: int, colour: tuple) -> None:
    draw.line(_points(curve, top), fill=colour, width=2)


def _points(curve: np.ndarray, top: int) -> list[tuple[float, float]]:
    """A point per pixel column: the mean of its frames, or what lies between two frames."""
    columns = np.arange(LEFT, WIDTH - 10)
    edges = np.linspace(0, curve.size, columns.size + 1)
    total = np.interp(edges, np.arange(curve.size + 1), np.concatenate([[0], np.cumsum(curve)]))
    values = np.clip(np.diff(total) / np.diff(edges), 0, 1)
    return [(float(x), float(y)) for x, y in zip(columns, top + PANEL * (1 - values), strict=True)]


def _x(frames: np.ndarray, total: int) -> np.ndarray:
    return LEFT + frames / total * (WIDTH - 10 - LEFT)
