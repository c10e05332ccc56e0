"""The audio adapter on a ComfyUI MODEL: loaded as a model of its own, attached by hooks on a clone.

Chooses by what the adapter is, and attaches InfiniteTalk's to Wan here: two block patches hand
queries, keys and the residual stream to an ``AudioPass``. MagicInfinite's has a module of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..errors import InputError
from ..models.adapter import AUDIO, GATES, HOST_KEY, MASKS, STRENGTH, AudioAdapter, AudioPass
from ..models.configs import HybridConfig, WanConfig
from ..models.detect import (
    Kind,
    adapter_config,
    adapter_kind,
    check_fits,
    check_image_to_video,
    require,
)
from ..models.hybrid_adapter import HybridAudioAdapter
from ..models.routing import SpeakerRouting
from ..models.weights import open_weights
from .calls import (
    HOST_TOOLKIT,
    WRAPPED,
    AudioCalls,
    adapter_file,
    attached_adapter,
    host_attention,
    managed,
)
from .family import model_sizes
from .hybrid_adapter import attach_hybrid, detach_hybrid, load_hybrid_adapter

__all__ = ["adapter_file", "attach_adapter", "attached_adapter", "host_attention", "load_adapter"]

PATCHES = ("attn1_patch", "attn2_patch")


def load_adapter(path: str) -> ModelPatcher:
    """Load an adapter file of any kind and any float types as a model that the host manages.

    Raises:
        FileNotFoundError, InputError: As ``models.weights.open_weights`` and ``detect.require``.
    """
    file = open_weights(path)
    if adapter_kind(file) is Kind.HYBRID_ADAPTER:
        return load_hybrid_adapter(file)
    part = require(file, Kind.ADAPTER)
    config = adapter_config(part)
    return managed(lambda: AudioAdapter(config, HOST_TOOLKIT), part)


def attach_adapter(model: ModelPatcher, adapter: ModelPatcher) -> ModelPatcher:
    """A clone of ``model`` that can hear.

    Without audio in the conditioning it computes what ``model`` computes.

    Raises:
        InputError: The model is of no family that talks, of another one than the adapter, or of
            another size.
    """
    sizes = model_sizes(model)
    check_same_family(sizes, isinstance(adapter.model, HybridAudioAdapter))
    talking = model.clone()
    detach(talking)
    if isinstance(sizes, HybridConfig):
        attach_hybrid(talking, adapter, sizes)
        return talking
    check_image_to_video(sizes, "The connected model")
    check_fits(sizes, adapter.model.config)
    AudioCalls(hear).attach(talking, adapter)
    talking.set_model_patch(BlockPatch(after_self_attention), "attn1_patch")
    talking.set_model_patch(BlockPatch(after_cross_attention), "attn2_patch")
    return talking


def check_same_family(sizes: WanConfig | HybridConfig, hybrid_adapter: bool) -> None:
    """Refuse an adapter of the other system.

    Raises:
        InputError: MagicInfinite's on a Wan model, or InfiniteTalk's on HunyuanVideo.
    """
    if isinstance(sizes, HybridConfig) and not hybrid_adapter:
        raise InputError(
            "The connected model is HunyuanVideo, and this is an InfiniteTalk adapter, which was "
            "trained on Wan: choose a MagicInfinite adapter, or connect a Wan 2.1 image-to-video "
            "model, such as wan2.1_i2v_480p_14B_fp16.safetensors."
        )
    if hybrid_adapter and not isinstance(sizes, HybridConfig):
        raise InputError(
            "The connected model is Wan, and this is a MagicInfinite adapter, which was trained on "
            "HunyuanVideo: choose an InfiniteTalk adapter, such as "
            "Wan2_1-InfiniteTalk-Multi_fp16.safetensors, or connect a HunyuanVideo model."
        )


def detach(model: ModelPatcher) -> None:
    """Remove what an earlier attachment left on a clone, so that a second one replaces it."""
    for kind in WRAPPED:
        model.remove_wrappers_with_key(kind, HOST_KEY)
    patches = model.model_options["transformer_options"].get("patches", {})
    for name in PATCHES:
        kept = [patch for patch in patches.get(name, []) if not isinstance(patch, BlockPatch)]
        if name in patches:
            patches[name] = kept
    detach_hybrid(model)


def hear(
    patcher: ModelPatcher, x: Tensor, ours: dict[str, Tensor], project: Callable[[Tensor], Tensor]
) -> AudioPass | None:
    """The audio of a call of Wan."""
    audio, masks, gates = ours.get(AUDIO), ours.get(MASKS), ours.get(GATES)
    if audio is None:
        return None
    adapter = attached_adapter(patcher)
    assert adapter is not None
    return AudioPass(
        adapter.model,
        project(audio),
        patcher.model.diffusion_model.num_heads,
        None if masks is None or gates is not None else SpeakerRouting(masks[0]),
        ours.get(STRENGTH),
        gates,
    )


class BlockPatch:
    """A block patch that torch.compile does not look into.

    Inside a compiled network the audio of a call would be a constant of the first call.
    """

    def __init__(self, function: Callable[[AudioPass, dict[str, Any]], Tensor]):
        self.function = function

    @torch.compiler.disable
    def __call__(self, arguments: dict[str, Any]) -> Tensor:
        """Run the function if the call has audio; else the stream passes unchanged."""
        hearing = arguments["transformer_options"].get(HOST_KEY)
        return arguments["x"] if hearing is None else self.function(hearing, arguments)

    def to(self, _device_or_dtype: Any) -> BlockPatch:
        """The host moves patches; there is nothing to move."""
        return self


def after_self_attention(hearing: AudioPass, arguments: dict[str, Any]) -> Tensor:
    """attn1_patch: ``q`` and ``k`` after RoPE; the attention's output passes unchanged."""
    tokens = own_tokens(arguments)
    hearing.after_self_attention(arguments["q"][:, :tokens], arguments["k"][:, :tokens])
    return arguments["x"]


def after_cross_attention(hearing: AudioPass, arguments: dict[str, Any]) -> Tensor:
    """attn2_patch: add the audio to the residual stream."""
    x, tokens = arguments["x"], own_tokens(arguments)
    index = arguments["transformer_options"]["block_index"]
    heard = hearing.after_cross_attention(index, x[:, :tokens])
    return heard if tokens == x.shape[1] else torch.cat([heard, x[:, tokens:]], dim=1)


def own_tokens(arguments: dict[str, Any]) -> int:
    """Tokens of the video itself; other packs may append more behind them."""
    latents, rows, columns = arguments["transformer_options"]["grid_sizes"]
    return latents * rows * columns
