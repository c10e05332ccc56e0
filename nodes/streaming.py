"""Talk Sampler (Streaming): chunk after chunk to a finished clip."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import comfy.samplers
import folder_paths
from comfy.cli_args import args
from comfy_api.latest import InputImpl, io, ui
from comfy_execution.graph_utils import ExecutionBlocker

from ..audio.speech import single_waveform
from ..errors import InputError
from ..frames import FPS
from ..model_loaders.base import entry_recipe, model_recipe
from ..model_loaders.vae import entry_set, vae_set
from ..samplers.folds import describe_calls
from ..samplers.guidance import BRANCH_INPUTS, TalkGuidance
from ..video.job_lock import check_free
from ..video.sound import Sound
from . import sockets
from .checks import PROMPTS, Weights, check_disk
from .clip_plan import ClipInputs, ClipPlan, StreamSettings
from .jobs import RenderJob, graph_identity, plan_job
from .models import ClipSources, check_streams, model_warnings
from .preflight import plan_clip
from .progress import clock
from .render import Outcome, collect_part, render_job, spoken
from .results import delivered, generation, inputs_key
from .sampler_inputs import (
    advanced_widgets,
    content_inputs,
    job_widgets,
    model_inputs,
    sampling_widgets,
)
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

NO_WIDGETS = ("lossless", "shorten_last")
WIDGETS = tuple(field.name for field in fields(StreamSettings) if field.name not in NO_WIDGETS)

RENDER, COLLECT = "render", "collect finished part"
"""Actions."""


class StreamingSampler(io.ComfyNode):
    """Renders the clip and saves it; nothing big is loaded before the plan holds."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The node's face."""
        return io.Schema(
            node_id="EndlessTalkStreamingSampler",
            display_name="Talk Sampler (Streaming)",
            category="EndlessTalk/sample",
            description=(
                "Renders a talking video of any length, chunk by chunk, and saves it as mp4 with "
                "sound. Each chunk of 81 frames starts from the last 9 frames of the one before "
                "(InfiniteTalk)."
            ),
            search_aliases=[
                "InfiniteTalk",
                "MultiTalk",
                "lip sync",
                "talking head",
                "avatar",
                "dubbing",
                "audio to video",
                "long video",
                "Wan 2.1",
            ],
            is_output_node=True,
            hidden=[io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo],
            inputs=[
                *model_inputs(),
                *content_inputs(),
                *sampling_widgets(),
                *advanced_widgets(),
                *job_widgets(),
            ],
            outputs=[
                io.Video.Output(
                    "video",
                    display_name="VIDEO",
                    tooltip="The saved clip, 25 fps with sound. It stays a file: nothing of it is "
                    "in memory.",
                ),
                io.Image.Output(
                    "overview",
                    display_name="overview",
                    tooltip="One small picture per chunk with its number and start time.",
                ),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="Length, chunks, evaluations of the network, time, and warnings.",
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **widgets: Any) -> Any:
        """Run again when the clip of the same inputs is not complete, or has been deleted."""
        return generation(inputs_key(widgets))

    @classmethod
    def check_lazy_status(cls, **inputs: Any) -> list[str]:
        """Check and plan with what is cheap; ask for the models when there is work for them."""
        clip = plan_from(inputs, cls.hidden)
        if inputs.get("action", RENDER) != RENDER:
            return []
        job = job_from(clip, inputs, cls.hidden)
        if not job.missing:
            return []
        check_free(job.folder)
        check_disk(clip.sampled, job.missing, job.plan.size, job.folder.path)
        wanted = [name for name in LAZY if name not in PROMPTS or reads(clip, name)]
        # A connected input that was not evaluated yet is there and None.
        return [name for name in wanted if name in inputs and inputs[name] is None]

    @classmethod
    def execute(cls, **inputs: Any) -> io.NodeOutput:
        """Make what is missing, save, show."""
        clip, action = plan_from(inputs, cls.hidden), inputs.get("action", RENDER)
        job = job_from(clip, inputs, cls.hidden)
        if action == "plan only":
            return cls.show_plan(clip, job)
        started = time.monotonic()
        sound = soundtrack_of(inputs.get("soundtrack")) or spoken(inputs["speech"])
        tags = workflow_tags(cls.hidden.prompt, cls.hidden.extra_pnginfo)
        node_id, reference = cls.hidden.unique_id, inputs["reference"]
        warnings = list(clip.warnings)
        try:
            if action == COLLECT:
                outcome = collect_part(clip, job, reference, sound, tags)
            else:
                outcome = render_job(
                    clip,
                    job,
                    lambda: checked_sources(clip, inputs, warnings, node_id),
                    reference=reference,
                    sound=sound,
                    metadata=tags,
                    node_id=node_id,
                )
        finally:
            reference.close()
        return cls.show_clip(clip, outcome, warnings, time.monotonic() - started)

    @classmethod
    def show_clip(
        cls, clip: ClipPlan, outcome: Outcome, warnings: list[str], seconds: float
    ) -> io.NodeOutput:
        """The clip, or what is there of it, and what there is to say."""
        node_id, path = cls.hidden.unique_id, outcome.path
        key = inputs_key(cls.hidden.prompt[node_id]["inputs"])
        delivered(key, path, complete=outcome.complete)
        report = describe(clip, warnings, outcome, seconds)
        sockets.show_under_node(node_id, report)
        folder = Path(folder_paths.get_output_directory())
        subfolder = path.parent.relative_to(folder).as_posix()
        saved = ui.PreviewVideo([ui.SavedResult(path.name, subfolder, io.FolderType.output)])
        video = InputImpl.VideoFromFile(str(path))
        return io.NodeOutput(video, outcome.overview, report, ui=saved)

    @classmethod
    def show_plan(cls, clip: ClipPlan, job: RenderJob) -> io.NodeOutput:
        """The report alone; nothing behind the video and the overview runs."""
        there = len(clip.plan) - len(job.missing)
        report, blocked = describe(clip, clip.warnings), ExecutionBlocker(None)
        if there:
            report += f"\n{there} of {len(clip.plan)} chunks are there already"
        sockets.show_under_node(cls.hidden.unique_id, report)
        return io.NodeOutput(blocked, blocked, report, ui=ui.PreviewText(report))


def plan_from(inputs: Mapping[str, Any], hidden: Any) -> ClipPlan:
    """Check and plan from the node's inputs, and from the graph where they are not made yet."""
    settings = StreamSettings(
        **{name: inputs[name] for name in WIDGETS if name in inputs},
        lossless=inputs.get("quality") == "lossless",
        shorten_last=not compiled(hidden),
    )
    given = ClipInputs(
        inputs["speech"],
        inputs["reference"],
        inputs.get("guidance") or TalkGuidance(),
        timeline=inputs.get("timeline"),
        connected=frozenset(name for name in inputs if name in LAZY),
        sampler=inputs.get("sampler"),
        sigmas=inputs.get("sigmas"),
    )
    return plan_clip(
        settings,
        given,
        folder=Path(folder_paths.get_output_directory()) / FOLDER,
        weights=weights_of(inputs, hidden),
        checks=[lambda: soundtrack_of(inputs.get("soundtrack"))],
    )


def compiled(hidden: Any) -> bool:
    """Whether a node ahead compiles the model, which another length of chunk would compile anew."""
    nodes = nodes_ahead(hidden.prompt or {}, hidden.unique_id, "model")
    return any("compile" in node["class_type"].lower() for node in nodes)


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


def job_from(clip: ClipPlan, inputs: Mapping[str, Any], hidden: Any) -> RenderJob:
    """The job of a planned clip."""
    return plan_job(
        clip,
        inputs["speech"],
        inputs["reference"],
        inputs.get("soundtrack"),
        graph=graph_identity(hidden.prompt, hidden.unique_id),
        root=Path(folder_paths.get_output_directory()) / FOLDER,
    )


def checked_sources(
    clip: ClipPlan, inputs: Mapping[str, Any], warnings: list[str], node_id: str | None
) -> ClipSources:
    """What came in through the sockets, once the loaded models have been found to fit.

    Raises:
        InputError: They do not.
    """
    sources = ClipSources(
        model=inputs["model"],
        vae=inputs["vae"],
        prompts={name: inputs.get(name) for name in PROMPTS},
        speech=inputs["speech"],
        reference=inputs["reference"],
        guidance=inputs.get("guidance") or TalkGuidance(),
        sampler=inputs.get("sampler") or comfy.samplers.sampler_object("euler"),
        timeline=inputs.get("timeline"),
    )
    warnings += model_warnings(sources)
    check_streams(sources.model)
    sockets.show_under_node(node_id, describe(clip, warnings))
    return sources


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


def describe(
    clip: ClipPlan,
    warnings: list[str],
    outcome: Outcome | None = None,
    seconds: float = 0.0,
) -> str:
    """The report."""
    chunks = len(clip.plan)
    lines = [
        f"{clip.frames} frames, {clock(clip.frames / FPS)} ({clip.frames / FPS:.2f} s), "
        f"{chunks} {'chunk' if chunks == 1 else 'chunks'}",
        f"{describe_calls(clip.calls, clip.schedule.tolist())}: {clip.evaluations} in all",
        *clip.notes,
    ]
    if outcome is not None:
        lines += [describe_outcome(outcome, chunks, seconds), *outcome.lines]
    return "\n".join([*lines, *(f"warning: {warning}" for warning in warnings)])


def describe_outcome(outcome: Outcome, chunks: int, seconds: float) -> str:
    """What was made in this run, and what is still missing."""
    if not outcome.complete:
        return f"not complete: {outcome.message}; {outcome.path.name} holds what is there"
    if not outcome.made:
        return f"all chunks were there: {outcome.path.name}"
    again = "" if outcome.made == chunks else f", {chunks - outcome.made} were there"
    return (
        f"{outcome.made} {'chunk' if outcome.made == 1 else 'chunks'} rendered in {seconds:.1f} s, "
        f"{seconds / outcome.made:.1f} s each{again}: {outcome.path.name}"
    )
