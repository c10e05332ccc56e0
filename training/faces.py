"""Procedurally drawn talking faces, the only pictures the tiny demonstration model ever sees.

A face is an `Identity` (everything that stays) and a `Motion` (one value per frame for everything
that moves). `render` is a pure function of the two: shapes are signed distances in head units,
anti-aliased over one pixel of the wanted size, so one scene can be drawn at 64 pixels for training
and at 512 for a portrait. The module knows nothing about sound; who wants speech passes the mouth
opening in.

Head units: the origin is the middle of the face, u points right, v points down, and half the
face's height is 1. Tile units: the tile is 1 high and 1 wide, the origin is its top left corner.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

Colour = tuple[float, float, float]
Box = tuple[float, float, float, float]

FRAME_RATE = 25
# What `draw_motion` never exceeds; the boxes for measurements count on it.
SHIFT_LIMIT = 0.04
TILT_LIMIT = 0.09
# The base of the neck, about which the head turns; and how far a full nod slides the features.
_PIVOT_V = 1.0
_NOD = 0.04

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
class HairCut:
    """The shape of a hair style, in head units.

    Attributes:
        volume: How far the hair stands out from the skull.
        hairline: v where the hair ends on the forehead.
        fringe: "round", "straight" or "zigzag" lower edge.
        part: How far the fringe's highest point is off the middle, 0 to 1.
        sides_until: v down to which hair frames the face.
        behind: Extra half width and lowest v of the hair behind the head, or None.
        bumps: Height of curls on the outline.
        spikes: Height of spikes on top.
        balls: (u, v, radius) of buns and tails behind the head.
        knitted: It is a cap, in the collar's colour with a band.
    """

    volume: float = 0.08
    hairline: float = -0.58
    fringe: str = "round"
    part: float = 0.0
    sides_until: float = 0.05
    behind: tuple[float, float] | None = None
    bumps: float = 0.0
    spikes: float = 0.0
    balls: tuple[tuple[float, float, float], ...] = ()
    knitted: bool = False


HAIR_CUTS: dict[str, HairCut | None] = {
    "bald": None,
    "buzz": HairCut(volume=0.02, hairline=-0.62, sides_until=-0.05),
    "short": HairCut(volume=0.09, part=0.5),
    "swoop": HairCut(volume=0.15, hairline=-0.5, part=1.0, sides_until=0.0),
    "spiky": HairCut(volume=0.08, fringe="zigzag", hairline=-0.56, spikes=0.2),
    "bob": HairCut(
        volume=0.1, hairline=-0.47, fringe="straight", sides_until=0.75, behind=(0.13, 0.8)
    ),
    "long": HairCut(volume=0.1, part=0.4, sides_until=0.7, behind=(0.17, 1.5)),
    "middle": HairCut(volume=0.08, hairline=-0.75, sides_until=0.5, behind=(0.12, 1.25)),
    "bun": HairCut(volume=0.06, hairline=-0.64, balls=((0.0, -1.12, 0.34),)),
    "tails": HairCut(
        volume=0.07,
        hairline=-0.5,
        fringe="zigzag",
        balls=((-1.02, -0.2, 0.3), (1.02, -0.2, 0.3), (-1.1, 0.25, 0.24), (1.1, 0.25, 0.24)),
    ),
    "curls": HairCut(volume=0.14, bumps=0.06, sides_until=0.2, behind=(0.22, 0.45)),
    "cap": HairCut(
        volume=0.12,
        hairline=-0.5,
        fringe="straight",
        sides_until=-0.42,
        balls=((0, -1.12, 0.16),),
        knitted=True,
    ),
}


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


@dataclass(frozen=True)
class Motion:
    """What a face does, one value per frame: every field is ``[F]`` float32.

    Attributes:
        shift_y: Head downwards from its resting place, in picture heights.
        shift_x: Head to the right, in picture heights.
        tilt: Radians, clockwise.
        blink: 0 open to 1 closed.
        mouth_open: 0 closed to 1 widest.
        mouth_width: -1 rounded (o, u) over 0 neutral to 1 wide (e, i).
        gaze_x: -1 left to 1 right.
        gaze_y: -1 up to 1 down.
        nod: -1 chin up to 1 chin down; moves the features over the head a little.
    """

    shift_y: np.ndarray
    shift_x: np.ndarray
    tilt: np.ndarray
    blink: np.ndarray
    mouth_open: np.ndarray
    mouth_width: np.ndarray
    gaze_x: np.ndarray
    gaze_y: np.ndarray
    nod: np.ndarray

    def __len__(self) -> int:
        return len(self.mouth_open)

    def between(self, first: int, last: int) -> Motion:
        """Frames ``first`` to ``last`` (exclusive)."""
        return Motion(*(getattr(self, field.name)[first:last] for field in fields(self)))


# --- drawing lots ------------------------------------------------------------------------------


def draw_identity(rng: np.random.Generator) -> Identity:
    """Draw one face by lot; equal generators give equal faces."""
    drawing = _pick(rng, DRAWING_STYLES)
    skin = _mix(*_neighbours(rng, _SKINS), float(rng.uniform()))
    hair = _jitter(rng, _pick(rng, _HAIRS), 0.04)
    style = _pick(rng, tuple(HAIR_CUTS))
    shadow = _darker(skin, 0.78, warmth=0.03)
    line = (0.10, 0.07, 0.10) if drawing == "ink" else _darker(skin, 0.30, warmth=0.03)
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
        brow=_mix(_darker(hair, 0.75), _darker(skin, 0.35), 0.35),
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
        collar=_mix(shirt, _pick(rng, ((1.0, 1.0, 1.0), (0.1, 0.1, 0.15))), 0.55),
        neckline=_pick(rng, ("round", "vee", "turtle")),
        striped=bool(rng.uniform() < 0.25),
        background=_pick(rng, BACKGROUNDS),
        backdrop=backdrop,
        backdrop_phase=float(rng.uniform()),
    )


def draw_motion(
    rng: np.random.Generator, mouth_open: np.ndarray, mouth_width: np.ndarray
) -> Motion:
    """Draw head wobble, blinks and gaze for a given mouth, at 25 frames a second.

    Args:
        rng: Where the lots come from.
        mouth_open: Opening per frame, ``[F]``, 0 to 1.
        mouth_width: Rounded to wide per frame, ``[F]``, -1 to 1.

    Returns:
        A motion of F frames that stays within `SHIFT_LIMIT` and `TILT_LIMIT`.
    """
    opening = np.asarray(mouth_open, np.float32)
    frames = len(opening)
    return Motion(
        shift_y=_wobble(rng, frames, 0.022, SHIFT_LIMIT),
        shift_x=_wobble(rng, frames, 0.02, SHIFT_LIMIT),
        tilt=_wobble(rng, frames, 0.055, TILT_LIMIT),
        blink=_draw_blinks(rng, frames),
        mouth_open=opening,
        mouth_width=np.asarray(mouth_width, np.float32),
        gaze_x=_wobble(rng, frames, 0.6, 1.0),
        gaze_y=_wobble(rng, frames, 0.35, 1.0),
        nod=_wobble(rng, frames, 0.6, 1.0),
    )


def _wobble(rng: np.random.Generator, frames: int, amplitude: float, limit: float) -> np.ndarray:
    """Three slow sines, ``[F]``: the strongest amplitude first, periods of one to four seconds."""
    seconds = np.arange(frames) / FRAME_RATE
    periods = rng.uniform(1.2, 4.0, 3)
    phases = rng.uniform(0, 2 * np.pi, 3)
    weights = np.array([0.6, 0.3, 0.15]) * rng.uniform(0.4, 1.3, 3) * amplitude
    waves = np.sin(2 * np.pi * seconds[:, None] / periods + phases) @ weights
    return np.clip(waves, -limit, limit).astype(np.float32)


def _draw_blinks(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Blinks of five frames, two to five seconds apart, ``[F]``."""
    blink = np.zeros(frames + 8, np.float32)
    start = int(rng.uniform(0, 3.5) * FRAME_RATE)
    while start < frames:
        blink[start : start + 5] = (0.45, 1.0, 1.0, 0.75, 0.3)
        start += int(rng.uniform(2, 5) * FRAME_RATE)
    return blink[:frames]


