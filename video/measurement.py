"""What was measured of a clip: the figures, each with its control, and the curves behind them.

Plain numbers and arrays; how they were made is in `measure`, how they are shown in `report` and
`plot`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .face import FaceCurves
from .motion import Frozen
from .mouth import MouthCurve
from .regions import FaceBoxes
from .seams import SeamJump
from .stability import Drift, StabilityCurves
from .sync import Sync


@dataclass(frozen=True, eq=False)
class MouthMeasurement:
    """One face.

    Attributes:
        boxes: Where it is.
        curve: How open its mouth is.
        face: Its colours, and whether it was found.
        voice: Which voice is its own, an index; None is nobody's.
        sync: How the mouth follows that voice; None without one.
    """

    boxes: FaceBoxes
    curve: MouthCurve
    face: FaceCurves
    voice: int | None
    sync: Sync | None


@dataclass(frozen=True, eq=False)
class ClipMeasurement:
    """Lip sync, seams, drift, sharpness and motion of one clip.

    First and last are stretches: chunks where there is a plan, else three seconds.

    Attributes:
        frames: Frames measured, at 25 fps.
        size: ``(height, width)`` in pixels.
        stretches: Frames of the first, second, … stretch.
        mouths: The faces from the left.
        envelopes: Loudness of the voices, ``[voices, F]``, 0..1.
        matrix: r of every voice with every mouth at lag 0, ``[voices, faces]``.
        seam_frames: Frames that follow a seam; none without a plan.
        seams: None without a plan, and where no chunk goes on from another.
        background: None where the picture has none.
        skin: Cheeks, mean of the faces.
        identity_first: Mean absolute error of the faces outside their mouths against the
            reference, the sway taken out, in fractions of full scale, in the first stretch.
        identity_last: The same in the last.
        eyes: Gradient energy of the eyes in the last stretch relative to the first.
        outline: The same of the rim of the head.
        frozen: Where nothing moved although somebody spoke.
        least_mouth: Spread of the opening in the least moving stretch, relative to the median one.
        least_outside: Motion outside the mouths in the least moving stretch, likewise.
        curves: Per frame.
        reference: What the clip was compared with, in words.
        shots: How many the plan has; 0 without a plan, where stretches are no chunks.
        notes: What the reader should know besides.
    """

    frames: int
    size: tuple[int, int]
    stretches: tuple[range, ...]
    mouths: tuple[MouthMeasurement, ...]
    envelopes: np.ndarray
    matrix: np.ndarray
    seam_frames: tuple[int, ...]
    seams: SeamJump | None
    background: Drift | None
    skin: Drift
    identity_first: float
    identity_last: float
    eyes: float
    outline: float
    frozen: tuple[Frozen, ...]
    least_mouth: float
    least_outside: float
    curves: StabilityCurves
    reference: str
    shots: int
    notes: tuple[str, ...] = ()

    @property
    def planned(self) -> bool:
        """Whether the stretches are chunks."""
        return self.shots > 0

    def report(self, controls: Mapping[str, ClipMeasurement] | None = None) -> str:
        """Sentences and a table.

        Args:
            controls: Measurements of other clips by name, such as the VAE round trip or chunks
                without context; each becomes a column.
        """
        from .report import report_text

        return report_text(self, controls or {})
