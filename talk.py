"""One clip from the command line: picture or video, and voice in, mp4 out.

Puts the parts together, with the reference networks, and decides nothing itself; every part can be
used without this.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .audio.decoding import decode_track
from .audio.features import FeatureTrack, pad_for_clip
from .audio.loudness import normalize_loudness
from .audio.track import Track
from .errors import InputError
from .frames import SPATIAL_STRIDE, clip_frames, latent_frames
from .models.hybrid_networks import HybridNetworks
from .models.networks import Networks
from .reference.dubbing import VideoReference
from .reference.pictures import fit_picture
from .reference.sources import PictureReference
from .samplers.denoise import EulerDenoiser
from .samplers.guidance import TalkGuidance
from .samplers.noise import chunk_noise
from .samplers.plan import CHUNK_FRAMES, CONTEXT_FRAMES, Chunk, ended_at, plan_shots
from .samplers.protocols import ChunkCallback, FrameSink, Reference
from .samplers.retake import with_endings
from .samplers.schedule import default_shift, sigmas_from, spaced_sigmas
from .samplers.source import sampling_from_source
from .samplers.streaming import HandOn, Sampling, stream_clip
from .samplers.timed import TimedConditioner, TimedReference, changes_of
from .samplers.timeline import ChunkChange, ClipTimeline
from .standalone import WanConditioner, WanPredictor
from .talk_device import CodecOnDevice, FramesOnDevice
from .talk_sources import PictureFile, VideoFile, open_source
from .video.robust_color import color_anchor, color_matches
from .video.sink import VideoSink
from .video.sound import Sound

CRF = 12
"""x264's constant rate factor: visually lossless."""


@dataclass(frozen=True)
class TalkSettings:
    """What the user chose.

    Attributes:
        seed: Seed of the clip.
        steps: Denoising steps per chunk.
        shift: Shift of the schedule; 0 is 7 up to 0.5 megapixels and 11 above, as published for
            480p and 720p.
        even_steps: Whether noise levels are even before the shift, as MagicInfinite's.
        audio_scale: Audio guidance; 1 is none and one evaluation per step.
        size: Name of a size, see ``reference.sizes``.
        custom_size: ``(height, width)`` for the size ``custom``.
        stop_at_seconds: End the clip here; 0 is its whole length.
        chunk_frames: Frames per chunk, ``4n + 1``.
        context_frames: Frames handed from chunk to chunk, ``4n + 1``.
        color_strength: How strongly frames are matched to the picture's colours, 0 to 1.
        color_anchor: How they are matched: ``reference``, ``none`` or ``robust``.
        hand_on: As what the context goes from chunk to chunk: ``frames`` or ``latents``.
    """

    seed: int = 42
    steps: int = 8
    shift: float = 0.0
    audio_scale: float = 1.0
    size: str = "480p"
    custom_size: tuple[int, int] | None = None
    stop_at_seconds: float = 0.0
    chunk_frames: int = CHUNK_FRAMES
    context_frames: int = CONTEXT_FRAMES
    color_strength: float = 1.0
    color_anchor: str = "reference"
    hand_on: str = HandOn.FRAMES.value
    even_steps: bool = False


@dataclass(frozen=True)
class TalkJob:
    """A clip that has been checked and planned, but for which nothing big was loaded.

    Attributes:
        reference: The picture or the video, at the size of the clip.
        voice: The voice's track.
        sound: The sound of the clip.
        size: ``(height, width)`` of the clip.
        plan: Its chunks as it shows them; the last is kept in part where the clip is stopped early.
        whole: Chunks of the whole clip, which are what is sampled.
        sigmas: Noise levels of every chunk, ``[steps + 1]``.
        settings: What the user chose.
        changes: What the timeline changes, one per chunk of the whole clip.
        timeline: Its pictures; None where there is none.
    """

    reference: PictureReference | VideoReference
    voice: Track
    sound: Sound
    size: tuple[int, int]
    plan: list[Chunk]
    whole: list[Chunk]
    sigmas: Tensor
    settings: TalkSettings
    changes: list[ChunkChange]
    timeline: ClipTimeline | None = None

    @property
    def frames(self) -> int:
        """Frames of the clip."""
        return sum(chunk.kept_frames for chunk in self.plan)

    @property
    def steps(self) -> int:
        """Denoising steps per chunk."""
        return len(sigmas_from(self.sigmas, 1 - self.reference.source_strength)) - 1


def plan_talk(
    source: Path | PictureFile | VideoFile,
    audio: Path,
    settings: TalkSettings,
    timeline: ClipTimeline | None = None,
) -> TalkJob:
    """Open picture or video and voice, and plan the clip.

    Args:
        source: What talks; a path is a picture's.
        audio: The voice.
        settings: What the user chose.
        timeline: What changes in the course of the clip.

    Raises:
        InputError, FileNotFoundError: Something the user can correct.
    """
    if not (math.isfinite(settings.stop_at_seconds) and settings.stop_at_seconds >= 0):
        raise InputError(
            f"stop-at is {settings.stop_at_seconds:g} s; give seconds from the start of the clip, "
            "or 0 for all of it."
        )
    if not (math.isfinite(settings.audio_scale) and settings.audio_scale >= 0):
        raise InputError(
            f"the audio scale is {settings.audio_scale:g}; give 1 for no guidance, or 3 to 5."
        )
    voice = decode_track(audio)
    source = PictureFile(source) if isinstance(source, Path) else source
    reference = open_source(source, settings.size, settings.custom_size)
    color_anchor(settings.color_anchor, reference.source.first, settings.color_strength)
    total = reference.clip_frames(clip_frames(voice.seconds))
    whole = plan_shots(
        total,
        reference.cuts(total),
        settings.chunk_frames,
        settings.context_frames,
        shorten_last=True,
    )
    stop = settings.stop_at_seconds
    return TalkJob(
        reference=reference,
        voice=voice,
        sound=Sound(path=audio),
        size=reference.size,
        plan=ended_at(whole, clip_frames(stop)) if stop else whole,
        whole=whole,
        sigmas=spaced_sigmas(
            settings.steps,
            settings.shift or default_shift(reference.size),
            even=settings.even_steps,
        ),
        settings=settings,
        changes=changes_of(timeline, whole),
        timeline=timeline,
    )


