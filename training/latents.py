"""The training set as the transformer sees it: latents, reference conditions, contexts, voices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..audio.windows import audio_windows
from ..frames import TEMPORAL_STRIDE, latent_frames
from ..models.wan_vae import State, WanVAE, frame_groups, latent_statistics
from ..samplers.conditioning import GREY, reference_condition, reference_mask
from .data import Clips, to_tensor
from .loop import Run, barrier, progress
from .sizes import CHUNK_FRAMES, CONTEXT_FRAMES, SIZE
from .voice import features_path

CONTEXT_LATENTS = latent_frames(CONTEXT_FRAMES)
HEAD_LATENTS = 5
"""Latents of a reference condition that are kept per clip; behind them the reference has faded from
the encoder's memory (checked by ``grey_tail``) and all conditions share one grey tail."""

ROUND_TRIP, OWN = 0, 1
"""Variants of a context, as in a long clip: through the VAE again, and made by the model itself."""

GROUP = 6
"""Clips encoded at once."""


@dataclass(frozen=True)
class Batch:
    """What one training step reads; B clips of one shape.

    Attributes:
        latents: Clean latents ``[B, 16, T, h, w]``.
        concat: Mask and reference condition ``[B, 20, T, h, w]``.
        context: Clean latents at the head, ``[B, 16, 3, h, w]``; of a clip that does not continue
            another, only the first counts.
        held: How many latents at the head are held, ``[B]``.
        voices: Audio windows ``[B, S, F, 5, layers, hidden]``.
        weight: 1 at mouths and eyes, ``[B, 1, 1, h, w]``.
        clips: Their indices.
    """

    latents: Tensor
    concat: Tensor
    context: Tensor
    held: Tensor
    voices: Tensor
    weight: Tensor
    clips: np.ndarray


