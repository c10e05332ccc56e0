"""The stages of the hybrid model in their order, each from the files of the one before.

The VAE and the audio encoder are those of the built-in demo and are not trained again.
"""

from __future__ import annotations

import copy
from pathlib import Path

from ..data import make_data
from ..loop import Run
from ..stages import stage
from ..voice import encode_tracks
from .export import built_in_encoder, built_in_vae
from .windows import SHAPES, encode_windows


def run_stages(run: Run, until: str, out: Path | None) -> None:
    """Run every stage whose result is not there yet.

    Args:
        run: The run.
        until: Name of the last stage; empty runs all.
        out: Where the files go.
    """
    data = make_data(run, SHAPES)
    encode_tracks(run, data, built_in_encoder())
    sets = encode_windows(run, data, built_in_vae())
    if until == "data":
        return
    from .fewsteps import train_few_steps
    from .networks import new_hybrid
    from .transformer import train_motion, train_speech

    mute = stage(run, "motion", new_hybrid, lambda m: train_motion(run, sets, m))
    if until == "motion":
        return
    teacher = stage(run, "speech", lambda: mute, lambda m: train_speech(run, sets, m))
    if until == "speech":
        return
    start = copy.deepcopy(teacher)
    model = stage(run, "few-steps", lambda: start, lambda m: train_few_steps(run, sets, m, teacher))
    if run.rank == 0:
        from ..plot import plot_log
        from .export import export

        export(out or run.folder / "weights", model)
        plot_log(run.folder / "log.jsonl", run.folder / "log.png")
