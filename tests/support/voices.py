"""Made-up voices, media files and tiny encoders for the audio tests."""

from pathlib import Path

import av
import numpy as np
import torch

from endless_talk.models.configs import Wav2VecConfig
from endless_talk.models.wav2vec import Wav2VecEncoder

TINY = Wav2VecConfig(
    hidden=32,
    layers=3,
    heads=4,
    ffn_dim=64,
    conv_dims=(8,) * 7,
    position_kernel=16,
    position_groups=4,
)


def tiny_encoder(config: Wav2VecConfig = TINY, seed: int = 0) -> Wav2VecEncoder:
    torch.manual_seed(seed)
    return Wav2VecEncoder(config).eval()


def made_up_voice(seconds: float, seed: int = 0, rate_hz: int = 16_000) -> np.ndarray:
    """Harmonics with a wandering pitch, syllables and a little noise, float32 ``[n]``."""
    draw = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    syllables = np.arange(0, seconds + 1, 0.12)
    loudness = np.interp(time, syllables, draw.normal(0.3, 0.5, syllables.size)).clip(0)
    pitch = np.interp(time, syllables, draw.uniform(90, 220, syllables.size))
    phase = 2 * np.pi * np.cumsum(pitch) / rate_hz
    tone = sum(np.sin(order * phase) / order for order in range(1, 6))
    return (0.1 * loudness * tone + draw.normal(0, 0.003, time.size)).astype(np.float32)


def click(seconds: float, at_seconds: float, rate_hz: int, channels: int = 2) -> np.ndarray:
    """Silence with one short click in the first channel, float32 ``[channels, n]``."""
    waveform = np.zeros((channels, round(seconds * rate_hz)), np.float32)
    first = round(at_seconds * rate_hz)
    waveform[0, first : first + max(1, rate_hz // 4000)] = 0.9
    return waveform


def write_media(
    path: Path, waveform: np.ndarray, rate_hz: int, codec: str, *, video: bool = False
) -> Path:
    """Encode a stereo waveform ``[2, n]`` with PyAV, beside a black picture if `video`."""
    with av.open(str(path), "w") as container:
        picture = black_stream(container) if video else None
        stream = container.add_stream(codec, rate=rate_hz, layout="stereo")
        if picture is not None:
            write_black(container, picture, frames=int(waveform.shape[1] / rate_hz * 25))
        block = np.ascontiguousarray(waveform, np.float32)
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = rate_hz, 0
        resampler = av.AudioResampler(
            stream.codec_context.format.name,
            "stereo",
            rate_hz,
            frame_size=stream.codec_context.frame_size or None,
        )
        for converted in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(converted))
        container.mux(stream.encode(None))
    return path


def write_silent_video(path: Path, frames: int = 3) -> Path:
    """A video without a sound track."""
    with av.open(str(path), "w") as container:
        write_black(container, black_stream(container), frames)
    return path


def black_stream(container):
    stream = container.add_stream("mpeg4", rate=25)
    stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
    return stream


def write_black(container, stream, frames: int) -> None:
    black = np.zeros((32, 32, 3), np.uint8)
    for _ in range(frames):
        container.mux(stream.encode(av.VideoFrame.from_ndarray(black, format="rgb24")))
    container.mux(stream.encode(None))
