"""Hair styles as numbers; `hair` paints them."""

from __future__ import annotations

from dataclasses import dataclass


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
