"""What every audio adapter on a ComfyUI MODEL has in common, whatever network it is attached to.

The adapter becomes an *additional model* of a clone, so that the host loads, offloads and frees it
with the base. A wrapper around every call of the network projects the audio of the call and leaves
it where the patches of the blocks find it. What the call hears travels in its conditioning, so that
guidance branches, batches and context windows each get their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor, nn

from ..models.adapter import HOST_KEY, Toolkit
from ..models.weights import WeightsFile, load_strict

CACHED_CALLS = 64
"""Projected calls kept while a chunk is sampled: branches times context windows."""

WRAPPED = (WrappersMP.APPLY_MODEL, WrappersMP.OUTER_SAMPLE, WrappersMP.PREPARE_SAMPLING)


def host_attention(q: Tensor, k: Tensor, v: Tensor, *, exact: bool = False) -> Tensor:
    """The host's attention with the signature of ``models.attention.attention``."""
    return optimized_attention(
        q.flatten(2),
        k.flatten(2),
        v.flatten(2),
        heads=q.shape[2],
        low_precision_attention=not exact,
    )


HOST_TOOLKIT = Toolkit(comfy.ops.manual_cast, host_attention)
"""Layers that cast and offload, and the attention that the user chose."""


def managed(build: Callable[[], nn.Module], file: WeightsFile) -> ModelPatcher:
    """An adapter with the weights of a file, as a model that the host manages.

    Weights stay as they are stored and are cast at use; scaled fp8, which has to be multiplied out,
    becomes fp16.

    Args:
        build: Makes the adapter without weights.
        file: Its file.
    """
    with torch.device("meta"):
        adapter = build()
    multiplied_out = torch.float16 if file.scales else None
    load_strict(adapter, file.read(dtype=multiplied_out), file.name)
    patcher = as_additional_model(adapter)
    patcher.set_attachments(HOST_KEY, file.name)
    return patcher


def as_additional_model(adapter: nn.Module) -> ModelPatcher:
    """An adapter under the host's memory management."""
    return comfy.model_patcher.CoreModelPatcher(
        adapter,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def attached_adapter(model: ModelPatcher) -> ModelPatcher | None:
    """The adapter attached to a model, or None."""
    adapters = model.get_additional_models_with_key(HOST_KEY)
    return adapters[0] if adapters else None


def adapter_file(model: ModelPatcher) -> str:
    """Name of the file the attached adapter came from, empty without one."""
    adapter = attached_adapter(model)
    return "" if adapter is None else adapter.get_attachment(HOST_KEY) or ""


class AudioCalls:
    """Puts the audio of every network call where the block patches find it.

    Audio tokens do not depend on the timestep, so they are projected once per chunk, guidance
    branch and context window, and forgotten when sampling ends.

    Args:
        hear: The ``AudioPass`` of a call from its patcher, its latents ``[B, C, T, H, W]``, our
            conditioning by name, and a function that projects audio windows; None if nothing
            speaks.
    """

    def __init__(self, hear: Callable[[ModelPatcher, Tensor, dict[str, Tensor], Any], Any]):
        self.hear = hear
        self._tokens: dict[tuple[Any, ...], Tensor] = {}

    def attach(self, model: ModelPatcher, adapter: ModelPatcher) -> None:
        """Give a clone the adapter and the three wrappers."""
        model.set_additional_models(HOST_KEY, [adapter])
        around = (self.around_call, self.around_sample, self.around_loading)
        for kind, wrapper in zip(WRAPPED, around, strict=True):
            model.add_wrapper_with_key(kind, HOST_KEY, wrapper)

    def around_sample(self, executor: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """OUTER_SAMPLE: nothing projected survives a run, whatever ends it."""
        self._tokens.clear()
        try:
            return executor(*args, **kwargs)
        finally:
            self._tokens.clear()

    def around_loading(
        self,
        executor: Callable[..., Any],
        model: ModelPatcher,
        noise_shape: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """PREPARE_SAMPLING: ask for the adapter's activations too.

        Queries, attention output, projection and norm are four streams of the base's width, beside
        the fourteen or so of the base's widest layer; a larger batch is the only way to say so.
        """
        shape = [*noise_shape]
        shape[2] = -(-shape[2] * 5 // 4)
        return executor(model, shape, *args, **kwargs)

    def around_call(self, executor: Callable[..., Any], *args: Any, **conds: Any) -> Any:
        """APPLY_MODEL: take our conditioning out of the call and project its audio."""
        ours = {name: conds.pop(name) for name in [*conds] if name.startswith(f"{HOST_KEY}_")}
        x, options = args[0], args[5]
        patcher = executor.class_obj.current_patcher
        ours = {name: value.to(x.device) for name, value in ours.items()}
        hearing = self.hear(patcher, x, ours, lambda audio: self._project(patcher, audio, options))
        if hearing is None:
            return executor(*args, **conds)
        return executor(*args[:5], {**options, HOST_KEY: hearing}, *args[6:], **conds)

    def _project(self, patcher: ModelPatcher, audio: Tensor, options: dict[str, Any]) -> Tensor:
        """Audio tokens ``[B, S, T, A, C]`` of a call."""
        adapter = attached_adapter(patcher)
        assert adapter is not None
        window = options.get("context_window")
        indices = () if window is None else tuple(window.index_list)
        key = (*options.get("uuids", ()), indices)
        if key not in self._tokens:
            if len(self._tokens) >= CACHED_CALLS:
                self._tokens.clear()
            self._tokens[key] = torch.cat([adapter.model.project(row.float()) for row in audio])
        return self._tokens[key]
