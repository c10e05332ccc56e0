"""One clip in ComfyUI: sockets in, mp4 out.

Puts the bridge, the streaming loop and the sink together, as ``talk`` does for the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.model_management
import torch
from torch import Tensor

from ..audio.speech import Speech, mix_sound
from ..audio.windows import FeatureSource, audio_windows
from ..bridge import HostCodec, HostDenoiser
from ..bridge_hybrid import conditioner_for as host_conditioner
from ..bridge_hybrid import empty_prompt_for
from ..errors import InputError
from ..frames import FPS, SPATIAL_STRIDE, latent_frames
from ..reference.pictures import fit_picture
from ..samplers.noise import chunk_noise
from ..samplers.plan import Chunk
from ..samplers.protocols import ColorMatch, Conditioner, Reference
from ..samplers.retake import with_endings
from ..samplers.source import sampling_from_source
from ..samplers.streaming import HandOn, Sampling, stream_clip
from ..samplers.timed import TimedConditioner, TimedReference
from ..video.chunk_figures import MeasuredSink
from ..video.chunk_report import figures_text
from ..video.job_budget import TimeBudget
from ..video.journal import JobSink, Keep
from ..video.overview import contact_sheet, shown_chunks
from ..video.robust_color import color_matches
from ..video.sound import Sound
from ..video.stills import stills
from .jobs import RenderJob
from .models import ClipSources
from .preflight import ClipPlan
from .progress import Progress, WatchedSink, clock


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a run left.

    Attributes:
        path: The finished clip, or what is there of it with sound.
        complete: Whether it is the whole clip.
        overview: ``[1, H, W, 3]`` in [0, 1].
        made: Chunks made in this run; all others were there.
        message: Why it is not complete.
        lines: Figures of the chunks, for the report.
    """

    path: Path
    complete: bool
    overview: Tensor
    made: int
    message: str
    lines: list[str]


def render_job(
    clip: ClipPlan,
    job: RenderJob,
    sources: Callable[[], ClipSources],
    *,
    reference: Any,
    sound: Sound,
    metadata: Mapping[str, str],
    node_id: str | None,
) -> Outcome:
    """Make what is missing of a job, and the clip when nothing is.

    Args:
        clip: The plan.
        job: Its keys and folder.
        sources: What came in through the lazy sockets; asked for when a chunk is missing.
        reference: Where reference frames come from.
        sound: What is heard.
        metadata: Tags of the clip.
        node_id: The node that shows progress.
    """
    budget, made = TimeBudget(clip.settings.time_budget), 0
    with open_job(clip, job, sound, metadata) as sink:
        measured = MeasuredSink(sink, frames_for(clip, reference))
        complete = not sink.missing
        if complete:
            for chunk in clip.plan:
                measured.recall(chunk)
        else:
            takes = takes_before(job, sink)
            complete, made = render_missing(clip, sources(), measured, sink, budget, node_id, takes)
        sink.message = budget.message
        path = sink.finish() if complete else None
    path = path or sink.part
    assert path is not None, "a budget lets the first chunk be made"
    return outcome(clip, path, measured, complete=complete, made=made, message=sink.message)


def collect_part(
    clip: ClipPlan, job: RenderJob, reference: Any, sound: Sound, metadata: Mapping[str, str]
) -> Outcome:
    """A clip of the chunks that are there from the first on; loads and makes nothing.

    Raises:
        InputError: There is none.
    """
    with open_job(clip, job, sound, metadata) as sink:
        measured = MeasuredSink(sink, frames_for(clip, reference))
        complete = not sink.missing
        first_missing = len(clip.plan) if complete else sink.missing[0]
        for chunk in clip.plan[:first_missing]:
            measured.recall(chunk)
        path = sink.finish() if complete else None
        sink.message = "collected before it was complete"
    path = path or sink.part
    if path is None:
        raise InputError(
            f"the job {job.folder.name!r} has no finished chunk of this clip yet; render it first, "
            "or check that nothing else was changed since."
        )
    return outcome(clip, path, measured, complete=complete, made=0, message=sink.message)


def open_job(clip: ClipPlan, job: RenderJob, sound: Sound, metadata: Mapping[str, str]) -> JobSink:
    """The journal of a job, to be entered."""
    return JobSink(
        job.folder,
        job.plan,
        sound=sound,
        metadata=metadata,
        keep=Keep(clip.settings.keep),
        cancels=(KeyboardInterrupt, comfy.model_management.InterruptProcessingException),
    )


def render_missing(
    clip: ClipPlan,
    sources: ClipSources,
    measured: MeasuredSink,
    journal: JobSink,
    budget: TimeBudget,
    node_id: str | None,
    takes: Mapping[int, Mapping[str, Tensor]],
) -> tuple[bool, int]:
    """Run the loop over what is missing; whether the clip is complete, and the chunks made."""
    model, reference = sources.model, sources.reference
    codec = HostCodec(sources.vae, model.model.latent_format)
    progress = Progress(clip, journal, node_id, model)
    watched = WatchedSink(measured, progress)
    complete = stream_clip(
        clip.sampled,
        then=clip.then,
        reference=frames_for(clip, reference),
        conditioner=conditioner_for(clip, sources, codec),
        denoiser=HostDenoiser(model, sources.sampler, sources.guidance),
        codec=codec,
        sink=watched,
        sampling=sampling_for(clip, sources, codec, takes),
        color=color_for(clip, reference),
        hand_on=HandOn(clip.settings.hand_on),
        callback=progress,
        stop=budget,
    )
    return complete, watched.made


