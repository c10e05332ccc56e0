"""What a checkpoint is, and the sizes of its network, from keys, shapes and metadata alone.

Knows the published key names and what belongs where. It reads no tensor and builds no network.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

from ..errors import InputError
from .configs import AdapterConfig, HybridAdapterConfig, VAEConfig, WanConfig
from .weights import AnyHeader, Header, first_few

HEAD_DIM = 128
"""Width of an attention head in every published Wan model."""

LATER_FRAMES = 3
"""Audio frames a later latent frame sees beyond the first one's, as it stands for four frames."""

LORA_PARTS = {
    ".lora_down.weight": "down",
    ".lora_A.weight": "down",
    ".lora_A.default.weight": "down",
    ".lora_up.weight": "up",
    ".lora_B.weight": "up",
    ".lora_B.default.weight": "up",
    ".diff": "diff",
    ".diff_b": "diff_b",
}
"""What a key of a LoRA holds, by its ending; both namings of the low-rank factors are in use."""

_ADAPTER_KEY = re.compile(
    r"audio_proj\.|blocks\.\d+\.(audio_cross_attn|norm_x)\."
    r"|audio_encoder\.|(double|single)_blocks\.\d+\.audio_attn\."
)


class Kind(Enum):
    """What a weight file is; the value is how messages call it."""

    WAN = "a Wan base model"
    ADAPTER = "an InfiniteTalk audio adapter"
    MERGED = "a Wan base model with the audio adapter in it"
    HYBRID = "a HunyuanVideo base model"
    HYBRID_ADAPTER = "a MagicInfinite audio adapter"
    HYBRID_MERGED = "a HunyuanVideo base model with the audio adapter in it"
    VAE = "a Wan VAE"
    WAV2VEC = "a wav2vec2 audio encoder"
    LORA = "a LoRA"
    TEXT_ENCODER = "a text encoder"
    CLIP_VISION = "a CLIP vision encoder"
    UNKNOWN = "a file of another kind"


_PUBLISHED = {
    Kind.WAN: "wan2.1_i2v_480p_14B_fp16.safetensors",
    Kind.ADAPTER: "Wan2_1-InfiniteTalk-Multi_fp16.safetensors",
    Kind.MERGED: "a base model and an adapter in one file",
    Kind.HYBRID: "hunyuan_video_image_to_video_720p_bf16.safetensors",
    Kind.HYBRID_ADAPTER: "one whose keys begin with audio_encoder",
    Kind.HYBRID_MERGED: "a base model and an adapter in one file",
    Kind.VAE: "wan_2.1_vae.safetensors",
    Kind.WAV2VEC: "wav2vec2-chinese-base_fp16.safetensors",
    Kind.LORA: "lightx2v_I2V_14B_480p_cfg_step_distill_rank64_bf16.safetensors",
    Kind.TEXT_ENCODER: "umt5_xxl_fp8_e4m3fn_scaled.safetensors",
    Kind.CLIP_VISION: "clip_vision_h.safetensors",
}

# The first key of each list is named when it is missing; all of a list must be there.
_MARKERS: dict[Kind, tuple[str, ...]] = {
    Kind.WAN: ("patch_embedding.weight", "head.modulation"),
    Kind.ADAPTER: ("audio_proj.proj1.weight",),
    Kind.HYBRID: (
        "txt_in.individual_token_refiner.blocks.0.norm1.weight",
        "img_in.proj.weight",
        "final_layer.linear.weight",
    ),
    Kind.HYBRID_ADAPTER: ("audio_encoder.proj1.weight", "audio_encoder.pos_embed"),
    Kind.VAE: ("encoder.conv1.weight", "decoder.conv1.weight"),
}

_MERGED = {
    Kind.MERGED: (Kind.WAN, Kind.ADAPTER),
    Kind.HYBRID_MERGED: (Kind.HYBRID, Kind.HYBRID_ADAPTER),
}
"""Kinds that hold two: base and adapter."""

BASES = (Kind.WAN, Kind.HYBRID)
ADAPTERS = (Kind.ADAPTER, Kind.HYBRID_ADAPTER)

