"""Which file is meant: the names under which weights are published, and what `auto` makes of them.

Knows names only, neither folders nor the content of files. A file with another name can always be
chosen by hand; what it holds is looked at when it is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from ..errors import InputError
from ..models.recipes import BUILT_IN

AUTO = "auto"
"""The entry that leaves the choice to the published names."""

PRECISIONS = ("fp16", "bf16", "", "fp32", "fp8", "int8")
"""What `auto` prefers among otherwise equal files; the empty one is a name that says nothing."""

_SUFFIXES = (".safetensors", ".sft")
_GENERIC_STEMS = ("model", "diffusionpytorchmodel", "pytorchmodel")


@dataclass(frozen=True)
class NameRule:
    """How files of one kind are called, in lower-case letters and digits.

    Attributes:
        what: The kind in a sentence.
        looks: Pattern of names that look like the kind.
        foreign: Pattern of names that do not although they match ``looks``.
        published: Patterns of the published files, the one that `auto` prefers first.
        example: One published name, for messages.
    """

    what: str
    looks: str
    foreign: str
    published: tuple[str, ...]
    example: str


RULES = {
    "base": NameRule(
        what="Wan 2.1 image-to-video base model",
        looks=r"wan.*i2v|i2v.*wan|flashtalk",
        foreign=r"wan22|infinitetalk|multitalk|lora|vace|control",
        published=(r"wan21.*i2v.*480p", r"wan21.*i2v.*720p"),
        example="wan2.1_i2v_480p_14B_fp16.safetensors",
    ),
    "adapter": NameRule(
        what="InfiniteTalk audio adapter",
        looks=r"infinitetalk|multitalk",
        foreign=r"lora|i2v",
        published=(
            r"infinitetalk.*single|single.*infinitetalk",
            r"infinitetalk.*multi|multi.*infinitetalk",
        ),
        example="Wan2_1-InfiniTetalk-Single_fp16.safetensors",
    ),
    "hybrid_adapter": NameRule(
        what="MagicInfinite audio adapter",
        looks=r"magicinfinite",
        foreign=r"lora|i2v|t2v",
        published=(r"magicinfinite",),
        example="magicinfinite_audio_adapter.safetensors",
    ),
    "vae": NameRule(
        what="Wan 2.1 VAE",
        looks=r"wan.*vae|vae.*wan",
        foreign=r"wan22|taew|lora",
        published=(r"wan21.*vae|vae.*wan21",),
        example="wan_2.1_vae.safetensors",
    ),
    "wav2vec": NameRule(
        what="wav2vec2 audio encoder",
        looks=r"wav2vec",
        foreign=r"large",
        published=(r"wav2vec2chinesebase|chinesewav2vec2base",),
        example="wav2vec2-chinese-base_fp16.safetensors",
    ),
}
"""The kinds of files that the pack opens."""


def order_names(rule: NameRule, names: Iterable[str]) -> list[str]:
    """Safetensors files for a list: published ones, those that look alike, then all others.

    The others stay in the list because a renamed file is still the right file.
    """

    def key(name: str) -> tuple[int, tuple[int, int], str]:
        place = rank(rule, name)
        group = 0 if place else 1 if looks_like(rule, name) else 2
        return group, place or (0, 0), name.lower()

    return sorted({name for name in names if name.lower().endswith(_SUFFIXES)}, key=key)


def choose(rule: NameRule, names: Sequence[str], where: str) -> str:
    """The file that `auto` means.

    The best published name; without one, the only file that looks like the kind. Copies of one
    file in several folders count as one, and the first is taken.

    Args:
        rule: The kind.
        names: Files with their subfolders, in the order of the folders.
        where: The folders, for messages.

    Raises:
        InputError: There is none, or there are several between which nothing decides.
    """
    safe = [name for name in names if name.lower().endswith(_SUFFIXES)]
    ranked = [(place, name) for name in safe if (place := rank(rule, name)) is not None]
    best = min((place for place, _ in ranked), default=None)
    equals = _distinct(name for place, name in ranked if place == best)
    equals = equals or _distinct(name for name in safe if looks_like(rule, name))
    if len(equals) == 1:
        return equals[0]
    if equals:
        raise InputError(
            f"auto cannot choose between {' and '.join(equals)}: they are equally good by their "
            f"names, so choose one of them instead of auto."
        )
    raise InputError(
        f"auto found no {rule.what} among the {len(safe)} safetensors files in {where}: put one "
        f"there, such as {rule.example}, choose a file by its name, or {BUILT_IN} everywhere."
    )


def looks_like(rule: NameRule, name: str) -> bool:
    """Whether a file is called like its kind; its folder is asked if its own name says nothing."""
    stem, folder = _parts(name)
    text = folder if stem in _GENERIC_STEMS else stem
    return bool(re.search(rule.looks, text)) and not re.search(rule.foreign, text)


def rank(rule: NameRule, name: str) -> tuple[int, int] | None:
    """Place of a published file in the preference of `auto`, lower is better; None if it is not."""
    if not looks_like(rule, name):
        return None
    stem, folder = _parts(name)
    text = folder + stem
    matches = (i for i, pattern in enumerate(rule.published) if re.search(pattern, text))
    place = next(matches, None)
    return None if place is None else (place, _precision(stem))


def _precision(stem: str) -> int:
    said = next((word for word in PRECISIONS if word and word in stem), "")
    return PRECISIONS.index(said)


def _parts(name: str) -> tuple[str, str]:
    """Stem and last folder of a file, reduced to lower-case letters and digits."""
    path = PurePosixPath(name.replace("\\", "/"))
    return _reduced(path.stem), _reduced(path.parent.name)


def _reduced(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _distinct(names: Iterable[str]) -> list[str]:
    """The first of every file name, whatever folders its copies are in."""
    found: dict[str, str] = {}
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        own = _reduced(path.stem) not in _GENERIC_STEMS  # "model.safetensors" is told by its folder
        found.setdefault(path.name if own else str(path), name)
    return list(found.values())
