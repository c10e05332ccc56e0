"""The same tiny random HunyuanVideo twice: as our reference networks, and inside ComfyUI's own.

Importing this needs ComfyUI on the path; the host tests put it there.
"""

from dataclasses import replace

import comfy.samplers
import comfy.sd
import tiny
import torch
from host_models import copied

from endless_talk.audio.windows import TensorFeatures, audio_windows
from endless_talk.bridge import HostCodec, HostDenoiser
from endless_talk.bridge_hybrid import conditioner_for
from endless_talk.model_loaders.adapter import attach_adapter
from endless_talk.model_loaders.calls import HOST_TOOLKIT, as_additional_model
from endless_talk.models.configs import VAEConfig
from endless_talk.models.hybrid_adapter import HybridAudioAdapter
from endless_talk.samplers.denoise import EulerDenoiser
from endless_talk.samplers.guidance import BRANCHES, blind_branches
from endless_talk.samplers.noise import chunk_noise
from endless_talk.samplers.plan import Chunk
from endless_talk.standalone_hybrid import HybridConditioner, HybridPredictor, HybridPrompt

CONCAT = tiny.HYBRID
REPLACE = replace(CONCAT, in_channels=16, guidance_embed=True)
SIDE, LATENTS = 64, 4
TOKENS = (SIDE // 16) ** 2
LATENT = (16, LATENTS, SIDE // 8, SIDE // 8)
WINDOWS = [Chunk(0, 0, 13, 0, 13), Chunk(1, 8, 13, 0, 13)]
"""Denoising windows of 4 latent frames, from latent frames 0 and 2."""


def host_model(config, state=None, dtype=torch.float32):
    """A MODEL of ComfyUI from a state dict, by its own detection."""
    state = state or copied(tiny.hybrid(config))
    return comfy.sd.load_diffusion_model_state_dict(state, model_options={"dtype": dtype})


def host_adapter(seed=1, config=tiny.HYBRID_ADAPTER):
    """The tiny adapter as a model that ComfyUI manages."""
    adapter = HybridAudioAdapter(config, HOST_TOOLKIT)
    adapter.load_state_dict(copied(tiny.hybrid_adapter(config, seed)))
    return as_additional_model(adapter.eval())


def two_faces(moving=False, latents=LATENTS):
    """Gates of two speakers, which overlap a little and walk to the right when they move."""
    gates = torch.zeros(1, 2, latents if moving else 1, TOKENS)
    for latent in range(gates.shape[2]):
        start = latent % 3
        gates[0, 0, latent, start : start + 6] = 1
        gates[0, 1, latent, start + 5 : start + 12] = 0.8
    return gates


class Twins:
    """One clip's worth of inputs for both sides."""

    def __init__(self, config, speakers=1, *, guidance, gates=None, strength=None, **others):
        self.config, self.guidance, self.gates = config, guidance, gates
        seed = others.get("voice_seed", 0)
        self.voices = [
            TensorFeatures(tiny.normal(60, 3, 8, seed=seed + s)) for s in range(speakers)
        ]
        self.strength = torch.ones(speakers) if strength is None else strength
        self.prompts = {
            "positive": HybridPrompt(tiny.normal(7, 24, seed=9), tiny.normal(768, seed=19)),
            "negative": HybridPrompt(tiny.normal(5, 24, seed=10), tiny.normal(768, seed=20)),
        }
        if others.get("same_length"):
            positive = self.prompts["positive"]
            self.prompts["negative"] = HybridPrompt(positive.tokens.flip(0), positive.pooled)
        self.adapter_config = replace(
            tiny.HYBRID_ADAPTER, null_audio=others.get("null_audio", "zeros")
        )
        self.vae = comfy.sd.VAE(sd=copied(tiny.vae(VAEConfig(width=8))))
        self.reference = tiny.normal(3, SIDE, SIDE, seed=12).clamp(-1, 1)

    def codec(self, model):
        """The host's VAE, for both."""
        return HostCodec(self.vae, model.model.latent_format)

    def host_talking(self):
        """A MODEL with the adapter."""
        return attach_adapter(host_model(self.config), host_adapter(config=self.adapter_config))

    def standalone(self, model):
        """Conditioner and denoiser of the reference networks."""
        base = tiny.hybrid(self.config)
        adapter = tiny.hybrid_adapter(self.adapter_config)
        conditioner = HybridConditioner(
            base,
            adapter,
            self.codec(model),
            texts=self.prompts,
            voices=self.voices,
            gates=self._gates,
            strength=self.strength,
        )
        predictor = HybridPredictor(base, adapter, blind=blind_branches(self.guidance))
        return conditioner, EulerDenoiser(predictor, self.guidance)

    def host(self, model, sampler="euler", masks=None):
        """The same in ComfyUI."""
        prompts = {
            name: [[prompt.tokens[None], {"pooled_output": prompt.pooled[None]}]]
            for name, prompt in self.prompts.items()
        }
        conditioner = conditioner_for(
            model,
            self.codec(model),
            prompts,
            [name for name in BRANCHES if name in self.guidance.branches(0.5)],
            windows=self.windows,
            masks=masks,
            strength=self.strength,
            image_tokens=None,
            seed=7,
            gates=self._gates,
            blind=blind_branches(self.guidance),
        )
        sampler = comfy.samplers.sampler_object(sampler)
        return conditioner, HostDenoiser(model, sampler, self.guidance)

    @property
    def _gates(self):
        return None if self.gates is None else lambda _chunk: self.gates

    def windows(self, chunk):
        """Audio windows of the voices for a chunk."""
        spans = [audio_windows(v, chunk.start_frame, chunk.frames) for v in self.voices]
        return torch.cat(spans)

    def held(self, model):
        """The clean latents at the head of every window."""
        latents = self.codec(model).encode(self.reference[:, None])
        return latents if self.config.family.holds_first_frame else latents[:, :0]

    def run(self, side, model, chunk, sigmas):
        """Latents of a window from one side."""
        conditioner, denoiser = side
        conditions = conditioner.conditions(chunk, self.reference)
        shape = (16, (chunk.frames - 1) // 4 + 1, *LATENT[2:])
        noise = chunk_noise(7, chunk.index, shape)
        return denoiser.denoise(noise, conditions, sigmas, held=self.held(model))
