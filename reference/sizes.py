"""How large the clip becomes: the published tables, our pixel budgets, and the user's own numbers.

Knows sizes only. How the picture is brought to the size is the business of the crop box.
"""

from __future__ import annotations

import math

from ..crop import size_text
from ..errors import InputError

SIZE_NAMES = ("480p", "720p", "480p bucket", "720p bucket", "custom")
"""Every choice a user has, the default first."""

SIZE_STEP = 16
"""A side is a multiple of this: 8 pixels to a latent, 2 latents to a token."""

SMALLEST_SIDE = 64
"""Four tokens; below it a face has none of its own."""

LARGEST_SIDE = 2048
"""The longest side of the published tables; 128 tokens."""

LONGEST_SHAPE = 8
"""Long side over short side of a source that still gets a size in its own shape."""

CUT_WEIGHT = 4
"""How many unspent pixels of the budget one pixel cut from the picture is worth."""

BUDGETS = {"480p": 640 * 640, "720p": 960 * 960}
"""Most pixels per frame; the squares of the published tables (720p: also 1280 times 720)."""

BUCKETS = {
    "480p bucket": {
        "0.26": (320, 1216),
        "0.38": (384, 1024),
        "0.50": (448, 896),
        "0.67": (512, 768),
        "0.82": (576, 704),
        "1.00": (640, 640),
        "1.22": (704, 576),
        "1.50": (768, 512),
        "1.86": (832, 448),
        "2.00": (896, 448),
        "2.50": (960, 384),
        "2.83": (1088, 384),
        "3.60": (1152, 320),
        "3.80": (1216, 320),
        "4.00": (1280, 320),
    },
    "720p bucket": {
        "0.22": (448, 2048),
        "0.29": (512, 1792),
        "0.36": (576, 1600),
        "0.45": (640, 1408),
        "0.55": (704, 1280),
        "0.63": (768, 1216),
        "0.76": (832, 1088),
        "0.88": (896, 1024),
        "1.00": (960, 960),
        "1.14": (1024, 896),
        "1.31": (1088, 832),
        "1.50": (1152, 768),
        "1.58": (1216, 768),
        "1.82": (1280, 704),
        "1.91": (1344, 704),
        "2.20": (1408, 640),
        "2.30": (1472, 640),
        "2.67": (1536, 576),
        "2.89": (1664, 576),
        "3.62": (1856, 512),
        "3.75": (1920, 512),
    },
}
"""The published sizes ``(height, width)`` by rounded height / width, in the published order."""


def choose_size(
    name: str, source_size: tuple[int, int], *, custom: tuple[int, int] | None = None
) -> tuple[int, int]:
    """The size of the clip for a source, as ``(height, width)``.

    Args:
        name: One of ``SIZE_NAMES``.
        source_size: ``(height, width)`` of the picture or video; small sources are enlarged.
        custom: ``(height, width)`` in pixels, read for ``custom`` only.

    Raises:
        InputError: The name is unknown, the source has no pixels or is a strip, or the custom size
            is missing, not a multiple of 16 or outside 64..2048.
    """
    if min(source_size) < 1:
        raise InputError(f"the source is {size_text(source_size)}: a picture has at least 1 pixel.")
    if name in BUCKETS:
        return BUCKETS[name][bucket_key(name, source_size)]
    if name in BUDGETS:
        return _budget_size(name, source_size)
    if name == "custom":
        return _custom_size(custom)
    raise InputError(f"size is {name!r}; choose one of {', '.join(SIZE_NAMES)}.")


def bucket_key(name: str, source_size: tuple[int, int]) -> str:
    """The entry of a published table nearest to the source's shape; of equals, the first.

    The nearest by the *rounded* keys: 16:9 becomes 896x448 and loses a ninth of its height.

    Source: InfiniteTalk, ``generate_infinitetalk`` with ``ASPECT_RATIO_627`` and ``_960``.
    """
    shape = source_size[0] / source_size[1]
    return min(BUCKETS[name], key=lambda key: abs(float(key) - shape))


def _budget_size(name: str, source_size: tuple[int, int]) -> tuple[int, int]:
    """The size nearest to the source's shape that still spends nearly all of the budget.

    It cuts under 5 percent of any picture (0.7 on average) and leaves at most 8 percent of the
    budget, except that a strip's long side meets its limit first.

    Differs: InfiniteTalk has only the tables, which cut a ninth of a 16:9 picture.
    """
    if max(source_size) > LONGEST_SHAPE * min(source_size):
        raise InputError(
            f"the source is {size_text(source_size)}, a strip longer than {LONGEST_SHAPE}:1; cut "
            "it to the part that talks, or choose a custom size."
        )
    budget, shape = BUDGETS[name], source_size[0] / source_size[1]
    ideal_height = min(math.sqrt(budget * shape), LARGEST_SIDE, LARGEST_SIDE * shape)
    candidates = [
        (height, width)
        for height in _steps_near(ideal_height)
        for width in _steps_near(ideal_height / shape)
        if height * width <= budget
    ]

    def waste(size: tuple[int, int]) -> float:
        stretch = size[0] / size[1] / shape
        cut, unspent = 1 - min(stretch, 1 / stretch), 1 - size[0] * size[1] / budget
        return CUT_WEIGHT * cut + unspent

    return min(candidates, key=waste)


def _steps_near(side: float) -> list[int]:
    """The allowed sides around a length: three at or below it, one above."""
    step = math.floor(side / SIZE_STEP)
    sides = [SIZE_STEP * count for count in range(step - 2, step + 2)]
    return [length for length in sides if SMALLEST_SIDE <= length <= LARGEST_SIDE]


def _custom_size(custom: tuple[int, int] | None) -> tuple[int, int]:
    if custom is None:
        raise InputError("size is custom, but no width and height are given; give both in pixels.")
    for side, length in (("width", custom[1]), ("height", custom[0])):
        if _nearest_sides(length) != [length]:
            nearest = " or ".join(map(str, _nearest_sides(length)))
            raise InputError(
                f"{side} is {length} pixels; expected a multiple of {SIZE_STEP} from "
                f"{SMALLEST_SIDE} to {LARGEST_SIDE}, the nearest is {nearest}."
            )
    return custom


def _nearest_sides(length: int) -> list[int]:
    """The allowed side itself, or the ones next to it below and above."""
    inside = min(max(length, SMALLEST_SIDE), LARGEST_SIDE)
    below = inside // SIZE_STEP * SIZE_STEP
    return [below] if below == inside else [below, below + SIZE_STEP]
