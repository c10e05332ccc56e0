"""Records the voice of the embedded model's tests; needs espeak-ng. Run from the checkout:

``.venv/bin/python tests/support/record_voices.py`` rewrites ``tests/end_to_end/voice.ogg``.
"""

from pathlib import Path

import av
import numpy as np

from endless_talk.training.evaluate import UNSEEN, length
from endless_talk.training.speech.spoken import espeak_utterance

OUT = Path(__file__).parents[1] / "end_to_end" / "voice.ogg"
RATE_HZ = 16_000


def main() -> None:
    voice = espeak_utterance(np.random.default_rng(UNSEEN + 500), length(30), "eval")
    pcm = np.round(voice.samples.clip(-1, 1) * 32767).astype(np.int16)[None]
    with av.open(str(OUT), "w") as container:
        stream = container.add_stream("libopus", rate=RATE_HZ, layout="mono")
        stream.bit_rate = 24_000
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate = RATE_HZ
        resampler = av.AudioResampler("s16", "mono", RATE_HZ, frame_size=320)
        for block in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(block))
        container.mux(stream.encode(None))


if __name__ == "__main__":
    main()
