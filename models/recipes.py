"""Weights that were trained together: what belongs to what, and how they want to be sampled.

The metadata of their files say so; published weights say nothing and go by the published settings.
Knows headers, and the folder of the set that comes with the package; it reads no tensor.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..crop import size_text
from ..errors import InputError
from .detect import Kind, base_kind
from .weights import Header

BUILT_IN = "built-in demo"
"""The set that comes with the package, as its files, the lists and the messages call it."""

BUILT_IN_FOLDER = Path(__file__).parents[1] / "assets" / "demo"
"""Where its files are: ``base``, ``adapter``, ``vae`` and ``wav2vec``, each ``.safetensors``."""

HYBRID_BUILT_IN = f"{BUILT_IN} (MagicInfinite)"
"""The other base of the set, a HunyuanVideo with an adapter of its own, as lists call it."""

HYBRID_FOLDER = BUILT_IN_FOLDER.with_name("demo-hybrid")
"""Where its ``base`` and ``adapter`` are; VAE and audio encoder are the set's."""

BUILT_IN_BASES = (BUILT_IN, HYBRID_BUILT_IN)
"""Entries of a list of bases that need no file of the user's."""

SET, SIZE, STEPS, SHIFT = (f"endless_talk.{name}" for name in ("set", "size", "steps", "shift"))
"""Metadata: the set, in every file of it; in the base also what a ``Recipe`` holds."""


@dataclass(frozen=True)
class Recipe:
    """How a base of a set wants to be sampled.

    Attributes:
        set_name: What the set is called.
        size: ``(height, width)`` of a clip with one speaker; each further one adds the width again.
        steps: Denoising steps per chunk that it was distilled for.
        shift: Shift of their schedule.
        even: Whether their noise levels are even before the shift, as MagicInfinite's.
    """

    set_name: str
    size: tuple[int, int]
    steps: int
    shift: float
    even: bool = False

    @property
    def summary(self) -> str:
        """One line for the user."""
        return (
            f"{self.set_name}: {size_text(self.size)} per speaker, {self.steps} steps, "
            f"shift {self.shift:g}"
        )

    def size_for(self, speakers: int) -> tuple[int, int]:
        """``(height, width)`` that a number of speakers side by side was trained at."""
        return self.size[0], speakers * self.size[1]

    def size_warning(self, size: tuple[int, int], speakers: int = 1) -> str | None:
        """What to say of a clip of another size."""
        wanted = self.size_for(speakers)
        if size == wanted:
            return None
        who = "one speaker" if speakers == 1 else f"{speakers} speakers"
        return (
            f"the {self.set_name} was trained at {size_text(wanted)} with {who}, this clip is "
            f"{size_text(size)}: choose {size_text(wanted)}"
        )

    @property
    def schedule_warning(self) -> str:
        """What to say of a clip with other noise levels."""
        return (
            f"the {self.set_name} was distilled for {self.steps} steps with shift {self.shift:g}, "
            f"other noise levels look worse: set steps to {self.steps} and shift to 0"
        )


def set_of(header: Header) -> str:
    """The set that a file belongs to; empty for published files."""
    return header.metadata.get(SET, "")


def recipe_of(header: Header) -> Recipe | None:
    """The recipe in a base model's metadata; None for published ones, which have none.

    How noise levels are spaced goes by the layout: HunyuanVideo's is MagicInfinite's.

    Raises:
        InputError: The base belongs to a set, and its metadata do not say how to sample it.
    """
    if not set_of(header):
        return None
    said = {name: header.metadata.get(name, "") for name in (SIZE, STEPS, SHIFT)}
    size = re.fullmatch(r"([0-9]+)x([0-9]+)", said[SIZE])
    steps = re.fullmatch(r"[0-9]+", said[STEPS])
    shift = re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", said[SHIFT])
    if not (size and steps and shift):
        raise InputError(
            f"{header.name} belongs to the set {set_of(header)!r}, but its metadata say {said}; "
            "expected a size such as 64x64, a number of steps and a shift: save it again with them."
        )
    trained_at, even = (int(size[2]), int(size[1])), base_kind(header) is Kind.HYBRID
    return Recipe(set_of(header), trained_at, int(steps[0]), float(shift[0]), even)


def check_same_set(base: str, other: str, what: str) -> None:
    """Refuse a file that was not trained with the base.

    Args:
        base: Set of the base model, as from ``set_of``.
        other: Set of the other file.
        what: What the other file is, in a sentence.

    Raises:
        InputError: One belongs to a set and the other does not, or to another.
    """
    if base == other:
        return
    if base:
        raise InputError(
            f"the base model is the {base}, and the {what} is not: neither can use what the other "
            f"makes. Choose {base} for the {what} as well."
        )
    raise InputError(
        f"the {what} is that of the {other}, and the base model is not: neither can use what the "
        f"other makes. Choose the published {what}, or {other} for everything."
    )


def built_in_file(role: str, entry: str = BUILT_IN) -> Path:
    """A file of the set that comes with the package.

    Args:
        role: ``base``, ``adapter``, ``vae`` or ``wav2vec``.
        entry: One of ``BUILT_IN_BASES``.

    Raises:
        FileNotFoundError: This copy of the package has it not.
    """
    own = entry == HYBRID_BUILT_IN and role in ("base", "adapter")
    path = (HYBRID_FOLDER if own else BUILT_IN_FOLDER) / f"{role}.safetensors"
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {path.name} in {path.parent.parent.name}/{path.parent.name} of this copy "
            f"of EndlessTalk, so there is no {entry}: install it again, or choose other weights."
        )
    return path