# One of these anywhere in the keys is enough.
_TRACES: dict[Kind, tuple[str, ...]] = {
    Kind.WAV2VEC: ("feature_extractor.conv_layers.0.conv.weight",),
    Kind.CLIP_VISION: (
        "vision_model.embeddings.patch_embedding.weight",
        "visual.patch_embedding.weight",
        "visual.conv1.weight",
    ),
    Kind.TEXT_ENCODER: (
        "token_embedding.weight",
        "encoder.block.0.layer.0.SelfAttention.q.weight",
        "shared.weight",
    ),
}


def identify(header: Header) -> Kind:
    """What a checkpoint is, from its keys; the file name is never asked."""
    keys = header.shapes
    if any(key.endswith(tuple(LORA_PARTS)) for key in keys):
        return Kind.LORA
    found = [kind for kind, marks in _MARKERS.items() if all(mark in keys for mark in marks)]
    for merged, parts in _MERGED.items():
        if all(part in found for part in parts):
            return merged
    if found:
        return found[0]
    for kind, traces in _TRACES.items():
        if any(key.endswith(traces) for key in keys):
            return kind
    return Kind.UNKNOWN


def require(header: AnyHeader, kind: Kind) -> AnyHeader:
    """Refuse a checkpoint that is not of a kind; of a merged one, return the part asked for.

    Raises:
        InputError: Names what is missing, what the file looks like, and what to choose.
    """
    found = identify(header)
    if found is kind:
        return header
    if kind in _MERGED.get(found, ()):
        base, adapter = split_merged(header)
        return base if kind in BASES else adapter
    missing = (_MARKERS.get(kind) or _TRACES.get(kind) or tuple(LORA_PARTS))[0]
    choose = f"choose {kind.value} here, such as {_PUBLISHED[kind]}"
    if re.search(r"-\d+-of-\d+", header.name):
        choose = "it is one of several parts of a model, so choose a version in one file"
    elif found is Kind.UNKNOWN:
        choose = f"it begins with {first_few(header.shapes, 3) or 'no tensor at all'}; {choose}"
    else:
        choose = f"load it where {found.value} is asked for, and {choose}"
    raise InputError(f"{header.name} is missing {missing}; it looks like {found.value}: {choose}.")


def base_kind(header: Header) -> Kind:
    """Which kind of base a checkpoint is or holds; a Wan base when it is none, for the message."""
    kind = identify(header)
    return _MERGED.get(kind, (kind,))[0] if kind in (*BASES, *_MERGED) else Kind.WAN


def adapter_kind(header: Header) -> Kind:
    """Which kind of adapter a checkpoint is or holds; InfiniteTalk's when it is none."""
    kind = identify(header)
    return _MERGED.get(kind, (kind,))[-1] if kind in (*ADAPTERS, *_MERGED) else Kind.ADAPTER


def split_merged(header: AnyHeader) -> tuple[AnyHeader, AnyHeader]:
    """The base part and the adapter part of a checkpoint that holds both."""
    return (
        header.select(lambda key: not _ADAPTER_KEY.match(key)),
        header.select(lambda key: bool(_ADAPTER_KEY.match(key))),
    )


def wan_config(header: Header) -> WanConfig:
    """Sizes of a Wan transformer.

    The number of heads is not in any shape: it is ``dim / 128`` unless the metadata says otherwise
    (``config`` holds JSON with ``transformer`` -> ``num_heads``; also ``text_len`` and ``eps``).

    Raises:
        InputError: A key is missing, or metadata and shapes contradict each other.
    """
    header = require(header, Kind.WAN)
    dim, in_channels, *patch = tensor_shape(header, "patch_embedding.weight", 5)
    said = _transformer_metadata(header)
    optional = {"text_tokens": int(said["text_len"])} if "text_len" in said else {}
    clip = header.shapes.get("img_emb.proj.1.weight")
    config = WanConfig(
        dim=dim,
        ffn_dim=tensor_shape(header, "blocks.0.ffn.0.weight", 2)[0],
        heads=_heads(header, dim, said),
        layers=block_count(header, r"blocks\.(\d+)\.self_attn\.q\.weight"),
        in_channels=in_channels,
        out_channels=tensor_shape(header, "head.head.weight", 2)[0] // math.prod(patch),
        text_dim=tensor_shape(header, "text_embedding.0.weight", 2)[1],
        freq_dim=tensor_shape(header, "time_embedding.0.weight", 2)[1],
        image_branch="blocks.0.cross_attn.k_img.weight" in header.shapes,
        image_dim=clip[-1] if clip else None,
        eps=float(said.get("eps", WanConfig.eps)),
        **optional,
    )
    _check_metadata(header, config, said)
    return config


