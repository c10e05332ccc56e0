"""One clip in ComfyUI: sockets in, mp4 out, with progress, previews and cancel on the way.

Puts the bridge, the streaming loop and the sink together, as ``talk`` does for the command line.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import latent_preview
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..audio.speech import Speech, mix_sound
from ..audio.windows import audio_windows
from ..bridge import HostCodec, HostConditioner, HostDenoiser, empty_prompt, unheard_hooks
from ..errors import InputError
from ..frames import FPS, SPATIAL_STRIDE, latent_frames
from ..model_loaders.adapter import adapter_file, attached_adapter
from ..model_loaders.base import model_recipe
from ..reference.pictures import fit_picture
from ..samplers.guidance import Guidance
from ..samplers.noise import chunk_noise
from ..samplers.plan import Chunk
from ..samplers.protocols import ColorMatch, Conditioner, FrameSink, Reference
from ..samplers.retake import retake_sampling
from ..samplers.source import sampling_from_source
from ..samplers.streaming import HandOn, Sampling, stream_clip
from ..video.chunk_figures import MeasuredSink
from ..video.chunk_report import figures_text
from ..video.job_budget import TimeBudget
from ..video.journal import JobSink, Keep
from ..video.overview import contact_sheet, shown_chunks, thumbnail
from ..video.robust_color import color_anchor
from ..video.sound import Sound
from ..video.stills import stills
from .jobs import RenderJob
from .preflight import ClipPlan
from .sockets import show_under_node
from .timed import TimedConditioner, TimedReference

PREVIEW_SIZE = 512


class Progress:
    """Progress over the whole clip: a bar, a line under the node, and pictures.

    Args:
        clip: The plan.
        journal: Knows what is missing, and shows a sign of life.
        node_id: The node to show it on.
        model: Its latent format decides what a preview looks like.
    """

    def __init__(self, clip: ClipPlan, journal: JobSink, node_id: str | None, model: Any):
        self.clip, self.journal, self.node_id = clip, journal, node_id
        self.steps, self.missing = clip.steps, journal.missing
        self.bar = comfy.utils.ProgressBar(len(clip.plan) * self.steps, node_id=node_id)
        self.previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
        self.started = time.monotonic()

    def __call__(self, chunk: Chunk, step: int, steps: int, denoised: Tensor) -> None:
        """A step is done; shows the middle of the chunk as it looks now."""
        self.journal.beat()
        done = chunk.index * steps + step
        preview = None
        if self.previewer is not None:
            middle = denoised.shape[1] // 2
            frame = denoised[None, :, middle : middle + 1]
            preview = self.previewer.decode_latent_to_preview_image("JPEG", frame)
        self.bar.update_absolute(done, preview=preview)
        show_under_node(self.node_id, self.describe(chunk, step), level=logging.DEBUG)

    def describe(self, chunk: Chunk, step: int) -> str:
        """``#3, 4 of 63 · step 3/6 · 0:09 of 3:00 · 1 h 35 left``.

        What is left goes by the chunks that are made in this run.
        """
        done = self.missing.index(chunk.index) * self.steps + step
        total = len(self.missing) * self.steps
        left = (time.monotonic() - self.started) / done * (total - done)
        return (
            f"{chunk.label}, {chunk.index + 1} of {len(self.clip.plan)} · "
            f"step {step}/{self.steps} · {clock(chunk.first_new_frame / FPS)} of "
            f"{clock(self.clip.frames / FPS)} · {duration(left)} left"
        )

    def show_frame(self, frame: np.ndarray, chunk: Chunk) -> None:
        """A decoded frame, uint8 ``[h, w, 3]``, whatever the preview setting."""
        picture = ("JPEG", Image.fromarray(frame), PREVIEW_SIZE)
        self.bar.update_absolute((chunk.index + 1) * self.steps, preview=picture)


class WatchedSink:
    """A sink that shows a frame of every chunk that is made, and counts them."""

    def __init__(self, sink: FrameSink, progress: Progress):
        self.sink, self.progress = sink, progress
        self.made = 0
        self._chunk: Chunk | None = None
        self._first: Tensor | None = None

    def recall(self, chunk: Chunk) -> Mapping[str, Tensor] | None:
        """What the sink holds already."""
        self._chunk = chunk
        return self.sink.recall(chunk)

    def append(self, frames: Tensor) -> None:
        """Pass frames on."""
        if self._first is None:
            self._first = frames[:, 0].clone()
        self.sink.append(frames)

    def commit(self, state: Mapping[str, Tensor]) -> None:
        """A chunk is whole."""
        self.sink.commit(state)
        assert self._first is not None and self._chunk is not None
        self.progress.show_frame(thumbnail(self._first, PREVIEW_SIZE), self._chunk)
        self.made += 1
        self._first = None

    def finish(self, sound: Sound | None) -> Path:
        """Close the clip."""
        return self.sink.finish(sound)


@dataclass(frozen=True, eq=False)
class ClipSources:
    """What came in through the sampler's sockets.

    Attributes:
        model: A MODEL with the adapter attached.
        vae: The VAE.
        prompts: CONDITIONING by name; None where nothing is connected.
        speech: Who speaks.
        reference: The picture, or the video to dub.
        guidance: The guidance rule.
        sampler: A SAMPLER.
    """

    model: Any
    vae: Any
    prompts: Mapping[str, Any]
    speech: Speech
    reference: Any
    guidance: Guidance
    sampler: Any


def model_warnings(sources: ClipSources) -> list[str]:
    """What only the loaded MODEL can tell; refuses one that cannot speak.

    Raises:
        InputError: No adapter, one for other audio features, or a prompt of another text encoder.
    """
    model, speakers = sources.model, sources.speech.speakers
    adapter = attached_adapter(model)
    if adapter is None:
        raise InputError(
            "this MODEL has no audio adapter: load it with Load Talking Model, or put Apply Audio "
            "Adapter behind your loader."
        )
    expected = adapter.model.config.feature_size
    for number, speaker in enumerate(speakers, 1):
        if speaker.feature_size != expected:
            raise InputError(
                f"the adapter expects {expected} audio features per frame, the wav2vec2 of speaker "
                f"{number} gives {speaker.layers} x {speaker.hidden} = {speaker.feature_size}: "
                "load the encoder the adapter was trained with (chinese-wav2vec2-base)."
            )
    check_prompt_width(model, sources.prompts)
    check_vae(sources.vae, model)
    warnings = [f"{words} of another node cannot run here" for words in unheard_hooks(model)]
    seeing = getattr(model.model.diffusion_model, "img_emb", None) is not None
    if not seeing and model_recipe(model) is None:
        warnings.append(
            "this base has no image branch, as Wan 2.2 has none: the published adapters were "
            "trained on Wan 2.1 I2V"
        )
    file = adapter_file(model)
    if len(speakers) > 1 and "single" in file.lower():
        warnings.append(
            f"{file} was trained for one speaker; use the Multi adapter for {len(speakers)}"
        )
    return warnings


def check_vae(vae: Any, model: Any) -> None:
    """Refuse a VAE whose latents are not the model's."""
    expected = model.model.latent_format.latent_channels
    if vae.latent_channels != expected or vae.latent_dim != 3:
        kind = "video" if vae.latent_dim == 3 else "picture"
        raise InputError(
            f"this is a {kind} VAE of {vae.latent_channels} channels; the model needs a video VAE "
            f"of {expected}: connect wan_2.1_vae.safetensors through Load Talking VAE."
        )


