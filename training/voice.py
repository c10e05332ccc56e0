"""Training of the audio encoder: what the mouth needs to know, from the waveform.

A linear reading of its hidden states has to tell mouth opening and width and the energy in a few
bands, so that the layers carry loudness and vowels alike. The reading is thrown away.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..audio.loudness import normalize_loudness
from ..models.wav2vec import Wav2VecEncoder
from .data import SAMPLES_PER_FRAME, TRACK_FRAMES, Clips
from .loop import Recipe, Run, barrier, progress, train
from .sizes import WAV2VEC

RECIPE = Recipe("wav2vec", steps=800, rate=2e-3, decay=40)
BATCH, PIECE_FRAMES = 3, 126
"""Per process and step; about five seconds each."""

BANDS = 12


class Reading(nn.Module):
    """The encoder with its linear reading."""

    def __init__(self, encoder: Wav2VecEncoder):
        super().__init__()
        self.encoder = encoder
        self.linear = nn.Linear(WAV2VEC.hidden * WAV2VEC.layers, 2 + BANDS)

    def forward(self, waveform: Tensor, frames: int) -> Tensor:
        """Read ``[B, n]`` samples: ``[B, F, 2 + BANDS]``."""
        return self.linear(self.encoder(waveform, frames).flatten(2))


def train_encoder(run: Run, data: Mapping[str, Clips], encoder: Wav2VecEncoder) -> None:
    """Train the encoder on all tracks."""
    tracks = [
        (clips.samples[track, face], clips.mouths[track, face])
        for clips in data.values()
        for track in range(clips.shape.tracks)
        for face in range(clips.shape.faces)
    ]
    reading = Reading(encoder)

    def step_loss(_step: int, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, float]]:
        waveforms, targets = [], []
        for index in rng.integers(len(tracks), size=BATCH):
            first = int(rng.integers(TRACK_FRAMES - PIECE_FRAMES))
            samples, mouth = tracks[index]
            stretch = slice(first * SAMPLES_PER_FRAME, (first + PIECE_FRAMES) * SAMPLES_PER_FRAME)
            waveforms.append(levelled(samples[stretch]))
            bands = band_energies(waveforms[-1])
            targets.append(torch.cat([torch.tensor(mouth[first:][:PIECE_FRAMES]), bands], -1))
        target = torch.stack(targets)
        error = (reading(torch.stack(waveforms), PIECE_FRAMES) - target).square()
        mouth_loss = error[..., :2].mean()
        return 4 * mouth_loss + error[..., 2:].mean(), {"mouth": mouth_loss.item()}

    train(run, RECIPE, reading, step_loss)


def levelled(samples: np.ndarray) -> Tensor:
    """int16 samples as the encoder gets them: float, at -23 LUFS."""
    return torch.from_numpy(normalize_loudness(samples.astype(np.float32) / 32767))


def band_energies(waveform: Tensor) -> Tensor:
    """Log energies of ``BANDS`` bands per frame, ``[F, BANDS]``, about -1 to 1."""
    window = torch.hann_window(2 * SAMPLES_PER_FRAME)
    spectrum = torch.stft(
        waveform, len(window), SAMPLES_PER_FRAME, window=window, return_complex=True
    ).abs()[:, :-1]
    edges = np.geomspace(4, len(spectrum) - 1, BANDS + 1).astype(int)
    bands = [spectrum[a:b].square().mean(0) for a, b in pairwise(edges)]
    return (torch.stack(bands, -1) + 1e-4).log10() / 3


@torch.no_grad()
def encode_tracks(run: Run, data: Mapping[str, Clips], encoder: Wav2VecEncoder) -> None:
    """Write the features of every track, encoded whole; continues where it stopped."""
    for name, clips in data.items():
        shape = clips.shape
        size = (shape.tracks, shape.faces, TRACK_FRAMES, WAV2VEC.layers, WAV2VEC.hidden)
        path = features_path(clips)
        if run.rank == 0 and not path.exists():
            np.lib.format.open_memmap(path, "w+", np.float16, size)
        barrier()
        out = np.load(path, mmap_mode="r+")
        mine = run.share(shape.tracks)
        done_file = clips.folder / f"{name}-features-{run.rank}.txt"
        done = int(done_file.read_text()) if done_file.exists() else 0
        for index in progress(run, f"features {name}", done, len(mine)):
            track = mine[index]
            for face in range(shape.faces):
                waveform = levelled(clips.samples[track, face])
                out[track, face] = encoder(waveform[None], TRACK_FRAMES)[0].numpy()
            done_file.write_text(str(index + 1))
    barrier()


def features_path(clips: Clips) -> Path:
    """Where the features ``[tracks, faces, TRACK_FRAMES, layers, hidden]`` of some clips are."""
    return clips.folder / f"{clips.shape.name}-features.npy"
