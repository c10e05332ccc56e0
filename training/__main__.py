"""The one command that makes the embedded model: ``python -m endless_talk.training``.

From nothing to the four files in ``assets/demo``: draws the data, trains VAE, audio encoder and
transformer, distils, exports, measures. Seeded, with fixed numbers of steps; a run that was stopped
continues at its last checkpoint.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

DEFAULT_FOLDER = Path("build/training")


def main() -> int:
    """Read arguments, start the processes."""
    parser = argparse.ArgumentParser(prog="python -m endless_talk.training", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=DEFAULT_FOLDER, help="data, checkpoints, log"
    )
    parser.add_argument("--out", type=Path, default=None, help="where the four files go")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--until", default="", help="stop after this stage")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on all numbers of steps")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    # Before torch is imported: networks this small are slower on two threads than on one.
    os.environ["OMP_NUM_THREADS"] = "1"

    from torch.multiprocessing.spawn import spawn

    from .loop import WORKERS
    from .stages import work

    rendezvous = options.folder / "rendezvous"
    rendezvous.unlink(missing_ok=True)
    arguments = (
        rendezvous.resolve(),
        options.folder,
        options.seed,
        options.scale,
        options.until,
        options.out,
    )
    spawn(work, arguments, nprocs=WORKERS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
