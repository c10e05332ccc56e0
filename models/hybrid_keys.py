"""HunyuanVideo checkpoints: their two namings, and more input channels for the reference picture.

Knows names and one tensor. ComfyUI renames an original checkpoint while loading; our reference
network and the converter do it here.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import InputError

CONCAT_CHANNELS = 33
"""Noisy latent, reference latent, mask."""

INPUT = "img_in.proj.weight"

_PREFIXES = ("module.", "ema.")
"""What the original training code puts before its names."""

_RENAMED = (
    ("txt_in.c_embedder.linear_1.", "txt_in.c_embedder.in_layer."),
    ("txt_in.c_embedder.linear_2.", "txt_in.c_embedder.out_layer."),
    ("txt_in.t_embedder.mlp.0.", "txt_in.t_embedder.in_layer."),
    ("txt_in.t_embedder.mlp.2.", "txt_in.t_embedder.out_layer."),
    ("_in.mlp.0.", "_in.in_layer."),
    ("_in.mlp.2.", "_in.out_layer."),
    ("_attn_qkv.", "_attn.qkv."),
    ("_attn_proj.", "_attn.proj."),
    ("_attn_q_norm.", "_attn.norm.query_norm."),
    ("_attn_k_norm.", "_attn.norm.key_norm."),
    (".q_norm.", ".norm.query_norm."),
    (".k_norm.", ".norm.key_norm."),
    ("_mod.linear.", "_mod.lin."),
    (".modulation.linear.", ".modulation.lin."),
    ("mlp.fc1.", "mlp.0."),
    ("mlp.fc2.", "mlp.2."),
)
"""Part of an original name, and ComfyUI's."""


def comfy_key(key: str) -> str:
    """A key of the base as ComfyUI spells it; keys of an audio adapter and its own stay."""
    for prefix in _PREFIXES:
        key = key.removeprefix(prefix)
    if ".audio_attn." in key or key.startswith("audio_encoder."):
        return key
    for original, ours in _RENAMED:
        key = key.replace(original, ours)
    return key


def to_comfy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with ComfyUI's names; the tensors are the same objects."""
    return {comfy_key(key): value for key, value in state.items()}


def widen_input(state: Mapping[str, Tensor], channels: int = CONCAT_CHANNELS) -> dict[str, Tensor]:
    """A state dict whose network takes a reference latent and a mask beside the noisy latent.

    The new channels begin at zero, so it computes what it did until it is trained.

    Args:
        state: Of a base in ComfyUI's naming.
        channels: Input channels wanted.

    Raises:
        InputError: There is no input layer, or it is wider already.

    Source: MagicInfinite 3.2.
    """
    weight = state.get(INPUT)
    if weight is None:
        raise InputError(f"there is no {INPUT}: choose a HunyuanVideo base model.")
    missing = channels - weight.shape[1]
    if missing < 0:
        raise InputError(
            f"{INPUT} has {weight.shape[1]} input channels, expected at most {channels}: "
            "choose a text-to-video base of 16 channels."
        )
    zeros = torch.zeros(weight.shape[0], missing, *weight.shape[2:], dtype=torch.float32)
    return {**state, INPUT: torch.cat([weight, zeros.to(weight)], dim=1)}
