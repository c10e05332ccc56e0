"""The MagicInfinite adapter on a HunyuanVideo MODEL of ComfyUI, attached by hooks on a clone.

The audio follows the blocks that the adapter has layers for, each through a replacement of the
block that runs the block itself, or the replacement another node had put there, and adds to its
video tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..errors import InputError
from ..models.adapter import GATES, HOST_KEY, STRENGTH
from ..models.configs import HybridConfig
from ..models.detect import Kind, require
from ..models.gating import everywhere
from ..models.hybrid_adapter import GROUPED_AUDIO, HybridAudioAdapter, HybridAudioPass
from ..models.hybrid_detect import check_hybrid_fits, hybrid_adapter_config
from ..models.weights import WeightsFile
from .calls import HOST_TOOLKIT, AudioCalls, attached_adapter, managed

Replacement = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]
"""What the host calls in place of a block, with its inputs and ``original_block``."""


def load_hybrid_adapter(file: WeightsFile) -> ModelPatcher:
    """Load an adapter as a model that the host manages."""
    part = require(file, Kind.HYBRID_ADAPTER)
    config = hybrid_adapter_config(part)
    return managed(lambda: HybridAudioAdapter(config, HOST_TOOLKIT), part)


def attach_hybrid(talking: ModelPatcher, adapter: ModelPatcher, sizes: HybridConfig) -> None:
    """Hook an adapter into a clone.

    Raises:
        InputError: The adapter is made for another size.
    """
    config = adapter.model.config
    check_hybrid_fits(sizes, config)
    AudioCalls(hear).attach(talking, adapter)
    layers = (("double", config.double_layers), ("single", config.single_layers))
    for kind, indices in layers:
        for index in indices:
            inner = replacements(talking).get((f"{kind}_block", index))
            block = HeardBlock(kind, index, inner)
            talking.set_model_patch_replace(block, "dit", f"{kind}_block", index)


def detach_hybrid(model: ModelPatcher) -> None:
    """Give a clone back what stood in place of its blocks before an adapter was attached."""
    found = replacements(model)
    kept = {}
    for place, replacement in found.items():
        while isinstance(replacement, HeardBlock):
            replacement = replacement.inner
        if replacement is not None:
            kept[place] = replacement
    if found:
        options = model.model_options["transformer_options"]
        options["patches_replace"] = {**options["patches_replace"], "dit": kept}


def replacements(model: ModelPatcher) -> dict[tuple[Any, ...], Any]:
    """What stands in place of the network's blocks."""
    options = model.model_options["transformer_options"]
    return options.get("patches_replace", {}).get("dit", {})


def hear(
    patcher: ModelPatcher, x: Tensor, ours: dict[str, Tensor], project: Callable[[Tensor], Tensor]
) -> HybridAudioPass | None:
    """The audio of a call."""
    audio, gates = ours.get(GROUPED_AUDIO), ours.get(GATES)
    if audio is None:
        return None
    adapter = attached_adapter(patcher)
    assert adapter is not None
    tokens = -(-x.shape[3] // 2) * -(-x.shape[4] // 2)
    if gates is not None and gates.shape[-1] != tokens:
        raise InputError(
            f"the speakers' places are for {gates.shape[-1]} tokens per latent frame, the clip has "
            f"{tokens}: use a clip whose height and width are multiples of 16."
        )
    if gates is None:
        gates = everywhere(audio.shape[1], tokens, x.device)
    return HybridAudioPass(adapter.model, project(audio), gates, ours.get(STRENGTH))


def video_tokens(hearing: HybridAudioPass) -> int:
    """Tokens of the video itself, which are the last ones of every sequence of the network."""
    assert hearing.gates is not None
    return hearing.tokens.shape[2] * hearing.gates.shape[-1]


class HeardBlock:
    """A block with the audio behind it, which torch.compile does not look into.

    Args:
        kind: ``double`` or ``single``.
        index: Its number among the blocks of its kind.
        inner: What another node had put in the block's place, or None.
    """

    def __init__(self, kind: str, index: int, inner: Replacement | None):
        self.kind, self.index, self.inner = kind, index, inner

    @torch.compiler.disable
    def __call__(self, inputs: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
        """Run the block and add the audio to its video tokens, the last ones of the sequence."""
        original = extra["original_block"]
        out = original(inputs) if self.inner is None else self.inner(inputs, extra)
        hearing = inputs["transformer_options"].get(HOST_KEY)
        if hearing is None:
            return out
        stream = out["img"]
        length = video_tokens(hearing)
        head, video = stream[:, :-length], stream[:, -length:]
        heard = hearing.after_block(self.kind, self.index, video)
        return {**out, "img": torch.cat([head, heard], dim=1) if head.shape[1] else heard}

    def to(self, device_or_dtype: Any) -> HeardBlock:
        """The host moves patches: here, what another node had put in the block's place."""
        if hasattr(self.inner, "to"):
            self.inner = self.inner.to(device_or_dtype)
        return self

    def models(self) -> list[ModelPatcher]:
        """Models that the host has to load for what stood in the block's place."""
        return self.inner.models() if hasattr(self.inner, "models") else []