def adapter_config(header: Header) -> AdapterConfig:
    """Sizes of an InfiniteTalk adapter.

    The two projections see the same features in windows of 5 and 5 + 3 frames, so the difference of
    their widths is three frames of features, and everything else follows.

    Raises:
        InputError: A key is missing, or the shapes are not those of an InfiniteTalk adapter.
    """
    header = require(header, Kind.ADAPTER)
    hidden, first = tensor_shape(header, "audio_proj.proj1.weight", 2)
    group = tensor_shape(header, "audio_proj.proj1_vf.weight", 2)[1]
    token_dim = tensor_shape(header, "audio_proj.norm.weight", 1)[0]
    tokens, rest = divmod(tensor_shape(header, "audio_proj.proj3.weight", 2)[0], token_dim)
    feature_size = (group - first) // LATER_FRAMES
    if rest or feature_size <= 0 or first % feature_size or group % feature_size:
        raise InputError(
            f"{header.name} has audio projections for {first} and {group} inputs and norms over "
            f"{token_dim}, expected widths like 46080, 73728 and 768 (5 and 8 frames of 12 x 768 "
            f"features): choose an InfiniteTalk adapter, such as {_PUBLISHED[Kind.ADAPTER]}."
        )
    return AdapterConfig(
        dim=tensor_shape(header, "blocks.0.audio_cross_attn.q_linear.weight", 2)[0],
        layers=block_count(header, r"blocks\.(\d+)\.audio_cross_attn\.q_linear\.weight"),
        feature_size=feature_size,
        first_window=first // feature_size,
        group_window=group // feature_size,
        hidden=hidden,
        tokens=tokens,
        token_dim=token_dim,
    )


