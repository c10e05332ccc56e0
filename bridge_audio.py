"""Audio under the host's context windows: our conditioning is cut with the video.

Knows the names and layouts of what our conditioning carries, and the host's windows.
"""

from __future__ import annotations

import copy
from typing import Any

import comfy.patcher_extension
import torch
from comfy.context_windows import IndexListCallbacks
from torch import Tensor

from .frames import TEMPORAL_STRIDE
from .models.adapter import AUDIO, GATES, HOST_KEY
from .models.hybrid_adapter import GROUPED_AUDIO


def with_audio_windows(model: Any) -> Any:
    """A clone whose host context windows, if it has any, also cut the audio.

    The host's handler object is shared by all clones of a MODEL, so ours is a copy.
    """
    handler = model.model_options.get("context_handler")
    if handler is None:
        return model
    clone = model.clone()
    own = copy.copy(handler)
    own.callbacks = comfy.patcher_extension.copy_nested_dicts(handler.callbacks)
    comfy.patcher_extension.add_callback_with_key(
        IndexListCallbacks.RESIZE_COND_ITEM, HOST_KEY, cut_audio, own.callbacks
    )
    clone.model_options["context_handler"] = own
    return clone


def cut_audio(
    name: str, value: Any, window: Any, _x: Tensor, device: torch.device, _conds: dict[str, Any]
) -> Any:
    """Cut our conditioning to a host context window; None leaves a condition to the host.

    Audio counts pixel frames: the window's first latent frame hears its last pixel frame alone, as
    the first of a chunk does, each later one its four. Audio grouped by latent frames, and gates
    that move, are cut as the latents are.
    """
    if not name.startswith(f"{HOST_KEY}_"):
        return None
    anchor = getattr(window, "causal_anchor_index", None)
    latents = [*([] if anchor is None else [anchor]), *window.index_list]
    if name == GROUPED_AUDIO:
        own = [TEMPORAL_STRIDE * latent + k for latent in latents for k in range(TEMPORAL_STRIDE)]
        return value._copy_with(value.cond[:, :, own].to(device))
    if name == GATES and value.cond.shape[2] > 1:
        return value._copy_with(value.cond[:, :, latents].to(device))
    if name != AUDIO:
        return value
    frames = [TEMPORAL_STRIDE * latents[0]]
    for latent in latents[1:]:
        stop = TEMPORAL_STRIDE * latent + 1
        frames += range(stop - TEMPORAL_STRIDE, stop)
    return value._copy_with(value.cond[:, :, frames].to(device))
