"""A tiny base that ComfyUI knows from its weights alone, in several formats, and graphs with it.

GGUF carries no metadata, and attention kernels want the published head size of 128: so this base
has what ComfyUI assumes where metadata says nothing.
"""

from dataclasses import replace
from pathlib import Path

import files
import host_files
import host_graphs as graphs
import numpy as np
import tiny
import torch

from endless_talk.models.adapter import AudioAdapter
from endless_talk.models.networks import RANDOM_ADAPTER, RANDOM_VAE, RANDOM_WAN
from endless_talk.models.wan import WanModel
from endless_talk.models.wan_vae import WanVAE

WAN = replace(
    RANDOM_WAN, dim=256, ffn_dim=512, heads=2, text_dim=4096, text_tokens=512, image_dim=1280
)
ADAPTER = "of_the_published_heads_adapter.safetensors"
NARROW_ADAPTER = "of_another_width_adapter.safetensors"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp8_e4m3fn": torch.float8_e4m3fn}
SCALED = "fp8_e4m3fn_scaled"
SMALL_VALUES = 1024
"""Up to so many values a tensor stays in float32, as in published GGUF files."""

SECONDS, CHUNKS = 1.0, 2
"""Of the graphs below: 25 frames in chunks of 17, 9 of them context."""


def base_state() -> dict[str, torch.Tensor]:
    """The base's weights in float32, the same every time."""
    return tiny.randomized(WanModel(WAN), seed=20).state_dict()


def write_bases(models: Path) -> None:
    """The base in every safetensors format, and its adapter."""
    base, diffusion = base_state(), models / "diffusion_models"
    for name, dtype in DTYPES.items():
        cast = {key: value.to(dtype) for key, value in base.items()}
        host_files.write(diffusion / file_name(name), cast)
    host_files.write(diffusion / file_name(SCALED), host_files.scaled_fp8(base))
    host_files.write(diffusion / ADAPTER, adapter(WAN.dim))
    host_files.write(diffusion / NARROW_ADAPTER, adapter(RANDOM_ADAPTER.dim))


def write_rest(models: Path) -> None:
    """The other networks of a clip."""
    vae = tiny.randomized(WanVAE(RANDOM_VAE), seed=14).state_dict()
    host_files.write(models / "vae" / host_files.VAE, vae)
    wav2vec = models / "audio_encoders" / host_files.WAV2VEC
    host_files.write(wav2vec, host_files.wav2vec(), files.WAV2VEC_METADATA)


def file_name(kind: str) -> str:
    """Of the base in a format."""
    return f"of_the_published_heads_{kind}.safetensors"


def adapter(dim: int) -> dict[str, torch.Tensor]:
    """An adapter of a width, in half precision as published."""
    config = replace(RANDOM_ADAPTER, dim=dim)
    state = tiny.randomized(AudioAdapter(config), seed=21).state_dict()
    return {key: value.half() for key, value in state.items()}


def write_gguf(path: Path, state: dict[str, torch.Tensor]) -> None:
    """A base as its GGUF files are published: Q8_0 matrices, and nothing else quantised."""
    import gguf

    kinds = gguf.GGMLQuantizationType
    writer = gguf.GGUFWriter(path, arch="wan")
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    for key, value in state.items():
        if value.ndim == 2 and value.numel() > SMALL_VALUES:
            kind = kinds.Q8_0
        elif value.ndim > 2 and not key.endswith("modulation"):
            kind = kinds.F16
        else:
            kind = kinds.F32
        data = gguf.quants.quantize(value.float().numpy(), kind)
        writer.add_tensor(key, np.ascontiguousarray(data), raw_dtype=kind)
    for step in (
        writer.write_header_to_file,
        writer.write_kv_data_to_file,
        writer.write_tensors_to_file,
        writer.close,
    ):
        step()


def one_speaker(loader: dict, **sampler) -> dict:
    """A short clip with the base from a loader's node and our adapter applied to it."""
    graph = graphs.one_speaker(**{"stop_at": SECONDS, **sampler})
    graph["base"] = loader
    graph["model"] = graphs.node("EndlessTalkApplyAdapter", model=["base", 0], adapter=ADAPTER)
    return graphs.with_inputs(graph, "positive", width=WAN.text_dim)


def from_safetensors(kind: str, **sampler) -> dict:
    """The same with the host's own loader."""
    loader = graphs.node("UNETLoader", unet_name=file_name(kind), weight_dtype="default")
    return one_speaker(loader, **sampler)


def with_another_voice(graph: dict) -> dict:
    """The same picture and words with another sound."""
    return graphs.with_node(
        graph, "voice", "TestSound", seconds=host_files.VOICE_SECONDS, hertz=330.0
    )


def frames_of(server, outcome) -> np.ndarray:
    """Frames of the finished clip ``[F, H, W, 3]`` in levels of 255, signed."""
    assert outcome.status == "success", f"{outcome.message}\n{outcome.detail}"
    clips = [file for file in outcome.files("sampler") if file["filename"].endswith(".mp4")]
    assert len(clips) == 1, outcome.outputs
    return files.frames_of(server.path(clips[0])).astype(int)
