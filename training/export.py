"""The four files of the embedded model, in half precision and the published key layouts."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from .sizes import BASE, SHIFT, SIZE, STEPS, WAV2VEC

SET_NAME = "built-in demo"
"""In the metadata of all four files: they belong together."""

PORTRAIT_SEED, PORTRAIT_SIZE = 1_000_503, 512


def export(folder: Path, model: nn.ModuleDict, vae: nn.Module, encoder: nn.Module) -> None:
    """Write ``base``, ``adapter``, ``vae`` and ``wav2vec`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    transformer = {"num_heads": BASE.heads, "text_dim": BASE.text_dim, "text_len": BASE.text_tokens}
    write(
        folder / "base.safetensors",
        model["base"],
        {
            "config": json.dumps({"transformer": transformer}),
            "endless_talk.size": f"{SIZE}x{SIZE}",
            "endless_talk.steps": str(STEPS),
            "endless_talk.shift": str(SHIFT),
        },
    )
    write(folder / "adapter.safetensors", model["adapter"], {})
    write(folder / "vae.safetensors", vae, {})
    voice = {
        "num_attention_heads": WAV2VEC.heads,
        "do_normalize": WAV2VEC.normalize_waveform,
    }
    write(folder / "wav2vec.safetensors", encoder, {"config": json.dumps({"wav2vec2": voice})})


def write_inputs(folder: Path) -> None:
    """Write what ``./demo`` starts from: an unseen face and an unseen voice."""
    import numpy as np
    from PIL import Image

    from .faces.identity import draw_identity
    from .speech.demo import demo_voice
    from .trial import portrait_of

    face = draw_identity(np.random.default_rng(PORTRAIT_SEED))
    Image.fromarray(portrait_of([face], PORTRAIT_SIZE)).save(folder / "portrait.png")
    demo_voice(folder / "speech.flac")


def write(path: Path, module: nn.Module, metadata: dict[str, str]) -> None:
    """Write one file."""
    from safetensors.torch import save_file

    tensors = {
        name: tensor.detach().to(torch.float16).contiguous()
        for name, tensor in module.state_dict().items()
    }
    save_file(tensors, path, {"endless_talk.set": SET_NAME, **metadata})
