"""What a test server finds: tiny random checkpoints under published names, pictures and voices.

The networks are the package's own reference networks, so that what ComfyUI makes of a file can be
compared with what the package makes of it.
"""

import json
import math
from dataclasses import replace
from pathlib import Path

import av
import files
import numpy as np
import tiny
import torch

from endless_talk.models.adapter import AudioAdapter
from endless_talk.models.hybrid_detect import describe_adapter
from endless_talk.models.networks import RANDOM_ADAPTER, RANDOM_VAE, RANDOM_WAN, RANDOM_WAV2VEC
from endless_talk.models.wan import WanModel
from endless_talk.models.wan_vae import WanVAE
from endless_talk.models.wav2vec import Wav2VecEncoder

WAN = replace(RANDOM_WAN, image_dim=1280)
T2V = replace(RANDOM_WAN, in_channels=16, image_branch=False, image_dim=None)
"""ComfyUI fixes the width of CLIP tokens; everything else it takes from the file."""

BASE = "tiny_i2v_fp32.safetensors"
BASE_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp8_e4m3fn": torch.float8_e4m3fn}
INFINITETALK = "WanVideo/InfiniteTalk"
SINGLE = f"{INFINITETALK}/Wan2_1-InfiniTetalk-Single_fp16.safetensors"
MULTI = f"{INFINITETALK}/Wan2_1-InfiniteTalk-Multi_fp16.safetensors"
VAE = "wan_2.1_vae.safetensors"
WAV2VEC = "wav2vec2-chinese-base_fp16.safetensors"
LORA = "tiny_step_lora.safetensors"
PUBLISHED_BASE = "wan2.1_i2v_480p_14B_fp8_scaled.safetensors"
PUBLISHED_LORA = "lightx2v_I2V_14B_480p_cfg_step_distill_rank64_bf16.safetensors"
PUBLISHED_TEXT = "umt5_xxl_fp8_e4m3fn_scaled.safetensors"
HUNYUAN = "hunyuan_video_image_to_video_720p_bf16.safetensors"
HUNYUAN_V2 = "hunyuan_video_v2_replace_image_to_video_720p_bf16.safetensors"
HUNYUAN_VAE = "hunyuan_video_vae_bf16.safetensors"
HUNYUAN_TEXT = ("clip_l.safetensors", "llava_llama3_fp8_scaled.safetensors")
HUNYUAN_VISION = "llava_llama3_vision.safetensors"
MAGICINFINITE = "magicinfinite_audio_adapter.safetensors"

SIZE, PAIR_SIZE = (64, 64), (64, 96)
"""(height, width) of the clips; the VAE takes nearly all of the time, and per pixel."""
VOICE_SECONDS, SECOND_VOICE_SECONDS = 1.24, 0.8


def write_models(models: Path) -> None:
    """Every checkpoint below ComfyUI's ``models`` folder."""
    diffusion = models / "diffusion_models"
    base = tiny.randomized(WanModel(WAN), seed=10).state_dict()
    write(diffusion / BASE, base, metadata(WAN))
    for name, dtype in BASE_DTYPES.items():
        cast = {key: value.to(dtype) for key, value in base.items()}
        write(diffusion / f"tiny_i2v_{name}.safetensors", cast, metadata(WAN))
    write(diffusion / "tiny_i2v_fp8_e4m3fn_scaled.safetensors", scaled_fp8(base), metadata(WAN))
    t2v = tiny.randomized(WanModel(T2V), seed=11).state_dict()
    write(diffusion / "tiny_t2v_fp32.safetensors", t2v, metadata(T2V))
    write(diffusion / SINGLE, adapter(seed=12))
    write(diffusion / MULTI, adapter(seed=13))
    write(models / "vae" / VAE, tiny.randomized(WanVAE(RANDOM_VAE), seed=14).state_dict())
    write(models / "audio_encoders" / WAV2VEC, wav2vec(), files.WAV2VEC_METADATA)
    write(models / "loras" / LORA, lora(base))
    write_published(models, base)
    write_hunyuan(models)
    write_wrong_models(models, base)


def write_published(models: Path, base: dict) -> None:
    """The files that the shipped workflows name, where their notes say they belong.

    The text encoder is a name only: ComfyUI has no small one.
    """
    diffusion = models / "diffusion_models"
    write(diffusion / PUBLISHED_BASE, scaled_fp8(base), metadata(WAN))
    write(diffusion / Path(SINGLE).name, adapter(seed=12))
    write(diffusion / Path(MULTI).name, adapter(seed=13))
    write(models / "loras" / PUBLISHED_LORA, lora(base))
    (models / "text_encoders").mkdir(exist_ok=True)
    (models / "text_encoders" / PUBLISHED_TEXT).write_bytes(b"")


