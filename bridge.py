"""ComfyUI behind the samplers' protocols: its VAE, its samplers, its progress and its cancel.

The streaming loop runs here as it does on the command line. What the host owns stays the host's:
MODEL, VAE and conditioning come in as they are, and every call of the network goes through the
host's sampling with whatever other nodes have hooked into it.

Letters: C latent channels, T latent frames, F pixel frames, S speakers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import comfy.clip_vision
import comfy.conds
import comfy.model_management
import comfy.samplers
import comfy.utils
import node_helpers
import torch
from torch import Tensor

from .bridge_audio import with_audio_windows
from .frames import TEMPORAL_STRIDE
from .models.adapter import AUDIO, GATES, MASKS, STRENGTH
from .samplers.conditioning import reference_condition
from .samplers.denoise import hold
from .samplers.guidance import BRANCH_INPUTS, Guidance
from .samplers.noise import chunk_seed
from .samplers.plan import Chunk
from .samplers.protocols import StepCallback

MASK_CHANNELS = TEMPORAL_STRIDE
"""Of the 20 conditioning channels, those of the mask; the rest is the reference latent."""

DECODED_BLOCK = 8
"""Frames handed on at once, between two looks at the cancel button."""

UNHEARD_OPTIONS = {
    "sampler_cfg_function": "a CFG function (such as RescaleCFG)",
    "sampler_pre_cfg_function": "a pre-CFG function",
    "sampler_calc_cond_batch_function": "a replacement of the guidance call",
}
"""Hooks of other nodes that have no place in guidance along two directions."""


class HostCodec:
    """The host's VAE as a ``VideoCodec``; latents are normalised as the network sees them."""

    def __init__(self, vae: Any, latent_format: Any):
        self.vae, self.latent_format = vae, latent_format

    @property
    def looks_ahead(self) -> bool:
        """Whether a frame also depends on later ones, as HunyuanVideo's VAE normalises over all."""
        return any(
            isinstance(part, torch.nn.GroupNorm) for part in self.vae.first_stage_model.modules()
        )

    def encode(self, frames: Tensor) -> Tensor:
        """Encode ``[3, F, H, W]`` in [-1, 1] to ``[C, T, H/8, W/8]`` on the CPU."""
        pixels = frames.movedim(0, -1).mul(0.5).add(0.5)
        with cancellable(self.vae):
            raw = self.vae.encode(pixels).float()
        return self.latent_format.process_in(raw)[0]

    def decode(self, latents: Tensor) -> Iterator[Tensor]:
        """Decode ``[C, T, H/8, W/8]`` to blocks ``[3, f, H, W]`` in [-1, 1]."""
        with cancellable(self.vae):
            pixels = self.vae.decode(self.latent_format.process_out(latents[None]))
        for block in pixels.flatten(0, 1).split(DECODED_BLOCK):
            comfy.model_management.throw_exception_if_processing_interrupted()
            yield block.float().movedim(-1, 0).mul(2).sub(1)


