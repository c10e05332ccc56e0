"""The log of a run as a picture: the loss of every stage over its steps."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from ..errors import InputError

SMOOTHING = 5
"""Log lines averaged, 20 steps each."""


def plot_log(log: Path, picture: Path) -> None:
    """Draw ``log.jsonl`` into a PNG.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(
            "the plot of the log needs the package matplotlib: pip install 'endless-talk[training]'"
        ) from error

    stages: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        if "loss" in entry:
            stages[entry["stage"]].append((entry["step"], entry["loss"]))
    figure = Figure(figsize=(3 * len(stages), 2.6), layout="constrained")
    for axes, (name, points) in zip(
        np.atleast_1d(figure.subplots(1, len(stages))), stages.items(), strict=True
    ):
        steps, losses = np.array(points).T
        axes.plot(steps, losses, color="0.8", linewidth=0.8)
        kernel = np.ones(min(SMOOTHING, len(losses)))
        smooth = np.convolve(losses, kernel / len(kernel), mode="valid")
        axes.plot(steps[len(kernel) - 1 :], smooth, linewidth=1.2)
        axes.set(title=name, xlabel="step", yscale="log")
    figure.savefig(picture, dpi=110)
