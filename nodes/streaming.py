"""Talk Sampler (Streaming): chunk after chunk to a finished clip."""

from __future__ import annotations

import json
import time
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
from ..frames import FPS
from ..model_loaders.base import entry_recipe, model_recipe
from ..model_loaders.vae import entry_set, vae_set
from ..samplers.guidance import BRANCH_INPUTS, TalkGuidance
from ..video.sound import Sound
from . import sockets
from .preflight import PROMPTS, ClipPlan, StreamSettings, Weights, plan_clip
from .render import ClipSources, clock, model_warnings, render_clip
from .results import finished, generation, inputs_key
from .upstream import constant_ahead

FOLDER = "endless_talk"
"""Below the output folder."""

LOADERS = (
    ("model", "EndlessTalkLoadModel", "base_model"),
    ("vae", "EndlessTalkLoadVAE", "vae"),
)
"""Socket, class of the node behind it that opens a file, and the widget that says which."""

LAZY = ("model", "vae", *PROMPTS)
"""Evaluated only when everything else has been found to be in order."""

WIDGETS = ("seed", "steps", "shift", "stop_at", "job_name", "chunk_frames", "context_frames")


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
            inputs=[*model_inputs(), *content_inputs(), *sampling_widgets(), *advanced_widgets()],
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
        """Run again when the clip of the same inputs has been deleted."""
        return generation(inputs_key(widgets))

    @classmethod
    def check_lazy_status(cls, **inputs: Any) -> list[str]:
        """Check and plan with what is cheap; then ask for the models."""
        clip = plan_from(inputs, cls.hidden)
        if inputs.get("action") == "plan only":
            return []
        wanted = [name for name in LAZY if name not in PROMPTS or reads(clip, name)]
        # A connected input that was not evaluated yet is there and None.
        return [name for name in wanted if name in inputs and inputs[name] is None]

    @classmethod
    def execute(cls, **inputs: Any) -> io.NodeOutput:
        """Render, save, show."""
        clip = plan_from(inputs, cls.hidden)
        if inputs.get("action") == "plan only":
            return cls.show_plan(clip)
        sources, node_id = sources_from(inputs), cls.hidden.unique_id
        warnings = clip.warnings + model_warnings(sources)
        sockets.show_under_node(node_id, describe(clip, warnings))
        started = time.monotonic()
        path, subfolder = next_clip(clip.settings.job_name)
        tags = workflow_tags(cls.hidden.prompt, cls.hidden.extra_pnginfo)
        overview = render_clip(clip, sources, path, metadata=tags, node_id=node_id)
        finished(inputs_key(cls.hidden.prompt[node_id]["inputs"]), path)
        report = describe(clip, warnings, time.monotonic() - started)
        sockets.show_under_node(node_id, report)
        saved = ui.PreviewVideo([ui.SavedResult(path.name, subfolder, io.FolderType.output)])
        return io.NodeOutput(InputImpl.VideoFromFile(str(path)), overview, report, ui=saved)

    @classmethod
    def show_plan(cls, clip: ClipPlan) -> io.NodeOutput:
        """The report alone; nothing behind the video and the overview runs."""
        report, blocked = describe(clip, clip.warnings), ExecutionBlocker(None)
        sockets.show_under_node(cls.hidden.unique_id, report)
        return io.NodeOutput(blocked, blocked, report, ui=ui.PreviewText(report))


def model_inputs() -> list[Any]:
    """MODEL, VAE, and what is said and seen."""
    return [
        io.Model.Input(
            "model",
            lazy=True,
            tooltip="A Wan 2.1 image-to-video model with an audio adapter: from Load Talking "
            "Model, or any loader followed by Apply Audio Adapter. Loaded only when all else is in "
            "order.",
        ),
        io.Vae.Input(
            "vae", lazy=True, tooltip="The Wan 2.1 VAE, from Load Talking VAE or the host's loader."
        ),
        sockets.Speech.Input(
            "speech", tooltip="The speakers, from Encode Speaker. Their sound decides the length."
        ),
        sockets.Reference.Input(
            "reference",
            tooltip="The picture that talks and the size of the clip, from Reference Image.",
        ),
    ]


def content_inputs() -> list[Any]:
    """Optional sockets."""
    return [
        io.Conditioning.Input(
            "positive",
            optional=True,
            lazy=True,
            tooltip="What the picture shows and how the speaker behaves. Without it: no text, as "
            "the built-in demo wants it.",
        ),
        io.Conditioning.Input(
            "negative",
            optional=True,
            lazy=True,
            tooltip="What to avoid. Only read when Talk Guidance guides along the text.",
        ),
        sockets.Guidance.Input(
            "guidance",
            optional=True,
            tooltip="From Talk Guidance. Without it one evaluation per step, as step LoRAs want.",
        ),
        io.Sampler.Input(
            "sampler",
            optional=True,
            tooltip="Any sampler with fixed steps; Euler without it, as published. The context "
            "frames "
            "stay clean with all of them.",
        ),
        io.Sigmas.Input(
            "sigmas",
            optional=True,
            tooltip="Noise levels per chunk, from Talk Sigmas. Overrides steps and shift.",
        ),
        io.Audio.Input(
            "soundtrack",
            optional=True,
            tooltip="Sound of the clip instead of the voices, such as a mix with music. It does "
            "not move the mouth; what is longer than the clip is cut.",
        ),
    ]