@contextmanager
def cancellable(vae: Any) -> Iterator[None]:
    """Listen for the cancel button within a call of the host's VAE.

    The host works through a clip in groups of frames, and through tiles when memory is short,
    without a look at the button; torch's own hooks look at each of them.
    """
    parts = [getattr(vae.first_stage_model, name, None) for name in ("encoder", "decoder")]

    def listen(*_: Any) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()

    hooks = [
        part.register_forward_pre_hook(listen)
        for part in parts
        if isinstance(part, torch.nn.Module)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@dataclass(frozen=True)
class HostConditions:
    """What the host's sampling reads for one chunk.

    Attributes:
        branches: The host's CONDITIONING per guidance branch.
        seed: For samplers that draw noise of their own.
    """

    branches: Mapping[str, list[Any]]
    seed: int


class HostConditioner:
    """Conditions of a chunk: the user's prompts with reference, CLIP tokens and audio added.

    Args:
        codec: The VAE.
        prompts: CONDITIONING by name, ``positive`` and where needed ``negative``.
        names: Guidance branches that may be asked for.
        windows: Audio windows of all speakers for a chunk, ``[S, F, 5, layers, channels]``.
        masks: Speakers' token masks ``[S + 1, N]``, or None for one speaker.
        strength: ``[S]``.
        image_tokens: CLIP vision tokens ``[1, 257, 1280]`` or None, or what gives them for a
            reference frame.
        seed: The clip's seed.
        gates: Where each speaker is heard during a chunk ``[1, S, T or 1, N]``, which takes the
            place of ``masks``; None is no gate.
    """

    def __init__(
        self,
        codec: HostCodec,
        prompts: Mapping[str, list[Any]],
        names: Sequence[str],
        *,
        windows: Callable[[Chunk], Tensor],
        masks: Tensor | None,
        strength: Tensor,
        image_tokens: Tensor | Callable[[Tensor], Tensor | None] | None,
        seed: int,
        gates: Callable[[Chunk], Tensor] | None = None,
    ):
        self.codec, self.prompts, self.names = codec, prompts, names
        self.windows, self.masks, self.strength = windows, masks, strength
        self.image_tokens, self.seed, self.gates = image_tokens, seed, gates
        self._seen: tuple[Tensor, int] | None = None
        self._picture: dict[str, Any] = {}

    def conditions(self, chunk: Chunk, reference: Tensor) -> HostConditions:
        """Conditions of a chunk with its reference frame ``[3, H, W]``."""
        seen = self._seen
        if seen is None or seen[0] is not reference or seen[1] != chunk.frames:
            self._picture = self._look_at(reference, chunk.frames)
            self._seen = (reference, chunk.frames)
        voice, silence = self._voices(chunk)
        branches = {}
        for name in self.names:
            prompt, hears = BRANCH_INPUTS[name]
            values = {**self._sight(name), "model_conds": voice if hears else silence}
            branches[name] = node_helpers.conditioning_set_values(self._prompt(prompt), values)
        return HostConditions(branches, chunk_seed(self.seed, chunk.index))

    def _sight(self, _branch: str) -> dict[str, Any]:
        """What a branch sees of the reference frame: all of them the same."""
        return self._picture

    def _prompt(self, name: str) -> list[Any]:
        """The CONDITIONING of a prompt as the network can read it."""
        return self.prompts[name]

    def _voices(self, chunk: Chunk) -> tuple[dict[str, Any], dict[str, Any]]:
        """What branches with the voices hear, and those without.

        Silence has one speaker and no place; under gates it has those of the voices, so that
        guidance changes nothing where nobody speaks.
        """
        windows = self.windows(chunk)
        if self.gates is not None:
            gates = {GATES: self.gates(chunk)}
            quiet, ones = torch.zeros_like(windows), torch.ones(len(windows))
            return hearing(windows, self.strength, gates), hearing(quiet, ones, gates)
        masks = {} if self.masks is None else {MASKS: self.masks[None]}
        quiet = torch.zeros_like(windows[:1])
        return hearing(windows, self.strength, masks), hearing(quiet, torch.ones(1), {})

    def _look_at(self, reference: Tensor, frames: int) -> dict[str, Any]:
        """What depends on the reference frame alone, in the host's words."""
        condition = reference_condition(self.codec, reference, frames)[None]
        mask, latent = condition[:, :MASK_CHANNELS], condition[:, MASK_CHANNELS:]
        picture: dict[str, Any] = {
            "concat_latent_image": self.codec.latent_format.process_out(latent),
            "concat_mask": 1.0 - mask,  # the host's 0 is what is known
        }
        known = self.image_tokens
        tokens = known(reference) if callable(known) else known
        if tokens is not None:
            output = comfy.clip_vision.Output()
            output.penultimate_hidden_states = tokens
            picture["clip_vision_output"] = output
        return picture


def hearing(windows: Tensor, strength: Tensor, places: Mapping[str, Tensor]) -> dict[str, Any]:
    """The host's conds of audio windows ``[S, F, ...]``, strengths ``[S]`` and places."""
    heard = {AUDIO: windows[None], STRENGTH: strength[None], **places}
    return {name: comfy.conds.CONDRegular(tensor) for name, tensor in heard.items()}


class TalkGuider(comfy.samplers.CFGGuider):
    """The host's guider with our guidance rule and a context that stays clean.

    The context is written over the input of every evaluation and over the guided estimate that goes
    back to the sampler. Windows of a host context handler are cut from that same input, so each of
    them holds exactly the context frames that lie in it.
    """

    def __init__(self, model: Any, guidance: Guidance, held: Tensor):
        super().__init__(model)
        self.guidance, self.held = guidance, held

    def predict_noise(
        self,
        x: Tensor,
        timestep: Tensor,
        model_options: dict[str, Any] | None = None,
        seed: Any = None,
    ) -> Tensor:
        """Guided estimate of the clean latents ``[1, C, T, H, W]`` at ``timestep`` (a sigma)."""
        options = model_options or {}
        held = self.held.to(x)
        x = hold_batch(x.clone(), held)
        sigma = float(timestep.flatten()[0])
        names = [*self.guidance.branches(sigma)]
        conds = [self.conds[name] for name in names]
        estimates = comfy.samplers.calc_cond_batch(self.inner_model, conds, x, timestep, options)
        denoised = estimates[0]
        if len(names) > 1:
            velocities = {
                name: (x - estimate)[0] / sigma
                for name, estimate in zip(names, estimates, strict=True)
            }
            denoised = x - sigma * self.guidance.combine(velocities, sigma)[None]
        denoised = self._after_guidance(denoised, estimates, x, timestep, options)
        return hold_batch(denoised, held)

    def _after_guidance(
        self,
        denoised: Tensor,
        estimates: list[Tensor],
        x: Tensor,
        timestep: Tensor,
        options: dict[str, Any],
    ) -> Tensor:
        """Run the post-CFG functions of other nodes."""
        names = [*self.guidance.branches(float(timestep.flatten()[0]))]
        for function in options.get("sampler_post_cfg_function", []):
            denoised = function(
                {
                    "denoised": denoised,
                    "cond": self.conds[names[0]],
                    "uncond": self.conds[names[-1]],
                    "cond_scale": self.cfg,
                    "model": self.inner_model,
                    "cond_denoised": estimates[0],
                    "uncond_denoised": estimates[-1],
                    "sigma": timestep,
                    "model_options": options,
                    "input": x,
                }
            )
        return denoised


def hold_batch(latents: Tensor, held: Tensor) -> Tensor:
    """Write clean context ``[1, C, Th, H, W]`` over the head of ``[B, C, T, H, W]``, in place."""
    latents[:, :, : held.shape[2]] = held
    return latents


class HostDenoiser:
    """The host's sampling as a ``Denoiser``.

    Args:
        model: A MODEL with the adapter attached.
        sampler: The host's SAMPLER.
        guidance: How predictions are combined. A copy is used: what a rule remembers between
            steps must not stay behind in the host's cache.
    """

    def __init__(self, model: Any, sampler: Any, guidance: Guidance):
        self.model = with_audio_windows(model)
        self.sampler, self.guidance = sampler, copy.deepcopy(guidance)
        self.latent_format = model.model.latent_format

    def denoise(
        self,
        noise: Tensor,
        conditions: HostConditions,
        sigmas: Tensor,
        *,
        held: Tensor,
        start: Tensor | None = None,
        pinned: tuple[Tensor, Tensor] | None = None,
        callback: StepCallback | None = None,
    ) -> Tensor:
        """Denoise one chunk; see ``protocols.Denoiser``."""
        self.guidance.begin_chunk(conditions.seed)
        guider = TalkGuider(self.model, self.guidance, held[None])
        guider.inner_set_conds(dict(conditions.branches))

        def step_done(step: int, denoised: Tensor, _x: Tensor, steps: int) -> None:
            comfy.model_management.throw_exception_if_processing_interrupted()
            if callback is not None:
                callback(step + 1, steps, denoised[0])

        begin, free = inpainting(noise, held, start, pinned)
        # The host takes zeros for no latent image, and leaves them as they are.
        raw = self.latent_format.process_out(begin) if begin.any() else begin
        out = guider.sample(
            noise[None],
            raw,
            self.sampler,
            sigmas.clone(),  # the host's UniPC writes to them
            denoise_mask=free,
            callback=step_done,
            disable_pbar=True,
            seed=conditions.seed,
        )
        latents = self.latent_format.process_in(out.float().cpu())[0]
        if pinned is not None:
            latents = latents.lerp(*(part.to(latents) for part in pinned))
        return hold(latents, held.to(latents))


def inpainting(
    noise: Tensor, held: Tensor, start: Tensor | None, pinned: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor | None]:
    """The ``latent_image`` and ``denoise_mask`` of the host that start and pin as ours do.

    The host noises its one latent image to every sigma where its mask is 0, and begins from it
    everywhere; so the pinned latents are written into those to start from. The head is left to the
    context, which is held clean.

    Args:
        noise: ``[C, T, H, W]``.
        held: Clean context ``[C, Th, H, W]``.
        start: Latents to begin from, or None.
        pinned: Latents and mask ``[1, T, H, W]`` of 0 and 1, or None.

    Returns:
        Normalised latents ``[1, C, T, H, W]``, and ``[1, 1, T, H, W]``, 0 where they stay, or None.
    """
    begin = torch.zeros_like(noise) if start is None else start.to(noise)
    if pinned is None:
        return begin[None], None
    kept, mask = (part.to(noise) for part in pinned)
    free = 1.0 - mask
    free[:, : held.shape[1]] = 1.0
    return begin.lerp(kept, mask)[None], free[None]


def unheard_hooks(model: Any) -> list[str]:
    """Hooks of other nodes on a MODEL that cannot run under our guidance, in plain words."""
    return [words for name, words in UNHEARD_OPTIONS.items() if model.model_options.get(name)]


def empty_prompt(model: Any) -> list[Any]:
    """CONDITIONING of no text: zeros, as the network pads its prompts."""
    network = model.model.diffusion_model
    return [[torch.zeros(1, network.text_len, network.text_dim), {}]]
