"""What all samplers are: nodes that plan, render and save a clip as a job, and show it.

Knows the host's sockets, folders and results. How a clip is made is each sampler's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import comfy.samplers
import folder_paths
from comfy.cli_args import args
from comfy_api.latest import InputImpl, io, ui
from comfy_execution.graph_utils import ExecutionBlocker

from ..audio.speech import single_waveform
from ..errors import InputError
from ..model_loaders.base import entry_recipe, model_recipe
from ..model_loaders.vae import entry_set, vae_set
from ..samplers.guidance import BRANCH_INPUTS, TalkGuidance
from ..video.sound import Sound
from . import sockets
from .checks import PROMPTS, Weights
from .clip_plan import ClipInputs, ClipPlan
from .models import ClipSources
from .render import Outcome
from .results import delivered, generation, inputs_key
from .upstream import constant_ahead, nodes_ahead

FOLDER = "endless_talk"
"""Below the output folder."""

LOADERS = (
    ("model", "EndlessTalkLoadModel", "base_model"),
    ("vae", "EndlessTalkLoadVAE", "vae"),
)
"""Socket, class of the node behind it that opens a file, and the widget that says which."""

LAZY = ("model", "vae", *PROMPTS)
"""Evaluated only when everything else has been found to be in order."""

RENDER, COLLECT = "render", "collect finished part"
"""Actions."""


class ClipSampler(io.ComfyNode):
    """A node that saves a clip, and runs again as long as it is not complete."""

    @classmethod
    def fingerprint_inputs(cls, **widgets: Any) -> Any:
        """Run again when the clip of the same inputs is not complete, or has been deleted."""
        return generation(inputs_key(widgets))

    @classmethod
    def key(cls) -> str:
        """What tells this node's inputs from others'."""
        return inputs_key(cls.hidden.prompt[cls.hidden.unique_id]["inputs"])

    @classmethod
    def show_clip(cls, outcome: Outcome, report: str) -> io.NodeOutput:
        """The clip, or what is there of it, and what there is to say."""
        path = outcome.path
        delivered(cls.key(), path, complete=outcome.complete)
        sockets.show_under_node(cls.hidden.unique_id, report)
        folder = Path(folder_paths.get_output_directory())
        subfolder = path.parent.relative_to(folder).as_posix()
        saved = ui.PreviewVideo([ui.SavedResult(path.name, subfolder, io.FolderType.output)])
        video = InputImpl.VideoFromFile(str(path))
        return io.NodeOutput(video, outcome.overview, report, ui=saved)

    @classmethod
    def show_report(cls, report: str) -> io.NodeOutput:
        """The report alone; nothing behind the video and the overview runs."""
        blocked = ExecutionBlocker(None)
        sockets.show_under_node(cls.hidden.unique_id, report)
        return io.NodeOutput(blocked, blocked, report, ui=ui.PreviewText(report))


def clip_outputs(*, overview: str, report: str) -> list[Any]:
    """The outputs of a sampler, with the tooltips of the last two."""
    return [
        io.Video.Output(
            "video",
            display_name="VIDEO",
            tooltip="The saved clip, 25 fps with sound. It stays a file: nothing of it is "
            "in memory.",
        ),
        io.Image.Output("overview", display_name="overview", tooltip=overview),
        io.String.Output("report", display_name="report", tooltip=report),
    ]


def jobs_folder() -> Path:
    """The folder of all jobs."""
    return Path(folder_paths.get_output_directory()) / FOLDER


def given_to(inputs: Mapping[str, Any]) -> ClipInputs:
    """What came in through the sockets that are cheap to evaluate."""
    return ClipInputs(
        inputs["speech"],
        inputs["reference"],
        inputs.get("guidance") or TalkGuidance(),
        timeline=inputs.get("timeline"),
        connected=frozenset(name for name in inputs if name in LAZY),
        sampler=inputs.get("sampler"),
        sigmas=inputs.get("sigmas"),
    )


def sources_of(inputs: Mapping[str, Any]) -> ClipSources:
    """What came in through all sockets."""
    return ClipSources(
        model=inputs["model"],
        vae=inputs["vae"],
        prompts={name: inputs.get(name) for name in PROMPTS},
        speech=inputs["speech"],
        reference=inputs["reference"],
        guidance=inputs.get("guidance") or TalkGuidance(),
        sampler=inputs.get("sampler") or comfy.samplers.sampler_object("euler"),
        timeline=inputs.get("timeline"),
    )


def awaited(inputs: Mapping[str, Any], clip: ClipPlan) -> list[str]:
    """Models and prompts that a clip needs and that were not evaluated yet."""
    wanted = [name for name in LAZY if name not in PROMPTS or reads(clip, name)]
    # A connected input that was not evaluated yet is there and None.
    return [name for name in wanted if name in inputs and inputs[name] is None]


def compiled(hidden: Any) -> bool:
    """Whether a node ahead compiles the model, which another length of chunk would compile anew."""
    nodes = nodes_ahead(hidden.prompt or {}, hidden.unique_id, "model")
    return any("compile" in node["class_type"].lower() for node in nodes)


def base_ahead(hidden: Any) -> str | None:
    """What the one Load Talking Model ahead has chosen as its base, if there is just one."""
    socket, kind, widget = LOADERS[0]
    return constant_ahead(hidden.prompt, hidden.unique_id, socket, kind=kind, widget=widget)


def weights_of(inputs: Mapping[str, Any], hidden: Any) -> Weights:
    """What MODEL and VAE are: asked themselves when they are there, else looked up in the graph."""
    model, vae = inputs.get("model"), inputs.get("vae")
    base, vae_entry = (
        constant_ahead(hidden.prompt, hidden.unique_id, socket, kind=kind, widget=widget)
        for socket, kind, widget in LOADERS
    )
    recipe, belongs = None, None
    if model is not None or base is not None:
        recipe = model_recipe(model) if model is not None else entry_recipe(base)
    if vae is not None or vae_entry is not None:
        belongs = vae_set(vae) if vae is not None else entry_set(vae_entry)
    return Weights(recipe, model is not None or base is not None, belongs)


def reads(clip: ClipPlan, prompt: str) -> bool:
    """Whether any guidance branch of a clip reads a prompt."""
    return any(BRANCH_INPUTS[branch][0] == prompt for branch in clip.branches)


def soundtrack_of(audio: Mapping[str, Any] | None) -> Sound | None:
    """A host AUDIO as the sound of a clip."""
    if audio is None:
        return None
    try:
        waveform = single_waveform(audio["waveform"])
        return Sound(samples=waveform, rate_hz=audio["sample_rate"])
    except InputError as error:
        raise InputError(f"the soundtrack cannot be used. {error}") from error


def workflow_tags(prompt: Any, extra: Mapping[str, Any] | None) -> dict[str, str]:
    """Tags that bring the graph back when the clip is dropped on the canvas."""
    if args.disable_metadata:
        return {}
    tags = {"prompt": prompt, **(extra or {})}
    return {name: json.dumps(value) for name, value in tags.items() if value is not None}