class LatentClips:
    """Latents of the clips of one shape.

    Args:
        clips: The clips.
        mode: As numpy opens its files.
        own: Whether contexts that the model made are there; see ``contexts``.
    """

    def __init__(self, clips: Clips, mode: str = "r", *, own: bool = False):
        shape = clips.shape
        self.clips, self.shape = clips, shape
        self.variants = 2 if own else 1
        n, side, wide = shape.clips, SIZE // 8, SIZE * shape.faces // 8
        latents = latent_frames(shape.frames)
        sizes = {
            "latents": (n, 16, latents, side, wide),
            "heads": (n, 16, min(HEAD_LATENTS, latents), side, wide),
            "contexts": (n, 2, 16, CONTEXT_LATENTS, side, wide),
            "tail": (16, latent_frames(CHUNK_FRAMES), side, wide),
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
    heads: np.ndarray
    contexts: np.ndarray
    tail: np.ndarray

    def batch(self, rng: np.random.Generator, count: int) -> Batch:
        """Draw clips by lot."""
        clips = rng.integers(self.shape.clips, size=count)
        return self.batch_of(clips, rng.integers(-1, self.variants, size=count))

    def batch_of(self, clips: np.ndarray, variants: np.ndarray) -> Batch:
        """Given clips, each with a variant of its context; -1 is the clean one."""
        count = len(clips)
        latents = read(self.latents, clips)
        heads = read(self.heads, clips)
        missing = latents.shape[2] - heads.shape[2]
        tail = torch.from_numpy(self.tail[:, :missing].astype(np.float32))
        reference = torch.cat([heads, tail.expand(count, -1, -1, -1, -1)], dim=2)
        mask = reference_mask(self.shape.frames, *latents.shape[-2:])
        concat = torch.cat([mask.expand(count, -1, -1, -1, -1), reference], dim=1)
        held = torch.from_numpy(np.where(self.clips.continues[clips], CONTEXT_LATENTS, 1))
        context = latents[:, :, :CONTEXT_LATENTS].clone()
        for row, (clip, variant) in enumerate(zip(clips, variants, strict=True)):
            if variant >= 0 and held[row] > 1:
                context[row] = torch.from_numpy(self.contexts[clip, variant].astype(np.float32))
        voices = torch.stack([self.windows(int(clip)) for clip in clips])
        return Batch(latents, concat, context, held, voices, self.weight[clips], clips)

    def windows(self, clip: int) -> Tensor:
        """Audio windows of a clip ``[S, F, 5, layers, hidden]``, seeing its neighbours."""
        track, span = self.clips.span(clip)
        features = torch.from_numpy(self.features[track].astype(np.float32))
        return torch.cat([audio_windows(f, span.start, self.shape.frames) for f in features])


def read(array: np.ndarray, rows: np.ndarray) -> Tensor:
    """Rows of a float16 array as float32."""
    return torch.from_numpy(array[rows].astype(np.float32))


def feature_mask(clips: Clips) -> Tensor:
    """Share of each latent cell that mouths and eyes cover, ``[N, 1, 1, h, w]``."""
    masks = torch.zeros(clips.shape.clips, 1, SIZE, SIZE * clips.shape.faces)
    for mask, boxes in zip(masks, clips.boxes.reshape(len(masks), -1, 4), strict=True):
        for top, left, bottom, right in boxes:
            mask[..., top:bottom, left:right] = 1
    return torch.nn.functional.avg_pool2d(masks, 8).unsqueeze(2)


@torch.inference_mode()
def encode_clips(run: Run, data: Mapping[str, Clips], vae: WanVAE) -> dict[str, LatentClips]:
    """Encode everything once; continues where it stopped."""
    for name, clips in data.items():
        shape = clips.shape
        if run.rank == 0:
            LatentClips(clips, "w+")
        barrier()
        out = LatentClips(clips, "r+")
        if run.rank == 0:
            grey = torch.zeros(3, SIZE, SIZE * shape.faces)
            latents = reference_condition(vae, grey, CHUNK_FRAMES)[4:]
            out.tail[:] = latents[:, -1:].numpy()
        done_file = clips.folder / f"{name}-latents-{run.rank}.txt"
        done = int(done_file.read_text()) if done_file.exists() else 0
        mine = np.array(run.share(shape.clips))
        groups = np.array_split(mine, -(-len(mine) // GROUP))
        for index in progress(run, f"latents {name}", done, len(groups)):
            encode_group(vae, clips, out, groups[index])
            done_file.write_text(str(index + 1))
    barrier()
    return {name: LatentClips(clips) for name, clips in data.items()}


def encode_group(vae: WanVAE, clips: Clips, out: LatentClips, group: np.ndarray) -> None:
    """Encode clips, their references, and their contexts as a long clip would hand them on."""
    latents = encode(vae, to_tensor(clips.frames[group]))
    out.latents[group] = latents.numpy()
    frames = TEMPORAL_STRIDE * (out.heads.shape[2] - 1) + 1
    pictures = to_tensor(clips.references[group][:, None])
    grey = torch.full((*pictures.shape[:2], frames - 1, *pictures.shape[3:]), GREY)
    out.heads[group] = encode(vae, torch.cat([pictures, grey], dim=2)).numpy()
    context = encode(vae, decode(vae, latents[:, :, :CONTEXT_LATENTS]))
    out.contexts[group, ROUND_TRIP] = context.numpy()


def encode(vae: WanVAE, frames: Tensor) -> Tensor:
    """A batch through the encoder: ``[B, 3, F, H, W]`` to normalised latents; see ``WanVAE``."""
    state: State = {}
    moments = [vae.encoder(group, state) for group in frame_groups(frames)]
    mean = vae.conv1(torch.cat(moments, dim=2), {}).chunk(2, dim=1)[0]
    shift, scale = latent_statistics(mean)
    return (mean - shift) / scale


def decode(vae: WanVAE, latents: Tensor) -> Tensor:
    """A batch through the decoder."""
    shift, scale = latent_statistics(latents)
    z = vae.conv2(latents * scale + shift, {})
    state: State = {}
    frames = [vae.decoder(latent, state) for latent in z.split(1, dim=2)]
    return torch.cat(frames, dim=2).clamp(-1, 1)
