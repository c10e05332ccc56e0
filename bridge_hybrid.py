"""HunyuanVideo in ComfyUI behind the samplers' protocols: what differs from Wan.

The reference picture enters on the channel axis or as the clean first latent frame, the audio is
grouped by latent frames, and two ways in which the host batches this network are avoided.

Letters: C latent channels, T latent frames, F pixel frames, S speakers.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import comfy.conds
import torch
from comfy.ldm.hunyuan_video.model import HunyuanVideo
from torch import Tensor

from .bridge import HostConditioner, empty_prompt
from .errors import InputError
from .models.adapter import GATES, HOST_KEY, STRENGTH
from .models.hybrid_adapter import GROUPED_AUDIO, HybridAudioAdapter
from .samplers.conditioning import latent_windows, padded_reference
from .samplers.plan import Chunk

PAD_MASK = "attention_mask"
"""What the host's text encoders call their mask of padding."""


class AloneCond(comfy.conds.CONDRegular):
    """A cond that the host evaluates in a batch of its own.

    ComfyUI's network mixes the rows of a batch when it has a replaced first frame and a guidance
    embedding, and cannot run one whose prompts are padded.
    """

    def can_concat(self, other: Any) -> bool:
        """Never."""
        return False


class HybridConditioner(HostConditioner):
    """Conditions of a chunk or denoising window for a HunyuanVideo MODEL.

    Args:
        args: As ``HostConditioner``.
        model: The MODEL, with the adapter attached.
        blind: Guidance branches that see no picture; one of a replaced first frame cannot help it.
        options: As ``HostConditioner``. Without ``gates`` the ``masks`` of the speakers are gates
            that stand still, and without either everybody is heard everywhere; ``image_tokens`` are
            not used, because the picture's tokens come in the prompt.
    """

    def __init__(self, *args: Any, model: Any, blind: Collection[str] = (), **options: Any):
        super().__init__(*args, **options)
        if self.gates is None and self.masks is not None:
            places = self.masks[None, :-1, None]  # the last one is the background's
            self.gates = lambda _chunk: places
        network = model.model.diffusion_model
        self.concat = network.in_channels != network.out_channels
        self.guided = network.params.guidance_embed
        self.null_audio = adapter_of(model).config.null_audio
        self.pooled_dim = network.params.vec_in_dim
        self.blind = blind if self.concat else ()

    def _prompt(self, name: str) -> list[Any]:
        """A prompt without a mask of padding that masks nothing.

        Raises:
            InputError: It was made by a text encoder of another family.
        """
        prompt = []
        for tokens, values in self.prompts[name]:
            pooled = values.get("pooled_output")
            if pooled is None or pooled.shape[-1] < self.pooled_dim:
                raise InputError(
                    f"the {name} prompt has no pooled text of width {self.pooled_dim}: encode it "
                    "with DualCLIPLoader of type hunyuan_video (llava_llama3 and clip_l)."
                )
            kept = {k: v for k, v in values.items() if k != PAD_MASK or is_padded(v)}
            prompt.append([tokens, kept])
        return prompt

    def _must_be_alone(self) -> bool:
        """Whether the host must not batch the branches of a step."""
        values = [each for prompt in self.prompts.values() for _, each in prompt]
        padded = any(is_padded(each.get(PAD_MASK)) for each in values)
        return padded or (self.guided and not self.concat)

    def _voices(self, chunk: Chunk) -> tuple[dict[str, Any], dict[str, Any]]:
        """What branches with the voices hear, and those without: silence, through the same gates.

        Where silence is no audio at all its strength is 0.
        """
        windows = latent_windows(self.windows, chunk)
        gates = {} if self.gates is None else {GATES: self.gates(chunk)}
        quiet = torch.ones_like(self.strength) * (self.null_audio == "zeros")
        return (
            self._hearing(windows, self.strength, gates),
            self._hearing(torch.zeros_like(windows), quiet, gates),
        )

    def _hearing(
        self, windows: Tensor, strength: Tensor, gates: dict[str, Tensor]
    ) -> dict[str, Any]:
        heard = {STRENGTH: strength[None], **gates}
        conds = {name: comfy.conds.CONDRegular(tensor) for name, tensor in heard.items()}
        kind = AloneCond if self._must_be_alone() else comfy.conds.CONDRegular
        return {**conds, GROUPED_AUDIO: kind(windows[None])}

    def _look_at(self, reference: Tensor, frames: int) -> dict[str, Any]:
        """What depends on the reference frame alone, in the host's words."""
        if not self.concat:
            return {"guiding_frame_index": 0}
        condition = padded_reference(self.codec, reference, frames)[None]
        latent, mask = condition[:, :-1], condition[:, -1:]
        return {
            "concat_latent_image": self.codec.latent_format.process_out(latent),
            "concat_mask": 1.0 - mask,  # the host's 0 is what is known
        }

    def _sight(self, branch: str) -> dict[str, Any]:
        """What a branch sees of the reference frame, or that nothing is known.

        The picture stays when the words go, as the public weights expect, unless it is to go, too.
        It is not left out of the CONDITIONING then: the host would take the latents it begins from
        in its place.
        """
        if branch not in self.blind:
            return self._picture
        latent, mask = self._picture["concat_latent_image"], self._picture["concat_mask"]
        nothing = self.codec.latent_format.process_out(torch.zeros_like(latent))
        return {"concat_latent_image": nothing, "concat_mask": torch.ones_like(mask)}


def is_padded(mask: Tensor | None) -> bool:
    """Whether a mask of padding masks anything."""
    return mask is not None and bool((mask != 1).any())


def is_hybrid(model: Any) -> bool:
    """Whether a MODEL is HunyuanVideo."""
    return isinstance(model.model.diffusion_model, HunyuanVideo)


def conditioner_for(
    model: Any, *args: Any, blind: Collection[str] = (), **options: Any
) -> HostConditioner:
    """The conditioner of a MODEL's family.

    Args:
        model: The MODEL, with the adapter attached.
        args: As ``HostConditioner``.
        blind: Guidance branches that see no reference picture, where the family can do without.
        options: As ``HostConditioner``.
    """
    if is_hybrid(model):
        return HybridConditioner(*args, model=model, blind=blind, **options)
    return HostConditioner(*args, **options)


def empty_prompt_for(model: Any) -> list[Any]:
    """CONDITIONING of no text for a MODEL of any family."""
    return empty_hybrid_prompt(model) if is_hybrid(model) else empty_prompt(model)


def adapter_of(model: Any) -> HybridAudioAdapter:
    """The adapter attached to a MODEL.

    Raises:
        InputError: There is none, or one of another system.
    """
    attached = model.get_additional_models_with_key(HOST_KEY)
    if not attached or not isinstance(attached[0].model, HybridAudioAdapter):
        raise InputError(
            "this HunyuanVideo MODEL has no audio adapter: put Apply Audio Adapter with a "
            "MagicInfinite adapter behind your loader."
        )
    return attached[0].model


def empty_hybrid_prompt(model: Any) -> list[Any]:
    """CONDITIONING of no text for a HunyuanVideo MODEL: one token of zeros, pooled zeros."""
    params = model.model.diffusion_model.params
    text = torch.zeros(1, 1, params.context_in_dim)
    return [[text, {"pooled_output": torch.zeros(1, params.vec_in_dim)}]]
