"""What the hybrid model can do through the sliding window sampler, and the controls.

Unseen faces and voices as in ``training.evaluate``; clips of five windows.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...frames import TEMPORAL_STRIDE, pixel_frames
from ...models.hybrid_codec import HybridCodec
from ...models.hybrid_networks import HybridNetworks
from ...samplers.folds import Folds, printed_three_fold
from ...samplers.guidance import TalkGuidance, in_order
from ..data import to_tensor
from ..evaluate import cast, drawn_truth, figures_of, measure_trial, summary
from ..faces.identity import Identity
from ..speech.noise import silence_utterance
from ..speech.utterance import Utterance
from ..trial import Trial
from .export import load_hybrid
from .sizes import WINDOW_LATENTS
from .trial import HybridSetting, render_hybrid, to_pixels

CLIPS, WINDOWS, OVERLAP = 3, 6, 5


@dataclass
class PrintedGuidance(TalkGuidance):
    """MagicInfinite eq. 7 to the letter, whose second line adds up to 2: the control that fails."""

    folds: Folds = Folds.BY_NOISE

    def branches(self, sigma: float) -> Sequence[str]:
        """All predictions it weighs."""
        if sigma >= self.switch:
            return super().branches(sigma)
        return in_order(printed_three_fold(self.text_scale, self.audio_scale))

    def combine(self, predictions: Mapping[str, Tensor], sigma: float) -> Tensor:
        """Weigh and add."""
        if sigma >= self.switch:
            return super().combine(predictions, sigma)
        weights = printed_three_fold(self.text_scale, self.audio_scale)
        return torch.stack([predictions[name] * weights[name] for name in predictions]).sum(0)


FOLDS = TalkGuidance(2.0, 2.0, Folds.BY_NOISE)
PRINTED = PrintedGuidance(2.0, 2.0)


def length(windows: int) -> int:
    """Frames of a clip of so many whole windows."""
    return pixel_frames(WINDOW_LATENTS + (windows - 1) * (WINDOW_LATENTS - OVERLAP))


def evaluate_clip(
    networks: HybridNetworks, index: int, frames: int, setting: HybridSetting
) -> dict[str, dict[str, float]]:
    """Figures of one clip with one speaker and of its controls, by what the clip is."""
    face, voice = cast(index, frames)
    started = time.perf_counter()
    trial = render_hybrid(networks, [face], [voice.samples], frames, setting)
    seconds = time.perf_counter() - started
    found = {"generated": {**one_mouth(trial, face, voice), "seconds_per_frame": seconds / frames}}

    other = cast(index + 100, frames)[1]
    swapped = render_hybrid(networks, [face], [other.samples], frames, setting)
    found["another voice"] = {
        "correlation": one_mouth(swapped, face, other)["correlation"],
        "correlation_with_the_first": one_mouth(swapped, face, voice)["correlation"],
    }
    silent = silence_utterance(frames).samples
    controls = {
        "no voice": (silent, setting),
        "sound of another window": (voice.samples, replace(setting, audio_offset=16)),
        "windows without overlap": (voice.samples, replace(setting, overlap=0)),
        "folds by noise level": (voice.samples, replace(setting, guidance=FOLDS)),
        "folds, blind": (voice.samples, replace(setting, guidance=FOLDS, blind=True)),
        "folds as printed": (voice.samples, replace(setting, guidance=PRINTED)),
        "folds, 20 steps": (voice.samples, replace(setting, guidance=FOLDS, steps=20)),
        "folds as printed, 20 steps": (
            voice.samples,
            replace(setting, guidance=PRINTED, steps=20),
        ),
        "windows of 129 frames": (voice.samples, replace(setting, window_latents=33)),
    }
    for kind, (samples, changed) in controls.items():
        clip = render_hybrid(networks, [face], [samples], frames, changed)
        found[kind] = one_mouth(clip, face, voice)
    truth = drawn_truth(face, voice, trial, index)
    found["drawn truth"] = one_mouth(truth, face, voice)
    found["VAE round trip"] = one_mouth(round_trip(networks, truth), face, voice)
    return found


@torch.inference_mode()
def round_trip(networks: HybridNetworks, trial: Trial) -> Trial:
    """A trial's frames through the VAE, in one go as a clip is decoded."""
    frames = trial.frames
    missing = -(len(frames) - 1) % TEMPORAL_STRIDE
    padded = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
    codec = HybridCodec(networks.vae)
    shown = torch.cat(list(codec.decode(codec.encode(to_tensor(padded)))), dim=1)
    return replace(trial, frames=to_pixels(shown[:, : len(frames)]))


def one_mouth(trial: Trial, face: Identity, voice: Utterance) -> dict[str, float]:
    """Figures of a clip with one face against a voice."""
    return figures_of(measure_trial(trial, [face], [voice]))


def evaluate_pair(
    networks: HybridNetworks, index: int, frames: int, setting: HybridSetting
) -> dict[str, dict[str, float]]:
    """Two speakers in one picture, as they come and with their masks exchanged."""
    people = [cast(index + 10 * n, frames) for n in range(2)]
    faces, voices = [face for face, _ in people], [voice for _, voice in people]
    found = {}
    for kind, speakers in (("masks as they are", (0, 1)), ("masks exchanged", (1, 0))):
        samples = [voice.samples for voice in voices]
        trial = render_hybrid(networks, faces, samples, frames, setting, speakers)
        owners = [speakers.index(tile) for tile in range(2)]
        matrix = measure_trial(trial, faces, voices, voice_of_face=owners).matrix
        found[kind] = {
            "own": float(min(matrix[owner, tile] for tile, owner in enumerate(owners))),
            "other": float(max(abs(matrix[1 - owner, tile]) for tile, owner in enumerate(owners))),
        }
    return found


def evaluate(
    networks: HybridNetworks, clips: int = CLIPS, windows: int = WINDOWS
) -> dict[str, object]:
    """All figures: mean, smallest and largest over clips."""
    rows: dict[str, list[dict[str, float]]] = {}
    frames = length(windows)
    for index in range(clips):
        setting = HybridSetting(seed=index)
        for measured in (evaluate_clip, evaluate_pair):
            for kind, found in measured(networks, index, frames, setting).items():
                rows.setdefault(kind, []).append(found)
    return {
        "clips": clips,
        "frames": frames,
        **{kind: summary(found) for kind, found in rows.items()},
    }


def main() -> int:
    """Measure the exported files, or a stage of a run."""
    parser = argparse.ArgumentParser(prog="python -m endless_talk.training.hybrid.evaluate")
    parser.add_argument("weights", type=Path, help="folder with the two files")
    parser.add_argument("--clips", type=int, default=CLIPS)
    parser.add_argument("--windows", type=int, default=WINDOWS)
    options = parser.parse_args()
    figures = evaluate(load_hybrid(options.weights), options.clips, options.windows)
    (options.weights / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
