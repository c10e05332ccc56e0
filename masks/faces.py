"""Which faces a picture has and where, as masks numbered from the left.

Makes regions of boxes and drawn masks. It detects nothing, and does not know who speaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..crop import size_text
from ..errors import InputError
from .boxes import Box, grown
from .pooling import ANY
from .regions import box_mask
from .regions import split_evenly as even_columns

SMALLEST_PART = 0.0005
"""Share of the picture below which part of a drawn mask is a slip of the brush: 16x16 in 720p."""


@dataclass(frozen=True, eq=False)
class Faces:
    """The faces of one picture.

    Attributes:
        regions: ``[S, H, W]`` of 0 and 1, from the left; the picture's own resolution.
        left_out: Parts of a drawn mask that were too small to be a face.
        rule: How pixels become tokens where a model is told by a mask who speaks, one of
            ``pooling.RULES``.
    """

    regions: Tensor
    left_out: int = 0
    rule: str = ANY

    @property
    def count(self) -> int:
        """How many faces there are."""
        return len(self.regions)

    @property
    def size(self) -> tuple[int, int]:
        """``(height, width)`` of the picture."""
        return self.regions.shape[1], self.regions.shape[2]

    @property
    def summary(self) -> str:
        """One line for the user: how many faces, and how much of the picture each has."""
        shares = ", ".join(f"{region.mean():.1%}" for region in self.regions)
        text = f"{self.count} {'face' if self.count == 1 else 'faces'}: {shares} of the picture"
        specks = f"; {self.left_out} specks of the mask left out" if self.left_out else ""
        return text + specks

    @property
    def together(self) -> Tensor:
        """All faces as one mask ``[H, W]``."""
        return self.regions.amax(dim=0)

    def track(self, face: int) -> None:
        """A face of a picture does not move; see ``FaceTracks.track``."""

    def region(self, face: int) -> Tensor | None:
        """Region of a face, 1 the first from the left; 0 is the whole picture, None.

        Raises:
            InputError: There is no such face.
        """
        if face == 0:
            return None
        if not 1 <= face <= self.count:
            raise InputError(
                f"face is {face}, but Face Masks found {self.count}; choose 1 (the first from the "
                f"left) to {self.count}, or 0 for the whole picture."
            )
        return self.regions[face - 1]


def faces_from_boxes(boxes: Sequence[Box], size: tuple[int, int], grow: float = 0.0) -> Faces:
    """Faces from boxes in pixels.

    Args:
        boxes: At least one.
        size: ``(height, width)`` of the picture.
        grow: Share of its width and height by which a box grows on every side; 0.3 makes it 1.6
            times as large. Where grown boxes meet, a pixel goes to the box whose middle is nearer.

    Raises:
        InputError: No box, or an empty one, or one outside the picture.
    """
    if not boxes:
        raise InputError(
            "No face was found; lower the detector's threshold, or draw a mask, or type a box."
        )
    boxes = sorted(boxes, key=lambda box: box[0] + box[2])
    regions = torch.stack([box_mask(size, grown(box, grow)) for box in boxes])
    return Faces(_separated(regions, boxes) if grow > 0 else regions)


def faces_from_mask(mask: Tensor, dilate: int = 0, *, connected: bool = True) -> Faces:
    """Faces from a drawn mask: its connected parts, or one per mask of a batch.

    Args:
        mask: ``[N, H, W]`` in 0..1; above 0.5 is inside.
        dilate: Pixels by which every face grows on all sides.
        connected: Whether the parts of a single mask are different faces.

    Raises:
        InputError: A mask is empty.
    """
    drawn = mask > 0.5
    _check_drawn(drawn)
    several = len(drawn) > 1 or not connected
    parts, left_out = (drawn, 0) if several else _connected_parts(drawn[0])
    parts = sorted(parts, key=lambda part: float(part.any(dim=0).nonzero().float().mean()))
    return Faces(torch.stack([dilated(part.float(), dilate) for part in parts]), left_out)


def faces_side_by_side(size: tuple[int, int], mask: Tensor | None, count: int = 2) -> Faces:
    """An even split into columns, of the picture or of what is drawn on it.

    Args:
        size: ``(height, width)`` of the picture.
        mask: ``[N, H, W]`` in 0..1; its extent is split, and what lies outside it left out. None
            splits the whole picture with the published border of 5 percent.
        count: How many columns.

    Raises:
        InputError: The mask is empty, or too narrow.
    """
    if mask is None:
        return Faces(even_columns(size, count))
    drawn = (mask > 0.5).any(dim=0)
    _check_drawn(drawn[None])
    rows, columns = drawn.any(dim=1).nonzero(), drawn.any(dim=0).nonzero()
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    left, right = int(columns[0]), int(columns[-1]) + 1
    regions = torch.zeros(count, *drawn.shape)
    split = even_columns((bottom - top, right - left), count, border=0.0)
    regions[:, top:bottom, left:right] = split
    return Faces(regions * drawn)


def face_speakers(
    faces: Faces | None, speakers: Sequence[Tensor | None]
) -> tuple[Tensor | None, list[int | None] | None]:
    """Where faces are, and which speaker each of them belongs to.

    Args:
        faces: The faces of the picture; None takes the speakers' own regions for faces.
        speakers: The region of each speaker in the same picture, ``[H, W]``; None is everywhere.

    Returns:
        Regions ``[S, H, W]``, None when nobody has one; and the index of the speaker of each:
        whose region covers most of the face, at least half. None in place of an index is a face
        that nobody speaks with, and in place of the list means that no speaker has a region.

    Raises:
        InputError: Regions of different sizes.
    """
    placed = [index for index, region in enumerate(speakers) if region is not None]
    regions = [region for region in speakers if region is not None]
    sizes = {(region.shape[0], region.shape[1]) for region in regions}
    sizes |= set() if faces is None else {faces.size}
    if len(sizes) > 1:
        raise InputError(
            f"The speakers and faces are of pictures of {' and '.join(map(size_text, sizes))} "
            "pixels; use the same picture for all."
        )
    if faces is None:
        return (torch.stack(regions), list(placed)) if placed else (None, None)
    if not placed:
        return faces.regions, None
    shares = torch.stack(
        [(faces.regions * (region > 0)).sum((1, 2)) for region in regions]
    ) / faces.regions.sum((1, 2))
    best = shares.max(dim=0)
    owners = [
        placed[int(index)] if float(share) >= 0.5 else None
        for share, index in zip(best.values, best.indices, strict=True)
    ]
    return faces.regions, owners


def dilated(mask: Tensor, pixels: int) -> Tensor:
    """A mask ``[H, W]`` of 0 and 1 grown by ``pixels`` to every side."""
    grown = mask > 0
    for side, length in enumerate(mask.shape):
        # Something is within reach where the running count goes up; large reaches cost no more.
        place = torch.arange(length)
        first, last = (place - pixels).clamp(min=0), (place + pixels).clamp(max=length - 1)
        count = grown.cumsum(side, dtype=torch.int32)
        before = count.index_select(side, first) - grown.index_select(side, first).int()
        grown = count.index_select(side, last) > before
    return grown.to(mask.dtype)


def _separated(regions: Tensor, boxes: Sequence[Box]) -> Tensor:
    """Regions without overlap: a shared pixel goes to the box whose middle is nearest."""
    height, width = regions.shape[1:]
    row = torch.arange(height)[:, None] + 0.5
    column = torch.arange(width)[None] + 0.5
    distance = torch.stack(
        [
            (column - (left + right) / 2) ** 2 + (row - (top + bottom) / 2) ** 2
            for left, top, right, bottom in boxes
        ]
    )
    nearest = distance.masked_fill(regions == 0, torch.inf).argmin(dim=0)
    owner = torch.arange(len(boxes))[:, None, None]
    separated = regions * (nearest[None] == owner)
    if not separated.any(dim=2).any(dim=1).all():
        raise InputError(
            f"Two of the {len(boxes)} boxes are the same face; remove one, or lower grow."
        )
    return separated


def _connected_parts(drawn: Tensor) -> tuple[list[Tensor], int]:
    """Connected parts of a mask ``[H, W]``, and how many more were too small."""
    from scipy import ndimage

    labels = np.zeros(drawn.shape, np.int32)
    count = int(ndimage.label(drawn.numpy(), structure=np.ones((3, 3)), output=labels))  # type: ignore
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    large = np.flatnonzero(areas >= SMALLEST_PART * drawn.numel()) + 1
    if not large.size:
        raise InputError(
            f"The largest part of the mask has {areas.max()} pixels, too small for a face in a "
            f"picture of {size_text((drawn.shape[0], drawn.shape[1]))}; paint the whole face."
        )
    return [torch.from_numpy(labels == label) for label in large], count - large.size


def _check_drawn(drawn: Tensor) -> None:
    empty = [index for index, mask in enumerate(drawn) if not mask.any()]
    if empty:
        which = "The mask" if len(drawn) == 1 else f"Mask {empty[0] + 1} of {len(drawn)}"
        raise InputError(
            f"{which} is empty ({size_text((drawn.shape[1], drawn.shape[2]))}); paint the face in "
            "the mask editor, or connect another source of faces."
        )
