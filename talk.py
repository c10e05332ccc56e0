"""One clip from the command line: picture and voice in, mp4 out, with the reference networks.

Puts the parts together and decides nothing itself; every part can be used without this.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .audio.decoding import decode_track
from .audio.features import SAMPLES_PER_FRAME, TAIL_FRAMES, FeatureTrack, pad_for_clip
from .audio.loudness import normalize_loudness
from .audio.spans import heard_frames
from .audio.track import Track
from .errors import InputError
from .frames import SPATIAL_STRIDE, clip_frames, latent_frames
from .models.networks import Networks
from .reference.pictures import open_picture
from .reference.sizes import choose_size
from .reference.sources import StillReference
from .samplers.denoise import EulerDenoiser
from .samplers.guidance import TalkGuidance
from .samplers.noise import chunk_noise
from .samplers.plan import CHUNK_FRAMES, CONTEXT_FRAMES, Chunk, plan_chunks
from .samplers.protocols import ChunkCallback, FrameSink
from .samplers.schedule import default_shift, flow_sigmas
from .samplers.streaming import Sampling, stream_clip
from .standalone import WanConditioner, WanPredictor
from .video.color import ColorAnchor
from .video.job_folder import JobPlan
from .video.job_keys import chunk_keys, chunk_places, content_identity, digest, sound_digests
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
        audio_scale: Audio guidance; 1 is none and one evaluation per step.
        size: Name of a size, see ``reference.sizes``.
        custom_size: ``(height, width)`` for the size ``custom``.
        stop_at_seconds: End the clip here; 0 is its whole length.
        chunk_frames: Frames per chunk, ``4n + 1``.
        context_frames: Frames handed from chunk to chunk, ``4n + 1``.
        color_strength: How strongly frames are matched to the picture's colours, 0 to 1.
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


@dataclass(frozen=True)
class TalkJob:
    """A clip that has been checked and planned, but for which nothing big was loaded.

    Attributes:
        reference: The picture at the size of the clip.
        picture_key: Digest of the picture as it was opened.
        color: Keeps the picture's colours.
        voice: The voice's track.
        sound: The sound of the clip.
        size: ``(height, width)`` of the clip.
        plan: Its chunks.
        sigmas: Noise levels of every chunk, ``[steps + 1]``.
        settings: What the user chose.
    """

    reference: StillReference
    picture_key: str
    color: ColorAnchor
    voice: Track
    sound: Sound
    size: tuple[int, int]
    plan: list[Chunk]
    sigmas: Tensor
    settings: TalkSettings

    @property
    def frames(self) -> int:
        """Frames of the clip."""
        return sum(chunk.kept_frames for chunk in self.plan)


def plan_talk(image: Path, audio: Path, settings: TalkSettings) -> TalkJob:
    """Open picture and voice and plan the clip.

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
    picture = open_picture(image)
    voice = decode_track(audio)
    size = choose_size(settings.size, picture.shape[:2], custom=settings.custom_size)
    total = clip_frames(voice.seconds)
    if settings.stop_at_seconds:
        total = min(total, clip_frames(settings.stop_at_seconds))
    reference = StillReference(picture, size)
    return TalkJob(
        reference=reference,
        picture_key=digest(picture),
        color=ColorAnchor(reference.first, settings.color_strength),
        voice=voice,
        sound=Sound(path=audio),
        size=size,
        plan=plan_chunks(total, settings.chunk_frames, settings.context_frames, shorten_last=True),
        sigmas=flow_sigmas(settings.steps, settings.shift or default_shift(size)),
        settings=settings,
    )


def journal_plan(job: TalkJob, models: Any) -> JobPlan:
    """What a job's chunks are made from, as keys.

    Device and float type are left out, so that another machine may go on.

    Args:
        job: From ``plan_talk``.
        models: What identifies the networks; anything that ``digest`` takes.
    """
    settings, voice = job.settings, job.voice
    spans = [heard_frames(c.start_frame, c.frames, track_frames(voice)) for c in job.plan]
    sounds = sound_digests(voice.samples, spans, SAMPLES_PER_FRAME)
    common = {
        "size": job.size,
        "crf": CRF,
        "sampler": "euler",
        "sigmas": job.sigmas,
        "audio_scale": settings.audio_scale,
        "color_strength": settings.color_strength,
        "seed": settings.seed,
        "picture": job.picture_key,
        "models": models,
    }
    places = chunk_places(job.plan)
    parts = [{"place": p, "voice": v} for p, v in zip(places, sounds, strict=True)]
    assert job.sound.path is not None
    return JobPlan(
        keys=tuple(chunk_keys(parts, common=common)),
        kept_frames=tuple(chunk.kept_frames for chunk in job.plan),
        size=job.size,
        crf=CRF,
        sound_key=digest(content_identity(job.sound.path)),
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
    with VideoSink(out, job.size, crf=CRF) as sink:
        stream_talk(job, networks, sink, callback)
        return sink.finish(job.sound)


@torch.inference_mode()
def stream_talk(
    job: TalkJob,
    networks: Networks,
    sink: FrameSink,
    callback: ChunkCallback | None = None,
    stop: Callable[[Chunk], bool] | None = None,
) -> bool:
    """Render the chunks of a planned clip that a sink does not hold yet.

    Args:
        job: From ``plan_talk``.
        networks: The networks; wav2vec2 may stay on the CPU.
        sink: Takes the frames.
        callback: Called after every step; may raise to stop.
        stop: Asked before every chunk; True ends here.

    Returns:
        Whether the clip is complete.
    """
    settings, device = job.settings, next(networks.base.parameters()).device
    guidance = TalkGuidance(audio_scale=settings.audio_scale)
    predictor = WanPredictor(networks.base, networks.adapter)
    conditioner = WanConditioner(
        networks.base,
        networks.adapter,
        networks.vae,
        texts={"positive": torch.zeros(0, networks.base.config.text_dim, device=device)},
        voices=[voice_features(job.voice, networks)],
    )
    return stream_clip(
        job.plan,
        reference=job.reference.to(device),
        conditioner=conditioner,
        denoiser=EulerDenoiser(predictor, guidance),
        codec=networks.vae,
        sink=sink,
        sampling=lambda chunk: Sampling(
            chunk_noise(settings.seed, chunk.index, latent_shape(job, networks, chunk)).to(device),
            job.sigmas,
        ),
        color=lambda _: job.color,
        callback=callback,
        stop=stop,
    )


def track_frames(voice: Track) -> int:
    """Frames of a voice with the silence that is encoded behind it."""
    padded = (clip_frames(voice.seconds) + TAIL_FRAMES) * SAMPLES_PER_FRAME
    return max(voice.samples.size, padded) // SAMPLES_PER_FRAME


def voice_features(voice: Track, networks: Networks) -> FeatureTrack:
    """Features of a voice, encoded when a chunk asks for them.

    The silence behind the voice depends on the voice alone, so that a clip that was stopped early
    has the same frames as the whole one.
    """
    samples = pad_for_clip(normalize_loudness(voice.samples), clip_frames(voice.seconds))
    return FeatureTrack(networks.wav2vec, samples)


def latent_shape(job: TalkJob, networks: Networks, chunk: Chunk) -> tuple[int, int, int, int]:
    """``(C, T, H, W)`` of a chunk's latents."""
    height, width = job.size
    latents = latent_frames(chunk.frames)
    channels = networks.vae.config.latent_channels
    return channels, latents, height // SPATIAL_STRIDE, width // SPATIAL_STRIDE
