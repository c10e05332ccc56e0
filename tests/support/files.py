"""Small files for tests: pictures, voices, clips and weight folders."""

import json
import wave
from pathlib import Path

import av
import numpy as np
from PIL import Image
from safetensors.torch import save_file

from endless_talk.models import recipes
from endless_talk.models.networks import RANDOM_WAN, RANDOM_WAV2VEC, random_networks

BASE_METADATA = {
    "config": json.dumps(
        {
            "transformer": {
                "num_heads": RANDOM_WAN.heads,
                "text_len": RANDOM_WAN.text_tokens,
                "model_type": "i2v",
            }
        }
    )
}
WAV2VEC_METADATA = {
    "config": json.dumps({"wav2vec2": {"num_attention_heads": RANDOM_WAV2VEC.heads}})
}
RECIPE = {recipes.SIZE: "64x64", recipes.STEPS: "2", recipes.SHIFT: "5.0"}
"""What the base of a set says of itself."""


def picture(path: Path, size=(96, 80), mode="RGB", **save) -> Path:
    """A smooth picture of (height, width), the same every time."""
    height, width = size
    rows, columns = np.mgrid[0:height, 0:width] / max(size)
    rgb = np.stack([rows, columns, 1 - rows], axis=-1)
    Image.fromarray((rgb * 255).astype(np.uint8)).convert(mode).save(path, **save)
    return path


def voice(path: Path, seconds: float, rate=16000, level=0.1, value=None) -> Path:
    """A tone that comes and goes; ``level`` 0 is digital silence."""
    count = round(seconds * rate)
    time = np.arange(count) / rate
    samples = level * np.sin(2 * np.pi * 220 * time) * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * time))
    samples = samples.astype(np.float32) if value is None else np.full(count, value, np.float32)
    with av.open(str(path), "w", format="wav") as container:
        stream = container.add_stream("pcm_f32le", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def empty_voice(path: Path) -> Path:
    """A sound file with a header and no samples."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
    return path


def silent_video(path: Path, frames=10) -> Path:
    """A video without sound."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(frames):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def weights_folder(folder: Path, seed=42, set_name="") -> Path:
    """The random networks as published-layout safetensors, of a set if it has a name."""
    networks = random_networks(seed)
    folder.mkdir(parents=True, exist_ok=True)
    belongs = {recipes.SET: set_name} if set_name else {}
    base = {**BASE_METADATA, **belongs, **(RECIPE if set_name else {})}
    save(networks.base.state_dict(), folder / "base.safetensors", base)
    save(networks.adapter.state_dict(), folder / "adapter.safetensors", belongs)
    save(networks.vae.state_dict(), folder / "vae.safetensors", belongs)
    encoder = {**WAV2VEC_METADATA, **belongs}
    save(networks.wav2vec.state_dict(), folder / "wav2vec.safetensors", encoder)
    return folder


def save(state, path: Path, metadata=None) -> Path:
    save_file({key: value.contiguous() for key, value in state.items()}, path, metadata=metadata)
    return path


def frames_of(path: Path) -> np.ndarray:
    """All frames of a clip, uint8 [F, H, W, 3]."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
