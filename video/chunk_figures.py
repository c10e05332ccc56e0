"""What every chunk looks like, in a few plain numbers taken on its way to the encoder.

Knows frames, a reference picture and where a chunk begins. It decides nothing from them, and keeps
no frames.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True)
class ChunkFigures:
    """One chunk; colours and steps in fractions of full scale.

    Attributes:
        seam: Step from the chunk before to this one's first new frame, in units of the steps
            between the latent groups of both; 1 is a seam that nobody sees. None where nothing is
            continued: the first chunk, the first of a shot.
        color: How far the chunk's mean colour is from the reference's, mean of the channels.
        background: The same along the left, right and upper rim, where portraits have background.
        sharpness: Gradient energy relative to the first chunk's; 1 is as sharp.
        frozen: Whether next to nothing moves.
        group: Mean step between latent groups of this chunk; None where it has no such border.
        motion: Median step between all its frames.
        edges: Gradient energy, in squares of full scale per pixel.
    """

    seam: float | None
    color: float
    background: float
    sharpness: float
    frozen: bool
    group: float | None
    motion: float
    edges: float

    def to_json(self) -> str:
        """One line; floats come back as they were."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ChunkFigures:
        """The figures of a line, also of one with names that this version does not know."""
        values = json.loads(text)
        return cls(**{field.name: values[field.name] for field in fields(cls)})
