"""One clip in ComfyUI through sliding windows: sockets in, mp4 out.

Puts the bridge, the sliding-window loop and the sink together, as ``render`` does for streaming.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from ..audio.stored import StoredFeatures
from ..bridge import HostCodec
from ..bridge_windows import HostWindowDenoiser
from ..frames import SPATIAL_STRIDE
from ..samplers.guidance import blind_branches
from ..samplers.noise import chunk_noise, chunk_seed
from ..samplers.pieces import FADE_FRAMES, slide_clip
from ..samplers.protocols import ColorMatch, Conditioner
from ..samplers.sliding import Sweeper, WindowDenoiser, sample_windows
from ..video.chunk_figures import MeasuredSink
from ..video.job_budget import TimeBudget
from ..video.job_states import JobStates
from ..video.journal import JobSink
from ..video.robust_color import color_matches
from ..video.sound import Sound
from .jobs import RenderJob
from .models import ClipSources
from .progress import WatchedSink
from .render import Outcome, conditioner_for, open_job, outcome
from .sliding_plan import SlidePlan
from .sliding_progress import SlideProgress


@dataclass(frozen=True)
class StillFrame:
    """The one reference frame of a clip; always the same tensor."""

    picture: Tensor

    def frame(self, start_frame: int) -> Tensor:
        """See ``protocols.Reference``."""
        return self.picture


def render_slide(
    slide: SlidePlan,
    job: RenderJob,
    sources: Callable[[], ClipSources],
    *,
    reference: Any,
    sound: Sound,
    metadata: Mapping[str, str],
    node_id: str | None,
) -> tuple[Outcome | None, str]:
    """Make what is missing of a job, and the clip when nothing is.

    Args:
        slide: The plan.
        job: Its keys and folder.
        sources: What came in through the lazy sockets; asked for when a piece is missing.
        reference: The picture.
        sound: What is heard.
        metadata: Tags of the clip.
        node_id: The node that shows progress.

    Returns:
        What there is to show, None where no piece was decoded yet, and why it is not complete.
    """
    budget, made = TimeBudget(slide.clip.settings.time_budget), 0
    with open_job(slide.clip, job, sound, metadata) as sink:
        still = StillFrame(reference.source.frame(0))
        measured = MeasuredSink(sink, still)
        complete = not sink.missing
        if complete:
            for piece in slide.pieces.plan:
                measured.recall(piece)
        else:
            watched = partial(slide_missing, slide, job, still, budget=budget, node_id=node_id)
            complete, made = watched(sources(), measured, sink)
        sink.message = f"{budget.message}; {steps_done(slide, job)}"
        path = sink.finish() if complete else None
    path = path or sink.part
    if path is None:
        return None, sink.message
    shown = outcome(
        slide.pieces, path, measured, complete=complete, made=made, message=sink.message
    )
    return shown, sink.message


def slide_missing(
    slide: SlidePlan,
    job: RenderJob,
    still: StillFrame,
    sources: ClipSources,
    measured: MeasuredSink,
    journal: JobSink,
    *,
    budget: TimeBudget,
    node_id: str | None,
) -> tuple[bool, int]:
    """Run the loop; whether the clip is complete, and the pieces decoded."""
    model, states = sources.model, JobStates(job.folder, job.plan.states)
    codec = HostCodec(sources.vae, model.model.latent_format)
    progress = SlideProgress(slide, journal, states.done, node_id, model)
    watched = WatchedSink(measured, progress)
    complete = slide_clip(
        slide.pieces.plan,
        latents=lambda: sample_windows(
            sweeper_for(slide, sources, codec, still.picture, progress),
            denoiser_for(slide, sources),
            lambda: noise_for(slide, sources),
            slide.clip.sigmas,
            states=states,
            callback=progress,
            stop=budget,
        ),
        codec=codec,
        sink=watched,
        color=color_for(slide, still.picture),
        stop=budget,
        fade_frames=FADE_FRAMES if codec.looks_ahead else 0,
    )
    return complete, watched.made


def denoiser_for(slide: SlidePlan, sources: ClipSources) -> WindowDenoiser:
    """The host's sampling over the windows."""
    seed = chunk_seed(slide.clip.settings.seed, 0)
    return HostWindowDenoiser(sources.model, sources.sampler, sources.guidance, slide.windows, seed)


def sweeper_for(
    slide: SlidePlan,
    sources: ClipSources,
    codec: HostCodec,
    picture: Tensor,
    progress: SlideProgress,
) -> Sweeper:
    """The windows with their conditions; the picture is encoded here, before the steps begin."""
    conditioner = conditions_for(slide, sources, codec)
    return Sweeper(
        slide.windows,
        lambda chunk: conditioner.conditions(chunk, picture),
        codec.encode(picture[:, None]),
        blend=slide.blend,
        first_frame=slide.first_frame,
        holds=slide.family.holds_first_frame,
        look=progress.look,
    )


def conditions_for(slide: SlidePlan, sources: ClipSources, codec: HostCodec) -> Conditioner:
    """The conditions of every window.

    They are made in the middle of a step, when the network fills the device, so the voices are
    encoded before: as soon as the conditions of any window are asked for.
    """
    return conditioner_for(
        slide.clip,
        sources,
        codec,
        voices=[StoredFeatures(speaker.features) for speaker in sources.speech.speakers],
        gates=slide.gates,
        blind=blind_branches(sources.guidance),
    )


def noise_for(slide: SlidePlan, sources: ClipSources) -> Tensor:
    """Noise of the whole clip; of one that fits a window that of a chunk."""
    channels = sources.model.model.latent_format.latent_channels
    height, width = (side // SPATIAL_STRIDE for side in sources.reference.size)
    shape = (channels, slide.windows.latents, height, width)
    return chunk_noise(slide.clip.settings.seed, 0, shape)


def color_for(slide: SlidePlan, picture: Tensor) -> ColorMatch | None:
    """The match of the clip's colours to the picture's."""
    settings = slide.clip.settings
    matches = color_matches(settings.color_anchor, settings.color_strength)
    return None if matches is None else matches(picture)


def steps_done(slide: SlidePlan, job: RenderJob) -> str:
    """``3 of 6 steps are kept``, for whoever stopped."""
    done = JobStates(job.folder, job.plan.states).done
    return f"{done} of {slide.clip.steps} steps are kept"