def write_hunyuan(models: Path) -> None:
    """HunyuanVideo as a shipped workflow names it, with an audio adapter in half precision.

    Text and vision encoders are names only. There is no small network in the layout of
    HunyuanVideo's VAE, so under its name is Wan's, whose latents have the same shape.
    """
    diffusion, features = models / "diffusion_models", RANDOM_WAV2VEC.layers * RANDOM_WAV2VEC.hidden
    newer = replace(tiny.HYBRID, in_channels=16, guidance_embed=True)
    for name, sizes in ((HUNYUAN, tiny.HYBRID), (HUNYUAN_V2, newer)):
        base = tiny.hybrid(sizes).state_dict()
        write(diffusion / name, {key: value.bfloat16() for key, value in base.items()})
    config = replace(tiny.HYBRID_ADAPTER, feature_size=features)
    state = {key: value.half() for key, value in tiny.hybrid_adapter(config).state_dict().items()}
    write(diffusion / MAGICINFINITE, state, describe_adapter(config))
    write(models / "vae" / HUNYUAN_VAE, tiny.randomized(WanVAE(RANDOM_VAE), seed=14).state_dict())
    (models / "clip_vision").mkdir(exist_ok=True)
    for name in HUNYUAN_TEXT:
        (models / "text_encoders" / name).write_bytes(b"")
    (models / "clip_vision" / HUNYUAN_VISION).write_bytes(b"")