def _pick(rng: np.random.Generator, choices: Sequence, odds: Sequence[float] | None = None):  # noqa: ANN202
    return choices[int(rng.choice(len(choices), p=odds))]


def _neighbours(rng: np.random.Generator, colours: Sequence[Colour]) -> tuple[Colour, Colour]:
    first = int(rng.integers(len(colours) - 1))
    return colours[first], colours[first + 1]


def _draw_lips(rng: np.random.Generator, skin: Colour) -> Colour:
    hue, saturation = float(rng.uniform(0.95, 1.02)) % 1.0, float(rng.uniform(0.52, 0.7))
    red = colorsys.hsv_to_rgb(hue, saturation, 0.6 + 0.25 * _luma(skin))
    return _mix(red, _darker(skin, 0.7), float(rng.uniform(0.0, 0.15)))


def _draw_backdrop(rng: np.random.Generator, avoid: Sequence[Colour]) -> tuple[Colour, Colour]:
    """Two related colours that skin and hair stand out from."""
    first = _vivid(rng, saturation=(0.15, 0.5), value=(0.45, 0.9))
    for _ in range(8):
        if min(_difference(first, colour) for colour in avoid) > 0.28:
            break
        first = _vivid(rng, saturation=(0.15, 0.5), value=(0.45, 0.9))
    second = _mix(
        first, _pick(rng, ((1.0, 1.0, 1.0), (0.2, 0.22, 0.32))), float(rng.uniform(0.2, 0.4))
    )
    return first, second


