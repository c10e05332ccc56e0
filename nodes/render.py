"""One clip in ComfyUI: sockets in, mp4 out, with progress, previews and cancel on the way.

Puts the bridge, the streaming loop and the sink together, as ``talk`` does for the command line.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from ..reference.sources import PictureReference
from ..samplers.guidance import Guidance
from ..samplers.noise import chunk_noise
from ..samplers.plan import Chunk
from ..samplers.streaming import Sampling, stream_clip
from ..video.color import ColorAnchor
from ..video.overview import contact_sheet, thumbnail
from ..video.sink import VideoSink
from ..video.sound import Sound
from .preflight import ClipPlan
from .sockets import show_under_node

PREVIEW_SIZE = 512
CRF = {False: 12, True: 0}
"""x264's constant rate factor: ``high`` and ``lossless``."""


class Progress:
    """Progress over the whole clip: a bar, a line under the node, and pictures.

    Args:
        clip: The plan.
        node_id: The node to show it on.
        model: Its latent format decides what a preview looks like.
    """

    def __init__(self, clip: ClipPlan, node_id: str | None, model: Any):
        self.clip, self.node_id = clip, node_id
        self.steps = len(clip.sigmas) - 1
        self.bar = comfy.utils.ProgressBar(len(clip.plan) * self.steps, node_id=node_id)
        self.previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
        self.started = time.monotonic()

    def __call__(self, chunk: Chunk, step: int, steps: int, denoised: Tensor) -> None:
        """A step is done; shows the middle of the chunk as it looks now."""
        done = chunk.index * steps + step
        preview = None
        if self.previewer is not None:
            middle = denoised.shape[1] // 2
            frame = denoised[None, :, middle : middle + 1]
            preview = self.previewer.decode_latent_to_preview_image("JPEG", frame)
        self.bar.update_absolute(done, preview=preview)
        show_under_node(self.node_id, self.describe(chunk, step, done), level=logging.DEBUG)

    def describe(self, chunk: Chunk, step: int, done: int) -> str:
        """``chunk 4/63 · step 3/6 · 0:09 of 3:00 · 1 h 35 left``."""
        total = len(self.clip.plan) * self.steps
        left = (time.monotonic() - self.started) / done * (total - done)
        reached = chunk.start_frame + chunk.context_frames
        return (
            f"chunk {chunk.index + 1}/{len(self.clip.plan)} · step {step}/{self.steps} · "
            f"{clock(reached / FPS)} of {clock(self.clip.frames / FPS)} · {duration(left)} left"
        )

    def show_frame(self, frame: np.ndarray, chunks_done: int) -> None:
        """A decoded frame, uint8 ``[h, w, 3]``, whatever the preview setting."""
        picture = ("JPEG", Image.fromarray(frame), PREVIEW_SIZE)
        self.bar.update_absolute(chunks_done * self.steps, preview=picture)


class WatchedSink:
    """A sink that shows a frame of every finished chunk and keeps a thumbnail of it."""

    def __init__(self, sink: VideoSink, progress: Progress):
        self.sink, self.progress = sink, progress
        self.thumbnails: list[np.ndarray] = []
        self._first: Tensor | None = None

    def append(self, frames: Tensor) -> None:
        """Pass frames on."""
        if self._first is None:
            self._first = frames[:, 0].clone()
        self.sink.append(frames)

    def commit(self, state: dict[str, Tensor]) -> None:
        """A chunk is whole."""
        self.sink.commit(state)
        assert self._first is not None
        self.progress.show_frame(thumbnail(self._first, PREVIEW_SIZE), len(self.thumbnails) + 1)
        self.thumbnails.append(thumbnail(self._first))
        self._first = None

    def recall(self, chunk: Chunk) -> Mapping[str, Tensor] | None:
        """What the sink holds already."""
        return self.sink.recall(chunk)

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
        reference: The picture.
        guidance: The guidance rule.
        sampler: A SAMPLER.
        soundtrack: Sound instead of the voices, or None.
    """

    model: Any
    vae: Any
    prompts: Mapping[str, Any]
    speech: Speech
    reference: PictureReference
    guidance: Guidance
    sampler: Any
    soundtrack: Sound | None


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


def render_clip(
    clip: ClipPlan,
    sources: ClipSources,
    path: Path,
    *,
    metadata: Mapping[str, str],
    node_id: str | None,
) -> Tensor:
    """Render a planned clip to ``path``.

    Returns:
        The overview, ``[1, H, W, 3]`` in [0, 1].
    """
    model, reference = sources.model, sources.reference
    codec = HostCodec(sources.vae, model.model.latent_format)
    height, width = reference.size
    shape = (
        model.model.latent_format.latent_channels,
        latent_frames(clip.settings.chunk_frames),
        height // SPATIAL_STRIDE,
        width // SPATIAL_STRIDE,
    )
    progress = Progress(clip, node_id, model)
    crf = CRF[clip.settings.lossless]
    with VideoSink(path, reference.size, crf=crf, metadata=metadata) as sink:
        watched = WatchedSink(sink, progress)
        stream_clip(
            clip.plan,
            reference=reference.source,
            conditioner=conditioner_for(clip, sources, codec),
            denoiser=HostDenoiser(model, sources.sampler, sources.guidance),
            codec=codec,
            sink=watched,
            sampling=lambda chunk: Sampling(
                chunk_noise(clip.settings.seed, chunk.index, shape), clip.sigmas
            ),
            color=ColorAnchor(reference.source.first, clip.settings.color_strength),
            callback=progress,
        )
        watched.finish(sources.soundtrack or spoken(sources.speech))
    captions = [f"#{c.index} {clock((c.start_frame + c.context_frames) / FPS)}" for c in clip.plan]
    return contact_sheet(watched.thumbnails, captions)


def conditioner_for(clip: ClipPlan, sources: ClipSources, codec: HostCodec) -> HostConditioner:
    """The conditions of every chunk of a clip."""
    speakers = sources.speech.speakers

    def windows(chunk: Chunk) -> Tensor:
        spans = [audio_windows(s.features, chunk.start_frame, chunk.frames) for s in speakers]
        return torch.cat(spans)

    empty = empty_prompt(sources.model)
    return HostConditioner(
        codec,
        {name: prompt or empty for name, prompt in sources.prompts.items()},
        clip.branches,
        windows=windows,
        masks=clip.masks,
        strength=torch.tensor([speaker.strength for speaker in speakers]),
        image_tokens=sources.reference.image_tokens,
        seed=clip.settings.seed,
    )


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
