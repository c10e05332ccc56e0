"""Talk Sampler (Streaming): chunk after chunk to a finished clip."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from comfy_api.latest import io

from ..frames import FPS
from ..samplers.folds import describe_calls
from ..video.job_lock import check_free
from . import sockets
from .checks import check_disk
from .clip_plan import ClipPlan, StreamSettings
from .clip_sampler import (
    COLLECT,
    RENDER,
    ClipSampler,
    awaited,
    base_ahead,
    clip_outputs,
    compiled,
    given_to,
    jobs_folder,
    soundtrack_of,
    sources_of,
    weights_of,
    workflow_tags,
)
from .jobs import RenderJob, graph_identity, plan_job
from .models import ClipSources, check_streamable, check_streams, model_warnings
from .preflight import plan_clip
from .progress import clock
from .render import Outcome, collect_part, render_job, spoken
from .sampler_inputs import (
    advanced_widgets,
    content_inputs,
    job_widgets,
    model_inputs,
    sampling_widgets,
)
from .sliding_inputs import family_ahead

NO_WIDGETS = ("lossless", "shorten_last")
WIDGETS = tuple(field.name for field in fields(StreamSettings) if field.name not in NO_WIDGETS)


class StreamingSampler(ClipSampler):
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
            outputs=clip_outputs(
                overview="One small picture per chunk with its number and start time.",
                report="Length, chunks, evaluations of the network, time, and warnings.",
            ),
        )

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
        return awaited(inputs, clip)

    @classmethod
    def execute(cls, **inputs: Any) -> io.NodeOutput:
        """Make what is missing, save, show."""
        clip, action = plan_from(inputs, cls.hidden), inputs.get("action", RENDER)
        job = job_from(clip, inputs, cls.hidden)
        if action == "plan only":
            return cls.show_report(describe_plan(clip, job))
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
        seconds = time.monotonic() - started
        return cls.show_clip(outcome, describe(clip, warnings, outcome, seconds))


def plan_from(inputs: Mapping[str, Any], hidden: Any) -> ClipPlan:
    """Check and plan from the node's inputs, and from the graph where they are not made yet."""
    settings = StreamSettings(
        **{name: inputs[name] for name in WIDGETS if name in inputs},
        lossless=inputs.get("quality") == "lossless",
        shorten_last=not compiled(hidden),
    )
    return plan_clip(
        settings,
        given_to(inputs),
        folder=jobs_folder(),
        weights=weights_of(inputs, hidden),
        checks=[
            lambda: soundtrack_of(inputs.get("soundtrack")),
            lambda: check_ahead(inputs, hidden),
        ],
    )


def check_ahead(inputs: Mapping[str, Any], hidden: Any) -> None:
    """Refuse a base that cannot be streamed, before it is loaded, where one loader names it."""
    if inputs.get("model") is None and base_ahead(hidden) is not None:
        check_streamable(family_ahead(hidden))


def job_from(clip: ClipPlan, inputs: Mapping[str, Any], hidden: Any) -> RenderJob:
    """The job of a planned clip."""
    return plan_job(
        clip,
        inputs["speech"],
        inputs["reference"],
        inputs.get("soundtrack"),
        graph=graph_identity(hidden.prompt, hidden.unique_id),
        root=jobs_folder(),
    )


def checked_sources(
    clip: ClipPlan, inputs: Mapping[str, Any], warnings: list[str], node_id: str | None
) -> ClipSources:
    """What came in through the sockets, once the loaded models have been found to fit.

    Raises:
        InputError: They do not.
    """
    sources = sources_of(inputs)
    warnings += model_warnings(sources)
    check_streams(sources.model)
    sockets.show_under_node(node_id, describe(clip, warnings))
    return sources


def describe_plan(clip: ClipPlan, job: RenderJob) -> str:
    """The report of a clip that is not to be made now."""
    report, chunks = describe(clip, clip.warnings), len(clip.plan)
    there = chunks - len(job.missing)
    return f"{report}\n{there} of {chunks} chunks are there already" if there else report


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
