"""The one command that makes the embedded models: ``python -m endless_talk.training``.

From nothing to the four files in ``assets/demo``: draws the data, trains VAE, audio encoder and
transformer, distils, exports, measures. With ``--family hybrid`` to the two files in
``assets/demo-hybrid``, on the VAE and the audio encoder of the first. Seeded, with fixed numbers of
steps; a run that was stopped continues at its last checkpoint.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

DEFAULT_FOLDERS = {"wan": Path("build/training"), "hybrid": Path("build/hybrid")}


def main() -> int:
    """Read arguments, start the processes."""
    parser = argparse.ArgumentParser(prog="python -m endless_talk.training", description=__doc__)
    parser.add_argument("--family", choices=DEFAULT_FOLDERS, default="wan", help="which model")
    parser.add_argument("--folder", type=Path, default=None, help="data, checkpoints, log")
    parser.add_argument("--out", type=Path, default=None, help="where the files go")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--until", default="", help="stop after this stage")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on all numbers of steps")
    options = parser.parse_args()
    folder: Path = options.folder or DEFAULT_FOLDERS[options.family]
    folder.mkdir(parents=True, exist_ok=True)
    # Before torch is imported: networks this small are slower on two threads than on one.
    os.environ["OMP_NUM_THREADS"] = "1"

    from torch.multiprocessing.spawn import spawn

    from .loop import WORKERS
    from .stages import work

    rendezvous = folder / "rendezvous"
    rendezvous.unlink(missing_ok=True)
    arguments = (
        options.family,
        rendezvous.resolve(),
        folder,
        options.seed,
        options.scale,
        options.until,
        options.out,
    )
    spawn(work, arguments, nprocs=WORKERS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