def write_wrong_models(models: Path, base: dict) -> None:
    """Files that a user may choose by mistake."""
    diffusion = models / "diffusion_models"
    wide = replace(RANDOM_ADAPTER, dim=2 * RANDOM_ADAPTER.dim)
    write(diffusion / "wrong_width_adapter.safetensors", AudioAdapter(wide).state_dict())
    hungry = replace(RANDOM_ADAPTER, feature_size=12 * 768)
    write(diffusion / "other_features_adapter.safetensors", AudioAdapter(hungry).state_dict())
    cut = {key: value for key, value in adapter(seed=12).items() if "blocks.1." not in key}
    write(diffusion / "incomplete_adapter.safetensors", cut)
    (diffusion / "empty.safetensors").write_bytes(b"")
    whole = (diffusion / BASE).read_bytes()
    (diffusion / "truncated.safetensors").write_bytes(whole[: len(whole) // 2])
    write(models / "vae" / "not_a_vae.safetensors", dict(list(base.items())[:4]))
    write(models / "audio_encoders" / "wav2vec2_large.safetensors", large_wav2vec())
    narrow = replace(RANDOM_WAV2VEC, layers=RANDOM_WAV2VEC.layers - 1)
    encoder = tiny.randomized(Wav2VecEncoder(narrow), seed=16).state_dict()
    write(models / "audio_encoders" / "two_layers.safetensors", encoder, files.WAV2VEC_METADATA)
    write(models / "audio_encoders" / "not_wav2vec.safetensors", dict(list(base.items())[:4]))


def metadata(config) -> dict[str, str]:
    """The metadata that ComfyUI and the package read alike."""
    transformer = {"num_heads": config.heads, "text_dim": config.text_dim}
    transformer["text_len"] = config.text_tokens
    return {"config": json.dumps({"transformer": transformer})}


def adapter(seed: int) -> dict[str, torch.Tensor]:
    """An adapter in half precision, as published."""
    state = tiny.randomized(AudioAdapter(RANDOM_ADAPTER), seed).state_dict()
    return {key: value.half() for key, value in state.items()}


def wav2vec() -> dict[str, torch.Tensor]:
    """An audio encoder in half precision, as published."""
    state = tiny.randomized(Wav2VecEncoder(RANDOM_WAV2VEC), seed=15).state_dict()
    return {key: value.half() for key, value in state.items()}


def large_wav2vec() -> dict[str, torch.Tensor]:
    """Enough of wav2vec2-large to be known by."""
    shapes = {
        "wav2vec2.feature_extractor.conv_layers.0.conv.weight": (8, 1, 10),
        "wav2vec2.feature_extractor.conv_layers.0.layer_norm.weight": (8,),
        "wav2vec2.feature_extractor.conv_layers.1.conv.weight": (8, 8, 3),
        "wav2vec2.feature_extractor.conv_layers.1.layer_norm.weight": (8,),
        "wav2vec2.encoder.layers.0.attention.k_proj.weight": (1024, 1024),
        "wav2vec2.encoder.layers.0.feed_forward.intermediate_dense.weight": (8, 1024),
        "wav2vec2.encoder.layer_norm.weight": (1024,),
        "wav2vec2.encoder.pos_conv_embed.conv.weight_v": (1024, 64, 128),
    }
    return {key: torch.zeros(shape) for key, shape in shapes.items()}


def scaled_fp8(base: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The layout of the ``fp8_scaled`` files: linear layers of the blocks with a scale each."""
    state = {"scaled_fp8": torch.zeros(0, dtype=torch.float8_e4m3fn)}
    largest = torch.finfo(torch.float8_e4m3fn).max
    for key, value in base.items():
        if key.startswith("blocks.") and key.endswith(".weight") and value.ndim == 2:
            scale = value.abs().max() / largest
            state[key] = (value / scale).to(torch.float8_e4m3fn)
            state[key.removesuffix("weight") + "scale_weight"] = scale
        else:
            state[key] = value.half()
    return state


def lora(base: dict[str, torch.Tensor], rank: int = 4) -> dict[str, torch.Tensor]:
    """A LoRA on every linear layer of the blocks, named as the published step LoRAs."""
    state, random = {}, torch.Generator().manual_seed(17)
    for key, value in base.items():
        if not (key.startswith("blocks.") and key.endswith(".weight") and value.ndim == 2):
            continue
        name = f"diffusion_model.{key.removesuffix('.weight')}"
        down = torch.randn(rank, value.shape[1], generator=random) / math.sqrt(value.shape[1])
        state[f"{name}.lora_down.weight"] = down
        state[f"{name}.lora_up.weight"] = 0.2 * torch.randn(value.shape[0], rank, generator=random)
    return state


def write(path: Path, state: dict[str, torch.Tensor], told: dict[str, str] | None = None) -> None:
    """A safetensors file, its folder included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.save(state, path, told)


def write_media(folder: Path) -> None:
    """Pictures, voices and a video below ComfyUI's ``input`` folder."""
    folder.mkdir(parents=True, exist_ok=True)
    files.picture(folder / "portrait.png", (120, 104))
    files.picture(folder / "two_people.png", (96, 128))
    files.picture(folder / "transparent.png", (120, 104), mode="RGBA")
    files.picture(folder / "one_pixel.png", (1, 1))
    sound(folder / "voice.wav", "pcm_s16le", VOICE_SECONDS, rate=44100, channels=2)
    sound(folder / "speech.flac", "flac", VOICE_SECONDS, rate=16000)
    sound(folder / "endless_talk_speech.flac", "flac", VOICE_SECONDS, rate=16000)
    sound(folder / "left_voice.flac", "flac", VOICE_SECONDS, rate=16000)
    sound(folder / "right_voice.flac", "flac", SECOND_VOICE_SECONDS, rate=16000, hertz=330)
    sound(folder / "voice2.flac", "flac", SECOND_VOICE_SECONDS, rate=16000, hertz=330)
    sound(folder / "three_channels.wav", "pcm_s16le", 0.5, rate=16000, channels=3)
    files.voice(folder / "nan.wav", 0.5, value=float("nan"))
    files.empty_voice(folder / "empty.wav")
    files.silent_video(folder / "silent.mp4")
    files.silent_video(folder / "video.mp4", frames=round(25 * VOICE_SECONDS))


LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1"}


def sound(path: Path, codec: str, seconds: float, *, rate: int, channels=1, hertz=220.0) -> None:
    """A tone that comes and goes, another loudness in each channel."""
    time = np.arange(round(seconds * rate)) / rate
    tone = 0.4 * np.sin(2 * np.pi * hertz * time) * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * time))
    samples = np.stack([tone / (1 + channel) for channel in range(channels)], axis=-1)
    packed = (samples * 32767).astype(np.int16).reshape(1, -1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=LAYOUTS[channels])
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=LAYOUTS[channels])
        frame.sample_rate = rate
        for piece in [*split(frame, stream), None]:
            container.mux(stream.encode(piece))


def split(frame, stream):
    """Frames of the size that an encoder wants."""
    size = stream.codec_context.frame_size
    if not size:
        return [frame]
    fifo = av.AudioFifo()
    fifo.write(frame)
    return fifo.read_many(size, partial=True)
