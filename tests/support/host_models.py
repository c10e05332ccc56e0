"""The same tiny random networks twice: as our reference networks, and inside ComfyUI's own.

Importing this needs ComfyUI on the path; the host tests put it there.
"""

import json

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.samplers
import comfy.sd
import tiny
import torch

from endless_talk.audio.windows import TensorFeatures, audio_windows
from endless_talk.bridge import HostCodec, HostConditioner, HostDenoiser
from endless_talk.model_loaders.adapter import attach_adapter, host_attention
from endless_talk.models.adapter import AudioAdapter, Toolkit
from endless_talk.models.configs import AdapterConfig, VAEConfig, WanConfig
from endless_talk.models.routing import SpeakerRouting
from endless_talk.models.wan import WanModel
from endless_talk.samplers.denoise import EulerDenoiser
from endless_talk.samplers.guidance import BRANCHES
from endless_talk.samplers.noise import chunk_noise
from endless_talk.standalone import WanConditioner, WanPredictor

WAN = WanConfig(
    dim=96,
    ffn_dim=192,
    heads=2,
    layers=2,
    in_channels=36,
    out_channels=16,
    text_dim=32,
    text_tokens=6,
    image_dim=1280,
)
ADAPTER = AdapterConfig(dim=96, layers=2, feature_size=24, hidden=16, tokens=4, token_dim=12)
METADATA = {"config": json.dumps({"transformer": {"num_heads": 2, "text_dim": 32, "text_len": 6}})}
CHUNK_FRAMES, CONTEXT_FRAMES, SIDE = 17, 9, 64
LATENT = (16, 5, SIDE // 8, SIDE // 8)


def copied(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def host_model(state=None, dtype=torch.float32, metadata=METADATA):
    """A MODEL of ComfyUI from a state dict, by its own detection."""
    state = state or copied(tiny.randomized(WanModel(WAN), 0))
    return comfy.sd.load_diffusion_model_state_dict(
        state, model_options={"dtype": dtype} if dtype else {}, metadata=metadata
    )


def host_adapter(seed=1):
    """The tiny adapter as a model that ComfyUI manages."""
    adapter = AudioAdapter(ADAPTER, Toolkit(comfy.ops.manual_cast, host_attention))
    adapter.load_state_dict(copied(tiny.randomized(AudioAdapter(ADAPTER), seed)))
    return comfy.model_patcher.CoreModelPatcher(
        adapter.eval(),
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


class Twins:
    """One clip's worth of inputs for both sides."""

    def __init__(self, speakers=1, *, guidance, voice_seed=0, masks=None, strength=None):
        self.guidance = guidance
        self.voices = [
            TensorFeatures(tiny.normal(60, 3, 8, seed=voice_seed + s)) for s in range(speakers)
        ]
        self.masks = masks
        if speakers > 1 and masks is None:
            self.masks = torch.zeros(3, 16)
            self.masks[0].view(4, 4)[:, :2] = 1
            self.masks[1].view(4, 4)[:, 2:] = 1
        self.strength = torch.ones(speakers) if strength is None else strength
        self.texts = {
            "positive": tiny.normal(6, 32, seed=9),
            "negative": tiny.normal(6, 32, seed=10),
        }
        self.image = tiny.normal(1, 257, 1280, seed=11)
        self.base = tiny.randomized(WanModel(WAN), 0)
        self.adapter = tiny.randomized(AudioAdapter(ADAPTER), 1)
        self.vae = tiny.vae(VAEConfig(width=8))
        self.reference = tiny.normal(3, SIDE, SIDE, seed=12).clamp(-1, 1)

    def frame(self, start_frame):
        return self.reference

    def noise(self, index):
        return chunk_noise(7, index, LATENT)

    def standalone(self):
        """Conditioner, denoiser and codec of the reference networks."""
        routing = None if self.masks is None else SpeakerRouting(self.masks)
        predictor = WanPredictor(self.base, self.adapter, routing=routing)
        conditioner = WanConditioner(
            self.base,
            self.adapter,
            self.vae,
            texts=self.texts,
            voices=self.voices,
            image_tokens=lambda reference: self.image,
            strength=self.strength,
        )
        return conditioner, EulerDenoiser(predictor, self.guidance), self.vae

    def host(self, model=None, sampler="euler"):
        """The same in ComfyUI."""
        model = attach_adapter(host_model(), host_adapter()) if model is None else model
        codec = HostCodec(comfy.sd.VAE(sd=copied(self.vae)), model.model.latent_format)
        conditioner = HostConditioner(
            codec,
            {name: [[text[None], {}]] for name, text in self.texts.items()},
            [name for name in BRANCHES if name in self.guidance.branches(0.5)],
            windows=self.windows,
            masks=self.masks,
            strength=self.strength,
            image_tokens=self.image,
            seed=7,
        )
        sampler = comfy.samplers.sampler_object(sampler)
        return conditioner, HostDenoiser(model, sampler, self.guidance), codec

    def windows(self, chunk):
        spans = [audio_windows(v, chunk.start_frame, chunk.frames) for v in self.voices]
        return torch.cat(spans)
