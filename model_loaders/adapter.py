"""The audio adapter on a ComfyUI MODEL: loaded as a model of its own, attached by hooks on a clone.

The adapter becomes an *additional model* of the clone, so that the host loads, offloads and frees
it with the base. Three hooks make it speak: a wrapper around every call of the network projects
the audio of the call, and two block patches hand queries, keys and the residual stream to an
``AudioPass``. What the call hears travels in its conditioning, so that guidance branches, batches
and context windows each get their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..models.adapter import (
    AUDIO,
    HOST_KEY,
    MASKS,
    STRENGTH,
    AudioAdapter,
    AudioPass,
    Toolkit,
)
from ..models.detect import Kind, adapter_config, check_fits, check_image_to_video, require
from ..models.routing import SpeakerRouting
from ..models.weights import load_strict, open_weights
from .base import model_sizes

PATCHES = ("attn1_patch", "attn2_patch")

CACHED_CALLS = 64
"""Projected calls kept while a chunk is sampled: branches times context windows."""


def host_attention(q: Tensor, k: Tensor, v: Tensor, *, exact: bool = False) -> Tensor:
    """The host's attention with the signature of ``models.attention.attention``."""
    return optimized_attention(
        q.flatten(2),
        k.flatten(2),
        v.flatten(2),
        heads=q.shape[2],
        low_precision_attention=not exact,
    )


def load_adapter(path: str) -> comfy.model_patcher.ModelPatcher:
    """Load an adapter file of any float types as a model that the host manages.

    Weights stay as they are stored and are cast at use; scaled fp8, which has to be multiplied out,
    becomes fp16.

    Raises:
        FileNotFoundError, InputError: As ``models.weights.open_weights`` and ``detect.require``.
    """
    file = require(open_weights(path), Kind.ADAPTER)
    toolkit = Toolkit(comfy.ops.manual_cast, host_attention)
    with torch.device("meta"):
        adapter = AudioAdapter(adapter_config(file), toolkit)
    multiplied_out = torch.float16 if file.scales else None
    load_strict(adapter, file.read(dtype=multiplied_out), file.name)
    patcher = comfy.model_patcher.CoreModelPatcher(
        adapter,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )
    patcher.set_attachments(HOST_KEY, file.name)
    return patcher


def attach_adapter(
    model: comfy.model_patcher.ModelPatcher, adapter: comfy.model_patcher.ModelPatcher
) -> comfy.model_patcher.ModelPatcher:
    """A clone of ``model`` that can hear.

    Without audio in the conditioning it computes what ``model`` computes.

    Raises:
        InputError: The model is no Wan 2.1 image-to-video model, or of another size.
    """
    sizes = model_sizes(model)
    check_image_to_video(sizes, "The connected model")
    check_fits(sizes, adapter.model.config)
    talking = model.clone()
    detach(talking)
    talking.set_additional_models(HOST_KEY, [adapter])
    calls = AudioCalls()
    talking.add_wrapper_with_key(WrappersMP.APPLY_MODEL, HOST_KEY, calls.around_call)
    talking.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, HOST_KEY, calls.around_sample)
    talking.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, HOST_KEY, calls.around_loading)
    talking.set_model_patch(BlockPatch(after_self_attention), "attn1_patch")
    talking.set_model_patch(BlockPatch(after_cross_attention), "attn2_patch")
    return talking


def detach(model: comfy.model_patcher.ModelPatcher) -> None:
    """Remove what an earlier attachment left on a clone, so that a second one replaces it."""
    for kind in (WrappersMP.APPLY_MODEL, WrappersMP.OUTER_SAMPLE, WrappersMP.PREPARE_SAMPLING):
        model.remove_wrappers_with_key(kind, HOST_KEY)
    patches = model.model_options["transformer_options"].get("patches", {})
    for name in PATCHES:
        kept = [patch for patch in patches.get(name, []) if not isinstance(patch, BlockPatch)]
        if name in patches:
            patches[name] = kept


def attached_adapter(
    model: comfy.model_patcher.ModelPatcher,
) -> comfy.model_patcher.ModelPatcher | None:
    """The adapter attached to a model, or None."""
    adapters = model.get_additional_models_with_key(HOST_KEY)
    return adapters[0] if adapters else None


def adapter_file(model: comfy.model_patcher.ModelPatcher) -> str:
    """Name of the file the attached adapter came from, empty without one."""
    adapter = attached_adapter(model)
    return "" if adapter is None else adapter.get_attachment(HOST_KEY) or ""


class AudioCalls:
    """Puts the audio of every network call where the block patches find it.

    Audio tokens do not depend on the timestep, so they are projected once per chunk, guidance
    branch and context window, and forgotten when sampling ends.
    """

    def __init__(self):
        self._tokens: dict[tuple[Any, ...], Tensor] = {}

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
        model: comfy.model_patcher.ModelPatcher,
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
        audio = conds.pop(AUDIO, None)
        masks, strength = conds.pop(MASKS, None), conds.pop(STRENGTH, None)
        if audio is None:
            return executor(*args, **conds)
        x, options = args[0], args[5]
        patcher = executor.class_obj.current_patcher
        adapter = attached_adapter(patcher)
        assert adapter is not None
        routing = None if masks is None else SpeakerRouting(masks[0].to(x.device))
        hearing = AudioPass(
            adapter.model,
            self._project(adapter.model, audio.to(x.device), options),
            patcher.model.diffusion_model.num_heads,
            routing,
            strength,
        )
        return executor(*args[:5], {**options, HOST_KEY: hearing}, *args[6:], **conds)

    def _project(self, adapter: AudioAdapter, audio: Tensor, options: dict[str, Any]) -> Tensor:
        """Audio tokens ``[B, S, T, A, C]`` of a call."""
        window = options.get("context_window")
        indices = () if window is None else tuple(window.index_list)
        key = (*options.get("uuids", ()), indices)
        if key not in self._tokens:
            if len(self._tokens) >= CACHED_CALLS:
                self._tokens.clear()
            self._tokens[key] = torch.cat([adapter.project(row.float()) for row in audio])
        return self._tokens[key]


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