def sampling_widgets() -> list[Any]:
    """Widgets everybody sees; their order is permanent."""
    return [
        io.Int.Input(
            "seed",
            default=42,
            optional=True,
            min=0,
            max=2**63 - 1,
            control_after_generate=io.ControlAfterGenerate.fixed,
            tooltip="Noise of every chunk comes from this and the chunk's number alone.",
        ),
        io.Int.Input(
            "steps",
            default=6,
            optional=True,
            min=1,
            max=200,
            tooltip=(
                "Denoising steps per chunk: 4 to 8 with a step LoRA, 40 without, 4 with the "
                "built-in demo. Time grows with it."
            ),
        ),
        io.Float.Input(
            "shift",
            default=0.0,
            optional=True,
            min=0.0,
            max=100.0,
            step=0.1,
            tooltip="Shift of the noise schedule. 0 chooses: 7 up to 0.5 megapixels, 11 above, the "
            "built-in demo's own with it.",
        ),
        io.Float.Input(
            "stop_at",
            default=0.0,
            optional=True,
            min=0.0,
            max=86400.0,
            step=0.1,
            tooltip=(
                "Seconds after which the clip ends; 0 renders all of it. 3 is a good first try."
            ),
        ),
        io.String.Input(
            "job_name",
            default="talk",
            optional=True,
            tooltip="Folder and name of the clip below output/endless_talk. Clips are numbered, "
            "never "
            "overwritten.",
        ),
        io.Combo.Input(
            "action",
            options=["render", "plan only"],
            default="render",
            optional=True,
            tooltip="'plan only' loads nothing and reports chunks, evaluations and problems.",
        ),
    ]


def advanced_widgets() -> list[Any]:
    """Widgets for those who look for them."""
    return [
        io.Int.Input(
            "chunk_frames",
            default=81,
            min=5,
            max=401,
            step=4,
            optional=True,
            advanced=True,
            tooltip="Frames sampled at once, 4n+1. The published weights were trained on 81.",
        ),
        io.Int.Input(
            "context_frames",
            default=9,
            min=1,
            max=101,
            step=4,
            optional=True,
            advanced=True,
            tooltip=(
                "Frames handed from chunk to chunk, 4n+1. 9 as trained; each chunk adds the rest."
            ),
        ),
        io.Combo.Input(
            "color_anchor",
            options=["reference", "none"],
            default="reference",
            optional=True,
            advanced=True,
            tooltip="Match every frame's colours to the picture, against drift over minutes.",
        ),
        io.Float.Input(
            "color_strength",
            default=1.0,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=True,
            advanced=True,
            tooltip="How strongly colours are matched: 0 not at all, 1 fully, as published.",
        ),
        io.Combo.Input(
            "quality",
            options=["high", "lossless"],
            default="high",
            optional=True,
            advanced=True,
            tooltip="H.264 at crf 12, or lossless (large, and not every browser plays it).",
        ),
    ]


def plan_from(inputs: Mapping[str, Any], hidden: Any) -> ClipPlan:
    """Check and plan from the node's inputs, and from the graph where they are not made yet."""
    anchored = inputs.get("color_anchor", "reference") == "reference"
    settings = StreamSettings(
        **{name: inputs[name] for name in WIDGETS if name in inputs},
        color_strength=inputs.get("color_strength", 1.0) if anchored else 0.0,
        lossless=inputs.get("quality") == "lossless",
    )
    return plan_clip(
        settings,
        inputs["speech"],
        inputs["reference"],
        inputs.get("guidance") or TalkGuidance(),
        connected={name for name in inputs if name in LAZY},
        sampler=inputs.get("sampler"),
        sigmas=inputs.get("sigmas"),
        folder=Path(folder_paths.get_output_directory()) / FOLDER,
        weights=weights_of(inputs, hidden),
        checks=[lambda: soundtrack_of(inputs.get("soundtrack"))],
    )


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


def sources_from(inputs: Mapping[str, Any]) -> ClipSources:
    """What came in through the sockets."""
    return ClipSources(
        model=inputs["model"],
        vae=inputs["vae"],
        prompts={name: inputs.get(name) for name in PROMPTS},
        speech=inputs["speech"],
        reference=inputs["reference"],
        guidance=inputs.get("guidance") or TalkGuidance(),
        sampler=inputs.get("sampler") or comfy.samplers.sampler_object("euler"),
        soundtrack=soundtrack_of(inputs.get("soundtrack")),
    )


def reads(clip: ClipPlan, prompt: str) -> bool:
    """Whether any guidance branch of a clip reads a prompt."""
    return any(BRANCH_INPUTS[branch][0] == prompt for branch in clip.branches)


def next_clip(job_name: str) -> tuple[Path, str]:
    """Path of the next numbered clip of a job, and its subfolder of output."""
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
        f"{FOLDER}/{job_name}/{job_name}", folder_paths.get_output_directory()
    )
    return Path(folder) / f"{name}_{counter:05}_.mp4", subfolder


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


def describe(clip: ClipPlan, warnings: list[str], seconds: float | None = None) -> str:
    """The report."""
    chunks, steps = len(clip.plan), len(clip.sigmas) - 1
    lines = [
        f"{clip.frames} frames, {clock(clip.frames / FPS)} ({clip.frames / FPS:.2f} s), "
        f"{chunks} {'chunk' if chunks == 1 else 'chunks'}",
        f"{steps} steps per chunk, {len(clip.branches)} network "
        f"{'call' if len(clip.branches) == 1 else 'calls'} per step: {clip.evaluations} in all",
    ]
    if seconds is not None:
        lines.append(f"rendered in {seconds:.1f} s, {seconds / chunks:.1f} s per chunk")
    return "\n".join([*lines, *(f"warning: {warning}" for warning in warnings)])
