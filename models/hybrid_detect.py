"""Sizes of HunyuanVideo transformers and MagicInfinite adapters, from keys, shapes and metadata.

Reads no tensor and builds no network; what a file *is* says ``detect``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import InputError
from ..frames import pixel_frames
from .configs import Family, HybridAdapterConfig, HybridConfig
from .detect import Kind, block_count, require, tensor_shape
from .hybrid_keys import comfy_key
from .weights import Header

ADAPTER_FORMAT = "magicinfinite_audio_adapter"
"""Metadata ``format`` of an adapter file; ``config`` is JSON beside it."""

NULL_AUDIO = ("zeros", "skip")

_OTHER_VARIANTS = {
    "vision_in.": "HunyuanVideo 1.5",
    "byt5_in.": "HunyuanVideo 1.5 or HunyuanImage",
    "time_r_in.": "a MeanFlow distillation",
    "audio_adapter_blocks.": "HunyuanVideo-Avatar",
}
"""Keys of relatives with inputs of their own."""


def hybrid_config(header: Header) -> HybridConfig:
    """Sizes of a HunyuanVideo transformer, in ComfyUI's or the original naming.

    Raises:
        InputError: A key is missing, or it is a variant with other inputs.
    """
    header = renamed(require(header, Kind.HYBRID))
    for mark, variant in _OTHER_VARIANTS.items():
        if any(key.startswith(mark) for key in header.shapes):
            raise InputError(
                f"{header.name} looks like {variant}, which has inputs of its own: choose "
                "HunyuanVideo or HunyuanVideo-I2V, such as "
                "hunyuan_video_image_to_video_720p_bf16.safetensors."
            )
    dim, in_channels, *patch = tensor_shape(header, "img_in.proj.weight", 5)
    config = HybridConfig(
        dim=dim,
        double_blocks=block_count(header, r"double_blocks\.(\d+)\.img_attn\.qkv\.weight"),
        single_blocks=block_count(header, r"single_blocks\.(\d+)\.linear1\.weight"),
        in_channels=in_channels,
        text_dim=tensor_shape(header, "txt_in.input_embedder.weight", 2)[1],
        out_channels=tensor_shape(header, "final_layer.linear.weight", 2)[0] // math.prod(patch),
        pooled_dim=tensor_shape(header, "vector_in.in_layer.weight", 2)[1],
        guidance_embed="guidance_in.in_layer.weight" in header.shapes,
        refiner_blocks=block_count(
            header, r"txt_in\.individual_token_refiner\.blocks\.(\d+)\.norm1\.weight"
        ),
        freq_dim=tensor_shape(header, "time_in.in_layer.weight", 2)[1],
    )
    check_hybrid_base(config, header.name)
    return config


def check_hybrid_base(config: HybridConfig, name: str) -> None:
    """Refuse a base that a reference picture cannot enter, or whose heads are not known.

    Raises:
        InputError: Neither 16 nor 33 input channels, or a width that is no multiple of 128.
    """
    known = (config.out_channels, 2 * config.out_channels + 1)
    if config.in_channels not in known:
        other = "SkyReels" if config.in_channels == 2 * config.out_channels else "another variant"
        raise InputError(
            f"{name} takes {config.in_channels} input channels and looks like {other}; "
            f"MagicInfinite needs a HunyuanVideo base with {known[1]} or {known[0]}, such as "
            "hunyuan_video_image_to_video_720p_bf16.safetensors."
        )
    if config.dim % config.head_dim:
        raise InputError(
            f"{name} is {config.dim} wide, expected a multiple of {config.head_dim}, the width of "
            "a head in every HunyuanVideo: choose a file in the published layout."
        )


def hybrid_adapter_config(header: Header) -> HybridAdapterConfig:
    """Sizes of a MagicInfinite adapter: from its keys, with what only the metadata can say.

    Raises:
        InputError: A key is missing, the shapes are not those of such an adapter, or the metadata
            contradict them.
    """
    header = require(header, Kind.HYBRID_ADAPTER)
    tokens, token_dim = tensor_shape(header, "audio_encoder.pos_embed", 2)
    hidden, inputs = tensor_shape(header, "audio_encoder.proj1.weight", 2)
    outputs = tensor_shape(header, "audio_encoder.proj3.weight", 2)[0]
    layers = {kind: block_indices(header, kind) for kind in ("double", "single")}
    first = next((f"{kind}_blocks.{found[0]}" for kind, found in layers.items() if found), "")
    if not first or tokens % 4 or outputs * 4 != tokens * token_dim:
        raise InputError(
            f"{header.name} has {tokens} audio tokens of width {token_dim} from {outputs} outputs "
            f"per frame and audio after {sum(map(len, layers.values()))} blocks; expected four "
            "frames' outputs in a latent frame's tokens, and audio after at least one block: "
            "choose a complete MagicInfinite adapter."
        )
    dim = tensor_shape(header, f"{first}.audio_attn.q.weight", 2)[0]
    head_dim = tensor_shape(header, f"{first}.audio_attn.q_norm.weight", 1)[0]
    said = adapter_metadata(header)
    config = HybridAdapterConfig(
        dim=dim,
        heads=dim // head_dim,
        feature_size=0,
        double_layers=layers["double"],
        single_layers=layers["single"],
        window=int(said.get("audio_window", HybridAdapterConfig.window)),
        hidden=hidden,
        frame_tokens=tokens // 4,
        token_dim=token_dim,
        null_audio=str(said.get("null_audio", HybridAdapterConfig.null_audio)),
        trained_latents=said.get("window"),
    )
    config = replace(config, feature_size=inputs // config.window)
    _check_metadata(header, config, said, inputs)
    return config


def as_trained(family: Family, adapter: HybridAdapterConfig | None) -> Family:
    """A family with the window that an adapter says it was trained on."""
    if adapter is None or adapter.trained_latents is None:
        return family
    return replace(family, window_frames=pixel_frames(adapter.trained_latents))


def block_indices(header: Header, kind: str) -> tuple[int, ...]:
    """Indices of the ``double`` or ``single`` blocks that audio follows, ascending."""
    pattern = re.compile(rf"{kind}_blocks\.(\d+)\.audio_attn\.q\.weight")
    matches = (pattern.fullmatch(key) for key in header.shapes)
    return tuple(sorted(int(match[1]) for match in matches if match))


def adapter_metadata(header: Header) -> Mapping[str, Any]:
    """The JSON object ``config`` of an adapter's metadata; empty when there is none."""
    try:
        return dict(json.loads(header.metadata.get("config", "{}")))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{header.name} has metadata 'config' that is not a JSON object ({error}): save the "
            "file again with valid metadata, or without."
        ) from error