def vae_config(header: Header) -> VAEConfig:
    """Sizes of a Wan 2.1 VAE, from the encoder's levels.

    Raises:
        InputError: A key is missing, or it is not the VAE of Wan 2.1 (Wan 2.2 5B has its own).
    """
    header = require(header, Kind.VAE)
    width, colours = tensor_shape(header, "encoder.conv1.weight", 5)[:2]
    levels: list[list[int]] = [[]]
    temporal: list[bool] = []
    for index in range(block_count(header, r"encoder\.downsamples\.(\d+)\.")):
        part = f"encoder.downsamples.{index}"
        if f"{part}.resample.1.weight" in header.shapes:
            levels.append([])
            temporal.append(f"{part}.time_conv.weight" in header.shapes)
        else:
            levels[-1].append(header.shapes.get(f"{part}.residual.2.weight", (0,))[0])
    blocks = {len(level) for level in levels}
    even = all(len(set(level)) == 1 and level[0] and level[0] % width == 0 for level in levels)
    if colours != 3 or len(blocks) != 1 or not even:
        raise InputError(
            f"{header.name} takes {colours} channels and has levels of widths {levels}, expected 3 "
            f"channels and whole multiples of {width}: choose the VAE of Wan 2.1, such as "
            f"{_PUBLISHED[Kind.VAE]}."
        )
    return VAEConfig(
        width=width,
        multipliers=tuple(level[0] // width for level in levels),
        residual_blocks=blocks.pop(),
        latent_channels=tensor_shape(header, "conv2.weight", 5)[0],
        temporal_down=tuple(temporal),
    )


def check_image_to_video(wan: WanConfig, name: str) -> None:
    """Refuse a base that cannot take a reference frame.

    Raises:
        InputError: The input is not noisy latent, 4 mask channels and reference latent.
    """
    expected = 2 * wan.out_channels + 4
    if wan.in_channels != expected:
        other = "a text-to-video model" if not wan.is_image_to_video else "another Wan variant"
        raise InputError(
            f"{name} takes {wan.in_channels} input channels and looks like {other}; InfiniteTalk "
            f"needs an image-to-video base with {expected}, such as {_PUBLISHED[Kind.WAN]}."
        )


def check_fits(wan: WanConfig, adapter: AdapterConfig) -> None:
    """Refuse an adapter made for a base of another size.

    Raises:
        InputError: Width or number of blocks differ.
    """
    if (wan.dim, wan.layers) != (adapter.dim, adapter.layers):
        raise InputError(
            f"The adapter is made for {adapter.layers} blocks of width {adapter.dim}, the base "
            f"model has {wan.layers} blocks of width {wan.dim}: choose the base that the adapter "
            "was trained on (the published adapters need Wan 2.1 I2V 14B)."
        )


def check_features(adapter: AdapterConfig | HybridAdapterConfig, hidden: int, layers: int) -> None:
    """Refuse an audio encoder whose features are not those the adapter was trained on.

    Args:
        adapter: The adapter.
        hidden: Width of the encoder's layers.
        layers: States of the encoder stacked per frame.

    Raises:
        InputError: ``hidden`` times ``layers`` is not the adapter's feature size.
    """
    if hidden * layers == adapter.feature_size:
        return
    published = adapter.feature_size == 12 * 768
    expected = "12 x 768 = 9216" if published else str(adapter.feature_size)
    raise InputError(
        f"The adapter expects {expected} audio features per frame, this wav2vec2 model gives "
        f"{layers} x {hidden} = {layers * hidden}: "
        f"use {'chinese-wav2vec2-base' if published else 'the one that the adapter came with'}."
    )


def tensor_shape(header: Header, key: str, dimensions: int) -> tuple[int, ...]:
    """Shape of a tensor that has to be there.

    Raises:
        InputError: It is missing, or has another number of dimensions.
    """
    shape = header.shapes.get(key)
    if shape is None or len(shape) != dimensions:
        got = f"it has shape {list(shape)}" if shape is not None else "it is missing"
        raise InputError(
            f"{header.name} should hold {key} with {dimensions} dimensions, but {got}: "
            "choose a complete file in the published layout."
        )
    return shape


def block_count(header: Header, pattern: str) -> int:
    """Number of blocks whose keys match; the pattern's one group is the index."""
    matches = (re.match(pattern, key) for key in header.shapes)
    indices = {int(match[1]) for match in matches if match}
    gaps = sorted(set(range(max(indices, default=0) + 1)) - indices)
    if gaps:
        raise InputError(
            f"{header.name} has blocks up to {max(indices, default=0)} but none numbered "
            f"{first_few(map(str, gaps))}: the file is incomplete, download it again."
        )
    return len(indices)


def _transformer_metadata(header: Header) -> dict[str, Any]:
    """What the metadata say of the transformer: ``config`` is JSON, as ComfyUI reads it."""
    try:
        said = json.loads(header.metadata.get("config", "{}")).get("transformer", {})
        return dict(said)
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{header.name} has metadata 'config' that is not JSON with a 'transformer' object "
            f"({error}): save the file again with valid metadata."
        ) from error


def _heads(header: Header, dim: int, said: Mapping[str, Any]) -> int:
    heads = int(said.get("num_heads", dim // HEAD_DIM))
    known = "num_heads" in said or dim % HEAD_DIM == 0
    if not known or heads < 1 or dim % (2 * heads):  # rotary positions need pairs
        raise InputError(
            f"{header.name} is {dim} wide, which {heads} heads do not divide into even widths: "
            'write the number of heads into its metadata, {"config": {"transformer": '
            '{"num_heads": ...}}}.'
        )
    return heads


def _check_metadata(header: Header, config: WanConfig, said: Mapping[str, Any]) -> None:
    shapes_say = {
        "dim": config.dim,
        "ffn_dim": config.ffn_dim,
        "num_layers": config.layers,
        "in_dim": config.in_channels,
        "out_dim": config.out_channels,
        "text_dim": config.text_dim,
        "freq_dim": config.freq_dim,
    }
    wrong = [
        f"{name} {said[name]} (shapes: {value})"
        for name, value in shapes_say.items()
        if said.get(name, value) != value
    ]
    if said.get("model_type") == "i2v" and not config.is_image_to_video:
        wrong.append(f"model_type i2v (shapes: {config.in_channels} input channels)")
    if wrong:
        raise InputError(
            f"The metadata of {header.name} contradict its tensors: {first_few(wrong)}. "
            "Save the file again with the right metadata, or without."
        )
