"""What each way of keeping colours, and of handing the context on, does to a long clip.

Run: ``OMP_NUM_THREADS=1 python benchmarks/color_anchor.py [chunks] [clips] [setting ...]`` (100
chunks, 289 s, one clip and every setting by default; about 5 minutes a clip on one core). Faces,
voices and noise that training never saw come from fixed seeds; the embedded model makes the same
clip with every setting. Colours in fractions of full scale against the portrait; first and last are
chunks.
"""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import conftest  # noqa: F401  (registers the package)
import numpy as np
import torch

from endless_talk.models.networks import built_in_weights, load_networks
from endless_talk.samplers.streaming import HandOn
from endless_talk.training.evaluate import (
    cast,
    drawn_truth,
    figures_of,
    length,
    measure_trial,
    round_trip,
)
from endless_talk.training.trial import Setting, Trial, render_trial
from endless_talk.video.robust_color import color_anchor

FIRST_CAST = 700
"""Which of the unseen faces and voices come first; others than in ``assets/README.md``."""

SETTINGS = {
    "no anchor": {"color_anchor": "none"},
    "reference": {"color_anchor": "reference"},
    "robust": {"color_anchor": "robust"},
    "no anchor, latents": {"color_anchor": "none", "hand_on": HandOn.LATENTS},
    "reference, latents": {"color_anchor": "reference", "hand_on": HandOn.LATENTS},
    "robust, latents": {"color_anchor": "robust", "hand_on": HandOn.LATENTS},
}
ANCHORED_TRUTH = ("reference", "robust")

COLUMNS = {
    "correlation": "r",
    "seam_to_group": "seam",
    "skin_first": "skin 1st",
    "skin_last": "last",
    "skin_moved": "moved",
    "skin_per_minute": "/min",
    "background_first": "back 1st",
    "background_last": "last",
    "background_moved": "moved",
    "background_per_minute": "/min",
    "eyes_last_to_first": "eyes",
    "outline_last_to_first": "outline",
    "identity_first": "id 1st",
    "identity_last": "last",
}


def anchored(trial: Trial, name: str) -> Trial:
    """A clip that is matched to its portrait and nothing else."""
    picture = torch.from_numpy(trial.portrait).permute(2, 0, 1).float() / 127.5 - 1
    matched = color_anchor(name, picture).apply(trial.blocks()[0])
    levels = matched.add(1).mul(127.5).round().byte().permute(1, 2, 3, 0)
    return replace(trial, frames=levels.numpy())


def line(name: str, rows: list[dict[str, float]]) -> str:
    """The means of a setting over its clips."""
    cells = []
    for key in COLUMNS:
        mean = float(np.mean([row[key] for row in rows]))
        form = "+.4f" if key.endswith("per_minute") else ".4f"
        cells.append(f"{mean:{form if key[:4] in ('skin', 'back', 'iden') else '.3f'}}")
    return f"{name:<28}" + " ".join(f"{cell:>8}" for cell in cells)


def main(chunks: int = 100, clips: int = 1, settings: tuple[str, ...] = ()) -> None:
    """Print a line per setting and clip, then their means."""
    chosen = {name: SETTINGS[name] for name in settings or SETTINGS}
    networks = load_networks(built_in_weights({}), torch.device("cpu"), torch.float32)
    frames = length(chunks)
    header = f"{'':<28}" + " ".join(f"{title:>8}" for title in COLUMNS.values())
    print(f"{chunks} chunks, {frames} frames, {frames / 25:.0f} s\n{header}", flush=True)
    rows: dict[str, list[dict[str, float]]] = {}

    def note(name: str, trial: Trial, seconds: float = 0.0) -> None:
        rows.setdefault(name, []).append(figures_of(measure_trial(trial, [face], [voice])))
        print(f"{line(name, rows[name][-1:])}  {seconds:.0f} s", flush=True)

    for index in range(FIRST_CAST, FIRST_CAST + clips):
        face, voice = cast(index, frames)
        for name, options in chosen.items():
            started = time.perf_counter()
            setting = Setting(seed=index, **options)
            trial = render_trial(networks, [face], [voice.samples], frames, setting)
            note(name, trial, time.perf_counter() - started)
        truth = drawn_truth(face, voice, trial, index)
        note("drawn truth", truth)
        for name in ANCHORED_TRUTH:
            note(f"drawn truth, {name}", anchored(truth, name))
        note("VAE round trip", round_trip(networks, truth))
    print(f"\nmeans of {clips}\n{header}")
    for name, found in rows.items():
        print(line(name, found))


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:3]]
    main(*numbers, settings=tuple(sys.argv[3:]))
