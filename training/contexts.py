"""Contexts as a long clip hands them on: from frames that the trained model made itself.

The model sees each clip under noise and says what it thinks is behind; the head of that, through
the VAE as between two chunks, becomes another variant of the clip's context. A rollout from pure
noise would sway and blink in its own way, and its continuation would have to jump to where the clip
is; from noise of these levels pose and mouth stay, and details are the model's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ..models.wan_vae import WanVAE
from .latents import CONTEXT_LATENTS, GROUP, OWN, LatentClips, decode, encode
from .loop import Run, barrier, progress
from .transformer import hold_heads, normal, predict, routing_of

LEVELS = (0.5, 0.85)
"""Noise levels from which the model makes a context."""


@torch.inference_mode()
def make_own_contexts(
    run: Run, sets: Mapping[str, LatentClips], vae: WanVAE, model: nn.ModuleDict
) -> dict[str, LatentClips]:
    """Write the contexts of all clips that continue another; continues where it stopped.

    Returns:
        The set, which draws from them from now on.
    """
    for name, clips in sets.items():
        out = LatentClips(clips.clips, "r+")
        done_file = clips.clips.folder / f"{name}-own-{run.rank}.txt"
        done = int(done_file.read_text()) if done_file.exists() else 0
        mine = np.array([row for row in run.share(clips.shape.clips) if clips.clips.continues[row]])
        groups = np.array_split(mine, -(-len(mine) // GROUP))
        for index in progress(run, f"contexts {name}", done, len(groups)):
            rng = run.generator(f"contexts {name}", index)
            out.contexts[groups[index], OWN] = own_context(vae, model, clips, groups[index], rng)
            done_file.write_text(str(index + 1))
    barrier()
    return {name: LatentClips(clips.clips, own=True) for name, clips in sets.items()}


def own_context(
    vae: WanVAE,
    model: nn.ModuleDict,
    clips: LatentClips,
    rows: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Contexts ``[B, 16, 3, h, w]`` of some clips as the model makes them."""
    batch = clips.batch_of(rows, np.full(len(rows), -1))
    batch = replace(batch, held=torch.ones_like(batch.held))
    sigma = torch.from_numpy(rng.uniform(*LEVELS, len(rows))).float()
    level, noise = sigma.view(-1, 1, 1, 1, 1), normal(rng, batch.latents.shape)
    noisy = (1 - level) * batch.latents + level * noise
    noisy = hold_heads(noisy, batch.context, batch.held)
    routing = routing_of(batch, rng)
    velocity = predict(model, noisy, sigma, batch.concat, batch.voices, routing)
    made: Tensor = hold_heads(noisy - level * velocity, batch.context, batch.held)
    return encode(vae, decode(vae, made[:, :, :CONTEXT_LATENTS])).numpy()
