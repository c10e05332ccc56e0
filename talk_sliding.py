"""One clip from the command line through sliding windows, with the reference networks.

Takes a clip that ``talk.plan_talk`` planned; chunks and what is handed on between them count for
nothing here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from .audio.stored import StoredFeatures
from .errors import InputError
from .models.configs import WAN, Family
from .models.hybrid_codec import HybridCodec
from .models.hybrid_networks import HybridNetworks
from .models.networks import Networks
from .reference.dubbing import VideoReference
from .samplers.blend import Blend
from .samplers.guidance import TalkGuidance
from .samplers.noise import chunk_noise, chunk_seed
from .samplers.pieces import LEAD_FRAMES, PIECE_FRAMES, slide_clip
from .samplers.plan import Chunk, plan_chunks
from .samplers.protocols import Conditioner, FrameSink, StepCallback
from .samplers.sliding import (
    FirstFrame,
    StepStates,
    Sweeper,
    needs_anchor,
    sample_windows,
)
from .samplers.timeline import ChunkChange
from .samplers.window_denoise import WindowEuler
from .samplers.windows import (
    DenoisingWindow,
    LastWindow,
    WindowPlan,
    default_overlap,
    plan_windows,
)
from .standalone import WanConditioner, WanPredictor
from .standalone_hybrid import HybridConditioner, HybridPredictor, HybridPrompt
from .talk import TalkJob, latent_shape, voice_features
from .talk_device import CodecOnDevice
from .video.robust_color import color_matches


@dataclass(frozen=True)
class WindowSettings:
    """What the user chose.

    Attributes:
        window_frames: Frames denoised at once, ``4n + 1``; 0 is what the networks were trained on.
        overlap: Latent frames that windows share; None is a quarter of a window.
        blend: How windows are joined.
        first_frame: What the first slot of later windows holds.
        last: What becomes of the last window.
        family: What the base is.
    """

    window_frames: int = 0
    overlap: int | None = None
    blend: Blend = Blend.PAPER
    first_frame: FirstFrame = FirstFrame.EVERY
    last: LastWindow = LastWindow.PAD
    family: Family = WAN

    @property
    def frames(self) -> int:
        """Frames denoised at once."""
        return self.window_frames or self.family.window_frames


def window_plan(job: TalkJob, settings: WindowSettings) -> WindowPlan:
    """The windows of a planned clip.

    Raises:
        InputError: They do not fit, or the clip is a video to dub, changes in its course, or leaves
            the networks' first frame to itself.
    """
    if isinstance(job.reference, VideoReference) or job.timeline is not None:
        raise InputError(
            "the sliding window begins from one picture and knows no timeline here: leave out the "
            "video and the timeline, or render chunk by chunk."
        )
    if settings.first_frame is FirstFrame.FIRST_ONLY and settings.family.holds_first_frame:
        raise InputError(
            "these networks take the first frame of every window for a clean picture: choose "
            f"'{FirstFrame.EVERY.value}' or '{FirstFrame.ANCHOR.value}'."
        )
    frames, shared = settings.frames, settings.overlap
    shared = default_overlap(frames) if shared is None else shared
    anchored = needs_anchor(settings.first_frame, shared, settings.blend)
    return plan_windows(job.frames, frames, shared, last=settings.last, anchored=anchored)


def in_windows(job: TalkJob, settings: WindowSettings) -> TalkJob:
    """A planned clip with its windows for chunks, as reports and measurements know them.

    Raises:
        InputError: As ``window_plan``.
    """
    spans = window_plan(job, settings).spans
    return replace(job, plan=spans, whole=spans, changes=[ChunkChange()] * len(spans))


def window_pieces(job: TalkJob) -> list[Chunk]:
    """The pieces in which a clip is decoded, for the sink and its keys."""
    return plan_chunks(job.frames, PIECE_FRAMES, LEAD_FRAMES, shorten_last=True)


@torch.inference_mode()
def slide_talk(
    job: TalkJob,
    networks: Networks | HybridNetworks,
    sink: FrameSink,
    settings: WindowSettings | None = None,
    *,
    states: StepStates | None = None,
    callback: StepCallback | None = None,
    look: Callable[[DenoisingWindow], None] | None = None,
    stop: Callable[[object], bool] | None = None,
) -> bool:
    """Render the pieces of a planned clip that a sink does not hold yet.

    Args:
        job: From ``talk.plan_talk``.
        networks: The networks; wav2vec2 may stay on the CPU.
        sink: Takes the frames, piece by piece as in ``window_pieces``.
        settings: The windows.
        states: Where the clip is kept between steps.
        callback: Called after every step; may raise to stop.
        look: Called after every window of every step; may raise to stop.
        stop: Asked before every step and every piece; True ends here.

    Returns:
        Whether the clip is complete.
    """
    settings = settings or WindowSettings()
    plan, device = window_plan(job, settings), next(networks.base.parameters()).device
    picture = job.reference.source.frame(0).to(device)
    conditioner, predictor, codec = parts_of(job, networks, device)
    sweeper = Sweeper(
        plan,
        lambda chunk: conditioner.conditions(chunk, picture),
        codec.encode(picture[:, None]),
        blend=settings.blend,
        first_frame=settings.first_frame,
        holds=settings.family.holds_first_frame,
        look=look,
    )
    seed, guidance = job.settings.seed, TalkGuidance(audio_scale=job.settings.audio_scale)
    denoiser = WindowEuler(predictor, guidance, chunk_seed(seed, 0))
    channels, _, height, width = latent_shape(job, networks, plan.windows[0].chunk)
    shape = (channels, plan.latents, height, width)
    matches = color_matches(job.settings.color_anchor, job.settings.color_strength)
    return slide_clip(
        window_pieces(job),
        latents=lambda: sample_windows(
            sweeper,
            denoiser,
            lambda: chunk_noise(seed, 0, shape).to(device),
            job.sigmas,
            states=states,
            callback=callback,
            stop=stop,
        ),
        codec=codec,
        sink=sink,
        color=None if matches is None else matches(picture),
        stop=stop,
    )


def parts_of(
    job: TalkJob, networks: Networks | HybridNetworks, device: torch.device
) -> tuple[Conditioner, WanPredictor | HybridPredictor, CodecOnDevice]:
    """Conditions, predictions and codec of networks of either family, without any text."""
    voices = [StoredFeatures(voice_features(job.voice, networks))]
    if isinstance(networks, Networks):
        codec = CodecOnDevice(networks.vae, device)
        texts = {"positive": torch.zeros(0, networks.base.config.text_dim, device=device)}
        conditioner = WanConditioner(
            networks.base, networks.adapter, codec, texts=texts, voices=voices
        )
        return conditioner, WanPredictor(networks.base, networks.adapter), codec
    codec, config = CodecOnDevice(HybridCodec(networks.vae), device), networks.base.config
    empty = next(networks.base.parameters()).new_zeros
    prompt = HybridPrompt(empty(1, config.text_dim), empty(config.pooled_dim))
    conditioner = HybridConditioner(
        networks.base, networks.adapter, codec, texts={"positive": prompt}, voices=voices
    )
    return conditioner, HybridPredictor(networks.base, networks.adapter), codec
