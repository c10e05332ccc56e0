"""The training set as the hybrid transformer sees it: denoising windows cut from longer clips.

A window begins anywhere in its clip, as the sliding sampler's do: its first latent stands for one
frame at the start of a clip and for four everywhere else, and the portrait that it is given there
is the clip's reference either way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...audio.windows import audio_windows
from ...frames import TEMPORAL_STRIDE, latent_frames, pixel_frames
from ...models.hybrid_adapter import group_frames
from ...models.hybrid_codec import to_hybrid
from ...models.wan_vae import WanVAE
from ..data import Clips, Shape, to_tensor
from ..latents import GROUP, encode, feature_mask, read
from ..loop import Run, barrier, progress
from ..sizes import SIZE
from ..voice import features_path
from .sizes import WINDOW_LATENTS

SHAPES = (
    Shape("long", 480, 97, 1),
    Shape("short", 700, 61, 1),
    Shape("pair", 220, 61, 2),
    Shape("trio", 60, 61, 3),
)
"""Clips of 25 and 16 latents."""

WINDOWS = {"long": WINDOW_LATENTS, "short": 11, "pair": 11, "trio": 11}
"""Latent frames of a window by shape."""

TOKEN = 16
"""Pixels per side of a token."""


@dataclass(frozen=True)
class Windows:
    """What one training step reads; B windows of one shape.

    Attributes:
        latents: Clean latents ``[B, 16, T, h, w]``.
        reference: Latent of the portrait ``[B, 16, h, w]``.
        voices: Audio windows ``[B, S, 4T, 5, layers, hidden]``, four for every latent.
        weight: 1 at mouths and eyes, ``[B, 1, 1, h, w]``.
        boxes: Pixels that mouth and eyes of every face reach, ``[B, S, 3, 4]``.
    """

    latents: Tensor
    reference: Tensor
    voices: Tensor
    weight: Tensor
    boxes: np.ndarray


class WindowClips:
    """Latents of the clips of one shape.

    Args:
        clips: The clips.
        window: Latent frames of a window.
        mode: As numpy opens its files.
    """

    def __init__(self, clips: Clips, window: int, mode: str = "r"):
        shape = clips.shape
        self.clips, self.shape, self.window = clips, shape, window
        side, wide = SIZE // 8, SIZE * shape.faces // 8
        sizes = {
            "latents": (shape.clips, 16, latent_frames(shape.frames), side, wide),
            "portraits": (shape.clips, 16, side, wide),
        }
        for name, size in sizes.items():
            path = clips.folder / f"{shape.name}-{name}.npy"
            if mode == "w+" and not path.exists():
                array = np.lib.format.open_memmap(path, "w+", np.float16, size)
            else:
                array = np.load(path, mmap_mode="r" if mode == "r" else "r+")
            setattr(self, name, array)
        self.features = np.load(features_path(clips), mmap_mode="r")
        self.weight = feature_mask(clips)

    latents: np.ndarray
    portraits: np.ndarray

    def batch(self, rng: np.random.Generator, count: int) -> Windows:
        """Draw windows by lot."""
        clips = rng.integers(self.shape.clips, size=count)
        return self.batch_of(clips, rng.integers(self.starts, size=count))

    @property
    def starts(self) -> int:
        """How many places a window can begin at."""
        return self.latents.shape[2] - self.window + 1

    def batch_of(self, clips: np.ndarray, starts: np.ndarray) -> Windows:
        """The windows of given clips that begin at given latents."""
        spans = [
            self.latents[clip, :, start : start + self.window]
            for clip, start in zip(clips, starts, strict=True)
        ]
        voices = [self.voices(int(c), int(s)) for c, s in zip(clips, starts, strict=True)]
        return Windows(
            latents=torch.from_numpy(np.stack(spans).astype(np.float32)),
            reference=read(self.portraits, clips),
            voices=torch.stack(voices),
            weight=self.weight[clips],
            boxes=self.clips.boxes[clips],
        )

    def voices(self, clip: int, start: int) -> Tensor:
        """Audio windows ``[S, 4T, 5, layers, hidden]`` of a denoising window, seeing neighbours."""
        track, span = self.clips.span(clip)
        features = torch.from_numpy(self.features[track].astype(np.float32))
        frames = pixel_frames(self.window)
        if start == 0:
            return group_frames(torch.cat([audio_windows(f, span.start, frames) for f in features]))
        missing = TEMPORAL_STRIDE - 1  # of the first latent, which stands for four frames here
        first = span.start + TEMPORAL_STRIDE * start - missing
        return torch.cat([audio_windows(f, first, frames + missing) for f in features])


@torch.inference_mode()
def encode_windows(run: Run, data: Mapping[str, Clips], vae: WanVAE) -> dict[str, WindowClips]:
    """Encode clips and portraits once; continues where it stopped."""
    for name, clips in data.items():
        window = WINDOWS[name]
        if run.rank == 0:
            WindowClips(clips, window, "w+")
        barrier()
        out = WindowClips(clips, window, "r+")
        done_file = clips.folder / f"{name}-latents-{run.rank}.txt"
        done = int(done_file.read_text()) if done_file.exists() else 0
        mine = np.array(run.share(clips.shape.clips))
        groups = np.array_split(mine, -(-len(mine) // GROUP))
        for index in progress(run, f"latents {name}", done, len(groups)):
            group = groups[index]
            frames, portraits = clips.frames[group], clips.references[group][:, None]
            out.latents[group] = to_hybrid(encode(vae, to_tensor(frames))).numpy()
            out.portraits[group] = to_hybrid(encode(vae, to_tensor(portraits)))[:, :, 0].numpy()
            done_file.write_text(str(index + 1))
    barrier()
    return {name: WindowClips(clips, WINDOWS[name]) for name, clips in data.items()}


def draw_gates(rng: np.random.Generator, windows: Windows) -> Tensor:
    """Face masks of a batch as gates on its tokens, ``[B, S, 1, N]``.

    Half of them are the tokens that mouth and eyes touch over the whole clip (the paper's union of
    moving regions, rule ``any``), a fifth those of the mouth alone; the rest are the whole tile, as
    of a user who masks generously or not at all.
    """
    batch, speakers = windows.boxes.shape[:2]
    height, width = (size // 2 for size in windows.latents.shape[-2:])
    gates = torch.zeros(batch, speakers, height, width)
    tile = width // speakers
    for row in range(batch):
        for speaker in range(speakers):
            kind = rng.random()
            gate = gates[row, speaker]
            if kind < 0.5:
                touch(gate, union(windows.boxes[row, speaker]))
            elif kind < 0.7:
                touch(gate, windows.boxes[row, speaker, 0])
            else:
                gate[:, speaker * tile : (speaker + 1) * tile] = 1
    return gates.flatten(2).unsqueeze(2)


def union(boxes: np.ndarray) -> np.ndarray:
    """The smallest box around some ``[n, 4]``."""
    return np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)])


def touch(gate: Tensor, box: np.ndarray) -> None:
    """Open the gate ``[rows, columns]`` of every token that a box of pixels touches."""
    top, left, bottom, right = (int(edge) for edge in box)
    gate[top // TOKEN : -(-bottom // TOKEN), left // TOKEN : -(-right // TOKEN)] = 1
