"""From pixels of a source to tokens by one of four rules, on the same crop as the picture itself.

Knows masks and intervals of pixels. It knows neither speakers nor time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..crop import CropBox
from ..errors import InputError
from ..frames import SPATIAL_STRIDE
from .tokens import PATCH, check_size, fit_masks

ANY, AREA, NEAREST, SOFT = "any", "area", "nearest", "soft"
RULES = (ANY, AREA, NEAREST, SOFT)
"""When a token belongs to a face: any of its pixels does, half of them do, its first pixel does (as
in HunyuanVideo-Avatar), or by as much as they do."""

TOKEN_SIDE = SPATIAL_STRIDE * PATCH
"""Pixels of the clip per token, in height and in width."""

HALF = 0.5


@dataclass(frozen=True, eq=False)
class Lines:
    """Which rows of the source every row of the clip shows; the same for columns.

    Attributes:
        first: ``[n]`` first row of the source that a row of the clip shows.
        last: ``[n]`` the row after the last.
        middle: ``[n]`` where the middle of a row of the clip lies in the source.
    """

    first: np.ndarray
    last: np.ndarray
    middle: np.ndarray

    def within(self, begin: int, end: int) -> np.ndarray:
        """Which rows of the clip show one of the source's rows from ``begin`` to ``end``."""
        return (self.first < end) & (self.last > begin)


def source_lines(box: CropBox, rule: str) -> tuple[Lines, Lines]:
    """Rows and columns of the source behind those of the clip, as ``fit_region`` takes them."""
    heights = (box.source_size[0], box.resized_size[0], box.rows)
    widths = (box.source_size[1], box.resized_size[1], box.columns)
    return _lines(*heights, rule), _lines(*widths, rule)


def _lines(source: int, resized: int, kept: slice, rule: str) -> Lines:
    index = np.arange(resized)
    if rule == ANY:
        first, last = index * source // resized, -(-(index + 1) * source // resized)
    else:
        numbers = torch.arange(source, dtype=torch.float64)[None, None]
        first = F.interpolate(numbers, size=resized, mode="nearest")[0, 0].long().numpy()
        last = first + 1
    middle = (index + 0.5) * source / resized
    return Lines(first[kept], last[kept], middle[kept])


def fit_region(region: Tensor, box: CropBox, rule: str) -> Tensor:
    """A region ``[H, W]`` of the source at the size of the clip, ``[h, w]`` of 0 and 1.

    With ``any`` a pixel of the clip belongs to it when a part of it does, so that no region
    vanishes by shrinking; otherwise the nearest pixel decides.

    Raises:
        InputError: The region is not of the picture's size.
    """
    taken = (region > 0).to(torch.float32)[None]
    if rule != ANY:
        return fit_masks(taken, box)[0]
    check_size(taken, box)
    return F.adaptive_max_pool2d(taken, box.resized_size)[0, box.rows, box.columns]


def pool_tokens(mask: Tensor, rule: str) -> Tensor:
    """A mask ``[h, w]`` of the clip's pixels as one value per token, ``[(h / 16) * (w / 16)]``.

    Args:
        mask: 0 and 1, float.
        rule: ``any``, ``area`` or ``nearest`` give 0 or 1; ``soft`` gives the share.
    """
    if rule == ANY:
        tokens = F.max_pool2d(mask[None], TOKEN_SIDE)
    elif rule == NEAREST:
        tokens = mask[None, ::TOKEN_SIDE, ::TOKEN_SIDE]
    else:
        tokens = F.avg_pool2d(mask[None], TOKEN_SIDE)
    if rule == AREA:
        tokens = (tokens >= HALF).to(mask.dtype)
    return tokens.flatten()


def check_rule(rule: str) -> None:
    """Refuse what is no rule.

    Raises:
        InputError: Names those that are.
    """
    if rule not in RULES:
        raise InputError(f"rule is {rule!r}; choose one of {', '.join(RULES)}.")
