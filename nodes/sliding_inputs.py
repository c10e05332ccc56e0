"""What only the sliding-window sampler asks for, and which family a model will turn out to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io

from ..errors import InputError
from ..model_loaders.family import talking_family
from ..models.configs import WAN, Family
from ..models.hybrid_detect import hybrid_config
from ..models.weights import open_weights
from ..samplers.blend import Blend
from ..samplers.sliding import FirstFrame
from ..samplers.windows import LastWindow
from .identity import named_file
from .sliding_plan import AUDIO_REGIONS
from .upstream import nodes_ahead

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
            "Wan, 129 for HunyuanVideo. Memory goes by it, not by the length of the clip.",
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
    return family_ahead(hidden) if model is None else talking_family(model)


def family_ahead(hidden: Any) -> Family:
    """The family of the first file ahead of the model that is HunyuanVideo's, else Wan."""
    for node in nodes_ahead(hidden.prompt or {}, hidden.unique_id, "model"):
        for name, value in node["inputs"].items():
            path = named_file(node["class_type"], name, value) if isinstance(value, str) else None
            if path is None:
                continue
            try:
                return hybrid_config(open_weights(path)).family
            except (InputError, OSError):
                continue  # another file, whose loader says what is wrong with it
    return WAN
