"""The two files of the hybrid model, in half precision, and how trials read them.

The VAE and the audio encoder beside them are those of the built-in demo.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from ...models.detect import Kind, require, vae_config
from ...models.hybrid import HybridModel
from ...models.hybrid_adapter import HybridAudioAdapter
from ...models.hybrid_detect import describe_adapter, hybrid_adapter_config, hybrid_config
from ...models.hybrid_networks import HybridNetworks
from ...models.networks import fill
from ...models.recipes import built_in_file
from ...models.wan_vae import WanVAE
from ...models.wav2vec import Wav2VecEncoder, load_wav2vec
from ...models.wav2vec_keys import detect_wav2vec
from ...models.weights import open_weights
from ..export import write
from ..sizes import SHIFT, SIZE, STEPS, WAV2VEC
from .sizes import ADAPTER, WINDOW_LATENTS


def export(folder: Path, model: nn.ModuleDict) -> None:
    """Write ``base`` and ``adapter`` into a folder; they go with the demo's VAE and wav2vec2."""
    folder.mkdir(parents=True, exist_ok=True)
    base = {
        "endless_talk.size": f"{SIZE}x{SIZE}",
        "endless_talk.steps": str(STEPS),
        "endless_talk.shift": str(SHIFT),
    }
    write(folder / "base.safetensors", model["base"], base)
    adapter = describe_adapter(
        ADAPTER,
        base="i2v_concat",
        window=WINDOW_LATENTS,
        shift=SHIFT,
        distilled_steps=STEPS,
        mask_rule="any",
        audio_layers=WAV2VEC.layers,
        audio_channels=WAV2VEC.hidden,
    )
    write(folder / "adapter.safetensors", model["adapter"], adapter)


def load_hybrid(folder: Path) -> HybridNetworks:
    """The two files of a folder with the demo's VAE and audio encoder."""
    base, adapter = (open_weights(folder / f"{name}.safetensors") for name in ("base", "adapter"))
    return HybridNetworks(
        fill(HybridModel(hybrid_config(base)), require(base, Kind.HYBRID), torch.float32).eval(),
        fill(
            HybridAudioAdapter(hybrid_adapter_config(adapter)),
            require(adapter, Kind.HYBRID_ADAPTER),
            torch.float32,
        ),
        built_in_vae(),
        built_in_encoder(),
    )


def built_in_encoder() -> Wav2VecEncoder:
    """The audio encoder of the built-in demo."""
    file = open_weights(built_in_file("wav2vec"))
    return load_wav2vec(detect_wav2vec(file.shapes, file.metadata), file.read(), file.name)


def built_in_vae() -> WanVAE:
    """The VAE of the built-in demo."""
    file = require(open_weights(built_in_file("vae")), Kind.VAE)
    return fill(WanVAE(vae_config(file)), file, torch.float32).skip_zero_taps().eval()
