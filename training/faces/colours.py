"""Colours as (red, green, blue) in [0, 1]."""

from __future__ import annotations

Colour = tuple[float, float, float]


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """A share of the second colour in the first."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue


def darker(colour: Colour, factor: float, warmth: float = 0.0) -> Colour:
    """A colour times a factor, with ``warmth`` added to its red."""
    red, green, blue = (channel * factor for channel in colour)
    return min(red + warmth, 1.0), green, blue
