"""Base models: checked by their header, then loaded the way the host loads them.

Knows the host's loading call and what the adapter needs of a base. Of a MODEL from any other loader
it asks sizes only; its weights may be of any format and are never looked at.
"""

from __future__ import annotations

from pathlib import Path

import comfy.sd
import torch
from comfy.ldm.wan.model import WanModel
from comfy.model_patcher import ModelPatcher

from ..errors import InputError
from ..models.configs import WanConfig
from ..models.detect import (
    Kind,
    adapter_config,
    check_fits,
    check_image_to_video,
    identify,
    require,
    wan_config,
)
from ..models.recipes import BUILT_IN, Recipe, check_same_set, recipe_of, set_of
from ..models.weights import open_weights
from .choice import AUTO
from .folders import find_file

WEIGHT_DTYPES = {
    "default": {},
    "fp8_e4m3fn": {"dtype": torch.float8_e4m3fn},
    "fp8_e4m3fn_fast": {"dtype": torch.float8_e4m3fn, "fp8_optimizations": True},
    "fp8_e5m2": {"dtype": torch.float8_e5m2},
}
"""The host's choices of how weights are kept in memory, and what its loader is told for each."""

_RECIPE = "endless_talk_recipe"

_OTHER_INPUTS = ("vace", "camera", "camera_2.2", "s2v", "humo", "animate", "scail", "scail2")


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

    With the adapter on `auto`, a base that has an adapter merged into it is taken for both, and the
    built-in demo takes its own.

    Raises:
        InputError: A file is of another kind, the base has no place for a picture, or the two do
            not fit each other.
        FileNotFoundError: A file is gone.
    """
    base_path = find_file("base", base)
    base_file = open_weights(base_path)
    sizes = wan_config(require(base_file, Kind.WAN))
    check_image_to_video(sizes, base_file.name)
    recipe_of(base_file)
    if base == BUILT_IN:
        adapter = own_adapter(adapter)
    merged = adapter == AUTO and identify(base_file) is Kind.MERGED
    adapter_path = base_path if merged else find_file("adapter", adapter)
    adapter_file = require(open_weights(adapter_path), Kind.ADAPTER)
    check_same_set(set_of(base_file), set_of(adapter_file), "audio adapter")
    check_fits(sizes, adapter_config(adapter_file))
    return base_path, adapter_path


def own_adapter(adapter: str) -> str:
    """The adapter's list entry that goes with the built-in demo.

    Raises:
        InputError: Another one was chosen.
    """
    if adapter in (AUTO, BUILT_IN):
        return BUILT_IN
    raise InputError(
        f"the {BUILT_IN} speaks with an adapter of its own, and {adapter} was chosen: leave "
        f"adapter on {AUTO}, or choose a Wan 2.1 base model."
    )


def find_adapter(adapter: str) -> Path:
    """The file behind a list entry, checked by its header to be an audio adapter.

    Raises:
        InputError: The file is of another kind.
        FileNotFoundError: The file is gone.
    """
    path = find_file("adapter", adapter)
    adapter_config(require(open_weights(path), Kind.ADAPTER))
    return path


def check_model(model: ModelPatcher, adapter: Path) -> None:
    """Refuse a MODEL that the adapter in a file cannot be attached to.

    Raises:
        InputError: Not a Wan transformer, one that takes no picture, or of another size.
    """
    sizes = model_sizes(model)
    check_image_to_video(sizes, "The connected model")
    check_fits(sizes, adapter_config(require(open_weights(adapter), Kind.ADAPTER)))


def model_sizes(model: ModelPatcher) -> WanConfig:
    """Sizes of a loaded Wan transformer, from its settings and not from its weights.

    Raises:
        InputError: Another architecture, or a Wan variant with inputs of its own.
    """
    network = model.model.diffusion_model
    if not isinstance(network, WanModel):
        raise InputError(
            f"The connected model is {type(model.model).__name__}, not Wan; connect a Wan 2.1 "
            "image-to-video model, such as wan2.1_i2v_480p_14B_fp16.safetensors."
        )
    if network.model_type in _OTHER_INPUTS:
        raise InputError(
            f"The connected model is the {network.model_type} variant of Wan; InfiniteTalk needs a "
            "plain image-to-video model, such as wan2.1_i2v_480p_14B_fp16.safetensors."
        )
    return WanConfig(
        dim=network.dim,
        ffn_dim=network.ffn_dim,
        heads=network.num_heads,
        layers=len(network.blocks),
        in_channels=network.in_dim,
        out_channels=network.out_dim,
        text_dim=network.text_dim,
        text_tokens=network.text_len,
        freq_dim=network.freq_dim,
    )