def check_prompt_width(model: Any, prompts: Mapping[str, Any]) -> None:
    """Refuse prompts of a text encoder that the base was not trained with."""
    expected = model.model.diffusion_model.text_dim
    for name, prompt in prompts.items():
        if prompt and prompt[0][0].shape[-1] != expected:
            raise InputError(
                f"the {name} prompt is {prompt[0][0].shape[-1]} wide, this model reads {expected}: "
                "encode it with CLIPLoader of type wan (umt5_xxl_fp8_e4m3fn_scaled.safetensors)."
            )


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
        for chunk in clip.plan:
            if chunk.index in sink.missing:
                break
            measured.recall(chunk)
        complete = not sink.missing
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
        clip.plan,
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

    def with_ending(chunk: Chunk) -> Sampling:
        sampling = from_source(chunk)
        return (
            retake_sampling(sampling, takes[chunk.index], codec)
            if chunk.index in takes
            else sampling
        )

    return with_ending


def color_for(clip: ClipPlan, reference: Any) -> Callable[[Tensor], ColorMatch] | None:
    """From a chunk's reference frame to the match of its colours.

    Where pixels of a source are kept, they hold the colours, and a match would move them.
    """
    settings = clip.settings
    if settings.color_anchor == "none" or not settings.color_strength or reference.keep is not None:
        return None
    known: list[tuple[Tensor, ColorMatch]] = []

    def match(frame: Tensor) -> ColorMatch:
        if not known or known[0][0] is not frame:
            anchor = color_anchor(settings.color_anchor, frame, settings.color_strength)
            assert anchor is not None
            known[:] = [(frame, anchor)]
        return known[0][1]

    return match


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
    return TimedReference(reference.source, clip.plan, clip.changes, pictures)


def conditioner_for(clip: ClipPlan, sources: ClipSources, codec: HostCodec) -> Conditioner:
    """The conditions of every chunk of a clip."""
    speakers = sources.speech.speakers

    def windows(chunk: Chunk) -> Tensor:
        spans = [audio_windows(s.features, chunk.start_frame, chunk.frames) for s in speakers]
        return torch.cat(spans)

    empty = empty_prompt(sources.model)
    inner = HostConditioner(
        codec,
        {name: prompt or empty for name, prompt in sources.prompts.items()},
        clip.branches,
        windows=windows,
        masks=clip.masks,
        strength=torch.tensor([speaker.strength for speaker in speakers]),
        image_tokens=sources.reference.tokens,
        seed=clip.settings.seed,
    )
    return inner if clip.timeline is None else TimedConditioner(inner, clip)


def spoken(speech: Speech) -> Sound:
    """The voices themselves as the sound of the clip."""
    samples, rate_hz = mix_sound(speech)
    return Sound(samples=samples, rate_hz=rate_hz)


def clock(seconds: float) -> str:
    """``1:05``, or ``1:02:05`` from an hour on."""
    whole = int(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``1 h 35``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02}"
