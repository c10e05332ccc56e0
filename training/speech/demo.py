"""The recorded voice that `./demo` and the examples start from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...audio.loudness import normalize_loudness
from ...audio.track import SAMPLE_RATE_HZ
from .espeak import Voice, say

DEMO_SECONDS = 21.6
DEMO_VOICE = Voice("en-us-nyc+m7", rate_wpm=150, pitch=45)
DEMO = (
    ("Hello! I am only a drawing, but I have learned to talk.", 0.5),
    ("This project is called Endless Talk.", 0.6),
    ("You give it a portrait and a voice, and it makes a video, as long as you like.", 0.7),
    ("One minute? Ten minutes? An hour?", 0.3),
    ("No problem at all!", 0.7),
    ("Now it is your turn: bring a picture, and let it speak.", 0.0),
)
"""What the demo voice says, with pauses in seconds."""


def demo_voice(path: Path) -> None:
    """Write the recorded demo voice of the repository: 21.6 s of an evaluation voice, mono FLAC.

    Args:
        path: File to write; overwritten.
    """
    import av

    texts, pauses = zip(*DEMO, strict=True)
    spoken, _ = say(texts, pauses, DEMO_VOICE)
    lead = round(0.3 * SAMPLE_RATE_HZ)
    samples = np.zeros(round(DEMO_SECONDS * SAMPLE_RATE_HZ), np.float32)
    samples[lead : lead + spoken.size] = normalize_loudness(spoken, -20.0)
    frame = av.AudioFrame.from_ndarray(
        np.round(samples.clip(-1, 1) * 32767).astype(np.int16)[None], format="s16", layout="mono"
    )
    frame.sample_rate = SAMPLE_RATE_HZ
    with av.open(str(path), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=SAMPLE_RATE_HZ, layout="mono")
        resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE_HZ, frame_size=4096)
        for block in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(block))
        container.mux(stream.encode(None))
