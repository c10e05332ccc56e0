"""Where weights lie: the host's model folders, two that other packs made customary, and our own.

Knows folder keys and file lists. Which file is meant is `choice`'s business, what a file holds its
loader's. Our own folder is one entry of a list; its files are no models of the host.
"""

from __future__ import annotations

from pathlib import Path

import folder_paths

from ..models.recipes import (
    BUILT_IN,
    BUILT_IN_BASES,
    BUILT_IN_FOLDER,
    HYBRID_BUILT_IN,
    HYBRID_FOLDER,
    built_in_file,
)
from .choice import AUTO, RULES, choose, looks_like, order_names, rank

FOLDERS = {
    "base": ("diffusion_models",),
    "adapter": ("model_patches", "diffusion_models"),
    "hybrid_adapter": ("model_patches", "diffusion_models"),
    "vae": ("vae",),
    "wav2vec": ("audio_encoders", "wav2vec2", "transformers"),
}
"""Folder keys of the host per kind, searched in this order; ``diffusion_models`` includes
``unet``."""

_CUSTOMARY = ("wav2vec2", "transformers")


def register_folders() -> None:
    """Make the customary folders known to the host, unless another pack already did."""
    for key in _CUSTOMARY:
        folder = str(Path(folder_paths.models_dir) / key)
        folder_paths.folder_names_and_paths.setdefault(
            key, ([folder], set(folder_paths.supported_pt_extensions))
        )


def file_list(kind: str) -> list[str]:
    """Files that a list offers for a kind, likely ones first; subfolders are part of the name."""
    return order_names(RULES[kind], _names(kind))


def default_base() -> str:
    """What a new node offers as base: the first published file that is there, else our own."""
    names = file_list("base")
    return names[0] if names and rank(RULES["base"], names[0]) else BUILT_IN


def find_file(kind: str, name: str) -> Path:
    """The file that an entry of a list means now; `auto` looks at the folders afresh.

    `auto` never means the built-in demo: whoever has no weights yet should hear which ones to get.

    Raises:
        FileNotFoundError: The file is gone; names it and the folders that were searched.
        InputError: `auto` finds no file, or several that are equally good.
    """
    if name in BUILT_IN_BASES:
        return built_in_file(kind, name)
    chosen = choose(RULES[kind], _names(kind), _folder_text(kind)) if name == AUTO else name
    for key in FOLDERS[kind]:
        path = folder_paths.get_full_path(key, chosen)
        if path is not None:
            return Path(path)
    raise FileNotFoundError(
        f"There is no file {chosen} in {_folder_text(kind)}: put it there, or choose another one "
        "(R refreshes the lists)."
    )


def describe(kind: str, path: Path) -> str:
    """A file for the line under a node: its kind, its folder and its name."""
    if path.parent == BUILT_IN_FOLDER:
        return f"{BUILT_IN}: {path.name}"
    if path.parent == HYBRID_FOLDER:
        return f"{HYBRID_BUILT_IN}: {path.name}"
    if kind == "adapter" and looks_like(RULES["hybrid_adapter"], path.name):
        kind = "hybrid_adapter"
    return f"{RULES[kind].what}: {path.parent.name}/{path.name}"


def file_stamp(kind: str, name: str) -> tuple[str, int, int]:
    """What changes when a list entry means another file or another content."""
    return path_stamp(find_file(kind, name))


def path_stamp(path: Path) -> tuple[str, int, int]:
    """What changes when a path holds another content."""
    state = path.stat()
    return str(path), state.st_size, state.st_mtime_ns


def _names(kind: str) -> list[str]:
    known = folder_paths.folder_names_and_paths
    keys = [key for key in FOLDERS[kind] if key in known]
    return [name for key in keys for name in folder_paths.get_filename_list(key)]


def _folder_text(kind: str) -> str:
    return " and ".join(f"models/{key}" for key in FOLDERS[kind])