def _vivid(
    rng: np.random.Generator, *, saturation: tuple[float, float], value: tuple[float, float]
) -> Colour:
    return colorsys.hsv_to_rgb(
        float(rng.uniform()), float(rng.uniform(*saturation)), float(rng.uniform(*value))
    )


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue


def _darker(colour: Colour, factor: float, warmth: float = 0.0) -> Colour:
    red, green, blue = (channel * factor for channel in colour)
    return min(red + warmth, 1.0), green, blue


def _jitter(rng: np.random.Generator, colour: Colour, amount: float) -> Colour:
    red, green, blue = np.clip(np.add(colour, rng.uniform(-amount, amount, 3)), 0, 1).tolist()
    return red, green, blue


def _luma(colour: Colour) -> float:
    return 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]


def _difference(first: Colour, second: Colour) -> float:
    return float(np.linalg.norm(np.subtract(first, second)))


# --- where the head is -------------------------------------------------------------------------


def _head_to_tile(
    face: Identity, motion: Motion, u: np.ndarray | float, v: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """Where head points are in the tile; the head turns about the base of the neck.

    Returns:
        (y, x) in tile units, broadcast of ``[F]`` and the points' shape.
    """
    cos, sin = np.cos(motion.tilt), np.sin(motion.tilt)
    across, down = u, v - _PIVOT_V
    x = face.rest_x + motion.shift_x + face.head_size * (cos * across - sin * down)
    y = face.rest_y + motion.shift_y + face.head_size * (sin * across + cos * down + _PIVOT_V)
    return y, x


@dataclass(frozen=True)
class _Canvas:
    """Pixels of some frames with the head coordinates of every pixel; regions are views.

    Attributes:
        pixels: ``[F, 3, H, W]`` float32 in [0, 1], painted in place.
        u: ``[F, H, W]`` head units.
        v: ``[F, H, W]`` head units.
        edge: Width of a pixel in head units.
        face: Whose head it is.
        motion: Of the same F frames.
        top: First row of this view in the tile, in pixels.
        left: First column.
    """

    pixels: np.ndarray
    u: np.ndarray
    v: np.ndarray
    edge: float
    face: Identity
    motion: Motion
    top: int = 0
    left: int = 0

    @property
    def size(self) -> float:
        return 1 / (self.edge * self.face.head_size)

    def region(self, box: Box) -> _Canvas:
        """The part that a head-units box (top, left, bottom, right) covers in any frame."""
        top, left, bottom, right = box
        corners_v = np.array([top, top, bottom, bottom])[:, None]
        corners_u = np.array([left, right, left, right])[:, None]
        y, x = _head_to_tile(self.face, self.motion, corners_u, corners_v)
        y, x = y * self.size, x * self.size
        height, width = self.u.shape[1:]
        first_row = int(np.clip(np.floor(y.min()) - 1 - self.top, 0, height))
        last_row = int(np.clip(np.ceil(y.max()) + 1 - self.top, 0, height))
        first_column = int(np.clip(np.floor(x.min()) - 1 - self.left, 0, width))
        last_column = int(np.clip(np.ceil(x.max()) + 1 - self.left, 0, width))
        rows, columns = slice(first_row, last_row), slice(first_column, last_column)
        return _Canvas(
            self.pixels[:, :, rows, columns],
            self.u[:, rows, columns],
            self.v[:, rows, columns],
            self.edge,
            self.face,
            self.motion,
            self.top + first_row,
            self.left + first_column,
        )

    def cover(self, distance: np.ndarray) -> np.ndarray:
        """Share of each pixel inside a shape, from signed distances in head units."""
        return np.clip(0.5 - distance * (1 / self.edge), 0, 1)

    def paint(self, coverage: np.ndarray, colour: Colour | np.ndarray) -> None:
        """Lay a colour over the pixels, ``[F, H, W]`` coverage times."""
        for channel in range(3):
            plane = self.pixels[:, channel]
            plane += coverage * (colour[channel] - plane)

    def fill(self, distance: np.ndarray, colour: Colour | np.ndarray) -> np.ndarray:
        """Paint a shape in the drawing's manner, with its outline where it has one."""
        width = _OUTLINES.get(self.face.drawing, 0.0)
        if width:
            self.paint(self.cover(distance - width / 2), self.face.line)
            distance = distance + width / 2
        coverage = self.cover(distance)
        self.paint(coverage, colour)
        return coverage


_OUTLINES = {"outline": 0.045, "ink": 0.06}


# --- shapes ------------------------------------------------------------------------------------


def _ellipse(u: np.ndarray, v: np.ndarray, radius_u, radius_v) -> np.ndarray:  # noqa: ANN001
    """Signed distance to an axis-aligned ellipse, exact to first order at its edge."""
    a, b = u / radius_u, v / radius_v
    length = np.sqrt(a * a + b * b) + 1e-4
    a /= radius_u
    b /= radius_v
    slope = np.sqrt(a * a + b * b) + 1e-4
    return length * (length - 1) / slope


def _circle(u: np.ndarray, v: np.ndarray, radius: float) -> np.ndarray:
    return np.sqrt(u * u + v * v) - radius


def _box(u: np.ndarray, v: np.ndarray, half_u: float, half_v: float, corner: float) -> np.ndarray:
    """Signed distance to a rectangle with round corners."""
    a, b = np.abs(u) - (half_u - corner), np.abs(v) - (half_v - corner)
    outside = np.sqrt(np.maximum(a, 0) ** 2 + np.maximum(b, 0) ** 2)
    return outside + np.minimum(np.maximum(a, b), 0) - corner


def _teeth(x: np.ndarray) -> np.ndarray:
    """A triangle wave of period 1 between -1 and 1."""
    return 4 * np.abs(x - np.floor(x) - 0.5) - 1


def _column(values: np.ndarray) -> np.ndarray:
    """Per-frame values ``[F]`` made to broadcast over pixels, ``[F, 1, 1]``."""
    return values.astype(np.float32)[:, None, None]


# --- the scene ---------------------------------------------------------------------------------


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
    bodies = [_body(face, size) for face in faces]
    out = np.empty((frames, size, size * len(faces), 3), np.uint8)
    # Blocks of about 64k pixels stay in a core's cache.
    block = max(1, 65536 // (size * size))
    for first in range(0, frames, block):
        last = min(first + block, frames)
        pixels = np.repeat(behind[None], last - first, axis=0)
        for tile, (face, motion) in enumerate(zip(faces, motions, strict=True)):
            view = pixels[..., tile * size : (tile + 1) * size]
            _draw_face(_canvas(face, motion.between(first, last), view, size), bodies[tile])
        out[first:last] = (pixels * 255 + 0.5).astype(np.uint8).transpose(0, 2, 3, 1)
    return out


def _canvas(face: Identity, motion: Motion, pixels: np.ndarray, size: int) -> _Canvas:
    grid = (np.arange(size, dtype=np.float32) + 0.5) / size
    x = (grid[None, None, :] - face.rest_x - _column(motion.shift_x)) / face.head_size
    y = (grid[None, :, None] - face.rest_y - _column(motion.shift_y)) / face.head_size - _PIVOT_V
    cos, sin = _column(np.cos(motion.tilt)), _column(np.sin(motion.tilt))
    u = cos * x + sin * y
    v = cos * y - sin * x + _PIVOT_V
    return _Canvas(pixels, u, v, 1 / (size * face.head_size), face, motion)


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
        share = np.clip(0.5 + 0.09 * _teeth((x + (phase - 0.5) * y) * 3) * size / 1.1, 0, 1)
    elif face.background == "hills":
        ridge = 0.5 + 0.1 * np.sin(2 * np.pi * (x * 0.9 + phase)) + 0.05 * np.sin(11 * x)
        share = np.clip(0.5 + (y - ridge) * size * 0.8, 0, 1)
    else:
        share = np.zeros_like(x + y)
    first, second = (np.array(c, np.float32)[:, None, None] for c in face.backdrop)
    return np.ascontiguousarray(
        first + (second - first) * np.broadcast_to(share, (size, size * tiles))
    )


def _body(face: Identity, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Neck and shoulders, which stay where they are.

    Returns:
        Colour times coverage, ``[3, size, size]``, and 1 - coverage, ``[size, size]``.
    """
    still = Motion(*(np.zeros(1, np.float32) for _ in fields(Motion)))
    on_black = _canvas(face, still, np.zeros((1, 3, size, size), np.float32), size)
    on_white = _canvas(face, still, np.ones((1, 3, size, size), np.float32), size)
    for canvas in (on_black, on_white):
        _draw_body(canvas)
    missing = on_white.pixels[0, 0] - on_black.pixels[0, 0]
    return on_black.pixels[0], missing


def _draw_body(canvas: _Canvas) -> None:
    face, u, v = canvas.face, canvas.u, canvas.v
    shoulders = _box(u, v - 2.0, 1.3, 0.88, 0.5)
    neck = _box(u, v - 0.9, 0.34, 0.45, 0.1)
    if face.neckline == "turtle":
        canvas.fill(neck, face.skin)
        canvas.fill(np.minimum(shoulders, _box(u, v - 1.3, 0.42, 0.22, 0.08)), face.shirt)
        return
    shirt = canvas.fill(shoulders, face.shirt)
    if face.striped:
        stripes = np.abs((v * 6) % 1 - 0.5) / 6 - 0.04
        canvas.paint(shirt * canvas.cover(stripes), face.collar)
    if face.neckline == "vee":
        opening = np.abs(u) * 0.8 + (v - 1.55) * 0.6
        collar = np.maximum(opening - 0.1, shoulders)
        skin = np.maximum(np.minimum(opening, v - 1.1), _box(u, v - 1.3, 0.34, 0.85, 0.1))
    else:
        opening = _ellipse(u, v - 1.1, 0.46, 0.3)
        collar = opening - 0.09
        skin = np.minimum(opening, neck)
    canvas.paint(canvas.cover(collar), face.collar)
    canvas.fill(skin, face.skin)
    # The chin's shadow.
    inset = _OUTLINES.get(face.drawing, 0.0) / 2
    chin = np.maximum(skin + inset, _ellipse(u, v - 0.5, 0.75, 0.68))
    canvas.paint(canvas.cover(chin), face.shadow)


# --- the head ----------------------------------------------------------------------------------


def _draw_face(canvas: _Canvas, body: tuple[np.ndarray, np.ndarray]) -> None:
    """Paint one face into its tile, from back to front."""
    cut = HAIR_CUTS[canvas.face.hair_style]
    if cut:
        _draw_hair_behind(canvas, cut)
    colour, missing = body
    np.multiply(canvas.pixels, missing, out=canvas.pixels)
    np.add(canvas.pixels, colour, out=canvas.pixels)
    _draw_head(canvas)
    if cut:
        _draw_hair_front(canvas, cut)
    features = _nodded(canvas)
    _draw_nose(features)
    _draw_mouth(features)
    for side in (-1.0, 1.0):
        _draw_eye(features, side)
        _draw_brow(features, side)
    if canvas.face.glasses != "none":
        _draw_glasses(features)


def _nodded(canvas: _Canvas) -> _Canvas:
    """The same pixels with the features' coordinates, which a nod slides over the head."""
    v = canvas.v - _NOD * _column(canvas.motion.nod)
    return _Canvas(canvas.pixels, canvas.u, v, canvas.edge, canvas.face, canvas.motion)


def _grown(box: Box, margin: float) -> Box:
    top, left, bottom, right = box
    return top - margin, left - margin, bottom + margin, right + margin


def _jaw_drop(canvas: _Canvas) -> np.ndarray:
    return 1 + 0.09 * _column(canvas.motion.mouth_open)


def _face_outline(canvas: _Canvas) -> np.ndarray:
    """Signed distance to the face: an egg whose chin goes down with the mouth."""
    face, u, v = canvas.face, canvas.u, canvas.v
    low = np.clip(v, 0, 1.2)
    width = face.face_width * (1 - face.jaw * low * low)
    height = np.where(v > 0, _jaw_drop(canvas), np.float32(1))
    return _ellipse(u, v, width, height)


def _draw_head(canvas: _Canvas) -> None:
    face = canvas.face
    width = face.face_width
    for side in (-1.0, 1.0):
        ear = canvas.region((-0.25, side * width - 0.3, 0.35, side * width + 0.3))
        shape = _ellipse(ear.u - side * width * 0.98, ear.v - 0.05, face.ear_size, 0.2)
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
        lit = _ellipse(canvas.u + 0.2, canvas.v + 0.12, width * 1.02, 1.02)
        canvas.paint(coverage * (1 - canvas.cover(lit)), face.shadow)
    if face.stubble:
        jaw = canvas.region((0.0, -width, 1.2, width))
        beard = _ellipse(jaw.u, jaw.v + 0.12, width * 1.02, 0.46)
        shade = jaw.cover(_face_outline(jaw) + _OUTLINES.get(face.drawing, 0.0) / 2)
        jaw.paint(shade * (1 - jaw.cover(beard)) * face.stubble, face.brow)
    if face.blush or face.freckles:
        _draw_cheeks(canvas)


def _draw_cheeks(canvas: _Canvas) -> None:
    face = canvas.face
    rose = _mix(face.skin, (0.93, 0.30, 0.32), 0.5)
    for side in (-1.0, 1.0):
        cheek = canvas.region((0.05, side * 0.48 - 0.24, 0.5, side * 0.48 + 0.24))
        u, v = cheek.u - side * 0.48, cheek.v - 0.27
        if face.blush:
            glow = np.clip(1.2 - np.sqrt((u / 0.22) ** 2 + (v / 0.15) ** 2), 0, 1)
            cheek.paint(glow * face.blush, rose)
        if face.freckles:
            for dot_u, dot_v in ((-0.09, -0.06), (0.03, -0.09), (0.1, 0.0), (-0.02, 0.03)):
                dot = _circle(u - dot_u * side, v - dot_v, 0.024)
                cheek.paint(cheek.cover(dot) * 0.7, _darker(face.skin, 0.62))


def _skull(canvas: _Canvas, cut: HairCut) -> np.ndarray:
    """Signed distance to the head with its hair."""
    u, v = canvas.u, canvas.v
    shape = _ellipse(u, v + 0.08, canvas.face.face_width + cut.volume, 0.94 + cut.volume)
    if cut.bumps:
        shape += cut.bumps * np.cos(13 * u) * np.cos(13 * v)
    if cut.spikes:
        shape -= (
            cut.spikes
            * np.clip(-v - 0.45, 0, 0.5)
            * (1.2 + 1.2 * _teeth(u * 2.6))
            * np.clip((1 - np.abs(u)) * 4, 0, 1)
        )
    return shape


def _draw_hair_behind(canvas: _Canvas, cut: HairCut) -> None:
    face = canvas.face
    colour = _darker(face.hair, 0.8)
    for u, v, radius in cut.balls:
        ball = canvas.region(_grown((v, u, v, u), radius + 0.06))
        ball.fill(
            _circle(ball.u - u, ball.v - v, radius), face.collar if cut.knitted else face.hair
        )
    if cut.behind:
        extra, bottom = cut.behind
        half = (bottom + 1.0) / 2
        shape = _box(canvas.u, canvas.v - bottom + half, face.face_width + extra, half, 0.6)
        if cut.bumps:
            shape += cut.bumps * np.cos(13 * canvas.u) * np.cos(13 * canvas.v)
        canvas.fill(shape, colour)


def _draw_hair_front(canvas: _Canvas, cut: HairCut) -> None:
    face = canvas.face
    reach = face.face_width + cut.volume + 0.12
    canvas = canvas.region((-1.5, -reach, cut.sides_until + 0.1, reach))
    u, v = canvas.u, canvas.v
    if cut.fringe == "round":
        middle = 0.3 * cut.part * face.hair_side
        opening = _ellipse(u - middle, v - 0.5, face.face_width * 0.94, 0.5 - cut.hairline)
    else:
        hairline = cut.hairline + 0.12 * u * u
        if cut.fringe == "zigzag":
            hairline = hairline + 0.09 * _teeth(u * 2.3)
        opening = np.maximum(np.abs(u) - face.face_width * 0.9, (hairline - v) * 0.85)
    # Sideburns end in a point at the ear.
    taper = 0 if cut.knitted else np.clip((face.face_width - np.abs(u)) * 1.2, 0, 0.35)
    skull = _skull(canvas, cut)
    shape = np.maximum(np.maximum(skull, -opening), (v - cut.sides_until + taper) * 0.7)
    coverage = canvas.fill(shape, face.collar if cut.knitted else face.hair)
    if cut.knitted:
        band = np.maximum(skull - 0.03, np.abs(v + 0.55 - 0.12 * u * u) - 0.1)
        canvas.fill(band, _darker(face.collar, 0.8))
    elif face.drawing in ("soft", "cel"):
        fade = np.clip(1 - ((u + 0.25) / 0.28) ** 2, 0, 1) * np.clip((-v - 0.45) * 3, 0, 1)
        shine = np.abs(skull + 0.14) + 0.02 - 0.075 * fade
        canvas.paint(coverage * canvas.cover(shine) * 0.55, _mix(face.hair, (1.0, 1.0, 1.0), 0.45))


def _draw_nose(canvas: _Canvas) -> None:
    face = canvas.face
    canvas = canvas.region((-0.2, -0.2, 0.4, 0.2))
    u, v = canvas.u / face.nose_size, (canvas.v - 0.2) / face.nose_size
    colour = _darker(face.skin, 0.66, warmth=0.05)
    if face.nose == "button":
        shape = _ellipse(u, v, 0.1, 0.075)
        colour = _darker(face.skin, 0.82, warmth=0.05)
    elif face.nose == "curve":
        shape = np.maximum(np.abs(v - 0.04 + 5 * u * u) - 0.026, np.abs(u) - 0.1)
    elif face.nose == "wedge":
        shape = np.maximum(np.maximum(v - 0.06, u * 0.9 - v * 0.38 - 0.085), -u - 0.01)
    else:
        stem = np.maximum(np.abs(u - 0.2 * v) - 0.026, np.abs(v + 0.05) - 0.12)
        shape = np.minimum(stem, np.maximum(np.abs(v - 0.06) - 0.026, np.abs(u + 0.05) - 0.075))
    canvas.paint(canvas.cover(shape * face.nose_size), colour)


# --- mouth and eyes ----------------------------------------------------------------------------

_MOUTH_V = 0.5
_EYE_V = -0.1
_THROAT = (0.20, 0.04, 0.07)
_TONGUE = (0.82, 0.36, 0.38)
_TEETH = (0.98, 0.97, 0.94)


def _mouth_extent(face: Identity) -> Box:
    """The mouth with its lips at any opening, in head units."""
    half = face.mouth_width * 1.17 + face.lip_thickness
    top = _MOUTH_V - 0.13 - face.smile - 1.3 * face.lip_thickness
    return top, -half, _MOUTH_V + 0.43 + 1.3 * face.lip_thickness, half


def _draw_mouth(canvas: _Canvas) -> None:
    face, motion = canvas.face, canvas.motion
    canvas = canvas.region(_grown(_mouth_extent(face), _NOD + 0.02))
    opening, width = _column(motion.mouth_open), _column(motion.mouth_width)
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
    outer = _ellipse(
        u, np.where(lower, v, v - bow), half + 0.5 * lip, np.where(lower, below, above) + lip
    )
    inner = _ellipse(u, v, half * 0.97, np.where(lower, below, above))
    if face.drawing in _OUTLINES:
        canvas.paint(canvas.cover(outer - 0.025) * 0.7, face.line)
    canvas.paint(canvas.cover(outer), face.lips)
    canvas.paint(canvas.cover(outer + 0.02) * lower * 0.25, (1.0, 0.85, 0.82))
    inside = canvas.cover(inner)
    canvas.paint(inside, _THROAT)
    # Tongue and teeth come slowly, so that a wider opening always stays the darker one.
    rise = below * 0.5 * np.clip(1.6 * opening, 0, 1) + 0.001
    tongue = _ellipse(u, v - below * 1.05, half * 0.62, rise)
    canvas.paint(canvas.cover(np.maximum(tongue, inner + 0.02)), _TONGUE)
    bite = (
        0.17 * np.maximum(opening - 0.15, 0) * (1 - 0.28 * wide) - 0.05 * opening * (u / half) ** 2
    )
    teeth = np.maximum(v + above - bite, inner + 0.015)
    canvas.paint(canvas.cover(teeth) * np.clip(8 * opening - 1.2, 0, 1), _TEETH)


def _draw_eye(canvas: _Canvas, side: float) -> None:
    face, motion = canvas.face, canvas.motion
    middle = side * face.eye_distance
    canvas = canvas.region(_grown(_eye_extent(face, side), _NOD + 0.02))
    blink = _column(motion.blink)
    u = canvas.u - middle
    v = canvas.v - _EYE_V + face.eye_slant * side * u - 0.35 * face.eye_height * blink
    v = v - 0.07 * blink * (1 - (u / face.eye_width) ** 2)
    height = np.maximum(face.eye_height * (1 - blink), 0.006)
    lid = _mix(face.line, (0.1, 0.07, 0.08), 0.6)
    # The upper lid cuts the ellipse off, or everybody would stare.
    below_lid = -v - height * (1 - face.lid)
    lash = _ellipse(u, v + 0.03, face.eye_width + 0.025, height + 0.025)
    canvas.paint(canvas.cover(np.maximum(lash, below_lid - 0.05)), lid)
    white = np.maximum(_ellipse(u, v, face.eye_width, height), below_lid)
    white = canvas.cover(white) * np.clip(3 - 3 * blink, 0, 1)
    canvas.paint(white, (0.98, 0.98, 0.97))
    radius = min(0.74 * face.eye_width, 0.95 * face.eye_height)
    reach_u, reach_v = 0.6 * (face.eye_width - radius), 0.35 * (face.eye_height - 0.5 * radius)
    a = canvas.u - middle - reach_u * _column(motion.gaze_x)
    b = canvas.v - _EYE_V + 0.12 * radius - reach_v * _column(motion.gaze_y)
    distance = np.sqrt(a * a + b * b)
    canvas.paint(white * canvas.cover(distance - radius), _darker(face.iris, 0.7))
    canvas.paint(white * canvas.cover(distance - radius * 0.84), face.iris)
    canvas.paint(white * canvas.cover(distance - radius * 0.52), (0.05, 0.04, 0.06))
    shine = _circle(a + 0.38 * radius, b + 0.42 * radius, max(0.3 * radius, 0.045))
    canvas.paint(white * canvas.cover(shine), (1.0, 1.0, 1.0))


def _eye_extent(face: Identity, side: float) -> Box:
    """An eye with its lid line, in head units."""
    middle, half = side * face.eye_distance, face.eye_width + 0.05
    tall = face.eye_height + 0.09
    return _EYE_V - tall, middle - half, _EYE_V + tall, middle + half


def _draw_brow(canvas: _Canvas, side: float) -> None:
    face = canvas.face
    middle = side * face.eye_distance * 1.04
    height = _EYE_V - face.eye_height - 0.15
    canvas = canvas.region((height - 0.2, middle - 0.3, height + 0.2, middle + 0.3))
    u = (canvas.u - middle) * side
    v = canvas.v - height - 0.03 * _column(canvas.motion.blink)
    v = v + face.brow_slant * u + face.brow_arch * (1 - (u / 0.2) ** 2) - 0.03
    thickness = face.brow_thickness * (1.15 - 1.2 * np.clip(u + 0.1, -0.2, 0.4))
    round_ends = np.sqrt(np.clip(1 - (u / 0.235) ** 4, 0, 1))
    shape = np.maximum(np.abs(v) - thickness * round_ends, np.abs(u) - 0.235)
    canvas.paint(canvas.cover(shape), face.brow)


def _draw_glasses(canvas: _Canvas) -> None:
    face = canvas.face
    canvas = canvas.region((-0.5, -1.0, 0.3, 1.0))
    reach = face.eye_width + 0.07
    u, v = np.abs(canvas.u) - max(face.eye_distance, reach + 0.03), canvas.v - _EYE_V - 0.02
    if face.glasses == "round":
        lens = _circle(u, v, reach + 0.01)
    else:
        lens = _box(u, v, reach, face.eye_height + 0.05, 0.08)
    bridge = np.maximum(np.abs(v + 0.02) - 0.025, np.abs(canvas.u) - 0.1)
    arm = np.maximum(np.maximum(np.abs(v + 0.05) - 0.025, reach - u), np.abs(canvas.u) - 0.86)
    rim = np.minimum(np.minimum(np.abs(lens) - 0.025, np.maximum(bridge, -lens)), arm)
    canvas.paint(canvas.cover(rim), face.glasses_colour)


# --- boxes for measurements --------------------------------------------------------------------


def mouth_box(face: Identity, size: int, tile: int = 0) -> tuple[int, int, int, int]:
    """Pixels that hold the mouth at any opening and wobble: (top, left, bottom, right)."""
    return _pixel_box(face, _grown(_mouth_extent(face), _NOD), size, tile)


def eye_box(face: Identity, size: int, tile: int = 0) -> tuple[int, int, int, int]:
    """Pixels that hold both eyes at any wobble: (top, left, bottom, right)."""
    top, left, bottom, _ = _grown(_eye_extent(face, -1.0), _NOD)
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
    return _pixel_box(face, _grown((top, -side, bottom, side), 0.03), size, tile)


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
    y, x = _head_to_tile(face, motion, corners_u, corners_v)
    rows = np.clip([np.floor(y.min() * size) - 1, np.ceil(y.max() * size) + 1], 0, size)
    columns = np.clip([np.floor(x.min() * size) - 1, np.ceil(x.max() * size) + 1], 0, size)
    offset = tile * size
    return int(rows[0]), int(columns[0]) + offset, int(rows[1]), int(columns[1]) + offset
