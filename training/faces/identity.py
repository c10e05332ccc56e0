"""Who is drawn: everything about a face that stays over a clip, and how it is drawn by lot."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .colours import Colour, darker, mix
from .haircuts import HAIR_CUTS

DRAWING_STYLES = ("flat", "outline", "soft", "cel", "ink")
BACKGROUNDS = ("plain", "gradient", "two_tone", "disc", "dots", "stripes", "hills")
NOSES = ("button", "curve", "wedge", "line")
GLASSES = ("none", "round", "square")

_SKINS = (
    (0.99, 0.87, 0.77),
    (0.97, 0.80, 0.67),
    (0.93, 0.73, 0.56),
    (0.86, 0.63, 0.45),
    (0.74, 0.51, 0.34),
    (0.60, 0.40, 0.27),
    (0.47, 0.31, 0.22),
)
_HAIRS = (
    (0.13, 0.11, 0.14),
    (0.24, 0.15, 0.11),
    (0.42, 0.25, 0.14),
    (0.62, 0.36, 0.16),
    (0.91, 0.72, 0.36),
    (0.80, 0.33, 0.14),
    (0.70, 0.70, 0.73),
    (0.93, 0.91, 0.88),
    (0.86, 0.42, 0.60),
    (0.29, 0.42, 0.76),
    (0.20, 0.58, 0.55),
    (0.50, 0.32, 0.66),
)
_IRISES = (
    (0.36, 0.21, 0.11),
    (0.50, 0.32, 0.14),
    (0.22, 0.48, 0.76),
    (0.25, 0.55, 0.36),
    (0.38, 0.44, 0.52),
    (0.45, 0.30, 0.60),
)
_FRAMES = ((0.12, 0.12, 0.16), (0.55, 0.16, 0.18), (0.72, 0.52, 0.18), (0.16, 0.28, 0.50))


@dataclass(frozen=True)
class Identity:
    """Everything about a drawn face that stays the same over a clip.

    Colours are (red, green, blue) in [0, 1]; lengths are in head units unless said otherwise.
    """

    drawing: str
    line: Colour
    skin: Colour
    shadow: Colour
    hair: Colour
    hair_style: str
    hair_side: float
    head_size: float
    rest_y: float
    rest_x: float
    face_width: float
    jaw: float
    ear_size: float
    iris: Colour
    eye_width: float
    eye_height: float
    eye_distance: float
    eye_slant: float
    lid: float
    brow: Colour
    brow_thickness: float
    brow_arch: float
    brow_slant: float
    nose: str
    nose_size: float
    lips: Colour
    mouth_width: float
    lip_thickness: float
    smile: float
    glasses: str
    glasses_colour: Colour
    stubble: float
    blush: float
    freckles: bool
    shirt: Colour
    collar: Colour
    neckline: str
    striped: bool
    background: str
    backdrop: tuple[Colour, Colour]
    backdrop_phase: float


def draw_identity(rng: np.random.Generator) -> Identity:
    """Draw one face by lot; equal generators give equal faces."""
    drawing = _pick(rng, DRAWING_STYLES)
    skin = mix(*_neighbours(rng, _SKINS), float(rng.uniform()))
    hair = _jitter(rng, _pick(rng, _HAIRS), 0.04)
    style = _pick(rng, tuple(HAIR_CUTS))
    shadow = darker(skin, 0.78, warmth=0.03)
    line = (0.10, 0.07, 0.10) if drawing == "ink" else darker(skin, 0.30, warmth=0.03)
    backdrop = _draw_backdrop(rng, (skin, hair))
    shirt = _vivid(rng, saturation=(0.35, 0.8), value=(0.35, 0.9))
    head_size = float(rng.uniform(0.335, 0.365))
    beardable = style in ("bald", "buzz", "short", "swoop", "spiky", "cap", "curls")
    return Identity(
        drawing=drawing,
        line=line,
        skin=skin,
        shadow=shadow,
        hair=hair,
        hair_style=style,
        hair_side=_pick(rng, (-1.0, 1.0)),
        head_size=head_size,
        rest_y=float(rng.uniform(0.505, 0.53)),
        rest_x=float(rng.uniform(0.485, 0.515)),
        face_width=float(rng.uniform(0.78, 0.9)),
        jaw=float(rng.uniform(-0.04, 0.25)),
        ear_size=float(rng.uniform(0.15, 0.2)),
        iris=_jitter(rng, _pick(rng, _IRISES), 0.03),
        eye_width=float(rng.uniform(0.195, 0.235)),
        eye_height=float(rng.uniform(0.155, 0.21)),
        eye_distance=float(rng.uniform(0.335, 0.385)),
        eye_slant=float(rng.uniform(-0.12, 0.1)),
        lid=float(rng.uniform(0.05, 0.45)),
        brow=mix(darker(hair, 0.75), darker(skin, 0.35), 0.35),
        brow_thickness=float(rng.uniform(0.03, 0.06)),
        brow_arch=float(rng.uniform(0.02, 0.1)),
        brow_slant=float(rng.uniform(-0.22, 0.05)),
        nose=_pick(rng, NOSES),
        nose_size=float(rng.uniform(0.85, 1.2)),
        lips=_draw_lips(rng, skin),
        mouth_width=float(rng.uniform(0.36, 0.42)),
        lip_thickness=float(rng.uniform(0.055, 0.085)),
        smile=float(rng.uniform(0.04, 0.11)),
        glasses=_pick(rng, GLASSES, (0.72, 0.14, 0.14)),
        glasses_colour=_pick(rng, _FRAMES),
        stubble=float(rng.uniform(0.15, 0.4)) if beardable and rng.uniform() < 0.35 else 0.0,
        blush=float(rng.uniform(0.25, 0.6)) if rng.uniform() < 0.5 else 0.0,
        freckles=bool(rng.uniform() < 0.2),
        shirt=shirt,
        collar=mix(shirt, _pick(rng, ((1.0, 1.0, 1.0), (0.1, 0.1, 0.15))), 0.55),
        neckline=_pick(rng, ("round", "vee", "turtle")),
        striped=bool(rng.uniform() < 0.25),
        background=_pick(rng, BACKGROUNDS),
        backdrop=backdrop,
        backdrop_phase=float(rng.uniform()),
    )


def _pick(rng: np.random.Generator, choices: Sequence, odds: Sequence[float] | None = None):  # noqa: ANN202
    return choices[int(rng.choice(len(choices), p=odds))]


def _neighbours(rng: np.random.Generator, colours: Sequence[Colour]) -> tuple[Colour, Colour]:
    first = int(rng.integers(len(colours) - 1))
    return colours[first], colours[first + 1]


def _draw_lips(rng: np.random.Generator, skin: Colour) -> Colour:
    hue, saturation = float(rng.uniform(0.95, 1.02)) % 1.0, float(rng.uniform(0.52, 0.7))
    red = colorsys.hsv_to_rgb(hue, saturation, 0.6 + 0.25 * _luma(skin))
    return mix(red, darker(skin, 0.7), float(rng.uniform(0.0, 0.15)))


def _draw_backdrop(rng: np.random.Generator, avoid: Sequence[Colour]) -> tuple[Colour, Colour]:
    """Two related colours that skin and hair stand out from."""
    first = _vivid(rng, saturation=(0.15, 0.5), value=(0.45, 0.9))
    for _ in range(8):
        if min(_difference(first, colour) for colour in avoid) > 0.28:
            break
        first = _vivid(rng, saturation=(0.15, 0.5), value=(0.45, 0.9))
    second = mix(
        first, _pick(rng, ((1.0, 1.0, 1.0), (0.2, 0.22, 0.32))), float(rng.uniform(0.2, 0.4))
    )
    return first, second


def _vivid(
    rng: np.random.Generator, *, saturation: tuple[float, float], value: tuple[float, float]
) -> Colour:
    return colorsys.hsv_to_rgb(
        float(rng.uniform()), float(rng.uniform(*saturation)), float(rng.uniform(*value))
    )


def _jitter(rng: np.random.Generator, colour: Colour, amount: float) -> Colour:
    red, green, blue = np.clip(np.add(colour, rng.uniform(-amount, amount, 3)), 0, 1).tolist()
    return red, green, blue


def _luma(colour: Colour) -> float:
    return 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]


def _difference(first: Colour, second: Colour) -> float:
    return float(np.linalg.norm(np.subtract(first, second)))
