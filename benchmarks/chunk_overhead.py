"""What a chunk costs outside the networks: colour, figures, stitching, conversion and encoding.

Run: ``OMP_NUM_THREADS=1 python benchmarks/chunk_overhead.py``. Networks are stand-ins that hand out
ready frames of 832 x 480; prints seconds per chunk of 81 frames for each way of keeping colours,
with and without the figures of the report.
"""

import importlib.util
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
SIZE = (480, 832)
CHUNKS = 4


def load_package() -> None:
    """Register the checkout as ``endless_talk``."""
    spec = importlib.util.spec_from_file_location(
        "endless_talk", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    package = importlib.util.module_from_spec(spec)
    sys.modules["endless_talk"] = package
    spec.loader.exec_module(package)


class StandIn:
    """Denoiser, codec, conditioner and reference that cost nothing."""

    def __init__(self):
        rows = torch.linspace(-1, 1, SIZE[0]).view(1, -1, 1)
        columns = torch.linspace(-1, 1, SIZE[1]).view(1, 1, -1)
        self.picture = torch.cat([rows + 0 * columns, 0 * rows + columns, rows * columns])
        generator = torch.Generator().manual_seed(0)
        grain = 0.05 * torch.randn(3, 4, *SIZE, generator=generator)
        self.block = (self.picture[:, None] + grain).clamp(-1, 1)

    def frame(self, start_frame):
        """The picture."""
        return self.picture

    def conditions(self, chunk, reference):
        """Nothing to read."""
        return None

    def encode(self, frames):
        """No encoding."""
        return frames[:, :1, :1, :1]

    def denoise(self, noise, conditions, sigmas, **_):
        """No denoising."""
        return noise

    def decode(self, latents):
        """A chunk in blocks of four."""
        yield self.block[:, :1]
        for _ in range(20):
            yield self.block


def main() -> None:
    """Print seconds per chunk."""
    load_package()
    from endless_talk.samplers.plan import plan_chunks
    from endless_talk.samplers.streaming import Sampling, stream_clip
    from endless_talk.video.chunk_figures import MeasuredSink
    from endless_talk.video.robust_color import color_anchor
    from endless_talk.video.sink import VideoSink

    torch.set_num_threads(1)
    plan = plan_chunks(81 + 72 * (CHUNKS - 1))
    parts = StandIn()
    print(f"torch {torch.__version__}, {CHUNKS} chunks of 81 frames, {SIZE[1]}x{SIZE[0]}")
    for name, measured in product(("none", "reference", "robust"), (False, True)):
        anchor = color_anchor(name, parts.picture)
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time()
            with VideoSink(Path(folder) / "clip.mp4", SIZE) as sink:
                stream_clip(
                    plan,
                    reference=parts,
                    conditioner=parts,
                    denoiser=parts,
                    codec=parts,
                    sink=MeasuredSink(sink, parts) if measured else sink,
                    sampling=lambda _: Sampling(torch.zeros(1), torch.tensor([1.0, 0.0])),
                    color=None if anchor is None else lambda _, anchor=anchor: anchor,
                )
                sink.finish(None)
            seconds = (time.process_time() - start) / CHUNKS
        what = f"colour anchor {name}, {'figures' if measured else 'no figures'}"
        print(f"{what:<36} {seconds:.2f} CPU seconds per chunk")


if __name__ == "__main__":
    main()
