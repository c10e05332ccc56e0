"""What only loaded models can tell: whether they fit each other, and what they will not do well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..audio.speech import Speaker, Speech
from ..bridge import unheard_hooks
from ..bridge_hybrid import is_hybrid
from ..errors import InputError
from ..model_loaders.adapter import adapter_file, attached_adapter
from ..model_loaders.base import model_recipe
from ..model_loaders.family import talking_family
from ..models.configs import Family
from ..samplers.guidance import Guidance
from ..samplers.timeline import ClipTimeline
from .clip_warnings import embedded_warnings, reference_warnings
from .load import INPUT_TOO, OUTPUTS


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
        timeline: Prompts that take over in the course of the clip, if there are any.
    """

    model: Any
    vae: Any
    prompts: Mapping[str, Any]
    speech: Speech
    reference: Any
    guidance: Guidance
    sampler: Any
    timeline: ClipTimeline | None = None


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
                f"{right_features(expected, speaker)}."
            )
    check_prompt_width(model, named_prompts(sources))
    check_vae(sources.vae, model)
    warnings = [f"{words} of another node cannot run here" for words in unheard_hooks(model)]
    seeing = getattr(model.model.diffusion_model, "img_emb", None) is not None
    if not (seeing or is_hybrid(model)) and model_recipe(model) is None:
        warnings.append(
            "this base has no image branch, as Wan 2.2 has none: the published adapters were "
            "trained on Wan 2.1 I2V"
        )
    if is_hybrid(model) and sources.reference.image_tokens is not None:
        warnings.append(
            "CLIP vision is not used: HunyuanVideo sees the picture in its prompt "
            "(TextEncodeHunyuanVideo_ImageToVideo)"
        )
    guidance, family = sources.guidance, talking_family(model)
    warnings += embedded_warnings(guidance, embedded=has_own_guidance(model))
    warnings += reference_warnings(guidance, holds_first_frame=family.holds_first_frame)
    file = adapter_file(model)
    if len(speakers) > 1 and "single" in file.lower():
        warnings.append(
            f"{file} was trained for one speaker; use the Multi adapter for {len(speakers)}"
        )
    return warnings


def named_prompts(sources: ClipSources) -> dict[str, Any]:
    """Every prompt that will be read, by what a user calls it."""
    timed = [] if sources.timeline is None else sources.timeline.prompts
    lines = {f"timeline's {number}.": prompt for number, prompt in enumerate(timed, 1)}
    return {**sources.prompts, **lines}


def right_features(expected: int, speaker: Speaker) -> str:
    """What to do about an encoder of another feature size than the adapter's."""
    if expected == speaker.hidden * (speaker.layers + 1):
        return f"set 'layers' of Load Wav2Vec2 to '{INPUT_TOO}'"
    if expected == speaker.hidden * (speaker.layers - 1):
        return f"set 'layers' of Load Wav2Vec2 to '{OUTPUTS}'"
    return "load the encoder the adapter was trained with (chinese-wav2vec2-base)"


def check_streams(model: Any) -> None:
    """Refuse a MODEL whose first latent frame may not be held clean, as streaming does.

    Raises:
        InputError: HunyuanVideo of 33 channels, whose noisy latents have the picture beside them.
    """
    check_streamable(talking_family(model))


def check_streamable(family: Family) -> None:
    """The same for a family, which is often known before the MODEL is loaded.

    Raises:
        InputError: As ``check_streams``.
    """
    if not family.holds_first_frame:
        raise InputError(
            "this MODEL is HunyuanVideo of 33 input channels, which cannot go on from the last "
            "frames of a chunk: use Talk Sampler (Sliding Window) for it."
        )


def has_own_guidance(model: Any) -> bool:
    """Whether a guidance scale is an input of the network, as of the public HunyuanVideo."""
    settings = getattr(model.model.diffusion_model, "params", None)
    return bool(getattr(settings, "guidance_embed", False))


def check_vae(vae: Any, model: Any) -> None:
    """Refuse a VAE whose latents are not the model's."""
    expected = model.model.latent_format.latent_channels
    if vae.latent_channels != expected or vae.latent_dim != 3:
        kind = "video" if vae.latent_dim == 3 else "picture"
        right = "hunyuan_video_vae_bf16" if is_hybrid(model) else "wan_2.1_vae"
        raise InputError(
            f"this is a {kind} VAE of {vae.latent_channels} channels; the model needs a video VAE "
            f"of {expected}: connect {right}.safetensors."
        )


def check_prompt_width(model: Any, prompts: Mapping[str, Any]) -> None:
    """Refuse prompts of a text encoder that the base was not trained with."""
    network = model.model.diffusion_model
    how = "CLIPLoader of type wan (umt5_xxl_fp8_e4m3fn_scaled.safetensors)"
    if is_hybrid(model):
        expected = network.params.context_in_dim
        how = "DualCLIPLoader of type hunyuan_video (llava_llama3 and clip_l)"
    else:
        expected = network.text_dim
    for name, prompt in prompts.items():
        if prompt and prompt[0][0].shape[-1] != expected:
            raise InputError(
                f"the {name} prompt is {prompt[0][0].shape[-1]} wide, this model reads {expected}: "
                f"encode it with {how}."
            )
