"""What a graph makes its models from, in a form that is the same on every machine.

A file counts as what is in it, wherever it lies: a worker with the same weights in other folders
goes on where this one stopped.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import folder_paths

from ..errors import InputError
from ..model_loaders.choice import AUTO
from ..model_loaders.folders import find_file
from ..video.job_keys import file_identity

LISTS = {
    ("EndlessTalkLoadModel", "base_model"): "base",
    ("EndlessTalkLoadModel", "adapter"): "adapter",
    ("EndlessTalkApplyAdapter", "adapter"): "adapter",
    ("EndlessTalkLoadVAE", "vae"): "vae",
    ("EndlessTalkLoadWav2Vec", "wav2vec"): "wav2vec",
}
"""Our own lists, whose entries may be `auto` or the built-in demo: class and widget to kind."""

ADAPTERS = ("adapter", "hybrid_adapter")
"""What `auto` may mean where an adapter is chosen; which of them depends on the base."""


def identify_constant(kind: str, widget: str, value: Any) -> Any:
    """A constant of a graph, or the identity of the file it names.

    Args:
        kind: Class of its node.
        widget: The input.
        value: Any JSON value.
    """
    if not isinstance(value, str):
        return value
    if value == AUTO and LISTS.get((kind, widget)) in ADAPTERS:
        paths = [path for role in ADAPTERS if (path := listed_file(role, value))]
    else:
        paths = [path for path in (named_file(kind, widget, value),) if path]
    found = [file_identity(path) for path in paths]
    return found[0] if len(found) == 1 else found or value


def listed_file(role: str, value: str) -> Path | None:
    """The file behind an entry of one of our lists."""
    try:
        return find_file(role, value)
    except (InputError, FileNotFoundError):
        return None  # its loader refuses it in words, or does not need it


def named_file(kind: str, widget: str, value: str) -> Path | None:
    """The file that a constant names: a model in any of the host's folders, or an input."""
    role = LISTS.get((kind, widget))
    if role is not None:
        return listed_file(role, value)
    suffix = PurePosixPath(value.replace("\\", "/")).suffix.lower()
    if not suffix or len(value) > 255 or "\n" in value:
        return None
    for key, (_, suffixes) in folder_paths.folder_names_and_paths.items():
        if suffix in suffixes and (found := folder_paths.get_full_path(key, value)):
            return Path(found)
    if folder_paths.exists_annotated_filepath(value):
        return Path(folder_paths.get_annotated_filepath(value))
    return None
