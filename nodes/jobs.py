"""The job of a clip: what its chunks are made from, and where they are kept.

Turns a plan, what came in through the cheap sockets, and the graph ahead of the others into keys.
Nothing big is loaded for that, so that a finished job loads nothing at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..audio.spans import heard_frames
from ..audio.speech import Speaker, Speech
from ..frames import FPS
from ..samplers.plan import Chunk
from ..samplers.timeline import ChunkChange, ClipTimeline
from ..video.job_folder import JobFolder, JobPlan
from ..video.job_keys import chunk_keys, chunk_places, digest, sound_digest, sound_digests
from ..video.job_segments import Segments
from ..video.journal import finished_clip
from .clip_plan import ClipPlan
from .identity import identify_constant
from .upstream import Prompt, ids_ahead, is_link, made_from, nodes_ahead

FROM_GRAPH = ("model", "vae", "positive", "negative", "guidance", "sampler")
"""Sockets whose values count as what the graph makes them from."""

ENCODER, TIMELINE, VISION = "EndlessTalkLoadWav2Vec", "timeline", "clip_vision"

CRF = {False: 12, True: 0}
"""x264's constant rate factor: ``high`` and ``lossless``."""


@dataclass(frozen=True)
class RenderJob:
    """A clip's chunks by key, and their folder.

    Attributes:
        folder: Where they are kept.
        plan: Their keys.
        before: For chunks that are made again while the rest is kept: the key of the take before.
    """

    folder: JobFolder
    plan: JobPlan
    before: Mapping[int, str]

    @property
    def missing(self) -> list[int]:
        """Chunks that have to be made; none when exactly this clip is finished."""
        if finished_clip(self.folder, self.plan) is not None:
            return []
        segments, keys = Segments(self.folder), self.plan.keys[: len(self.plan.shown_frames)]
        return [index for index, key in enumerate(keys) if not segments.holds(key)]


def plan_job(
    clip: ClipPlan,
    speech: Speech,
    reference: Any,
    soundtrack: Mapping[str, Any] | None,
    *,
    graph: Mapping[str, Any],
    root: Path,
) -> RenderJob:
    """The job of a planned clip.

    Args:
        clip: The plan.
        speech: Who speaks.
        reference: Where reference frames come from.
        soundtrack: The host's AUDIO instead of the voices, or None.
        graph: From ``graph_identity``.
        root: Folder of all jobs.
    """
    settings, speakers = clip.settings, speech.speakers
    crf = CRF[settings.lossless]
    common = {
        "graph": {name: value for name, value in graph.items() if name != TIMELINE},
        "size": list(reference.size),
        "crf": crf,
        "sigmas": clip.sigmas,
        "color": [settings.color_anchor, settings.color_strength],
        "hand_on": settings.hand_on,
        "masks": clip.masks,
        "speakers": [[speaker.strength, speaker.normalized] for speaker in speakers],
    }
    places = chunk_places(clip.whole)
    voices = [voice_digests(speaker, clip.whole) for speaker in speakers]
    described = describe_with(clip.timeline, graph.get(TIMELINE))

    def part(index: int, change: ChunkChange) -> dict[str, Any]:
        chunk, own = clip.whole[index], change.image is None
        return {
            "place": places[index],
            "reference": reference.chunk_content(chunk.start_frame, chunk.frames, own=own),
            "voices": [voice[index] for voice in voices],
            "seed": settings.seed if change.seed is None else change.seed,
            "change": described(change),
        }

    parts = [part(index, change) for index, change in enumerate(clip.changes)]
    links = [part(index, change.retakes or change) for index, change in enumerate(clip.changes)]
    keys = chunk_keys(parts, links, common=common)
    taken = chunk_keys(links, common=common)
    plan = JobPlan(
        keys=tuple(keys),
        kept_frames=tuple(chunk.kept_frames for chunk in clip.whole),
        size=reference.size,
        crf=crf,
        sound_key=digest(sound_identity(speech, soundtrack)),
        stop_frame=clip.frames,
    )
    before = {index: taken[index] for index, each in enumerate(clip.changes) if each.keep_rest}
    return RenderJob(JobFolder(root, settings.job_name), plan, before)


def describe_with(timeline: ClipTimeline | None, clip: Any) -> Callable[[ChunkChange], Any]:
    """From a change to what it brings, whatever its number among a timeline's prompts and images.

    Args:
        timeline: The timeline, if there is one; one that changes nothing is none.
        clip: What the text encoder behind it is made from.
    """
    images = [] if timeline is None else [digest(image) for image in timeline.images]

    def described(change: ChunkChange) -> Any:
        prompt = image = None
        if timeline is not None and change.prompt is not None:
            prompt = [timeline.timeline.prompts[change.prompt], clip]
        if change.image is not None:
            image = images[change.image]
        return [prompt, image, change.audio]

    return described


def graph_identity(prompt: Prompt, node_id: str) -> dict[str, Any]:
    """What a sampler's models and prompts are made from; see ``upstream.made_from``."""
    inputs = prompt[node_id]["inputs"]
    identity: dict[str, Any] = {
        name: made_from(prompt, node_id, name, identify_constant)
        for name in FROM_GRAPH
        if name in inputs
    }
    timeline = inputs.get(TIMELINE)
    if is_link(timeline) and "clip" in prompt[timeline[0]]["inputs"]:
        identity[TIMELINE] = made_from(prompt, timeline[0], "clip", identify_constant)
    identity["clip_vision"] = sorted(
        made_from(prompt, ahead, VISION, identify_constant)
        for ahead in ids_ahead(prompt, node_id, "reference")
        if VISION in prompt[ahead]["inputs"]
    )
    loaders = (
        node["inputs"]
        for node in nodes_ahead(prompt, node_id, "speech")
        if node["class_type"] == ENCODER
    )
    identity["wav2vec"] = sorted(
        digest({name: identify_constant(ENCODER, name, value) for name, value in inputs.items()})
        for inputs in loaders
    )
    return identity


def voice_digests(speaker: Speaker, plan: Sequence[Chunk]) -> list[str]:
    """Of what each chunk can hear of a speaker."""
    track = speaker.features.frames
    spans = [heard_frames(chunk.start_frame, chunk.frames, track) for chunk in plan]
    return sound_digests(
        speaker.waveform,
        spans,
        speaker.rate_hz / FPS,
        start_frames=speaker.start_seconds * FPS,
    )


def sound_identity(speech: Speech, soundtrack: Mapping[str, Any] | None) -> Any:
    """What is heard in the clip: a host AUDIO, or else the voices."""
    if soundtrack is not None:
        waveform, rate_hz = soundtrack["waveform"], soundtrack["sample_rate"]
        return [sound_digest(waveform, rate_hz / FPS), rate_hz]
    return [
        [sound_digest(each.waveform, each.rate_hz / FPS), each.rate_hz, each.start_seconds]
        for each in speech.speakers
    ]
