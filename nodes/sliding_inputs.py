"""What only the sliding-window sampler asks for, and which family a model will turn out to be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..errors import InputError
from ..model_loaders.adapter import attached_adapter
from ..model_loaders.base import find_pair
from ..model_loaders.choice import AUTO
from ..model_loaders.family import talking_family
from ..models.configs import WAN, Family, HybridAdapterConfig
from ..models.detect import Kind, adapter_kind, base_kind
from ..models.hybrid_detect import as_trained, hybrid_adapter_config, hybrid_config
from ..models.weights import open_weights
from ..samplers.blend import Blend
from ..samplers.sliding import FirstFrame
from ..samplers.windows import LastWindow
from .identity import listed_file, named_file
from .sliding_plan import AUDIO_REGIONS
from .upstream import nodes_ahead

LOAD_MODEL, APPLY_ADAPTER = "EndlessTalkLoadModel", "EndlessTalkApplyAdapter"

TOOLTIPS = {
    "model": "HunyuanVideo with a MagicInfinite adapter, or a Wan 2.1 image-to-video model with an "
    "InfiniteTalk adapter: from Load Talking Model, or any loader followed by Apply Audio Adapter. "
    "Loaded only when all else is in order.",
    "vae": "The VAE of the model, from Load Talking VAE or the host's loader.",
    "sampler": "Any sampler with fixed steps; Euler without it, as published. Only with Euler can "
    "a clip be stopped between two steps.",
    "sigmas": "Noise levels of the clip, from Talk Sigmas. Overrides steps and shift.",
    "timeline": "Changes of prompt and strength of the voice in the course of the clip, window by "
    "window, from Timeline.",
    "seed": "All of the clip's noise comes from this number.",
    "steps": "Denoising steps; every one goes over all windows. 4 to 8 with a distilled model or a "
    "step LoRA, 40 without.",
    "job_name": "Folder and name of the clip below output/endless_talk. The clip is kept there "
    "after every step: run again after a stop or a crash, and it goes on. Clips are numbered, "
    "never overwritten.",
    "action": "'plan only' loads nothing and reports windows, evaluations and problems. 'collect "
    "finished part' makes a clip of what is decoded.",
    "time_budget": "Minutes after which no further step is begun; 0 is no limit. The next run goes "
    "on.",
    "keep": "What stays when the clip is finished: 'all chunks', its latents and decoded pieces, "
    "so that other colours sample nothing, or 'clip only'.",
}
"""Where this sampler means something else than the streaming one."""


def worded(inputs: list[Any]) -> list[Any]:
    """Inputs of all samplers with the tooltips of this one."""
    for each in inputs:
        each.tooltip = TOOLTIPS.get(each.id, each.tooltip)
    return inputs


def window_widgets() -> list[Any]:
    """Widgets everybody sees; their order is permanent."""
    return [
        io.Int.Input(
            "window_frames",
            default=0,
            min=0,
            max=100_001,
            optional=True,
            tooltip="Frames denoised at once, 4n+1. 0 is what the model was trained with: 81 for "
            "Wan, 129 for HunyuanVideo, or as its adapter says. Memory goes by it, not by the "
            "length of the clip.",
        ),
        io.Int.Input(
            "overlap",
            default=0,
            min=0,
            max=50_000,
            step=4,
            optional=True,
            tooltip="Frames that neighbouring windows share, a multiple of 4, at most half a "
            "window. 0 is a quarter: 20 of 81, 32 of 129. More is smoother and takes longer.",
        ),
        io.Combo.Input(
            "blend",
            options=[blend.value for blend in Blend],
            default=Blend.PAPER.value,
            optional=True,
            tooltip="How a window takes over from the one before in the frames they share: "
            "'paper' as published for MagicInfinite, straight after its first frames.",
        ),
        io.Combo.Input(
            "first_frame",
            options=[first.value for first in FirstFrame],
            default=FirstFrame.EVERY.value,
            optional=True,
            tooltip="What a later window finds in its first frame. The reference keeps the "
            "identity; 'anchor slot' gives it a frame of its own; 'previous estimate' is smoothest "
            "and may drift; 'first window only' is for models that hold no frame.",
        ),
    ]


def hidden_widgets() -> list[Any]:
    """Widgets for those who look for them; appended behind all others."""
    return [
        io.Combo.Input(
            "last_window",
            options=[last.value for last in LastWindow],
            default=LastWindow.PAD.value,
            optional=True,
            advanced=True,
            tooltip="The last window runs past the end and is cut ('pad'), is moved back "
            "('shift'), or all are moved a little ('even').",
        ),
        io.Combo.Input(
            "audio_region",
            options=[*AUDIO_REGIONS],
            default=AUDIO_REGIONS[0],
            optional=True,
            advanced=True,
            tooltip="Where the voices are heard. 'face': in the regions from Face Masks; "
            "'routing': where Wan's attention finds each speaker. 'auto': faces for HunyuanVideo, "
            "routing for Wan with several speakers.",
        ),
    ]


def family_of(inputs: Mapping[str, Any], hidden: Any) -> Family:
    """What the connected model is; from the files of the graph where it is not loaded yet.

    Raises:
        InputError: A loaded model cannot speak.
    """
    model = inputs.get("model")
    if model is None:
        return family_ahead(hidden)
    family, adapter = talking_family(model), attached_adapter(model)
    config = None if adapter is None else adapter.model.config
    return as_trained(family, config) if isinstance(config, HybridAdapterConfig) else family


def family_ahead(hidden: Any) -> Family:
    """The family of the first file ahead of the model that is HunyuanVideo's, else Wan.

    The window is that of the first adapter for it: of several, the one nearest to the sampler
    counts.
    """
    family = adapter = None
    for node in nodes_ahead(hidden.prompt or {}, hidden.unique_id, "model"):
        for path in files_of(node):
            with suppress(InputError, OSError):  # its loader says what is wrong with it
                file = open_weights(path)
                if family is None and base_kind(file) is Kind.HYBRID:
                    family = hybrid_config(file).family
                if adapter is None and adapter_kind(file) is Kind.HYBRID_ADAPTER:
                    adapter = hybrid_adapter_config(file)
    return WAN if family is None else as_trained(family, adapter)


def files_of(node: Mapping[str, Any]) -> Iterator[Path]:
    """The files that a node of a graph names; where it says `auto`, those that are meant."""
    kind, inputs = node["class_type"], node["inputs"]
    if kind == LOAD_MODEL:
        chosen = inputs.get("base_model"), inputs.get("adapter", AUTO)
        if all(isinstance(each, str) for each in chosen):
            with suppress(InputError, OSError):
                yield from find_pair(*chosen)
                return
    elif kind == APPLY_ADAPTER and inputs.get("adapter", AUTO) == AUTO:
        found = listed_file("hybrid_adapter", AUTO)
        yield from [] if found is None else [found]
    for name, value in inputs.items():
        path = named_file(kind, name, value) if isinstance(value, str) else None
        if path is not None:
            yield path
