"""A trial of the hybrid model: drawn faces nobody has seen, through the sliding window sampler.

The same windows, blending and guidance as everywhere; the clip stays in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...audio.features import FeatureTrack, pad_for_clip
from ...audio.loudness import normalize_loudness
from ...audio.windows import FeatureSource, audio_windows
from ...frames import SPATIAL_STRIDE, TEMPORAL_STRIDE, latent_frames, pixel_frames
from ...models.hybrid import HybridModel
from ...models.hybrid_adapter import HybridAudioAdapter, HybridAudioPass, group_frames
from ...models.wan_vae import WanVAE
from ...models.wav2vec import Wav2VecEncoder
from ...samplers.blend import Blend
from ...samplers.guidance import BRANCH_INPUTS, Guidance, TalkGuidance
from ...samplers.noise import chunk_noise
from ...samplers.plan import Chunk
from ...samplers.schedule import shift_sigma
from ...samplers.sliding import FirstFrame, Sweeper, sample_windows
from ...samplers.window_denoise import WindowEuler
from ...samplers.windows import WindowPlan, plan_windows
from ..faces.boxes import eye_box, mouth_box
from ..faces.identity import Identity
from ..sizes import SHIFT, SIZE, STEPS
from ..trial import Trial, portrait_of
from .codec import HybridCodec
from .sizes import WINDOW_LATENTS, no_text
from .windows import touch, union


class HybridNetworks(NamedTuple):
    """What makes a clip."""

    base: HybridModel
    adapter: HybridAudioAdapter
    vae: WanVAE
    wav2vec: Wav2VecEncoder


@dataclass(frozen=True)
class HybridSetting:
    """How a trial is sampled.

    Attributes:
        seed: Of the noise.
        steps: Denoising steps.
        shift: Of their schedule.
        guidance: None is none.
        window_latents: Latent frames of a window.
        overlap: Latent frames that windows share; None is a quarter.
        blend: How windows are joined.
        first_frame: What their first slot holds.
        audio_offset: Latent frames by which every window hears too late a sound; a fault, for
            controls.
    """

    seed: int = 42
    steps: int = STEPS
    shift: float = SHIFT
    guidance: Guidance | None = None
    window_latents: int = WINDOW_LATENTS
    overlap: int | None = None
    blend: Blend = Blend.PAPER
    first_frame: FirstFrame = FirstFrame.EVERY
    audio_offset: int = 0

    @property
    def sigmas(self) -> Tensor:
        """The schedule as MagicInfinite spaces it: 1, 0.9375, 0.8333, 0.625, 0 by default."""
        return shift_sigma(torch.linspace(1, 0, self.steps + 1), self.shift)


class Conditions(NamedTuple):
    """What the networks read for one window.

    Attributes:
        concat: Portrait and mask ``[1, 17, T, h, w]``.
        voice: Audio tokens ``[1, S, T, A, C]``.
        silence: The same of zero features.
    """

    concat: Tensor
    voice: Tensor
    silence: Tensor


@dataclass
class HybridConditioner:
    """Conditions of a window.

    Attributes:
        adapter: The audio adapter.
        portrait: Latent of the portrait ``[16, 1, h, w]``.
        tracks: Audio features per speaker.
        offset: Frames by which the sound is taken too late.
    """

    adapter: HybridAudioAdapter
    portrait: Tensor
    tracks: Sequence[FeatureSource]
    offset: int = 0

    def conditions(self, chunk: Chunk) -> Conditions:
        """Conditions of a window, described as a chunk."""
        windows = torch.cat([self._windows(track, chunk) for track in self.tracks])
        latents = latent_frames(chunk.frames)
        channels, _, height, width = self.portrait.shape
        concat = torch.zeros(1, channels + 1, latents, height, width)
        concat[0, :channels, :1], concat[:, channels:, 0] = self.portrait, 1
        voice, silence = (self.adapter.project(w) for w in (windows, torch.zeros_like(windows)))
        return Conditions(concat, voice, silence)

    def _windows(self, track: FeatureSource, chunk: Chunk) -> Tensor:
        """Audio windows ``[1, 4T, 5, layers, channels]``, four for every latent of the clip."""
        if chunk.start_frame == 0:
            return group_frames(audio_windows(track, self.offset, chunk.frames))
        missing = TEMPORAL_STRIDE - 1
        first = chunk.start_frame - missing + self.offset
        return audio_windows(track, first, chunk.frames + missing)


class HybridPredictor:
    """One guidance branch of one window: a call of the transformer.

    Args:
        base: The transformer.
        adapter: The audio adapter.
        gates: Where each speaker is heard ``[1, S, 1, N]``.
    """

    def __init__(self, base: HybridModel, adapter: HybridAudioAdapter, gates: Tensor | None):
        self.base, self.adapter, self.gates = base, adapter, gates

    def begin_chunk(self) -> None:
        """Nothing is remembered."""

    def predict(self, latents: Tensor, sigma: float, branch: str, conditions: Conditions) -> Tensor:
        """Velocity ``[16, T, h, w]`` of ``latents`` at ``sigma`` in [0, 1]."""
        hears = BRANCH_INPUTS[branch][1]
        tokens = conditions.voice if hears else conditions.silence
        text, pooled = no_text(1)
        return self.base(
            latents[None],
            torch.tensor([1000.0 * sigma]),
            text,
            pooled,
            concat=conditions.concat,
            audio=HybridAudioPass(self.adapter, tokens, self.gates),
        )[0]


@torch.no_grad()
def render_hybrid(
    networks: HybridNetworks,
    faces: Sequence[Identity],
    voices: Sequence[np.ndarray],
    frames: int,
    setting: HybridSetting | None = None,
    speakers: Sequence[int] | None = None,
) -> Trial:
    """Make a clip.

    Args:
        networks: The hybrid model with the demo's VAE and audio encoder.
        faces: Who is in the picture, from left to right.
        voices: 16 kHz samples, one voice per speaker.
        frames: Length of the clip.
        setting: How it is sampled.
        speakers: The face of each voice; as they come by default.
    """
    setting = setting or HybridSetting()
    codec, portrait = HybridCodec(networks.vae), portrait_of(faces)
    picture = torch.from_numpy(portrait).permute(2, 0, 1).float() / 127.5 - 1
    plan = plan_windows(frames, pixel_frames(setting.window_latents), setting.overlap)
    tracks = [
        FeatureTrack(networks.wav2vec, pad_for_clip(normalize_loudness(voice), frames))
        for voice in voices
    ]
    offset = TEMPORAL_STRIDE * setting.audio_offset
    conditioner = HybridConditioner(
        networks.adapter, codec.encode(picture[:, None]), tracks, offset
    )
    gates = face_gates(faces, speakers or range(len(voices)))
    predictor = HybridPredictor(networks.base, networks.adapter, gates)
    sweeper = Sweeper(
        plan,
        conditioner.conditions,
        conditioner.portrait,
        blend=setting.blend,
        first_frame=setting.first_frame,
        holds=False,
    )
    latents = sample_windows(
        sweeper,
        WindowEuler(predictor, setting.guidance or TalkGuidance(), setting.seed),
        clip_noise(setting.seed, plan, len(faces)),
        setting.sigmas,
    )
    assert latents is not None
    shown = torch.cat(list(codec.decode(latents)), dim=1)[:, :frames]
    return Trial(portrait, to_pixels(shown), plan.spans)


def to_pixels(frames: Tensor) -> np.ndarray:
    """Frames ``[3, F, H, W]`` in [-1, 1] as uint8 ``[F, H, W, 3]``."""
    return frames.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(1, 2, 3, 0).numpy()


def clip_noise(seed: int, plan: WindowPlan, faces: int) -> Callable[[], Tensor]:
    """The noise of a whole clip."""
    side = SIZE // SPATIAL_STRIDE
    return lambda: chunk_noise(seed, 0, (16, plan.latents, side, side * faces))


def face_gates(faces: Sequence[Identity], speakers: Sequence[int]) -> Tensor:
    """Gates ``[1, S, 1, N]``: each speaker at the mouth and the eyes of its face, rule ``any``."""
    side = SIZE // (2 * SPATIAL_STRIDE)
    gates = torch.zeros(len(speakers), side, side * len(faces))
    for gate, tile in zip(gates, speakers, strict=True):
        boxes = [place(faces[tile], SIZE, tile) for place in (mouth_box, eye_box)]
        touch(gate, union(np.array(boxes)))
    return gates.flatten(1)[None, :, None]


def as_hybrid(model: nn.ModuleDict, vae: WanVAE, wav2vec: Wav2VecEncoder) -> HybridNetworks:
    """The networks of a model in training."""
    base, adapter = model["base"], model["adapter"]
    assert isinstance(base, HybridModel)
    assert isinstance(adapter, HybridAudioAdapter)
    return HybridNetworks(base.eval(), adapter.eval(), vae, wav2vec)
