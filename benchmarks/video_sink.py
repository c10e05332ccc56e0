"""What a chunk costs on its way to disk: bytes, H.264 at several presets, colour matching.

Run from anywhere: ``python benchmarks/video_sink.py``. An 81-frame 832x480 chunk of a moving,
slightly noisy picture at crf 12, on one thread. Processor seconds, and their ratio to the chosen
preset in the same run, because a busy machine changes the seconds more than the ratios.

Two runs on one core of an AMD EPYC with AVX-512 (torch 2.13, PyAV 18); presets include conversion:

    conversion alone   0.25 to 0.31 s   0.5 of ultrafast
    ultrafast          0.51 to 0.54 s   1                   size 1
    superfast          0.86 to 0.98 s   1.6 to 1.9          size 1.04
    veryfast           0.80 to 0.89 s   1.5 to 1.8          size 0.36
    faster             1.39 to 1.43 s   2.6 to 2.8          size 0.34
    colour matching    1.06 to 1.16 s   2.1

A sharp photograph that moves and breathes gave sizes of 1, 0.86, 0.45 and 0.4.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import conftest  # noqa: F401  (registers the package)
import torch

from endless_talk.video import h264
from endless_talk.video.color import ColorAnchor

PRESETS = ("ultrafast", "superfast", "veryfast", "faster")
FRAMES, HEIGHT, WIDTH = 81, 480, 832
REPEATS = 3


def chunk() -> torch.Tensor:
    """A picture with edges at every scale, drifting half a pixel a frame, with grain."""
    generator = torch.Generator().manual_seed(0)
    picture = torch.zeros(1, 3, HEIGHT, WIDTH + FRAMES)
    for octave in range(2, 7):
        coarse = torch.randn(1, 3, 2**octave, 2**octave * 2, generator=generator)
        picture += torch.nn.functional.interpolate(coarse, picture.shape[2:]) / octave**2
    views = [picture[0, :, :, index // 2 :][..., :WIDTH] for index in range(FRAMES)]
    clip = torch.stack(views, dim=1)
    return clip + torch.randn(clip.shape, generator=generator) * 0.01


def cheapest(work: Callable[[], object]) -> float:
    """The least processor time of a few runs, in seconds."""
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def encode(path: Path, frames: torch.Tensor, preset: str) -> None:
    """Conversion and encoding, as the sink does it."""
    h264.PRESET = preset
    encoder = h264.FrameEncoder(path, (HEIGHT, WIDTH))
    encoder.append(frames)
    encoder.close()


def convert(frames: torch.Tensor) -> None:
    """What the sink does before the encoder."""
    for group in frames.split(h264.GROUP_FRAMES, dim=1):
        levels = h264.pixel_levels(group).numpy()
        for index in range(levels.shape[1]):
            h264.bt709_frame(levels[:, index])


def main() -> None:
    """Print one line per piece of work."""
    frames, chosen = chunk(), h264.PRESET
    seconds = {"conversion alone": cheapest(lambda: convert(frames))}
    sizes = {}
    with tempfile.TemporaryDirectory() as folder:
        for preset in PRESETS:
            path = Path(folder) / f"{preset}.mp4"
            seconds[preset] = cheapest(lambda p=path, name=preset: encode(p, frames, name))
            sizes[preset] = path.stat().st_size
    anchor = ColorAnchor(frames[:, 0])
    seconds["colour matching"] = cheapest(lambda: anchor.apply(frames))
    for name, value in seconds.items():
        size = f"  size {sizes[name] / sizes[chosen]:.2f}" if name in sizes else ""
        print(f"{name:17} {value:5.2f} s  {value / seconds[chosen]:.2f} of {chosen}{size}")


if __name__ == "__main__":
    main()
