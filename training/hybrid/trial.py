"""A trial of the hybrid model: drawn faces nobody has seen, through the sliding window sampler.

The same windows, blending and guidance as everywhere; the clip stays in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from ...audio.features import FeatureTrack, pad_for_clip
from ...audio.loudness import normalize_loudness
from ...frames import SPATIAL_STRIDE, TEMPORAL_STRIDE, pixel_frames
from ...models.hybrid import HybridModel
from ...models.hybrid_adapter import HybridAudioAdapter
from ...models.hybrid_codec import HybridCodec
from ...models.hybrid_networks import HybridNetworks
from ...models.wan_vae import WanVAE
from ...models.wav2vec import Wav2VecEncoder
from ...samplers.blend import Blend
from ...samplers.guidance import Guidance, TalkGuidance
from ...samplers.noise import chunk_noise
from ...samplers.plan import Chunk
from ...samplers.schedule import even_sigmas
from ...samplers.sliding import FirstFrame, Sweeper, sample_windows
from ...samplers.window_denoise import WindowEuler
from ...samplers.windows import WindowPlan, plan_windows
from ...standalone import WindowReader, clamped_windows
from ...standalone_hybrid import HybridConditioner, HybridPredictor, HybridPrompt
from ..faces.boxes import eye_box, mouth_box
from ..faces.identity import Identity
from ..sizes import SHIFT, SIZE, STEPS
from ..trial import Trial, portrait_of
from .sizes import WINDOW_LATENTS, no_text
from .windows import touch, union


@dataclass(frozen=True)
class HybridSetting:
    """How a trial is sampled.

    Attributes:
        seed: Of the noise.
        steps: Denoising steps.
        shift: Of their schedule.
        guidance: None is none.
        blind: The unconditional prediction sees no portrait either, as the paper has it.
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
    blind: bool = False
    window_latents: int = WINDOW_LATENTS
    overlap: int | None = None
    blend: Blend = Blend.PAPER
    first_frame: FirstFrame = FirstFrame.EVERY
    audio_offset: int = 0

    @property
    def sigmas(self) -> Tensor:
        """The schedule as MagicInfinite spaces it: 1, 0.9375, 0.8333, 0.625, 0 by default."""
        return even_sigmas(self.steps, self.shift)


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
    gates = face_gates(faces, speakers or range(len(voices)))
    text, pooled = no_text(1)
    prompt = HybridPrompt(text[0], pooled[0])
    conditioner = HybridConditioner(
        networks.base,
        networks.adapter,
        codec,
        texts={"positive": prompt, "negative": prompt},
        voices=tracks,
        gates=lambda chunk: gates,
        windows=late_windows(TEMPORAL_STRIDE * setting.audio_offset),
    )
    sweeper = Sweeper(
        plan,
        lambda chunk: conditioner.conditions(chunk, picture),
        codec.encode(picture[:, None]),
        blend=setting.blend,
        first_frame=setting.first_frame,
        holds=networks.base.config.family.holds_first_frame,
    )
    blind = ("unconditional",) if setting.blind else ()
    predictor = HybridPredictor(networks.base, networks.adapter, blind=blind)
    latents = sample_windows(
        sweeper,
        WindowEuler(predictor, setting.guidance or TalkGuidance(), setting.seed),
        clip_noise(setting.seed, plan, len(faces)),
        setting.sigmas,
    )
    assert latents is not None
    shown = torch.cat(list(codec.decode(latents)), dim=1)[:, :frames]
    return Trial(portrait, to_pixels(shown), [seen_span(span) for span in plan.spans])


def seen_span(span: Chunk) -> Chunk:
    """What a window adds; one that shares nothing is given a frame of the window before.

    A measurement takes a chunk without context for the start of a shot.
    """
    if span.index == 0 or span.context_frames:
        return span
    return Chunk(span.index, span.start_frame - 1, span.frames + 1, 1, span.kept_frames)


def to_pixels(frames: Tensor) -> np.ndarray:
    """Frames ``[3, F, H, W]`` in [-1, 1] as uint8 ``[F, H, W, 3]``."""
    return frames.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(1, 2, 3, 0).numpy()


def late_windows(frames: int) -> WindowReader:
    """Cuts audio windows so many frames too late."""
    return lambda source, chunk: clamped_windows(
        source, replace(chunk, start_frame=chunk.start_frame + frames)
    )


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
