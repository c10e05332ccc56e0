"""A trial of the embedded model: drawn faces nobody has seen say what they are given.

What ``evaluate`` measures and the tests hold to their thresholds; the clip comes from the same
loop, denoiser and networks as the command line's, and stays in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..audio.features import FeatureTrack, pad_for_clip
from ..audio.loudness import normalize_loudness
from ..frames import SPATIAL_STRIDE, latent_frames
from ..models.networks import Networks
from ..models.routing import SpeakerRouting
from ..samplers.denoise import EulerDenoiser
from ..samplers.guidance import TalkGuidance
from ..samplers.noise import chunk_noise
from ..samplers.plan import Chunk, plan_chunks
from ..samplers.schedule import flow_sigmas
from ..samplers.streaming import HandOn, Sampling, stream_clip
from ..standalone import WanConditioner, WanPredictor
from ..video.robust_color import color_anchor
from .data import at_rest
from .faces.identity import Identity
from .faces.scene import render
from .sizes import CHUNK_FRAMES, CONTEXT_FRAMES, SHIFT, SIZE, STEPS


@dataclass(frozen=True)
class Setting:
    """How a trial is sampled; the defaults are the command line's."""

    seed: int = 42
    steps: int = STEPS
    shift: float = SHIFT
    audio_scale: float = 1.0
    strength: float = 1.0
    context_frames: int = CONTEXT_FRAMES
    color_anchor: str = "reference"
    color_strength: float = 1.0
    hand_on: HandOn = HandOn.FRAMES
    continues: bool = True
    """False starts every chunk from the portrait: the control without context."""


@dataclass(frozen=True, eq=False)
class Trial:
    """A clip and what it was made from.

    Attributes:
        portrait: uint8 ``[S, S * faces, 3]``.
        frames: uint8 ``[F, S, S * faces, 3]``.
        plan: Its chunks.
    """

    portrait: np.ndarray
    frames: np.ndarray
    plan: list[Chunk]

    def blocks(self) -> list[Tensor]:
        """The frames as measurements take them: one block ``[3, F, H, W]`` in [-1, 1]."""
        return [torch.from_numpy(self.frames).permute(3, 0, 1, 2).float() / 127.5 - 1]


@dataclass
class FrameList:
    """A sink that keeps the frames."""

    blocks: list[Tensor] = field(default_factory=list)

    def append(self, frames: Tensor) -> None:
        """Keep a block ``[3, f, H, W]``."""
        self.blocks.append(frames.clamp(-1, 1).add(1).mul(127.5).round().byte())

    def commit(self, state: object) -> None:
        """There is nothing to resume."""

    def recall(self, chunk: Chunk) -> None:
        """It begins with nothing."""

    def finish(self, sound: object) -> Path:
        """There is no file."""
        raise NotImplementedError


@dataclass(frozen=True)
class StillPicture:
    """The same reference frame for every chunk."""

    picture: Tensor

    def frame(self, start_frame: int) -> Tensor:
        """The picture ``[3, H, W]``, wherever the chunk starts."""
        return self.picture


class Forgetful:
    """A denoiser that starts every chunk from what the first one started from."""

    def __init__(self, denoiser: EulerDenoiser):
        self.denoiser = denoiser
        self.start: Tensor | None = None

    def denoise(self, *inputs: Any, held: Tensor, **options: Any) -> Tensor:
        """See ``protocols.Denoiser``."""
        self.start = held if self.start is None else self.start
        return self.denoiser.denoise(*inputs, held=self.start, **options)


def portrait_of(faces: Sequence[Identity], size: int = SIZE) -> np.ndarray:
    """Faces at rest side by side, uint8 ``[size, size * faces, 3]``."""
    return render(faces, [at_rest()] * len(faces), size)[0]


@torch.inference_mode()
def render_trial(
    networks: Networks,
    faces: Sequence[Identity],
    voices: Sequence[np.ndarray],
    frames: int,
    setting: Setting | None = None,
    speakers: Sequence[int] | None = None,
) -> Trial:
    """Make a clip.

    Args:
        networks: The embedded model, or one in training.
        faces: Who is in the picture, from left to right.
        voices: 16 kHz samples, one voice per speaker.
        frames: Length of the clip.
        setting: How it is sampled.
        speakers: The face of each voice; as they come by default.
    """
    setting = setting or Setting()
    portrait = portrait_of(faces)
    picture = torch.from_numpy(portrait).permute(2, 0, 1).float() / 127.5 - 1
    routing = None if len(voices) == 1 else even_routing(speakers or range(len(voices)), len(faces))
    predictor = WanPredictor(networks.base, networks.adapter, routing=routing)
    tracks = [
        FeatureTrack(networks.wav2vec, pad_for_clip(normalize_loudness(voice), frames))
        for voice in voices
    ]
    denoiser = EulerDenoiser(predictor, TalkGuidance(audio_scale=setting.audio_scale))
    sink, plan = FrameList(), plan_chunks(frames, CHUNK_FRAMES, setting.context_frames)
    side, wide = SIZE // SPATIAL_STRIDE, len(faces) * SIZE // SPATIAL_STRIDE
    shape = (networks.vae.config.latent_channels, latent_frames(CHUNK_FRAMES), side, wide)
    sigmas = flow_sigmas(setting.steps, setting.shift)
    anchor = color_anchor(setting.color_anchor, picture, setting.color_strength)
    stream_clip(
        plan,
        reference=StillPicture(picture),
        conditioner=WanConditioner(
            networks.base,
            networks.adapter,
            networks.vae,
            texts={"positive": torch.zeros(0, networks.base.config.text_dim)},
            voices=tracks,
            strength=torch.full((len(voices),), setting.strength),
        ),
        denoiser=denoiser if setting.continues else Forgetful(denoiser),
        codec=networks.vae,
        sink=sink,
        sampling=lambda chunk: Sampling(chunk_noise(setting.seed, chunk.index, shape), sigmas),
        color=None if anchor is None else lambda _: anchor,
        hand_on=setting.hand_on,
    )
    return Trial(portrait, torch.cat(sink.blocks, dim=1).permute(1, 2, 3, 0).numpy(), plan)


def even_routing(speakers: Sequence[int], faces: int) -> SpeakerRouting:
    """Each speaker owns the tile of its face on the token grid."""
    side = SIZE // SPATIAL_STRIDE // 2
    masks = torch.zeros(len(speakers) + 1, side, side * faces)
    for speaker, face in enumerate(speakers):
        masks[speaker, :, side * face : side * (face + 1)] = 1
    masks[-1] = 1 - masks[:-1].sum(0)
    return SpeakerRouting(masks.flatten(1))
