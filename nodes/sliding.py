"""Talk Sampler (Sliding Window): the whole clip from noise at once, in overlapping windows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from comfy_api.latest import io

from ..bridge_windows import has_context_windows
from ..frames import FPS
from ..masks.gates import check_gates
from ..samplers.folds import describe_calls
from ..video.job_lock import check_free
from . import sockets
from .checks import check_disk
from .clip_plan import StreamSettings
from .clip_sampler import (
    COLLECT,
    RENDER,
    ClipSampler,
    awaited,
    clip_outputs,
    compiled,
    given_to,
    jobs_folder,
    soundtrack_of,
    sources_of,
    weights_of,
    workflow_tags,
)
from .jobs import RenderJob, graph_identity, sound_identity
from .models import ClipSources, model_warnings
from .progress import clock
from .render import Outcome, collect_part, spoken
from .results import delivered
from .sampler_inputs import (
    advanced_widgets,
    content_inputs,
    job_widgets,
    model_inputs,
    sampling_widgets,
)
from .sliding_inputs import family_of, hidden_widgets, window_widgets, worded
from .sliding_jobs import plan_slide_job
from .sliding_plan import SlidePlan, SlideSettings, check_first_frame, plan_slide
from .sliding_render import denoiser_for, render_slide, steps_done

CHUNKED = ("chunk_frames", "context_frames", "hand_on")
"""Widgets of the streaming sampler that mean nothing here."""

OWN = tuple(field.name for field in fields(SlideSettings))
SHARED = ("seed", "steps", "shift", "stop_at", "job_name", "color_anchor", "color_strength")
JOB = ("time_budget", "keep")


class SlidingSampler(ClipSampler):
    """Renders the clip and saves it; nothing big is loaded before the plan holds."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The node's face."""
        advanced = [*advanced_widgets(), *job_widgets()]
        chunkless = [each for each in advanced if each.id not in CHUNKED]
        return io.Schema(
            node_id="EndlessTalkSlidingSampler",
            display_name="Talk Sampler (Sliding Window)",
            category="EndlessTalk/sample",
            description=(
                "Renders a talking video as a whole and saves it as mp4 with sound: every step "
                "goes over all of the clip in overlapping windows that are blended "
                "(MagicInfinite). No seams; the first picture comes when all steps are done."
            ),
            search_aliases=[
                "MagicInfinite",
                "HunyuanVideo",
                "context windows",
                "lip sync",
                "talking head",
                "audio to video",
                "long video",
            ],
            is_output_node=True,
            hidden=[io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo],
            inputs=[
                *worded([*model_inputs(), *content_inputs(), *sampling_widgets()]),
                *window_widgets(),
                *worded(chunkless),
                *hidden_widgets(),
            ],
            outputs=clip_outputs(
                overview="One small picture per decoded piece with its number and start time.",
                report="Length, windows, evaluations of the network, time, and warnings.",
            ),
        )

    @classmethod
    def check_lazy_status(cls, **inputs: Any) -> list[str]:
        """Check and plan with what is cheap; ask for the models when there is work for them."""
        slide = plan_from(inputs, cls.hidden)
        if inputs.get("action", RENDER) != RENDER:
            return []
        job = job_from(slide, inputs, cls.hidden)
        if not job.missing:
            return []
        check_free(job.folder)
        check_disk(
            slide.kept,
            job.missing,
            job.plan.size,
            job.folder.path,
            states_bytes=slide.states_bytes,
        )
        return awaited(inputs, slide.clip)

    @classmethod
    def execute(cls, **inputs: Any) -> io.NodeOutput:
        """Make what is missing, save, show."""
        slide, action = plan_from(inputs, cls.hidden), inputs.get("action", RENDER)
        job = job_from(slide, inputs, cls.hidden)
        if action == "plan only":
            return cls.show_report(describe(slide, [steps_done(slide, job)]))
        started = time.monotonic()
        sound = soundtrack_of(inputs.get("soundtrack")) or spoken(inputs["speech"])
        tags = workflow_tags(cls.hidden.prompt, cls.hidden.extra_pnginfo)
        node_id, reference = cls.hidden.unique_id, inputs["reference"]
        message = ""
        try:
            if action == COLLECT:
                outcome = collect_part(slide.pieces, job, reference, sound, tags)
            else:
                outcome, message = render_slide(
                    slide,
                    job,
                    lambda: checked_sources(slide, inputs, node_id),
                    reference=reference,
                    sound=sound,
                    metadata=tags,
                    node_id=node_id,
                )
        finally:
            reference.close()
        if outcome is None:
            delivered(cls.key(), job.folder.path, complete=False)
            lines = [f"not complete: {message}; no frame is decoded yet"]
            return cls.show_report(describe(slide, lines))
        lines = [describe_outcome(slide, outcome, time.monotonic() - started), *outcome.lines]
        return cls.show_clip(outcome, describe(slide, lines))