def describe_adapter(config: HybridAdapterConfig, **said: Any) -> dict[str, str]:
    """Metadata to save an adapter with.

    Args:
        config: Its sizes.
        said: What else is known: ``base``, ``shift``, ``distilled_steps``, ``mask_rule``,
            ``audio_layers``, ``audio_channels``, ``window`` (latent frames denoised at once).
    """
    known = {
        "hidden": config.dim,
        "heads": config.heads,
        "d_a": config.token_dim,
        "tokens_per_frame": config.frame_tokens,
        "sub_frames": 4,
        "audio_window": config.window,
        "audio_fps": 25,
        "double_layers": config.double_layers,
        "single_layers": config.single_layers,
        "null_audio": config.null_audio,
        **said,
    }
    return {"format": ADAPTER_FORMAT, "version": "1", "config": json.dumps(known)}


def check_hybrid_fits(base: HybridConfig, adapter: HybridAdapterConfig) -> None:
    """Refuse an adapter made for a base of another size.

    Raises:
        InputError: Width or heads differ, or audio follows a block that the base has not.
    """
    depth = (base.double_blocks, base.single_blocks)
    needed = tuple(max(i, default=-1) + 1 for i in (adapter.double_layers, adapter.single_layers))
    same = (base.dim, base.heads) == (adapter.dim, adapter.heads)
    if not same or any(n > d for n, d in zip(needed, depth, strict=True)):
        raise InputError(
            f"The adapter is made for width {adapter.dim} with {adapter.heads} heads and at least "
            f"{needed[0]} + {needed[1]} blocks, the base model has width {base.dim}, {base.heads} "
            f"heads and {depth[0]} + {depth[1]} blocks: choose the base that the adapter was "
            "trained on."
        )


def renamed(header: Header) -> Header:
    """What a checkpoint holds, with ComfyUI's names."""
    shapes = {comfy_key(key): shape for key, shape in header.shapes.items()}
    return Header(header.name, shapes, header.metadata)


def is_count(value: object) -> bool:
    """Whether a value of JSON is a number of latent frames that a window can have."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 1


def _check_metadata(
    header: Header, config: HybridAdapterConfig, said: Mapping[str, Any], inputs: int
) -> None:
    shapes_say = {
        "hidden": config.dim,
        "heads": config.heads,
        "d_a": config.token_dim,
        "tokens_per_frame": config.frame_tokens,
        "double_layers": list(config.double_layers),
        "single_layers": list(config.single_layers),
    }
    wrong = [
        f"{name} {said[name]} (shapes: {value})"
        for name, value in shapes_say.items()
        if said.get(name, value) != value
    ]
    if {"audio_layers", "audio_channels"} <= set(said):
        features = int(said["audio_layers"]) * int(said["audio_channels"])
        if features * config.window != inputs:
            wrong.append(f"{config.window} x {features} audio features (shapes: {inputs})")
    elif inputs % config.window:
        wrong.append(f"an audio window of {config.window} frames (shapes: {inputs} inputs)")
    if config.null_audio not in NULL_AUDIO:
        wrong.append(f"null_audio {config.null_audio} (expected {' or '.join(NULL_AUDIO)})")
    if not (config.trained_latents is None or is_count(config.trained_latents)):
        wrong.append(f"window {config.trained_latents!r} (expected a number of latent frames)")
    if wrong:
        raise InputError(
            f"The metadata of {header.name} contradict its tensors: {', '.join(wrong)}. Save the "
            "file again with the right metadata, or without."
        )
