"""Base models: checked by their header, then loaded the way the host loads them.

Knows the host's loading call and what the adapter needs of a base. Of a MODEL from any other loader
it asks sizes only; its weights may be of any format and are never looked at.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import comfy.sd
import torch
from comfy.model_patcher import ModelPatcher

from ..errors import InputError
from ..models.configs import HybridConfig, WanConfig
from ..models.detect import (
    Kind,
    adapter_config,
    adapter_kind,
    base_kind,
    check_fits,
    check_image_to_video,
    identify,
    require,
    wan_config,
)
from ..models.hybrid_detect import check_hybrid_fits, hybrid_adapter_config, hybrid_config
from ..models.recipes import (
    BUILT_IN_BASES,
    Recipe,
    check_same_set,
    recipe_of,
    set_of,
)
from ..models.weights import Header, open_weights
from .adapter import check_same_family
from .choice import AUTO
from .family import model_sizes
from .folders import find_file

WEIGHT_DTYPES = {
    "default": {},
    "fp8_e4m3fn": {"dtype": torch.float8_e4m3fn},
    "fp8_e4m3fn_fast": {"dtype": torch.float8_e4m3fn, "fp8_optimizations": True},
    "fp8_e5m2": {"dtype": torch.float8_e5m2},
}
"""The host's choices of how weights are kept in memory, and what its loader is told for each."""

_RECIPE = "endless_talk_recipe"


def load_base(path: Path, weight_dtype: str = "default") -> ModelPatcher:
    """Load a base model; the caller has checked its file.

    One of a set is small, and runs in float32 as it was trained unless told otherwise.

    Args:
        path: The file.
        weight_dtype: One of ``WEIGHT_DTYPES``.
    """
    options, recipe = dict(WEIGHT_DTYPES[weight_dtype]), recipe_of(open_weights(path))
    if recipe is not None:
        options.setdefault("dtype", torch.float32)
    model = comfy.sd.load_diffusion_model(str(path), model_options=options)
    model.set_attachments(_RECIPE, recipe)
    return model


def model_recipe(model: ModelPatcher) -> Recipe | None:
    """How a loaded model wants to be sampled; None for published ones and other loaders'."""
    return model.get_attachment(_RECIPE)


def entry_recipe(base: str) -> Recipe | None:
    """How the base behind a list entry wants to be sampled, from its header.

    Raises:
        InputError, FileNotFoundError: As ``find_file`` and ``recipe_of``.
    """
    return recipe_of(open_weights(find_file("base", base)))


def find_pair(base: str, adapter: str) -> tuple[Path, Path]:
    """The files behind two list entries, checked against each other by their headers.

    With the adapter on `auto`, a base that has an adapter merged into it is taken for both, the
    built-in demo takes its own, and HunyuanVideo takes MagicInfinite's.

    Raises:
        InputError: A file is of another kind, the base has no place for a picture, or the two do
            not fit each other.
        FileNotFoundError: A file is gone.
    """
    base_path = find_file("base", base)
    base_file = open_weights(base_path)
    sizes = base_sizes(base_file)
    recipe_of(base_file)
    if base in BUILT_IN_BASES:
        adapter = own_adapter(base, adapter)
    merged = adapter == AUTO and identify(base_file) in (Kind.MERGED, Kind.HYBRID_MERGED)
    role = "hybrid_adapter" if adapter == AUTO and isinstance(sizes, HybridConfig) else "adapter"
    adapter_path = base_path if merged else find_file(role, adapter)
    adapter_file = open_weights(adapter_path)
    check_same_set(set_of(base_file), set_of(adapter_file), "audio adapter")
    check_pair(sizes, adapter_file)
    return base_path, adapter_path


def base_sizes(file: Header) -> WanConfig | HybridConfig:
    """Sizes of a base model of either system.

    Raises:
        InputError: It is no base model, or has no place for a picture.
    """
    if base_kind(file) is Kind.HYBRID:
        return hybrid_config(file)
    sizes = wan_config(file)
    check_image_to_video(sizes, file.name)
    return sizes


def check_pair(sizes: WanConfig | HybridConfig, adapter: Header) -> None:
    """Refuse an adapter that was not made for a base of these sizes.

    Raises:
        InputError: It is no adapter, one of the other system, or of another size.
    """
    hybrid = adapter_kind(adapter) is Kind.HYBRID_ADAPTER
    if not hybrid:
        require(adapter, Kind.ADAPTER)
    check_same_family(sizes, hybrid)
    if isinstance(sizes, HybridConfig):
        check_hybrid_fits(sizes, hybrid_adapter_config(adapter))
    else:
        check_fits(sizes, adapter_config(adapter))


def own_adapter(base: str, adapter: str) -> str:
    """The adapter's list entry that goes with a base of the built-in demo.

    Raises:
        InputError: Another one was chosen.
    """
    if adapter in (AUTO, base):
        return base
    raise InputError(
        f"the {base} speaks with an adapter of its own, and {adapter} was chosen: leave adapter on "
        f"{AUTO}, or choose a base model of your own."
    )


def find_adapter(adapter: str, model: ModelPatcher | None = None) -> Path:
    """The file behind a list entry, checked by its header to be an audio adapter.

    Args:
        adapter: The entry; `auto` means MagicInfinite's for HunyuanVideo.
        model: What it is for; None while it is not known yet, and `auto` means what there is.

    Raises:
        InputError: The file is of another kind.
        FileNotFoundError: The file is gone.
    """
    path = _adapter_file(adapter, model)
    file = open_weights(path)
    if adapter_kind(file) is Kind.HYBRID_ADAPTER:
        hybrid_adapter_config(file)
    else:
        adapter_config(file)
    return path


def _adapter_file(adapter: str, model: ModelPatcher | None) -> Path:
    if adapter != AUTO:
        return find_file("adapter", adapter)
    if model is not None:
        hybrid = isinstance(model_sizes(model), HybridConfig)
        return find_file("hybrid_adapter" if hybrid else "adapter", adapter)
    try:
        return find_file("adapter", adapter)
    except InputError:
        with suppress(InputError):
            return find_file("hybrid_adapter", adapter)
        raise


def check_model(model: ModelPatcher, adapter: Path) -> None:
    """Refuse a MODEL that the adapter in a file cannot be attached to.

    Raises:
        InputError: Of no family that talks, one that takes no picture, of another family than the
            adapter, or of another size.
    """
    sizes = model_sizes(model)
    if isinstance(sizes, WanConfig):
        check_image_to_video(sizes, "The connected model")
    check_pair(sizes, open_weights(adapter))