def render_talk(
    job: TalkJob,
    networks: Networks,
    out: Path,
    callback: ChunkCallback | None = None,
) -> Path:
    """Render a planned clip.

    Args:
        job: From ``plan_talk``.
        networks: The networks; wav2vec2 may stay on the CPU.
        out: The mp4; appears under its name only when it is whole.
        callback: Called after every step; may raise to stop.

    Returns:
        ``out``.
    """
    with VideoSink(out, job.size, crf=CRF, total=job.frames) as sink:
        stream_talk(job, networks, sink, callback)
        return sink.finish(job.sound)


@torch.inference_mode()
def stream_talk(
    job: TalkJob,
    networks: Networks,
    sink: FrameSink,
    callback: ChunkCallback | None = None,
    stop: Callable[[Chunk], bool] | None = None,
    takes: Mapping[int, Mapping[str, Tensor]] | None = None,
) -> bool:
    """Render the chunks of a planned clip that a sink does not hold yet.

    Args:
        job: From ``plan_talk``.
        networks: The networks; wav2vec2 may stay on the CPU.
        sink: Takes the frames.
        callback: Called after every step; may raise to stop.
        stop: Asked before every chunk; True ends here.
        takes: By index of a chunk that is made again while the rest is kept: the state of the take
            before, which it has to end in.

    Returns:
        Whether the clip is complete.
    """
    settings, device = job.settings, next(networks.base.parameters()).device
    guidance = TalkGuidance(audio_scale=settings.audio_scale)
    codec = CodecOnDevice(networks.vae, device)
    conditioner = WanConditioner(
        networks.base,
        networks.adapter,
        codec,
        texts={"positive": torch.zeros(0, networks.base.config.text_dim, device=device)},
        voices=[voice_features(job.voice, networks)],
    )
    color = color_matches(settings.color_anchor, settings.color_strength)
    if job.reference.keep is not None:
        color = None  # pixels that are kept hold the colours, and a match would move them
    needed = len(job.plan)
    try:
        return stream_clip(
            job.whole[:needed],
            then=job.whole[needed] if needed < len(job.whole) else None,
            reference=FramesOnDevice(frames_of(job), device),
            conditioner=TimedConditioner(conditioner, job.changes),
            denoiser=EulerDenoiser(WanPredictor(networks.base, networks.adapter), guidance),
            codec=codec,
            sink=sink,
            sampling=sampling_of(job, networks, codec, takes or {}),
            color=color,
            hand_on=HandOn(settings.hand_on),
            callback=callback,
            stop=stop,
        )
    finally:
        job.reference.close()


def frames_of(job: TalkJob) -> Reference:
    """The reference frame of every chunk, with the timeline's pictures."""
    if job.timeline is None or not job.timeline.images:
        return job.reference.source
    pictures = [fit_picture(picture, job.size) for picture in job.timeline.images]
    return TimedReference(job.reference.source, job.whole, job.changes, pictures)


def sampling_of(
    job: TalkJob,
    networks: Networks,
    codec: CodecOnDevice,
    takes: Mapping[int, Mapping[str, Tensor]],
) -> Callable[[Chunk], Sampling]:
    """Noise, schedule, source and ending of every chunk."""
    reference = job.reference

    def plain(chunk: Chunk) -> Sampling:
        seed = job.changes[chunk.index].seed
        seed = job.settings.seed if seed is None else seed
        noise = chunk_noise(seed, chunk.index, latent_shape(job, networks, chunk))
        return Sampling(noise.to(codec.device), job.sigmas)

    from_source = sampling_from_source(
        plain,
        reference.source,
        codec,
        strength=reference.source_strength,
        keep=reference.keep,
    )
    return with_endings(from_source, takes, codec)


def voice_features(voice: Track, networks: Networks | HybridNetworks) -> FeatureTrack:
    """Features of a voice, encoded when a chunk asks for them.

    The silence behind the voice depends on the voice alone, so that a clip that was stopped early
    has the same frames as the whole one.
    """
    samples = pad_for_clip(normalize_loudness(voice.samples), clip_frames(voice.seconds))
    return FeatureTrack(networks.wav2vec, samples)


def latent_shape(
    job: TalkJob, networks: Networks | HybridNetworks, chunk: Chunk
) -> tuple[int, int, int, int]:
    """``(C, T, H, W)`` of a chunk's latents."""
    height, width = job.size
    latents = latent_frames(chunk.frames)
    channels = networks.vae.config.latent_channels
    return channels, latents, height // SPATIAL_STRIDE, width // SPATIAL_STRIDE
