"""Causal 3 x 3 x 3 convolutions on a CPU: one 3-D convolution against sums of 2-D ones.

Run: ``OMP_NUM_THREADS=1 python benchmarks/vae_convolutions.py``. Prints, for the shapes that a VAE
of width 8 and one of width 96 meet while decoding, the time of the 3-D form divided by that of the
2-D form (above 1 the 2-D form is faster) and their largest difference.
"""

import importlib.util
import sys
import time
from pathlib import Path

import torch
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[1]
SHAPES = [  # channels in, channels out, frames, height, width
    (8, 8, 4, 128, 128),
    (16, 16, 4, 64, 64),
    (32, 32, 2, 32, 32),
    (32, 32, 1, 16, 16),
    (96, 96, 4, 64, 64),
    (192, 192, 4, 32, 32),
    (384, 384, 2, 16, 16),
    (384, 384, 1, 8, 8),
]
REPEATS = 20


def load_package() -> None:
    """Register the checkout as ``endless_talk``."""
    spec = importlib.util.spec_from_file_location(
        "endless_talk", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    package = importlib.util.module_from_spec(spec)
    sys.modules["endless_talk"] = package
    spec.loader.exec_module(package)


def seconds(function) -> float:
    """Fastest of several runs after a warm-up."""
    function()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


@torch.inference_mode()
def main() -> None:
    """Print one line per shape."""
    load_package()
    from endless_talk.models.wan_vae import CausalConv3d

    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s)")
    print("in -> out, frames, size      3-D ms   2-D ms   ratio   difference")
    for channels_in, channels_out, frames, height, width in SHAPES:
        conv = CausalConv3d(channels_in, channels_out, 3)
        x = torch.randn(1, channels_in, frames + 2, height, width)

        def whole(conv=conv, x=x):
            return F.conv3d(x, conv.weight, conv.bias, padding=(0, *conv.spatial_padding))

        difference = (whole() - conv.as_2d(x)).abs().max().item()
        three, two = seconds(whole), seconds(lambda conv=conv, x=x: conv.as_2d(x))
        shape = f"{channels_in:>3} -> {channels_out:<3} x{frames}, {height}x{width}"
        print(
            f"{shape:<26} {1000 * three:>8.2f} {1000 * two:>8.2f} {three / two:>7.2f} "
            f"{difference:>12.1e}"
        )


if __name__ == "__main__":
    main()