def takes_before(job: RenderJob, journal: JobSink) -> dict[int, Mapping[str, Tensor]]:
    """States of the takes that chunks have to end in.

    Raises:
        InputError: The clip was never rendered as it was before.
    """
    takes, last = {}, len(job.plan.keys) - 1
    for index in set(job.before) & set(journal.missing) - {last}:  # nothing follows the last
        state = journal.state_of(job.before[index])
        if state is None:
            raise InputError(
                f"'keep rest' makes #{index} again in the clip as it was, but the job "
                f"{job.folder.name!r} does not have that clip: render it without this line first, "
                "with nothing else changed."
            )
        takes[index] = state
    return takes


def sampling_for(
    clip: ClipPlan,
    sources: ClipSources,
    codec: HostCodec,
    takes: Mapping[int, Mapping[str, Tensor]],
) -> Callable[[Chunk], Sampling]:
    """Noise, schedule, source and ending of every chunk."""
    reference, channels = sources.reference, sources.model.model.latent_format.latent_channels
    height, width = (side // SPATIAL_STRIDE for side in reference.size)

    def plain(chunk: Chunk) -> Sampling:
        shape = (channels, latent_frames(chunk.frames), height, width)
        return Sampling(chunk_noise(clip.seed_of(chunk), chunk.index, shape), clip.sigmas)

    from_source = sampling_from_source(
        plain,
        reference.source,
        codec,
        strength=reference.source_strength,
        keep=reference.keep,
    )
    return with_endings(from_source, takes, codec)


def color_for(clip: ClipPlan, reference: Any) -> Callable[[Tensor], ColorMatch] | None:
    """From a chunk's reference frame to the match of its colours.

    Where pixels of a source are kept, they hold the colours, and a match would move them.
    """
    settings = clip.settings
    if reference.keep is not None:
        return None
    return color_matches(settings.color_anchor, settings.color_strength)


def outcome(
    clip: ClipPlan, path: Path, measured: MeasuredSink, *, complete: bool, made: int, message: str
) -> Outcome:
    """What there is to show of a clip, read from its file."""
    done = [chunk for chunk in clip.plan if complete or chunk.index in measured.figures]
    shown = [done[index] for index in shown_chunks(len(done))]
    captions = [
        f"{chunk.label} {clock(chunk.first_new_frame / FPS)}\nseed {clip.seed_of(chunk)}"
        for chunk in shown
    ]
    figures = [measured.figures.get(chunk.index) for chunk in shown]
    pictures = stills(path, [chunk.first_new_frame for chunk in shown])
    return Outcome(
        path=path,
        complete=complete,
        overview=contact_sheet(pictures, captions, figures),
        made=made,
        message="" if complete else message,
        lines=figures_text(measured.figures, clip.plan),
    )


def frames_for(clip: ClipPlan, reference: Any) -> Reference:
    """The reference frame of every chunk, with the timeline's pictures."""
    if clip.timeline is None or not clip.timeline.images:
        return reference.source
    pictures = [fit_picture(picture, reference.size) for picture in clip.timeline.images]
    return TimedReference(reference.source, clip.whole, clip.changes, pictures)


def conditioner_for(
    clip: ClipPlan,
    sources: ClipSources,
    codec: HostCodec,
    *,
    voices: Sequence[FeatureSource] | None = None,
    gates: Callable[[Chunk], Tensor] | None = None,
    blind: Collection[str] = (),
) -> Conditioner:
    """The conditions of every chunk, or window, of a clip.

    Args:
        clip: The plan.
        sources: What came in.
        codec: The VAE.
        voices: Features of the speakers; by default those that came in.
        gates: Where each speaker is heard, see ``HostConditioner``.
        blind: Predictions that see no reference.
    """
    speakers = sources.speech.speakers
    heard = [speaker.features for speaker in speakers] if voices is None else voices

    def windows(chunk: Chunk) -> Tensor:
        return torch.cat([audio_windows(v, chunk.start_frame, chunk.frames) for v in heard])

    empty = empty_prompt_for(sources.model)
    inner = host_conditioner(
        sources.model,
        codec,
        {name: prompt or empty for name, prompt in sources.prompts.items()},
        clip.branches,
        windows=windows,
        masks=clip.masks,
        strength=torch.tensor([speaker.strength for speaker in speakers]),
        image_tokens=sources.reference.tokens,
        seed=clip.settings.seed,
        gates=gates,
        blind=blind,
    )
    if clip.timeline is None:
        return inner
    return TimedConditioner(inner, clip.changes, clip.timeline.prompts)


def spoken(speech: Speech) -> Sound:
    """The voices themselves as the sound of the clip."""
    samples, rate_hz = mix_sound(speech)
    return Sound(samples=samples, rate_hz=rate_hz)
