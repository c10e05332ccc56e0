"""How wav2vec2 audio encoders are stored: key layouts, and the sizes that keys and shapes tell.

Knows names, shapes and metadata, without torch; it knows nothing of the network itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from .configs import Wav2VecConfig

PUBLISHED_FILE = "wav2vec2-chinese-base_fp16.safetensors"
"""The name under which most users have the published encoder; messages suggest it."""

_BASE_CONVOLUTIONS = 7
_LARGE_HIDDEN = 1024
_HEAD_DIM = 64
_PREFIX = "wav2vec2."
_PRETRAINING_KEYS = ("quantizer.", "project_q.", "project_hid.", "lm_head.", "masked_spec_embed")
_POSITION = "encoder.pos_conv_embed.conv."
_POSITION_NAMES = {
    _POSITION + "weight_g": _POSITION + "parametrizations.weight.original0",
    _POSITION + "weight_v": _POSITION + "parametrizations.weight.original1",
}


def normalize_wav2vec_keys(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Rename a state dict (or its shapes) to transformers' names without prefix.

    Reads names with and without ``wav2vec2.``, the positional convolution as ``weight_g`` and
    ``weight_v`` or as parametrizations, and leaves out what only pretraining and speech recognition
    heads use. Everything else stays, so that a strict load can name it.
    """
    normalized = {}
    for name, value in state_dict.items():
        bare = name.removeprefix(_PREFIX)
        if not bare.startswith(_PRETRAINING_KEYS):
            normalized[_POSITION_NAMES.get(bare, bare)] = value
    return normalized


def detect_wav2vec(
    shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]
) -> Wav2VecConfig:
    """Read the sizes of an encoder from its tensors, and from its metadata what they cannot tell.

    Args:
        shapes: Shape of every tensor, in any layout of `normalize_wav2vec_keys`.
        metadata: Metadata of the file; ``config`` may hold JSON with a ``wav2vec2`` object in
            transformers' names (``num_attention_heads``, ``conv_stride``, ``do_normalize``).
            Without it heads are 64 wide, strides are the base model's and the waveform is not
            normalised, as with the published encoder.

    Raises:
        InputError: Not a wav2vec2 encoder, the large kind, or a size that only metadata could tell.
    """
    shapes = normalize_wav2vec_keys(shapes)
    settings = _metadata_settings(metadata)
    convolutions = _numbered(shapes, r"feature_extractor\.conv_layers\.(\d+)\.conv\.weight")
    layers = _numbered(shapes, r"encoder\.layers\.(\d+)\.attention\.k_proj\.weight")
    norm = shapes.get("encoder.layer_norm.weight")
    dense = shapes.get("encoder.layers.0.feed_forward.intermediate_dense.weight")
    position = shapes.get(_POSITION_NAMES[_POSITION + "weight_v"])
    if not (convolutions and layers and norm and dense and position):
        raise InputError(
            "expected a wav2vec2 audio encoder, but its convolutions or transformer layers are not"
            f" in the file; choose one such as {PUBLISHED_FILE}."
        )
    hidden = norm[0]
    _refuse_large(shapes, settings, hidden)
    return Wav2VecConfig(
        hidden=hidden,
        layers=len(layers),
        heads=_heads(settings, hidden),
        ffn_dim=dense[0],
        conv_dims=tuple(shape[0] for shape in convolutions),
        conv_kernels=tuple(shape[2] for shape in convolutions),
        conv_strides=_strides(settings, len(convolutions)),
        position_kernel=position[2],
        position_groups=hidden // position[1],
        normalize_waveform=bool(settings.get("do_normalize", False)),
    )


def wav2vec_metadata_beside(path: str | Path) -> dict[str, str]:
    """Metadata for `detect_wav2vec` from the JSON files that transformers keeps beside weights.

    Args:
        path: The weights. ``config.json`` and ``preprocessor_config.json`` in their folder are read
            only when the former says that it describes a wav2vec2 model.

    Returns:
        ``{"config": JSON}``, or empty when there is nothing to read.
    """
    folder = Path(path).parent
    settings = _read_object(folder / "config.json")
    if settings.get("model_type") != "wav2vec2":
        return {}
    preprocessor = _read_object(folder / "preprocessor_config.json")
    settings["do_normalize"] = bool(preprocessor.get("do_normalize", False))
    return {"config": json.dumps({"wav2vec2": settings})}


def _metadata_settings(metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        settings = json.loads(metadata.get("config", "{}")).get("wav2vec2", {})
    except (json.JSONDecodeError, AttributeError):
        settings = None
    if not isinstance(settings, dict):
        raise InputError(
            "expected JSON with a wav2vec2 object under `config` in the file's metadata, got"
            f" {metadata['config'][:40]!r}; save the encoder again."
        )
    return settings


def _refuse_large(
    shapes: Mapping[str, tuple[int, ...]], settings: Mapping[str, Any], hidden: int
) -> None:
    # Layer norms after later convolutions and biases in them come with the norm-first transformer.
    later = "feature_extractor.conv_layers.1."
    if (
        hidden >= _LARGE_HIDDEN
        or settings.get("do_stable_layer_norm")
        or later + "layer_norm.weight" in shapes
        or later + "conv.bias" in shapes
    ):
        raise InputError(
            "expected a wav2vec2 encoder of the base kind, 768 wide like chinese-wav2vec2-base, got"
            f" the large kind, {hidden} wide; choose {PUBLISHED_FILE}."
        )


def _heads(settings: Mapping[str, Any], hidden: int) -> int:
    heads = int(settings.get("num_attention_heads", hidden // _HEAD_DIM))
    known = "num_attention_heads" in settings or hidden % _HEAD_DIM == 0
    if not known or heads < 1 or hidden % heads:
        raise InputError(
            f"expected a head count that divides the width {hidden} of the wav2vec2 encoder, got"
            f" {settings.get('num_attention_heads', 'none')}; write num_attention_heads into the"
            " file's metadata."
        )
    return heads


def _strides(settings: Mapping[str, Any], convolutions: int) -> tuple[int, ...]:
    default = Wav2VecConfig.conv_strides if convolutions == _BASE_CONVOLUTIONS else ()
    strides = tuple(int(stride) for stride in settings.get("conv_stride", default))
    if len(strides) != convolutions:
        raise InputError(
            f"expected one stride for each of {convolutions} convolutions of the wav2vec2 encoder,"
            f" got {len(strides)}; write conv_stride into the file's metadata."
        )
    return strides


def _numbered(shapes: Mapping[str, tuple[int, ...]], pattern: str) -> list[tuple[int, ...]]:
    matches = ((re.fullmatch(pattern, name), shape) for name, shape in shapes.items())
    found = {int(match[1]): shape for match, shape in matches if match}
    return [found[number] for number in sorted(found)]


def _read_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
            f"expected JSON in {path.name} in {path.parent}, got something else ({error});"
            " fetch the file again or remove it."
        ) from error
    return content if isinstance(content, dict) else {}