def plan_from(inputs: Mapping[str, Any], hidden: Any) -> SlidePlan:
    """Check and plan from the node's inputs, and from the graph where they are not made yet."""
    settings = StreamSettings(
        **{name: inputs[name] for name in (*SHARED, *JOB) if name in inputs},
        lossless=inputs.get("quality") == "lossless",
        shorten_last=not compiled(hidden),
    )
    return plan_slide(
        settings,
        SlideSettings(**{name: inputs[name] for name in OWN if name in inputs}),
        given_to(inputs),
        folder=jobs_folder(),
        weights=weights_of(inputs, hidden),
        family=family_of(inputs, hidden),
        checks=[lambda: soundtrack_of(inputs.get("soundtrack"))],
    )


def job_from(slide: SlidePlan, inputs: Mapping[str, Any], hidden: Any) -> RenderJob:
    """The job of a planned clip."""
    return plan_slide_job(
        slide,
        inputs["speech"],
        inputs["reference"],
        sound_identity(inputs["speech"], inputs.get("soundtrack")),
        graph=graph_identity(hidden.prompt, hidden.unique_id),
        root=jobs_folder(),
    )


def checked_sources(
    slide: SlidePlan, inputs: Mapping[str, Any], node_id: str | None
) -> ClipSources:
    """What came in through the sockets, once the loaded models have been found to fit.

    Raises:
        InputError: They do not.
    """
    sources = sources_of(inputs)
    check_first_frame(slide.settings, slide.family)
    if slide.gates is not None:
        check_gates(sources.speech.speakers, sources.reference.box)
    slide.clip.warnings.extend(model_warnings(sources))
    slide.clip.warnings.extend(window_warnings(slide, sources.model))
    if one_go := denoiser_for(slide, sources).one_go:
        slide.clip.notes.append(f"a stop begins the steps anew: {one_go}")
    sockets.show_under_node(node_id, describe(slide, []))
    return sources


def window_warnings(slide: SlidePlan, model: Any) -> list[str]:
    """Which windows win, when another node cuts too."""
    if not has_context_windows(model):
        return []
    if len(slide.windows.windows) > 1:
        return [
            "the context windows of another node are not used: this sampler has windows of its "
            "own. For the others, set window_frames to the length of the clip or more"
        ]
    return ["the context windows of another node cut the clip; overlap and blend are theirs"]


def describe(slide: SlidePlan, lines: list[str]) -> str:
    """The report."""
    clip = slide.clip
    calls = describe_calls(clip.calls, clip.schedule.tolist(), "window")
    said = [
        f"{clip.frames} frames, {clock(clip.frames / FPS)} ({clip.frames / FPS:.2f} s)",
        *clip.notes,
        f"{calls}: {clip.evaluations} in all",
        *lines,
    ]
    return "\n".join([*said, *(f"warning: {warning}" for warning in clip.warnings)])


def describe_outcome(slide: SlidePlan, outcome: Outcome, seconds: float) -> str:
    """What was made in this run, and what is still missing."""
    pieces = len(slide.pieces.plan)
    if not outcome.complete:
        return f"not complete: {outcome.message}; {outcome.path.name} holds what is there"
    if not outcome.made:
        return f"all of it was there: {outcome.path.name}"
    return (
        f"rendered in {seconds:.1f} s, {outcome.made} of {pieces} "
        f"{'piece' if pieces == 1 else 'pieces'} decoded: {outcome.path.name}"
    )
