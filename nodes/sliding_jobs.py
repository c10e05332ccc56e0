"""The job of a clip that is denoised as a whole: one key for its latents, one for every piece.

Pieces hang on nothing but the latents and how they are shown, so another quality or other colours
decode the clip again and sample nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

from ..audio.speech import Speech
from ..frames import pixel_frames
from ..samplers.plan import Chunk
from ..video.job_folder import JobFolder, JobPlan
from ..video.job_keys import KEY_SCHEMA, chunk_places, digest
from ..video.job_states import step_keys
from .jobs import CRF, TIMELINE, RenderJob, describe_with, voice_digests
from .sliding_plan import SlidePlan


def plan_slide_job(
    slide: SlidePlan,
    speech: Speech,
    reference: Any,
    sound: Any,
    *,
    graph: Mapping[str, Any],
    root: Path,
) -> RenderJob:
    """The job of a planned clip.

    Args:
        slide: The plan.
        speech: Who speaks.
        reference: The picture.
        sound: What is heard, anything that ``digest`` takes.
        graph: From ``jobs.graph_identity``.
        root: Folder of all jobs.
    """
    settings, pieces = slide.clip.settings, slide.pieces.plan
    latents = digest(KEY_SCHEMA, latents_content(slide, speech, reference, graph))
    shown = {
        "latents": latents,
        "size": list(reference.size),
        "crf": CRF[settings.lossless],
        "color": [settings.color_anchor, settings.color_strength],
    }
    plan = JobPlan(
        keys=tuple(digest(shown, place) for place in chunk_places(pieces)),
        kept_frames=tuple(piece.kept_frames for piece in pieces),
        size=reference.size,
        crf=CRF[settings.lossless],
        sound_key=digest(sound),
        states=step_keys(latents, slide.clip.steps),
    )
    return RenderJob(JobFolder(root, settings.job_name), plan, {})


def latents_content(
    slide: SlidePlan, speech: Speech, reference: Any, graph: Mapping[str, Any]
) -> dict[str, Any]:
    """All that the latents of a clip are made from."""
    clip, windows = slide.clip, slide.windows
    frames = pixel_frames(windows.latents)
    whole = Chunk(0, 0, frames, 0, frames)
    chunks = [window.chunk for window in windows.windows]
    described = describe_with(clip.timeline, graph.get(TIMELINE))
    return {
        "graph": {name: value for name, value in graph.items() if name != TIMELINE},
        "size": list(reference.size),
        "seed": clip.settings.seed,
        "sigmas": clip.sigmas,
        "windows": [astuple(window) for window in windows.windows],
        "blend": slide.blend.value,
        "first_frame": [slide.first_frame.value, slide.family.holds_first_frame],
        "masks": clip.masks,
        "gates": None if slide.gates is None else [slide.gates(chunk) for chunk in chunks],
        "speakers": [[speaker.strength, speaker.normalized] for speaker in speech.speakers],
        "voices": [voice_digests(speaker, [whole]) for speaker in speech.speakers],
        "reference": reference.chunk_content(0, frames),
        "changes": [described(change) for change in clip.changes],
    }
