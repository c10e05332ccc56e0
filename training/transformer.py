"""Training of the transformer: first faces that move, then faces that move with a voice.

Flow matching: between data and noise at level sigma the network learns the velocity (noise - data).
The head of a clip is held clean, as the samplers hold the context, and takes no part in the loss.

Source: two-stage curriculum and face-weighted loss of MagicInfinite (3.3, eq. 3 and 4).
Differs: eq. 3 scales the whole loss by the face's inverse share, which changes no direction; read
as the text says, the error is averaged over the region. The region is mouth and eyes, since a face
fills the tile.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ..models.adapter import AudioAdapter, AudioPass
from ..models.routing import SpeakerRouting
from ..models.wan import WanModel
from .latents import Batch, LatentClips
from .loop import Recipe, Run, train
from .sizes import BASE

MOTION = Recipe("motion", steps=300, rate=2e-3, muon=6e-3, decay=60, adamw=("modulation",))
SPEECH = Recipe("speech", steps=1500, rate=1.5e-3, muon=5e-3, decay=120, adamw=("modulation",))

SHAPE_SHARES = {"long": 0.3, "short": 0.44, "pair": 0.18, "trio": 0.08}
BATCHES = {"long": 4, "short": 8, "pair": 4, "trio": 2}
"""Per process and step; about as many tokens each."""

REGION_WEIGHT = 0.6
"""MagicInfinite's lambda of eq. 4 is 10 for a face in a picture; ours is a mouth in a face."""

SIGMA_SHIFT = 3.0
DROP_VOICE = 0.1
"""Share of clips that hear zero features, for the guidance branch without audio."""

CONTEXT_NOISE, CONTEXT_TINT = 0.15, 0.12
"""Largest noise on a context and deviation of a shift of its channels: what a long clip does to it,
which the reference has to mend."""


class QuietRouting(SpeakerRouting):
    """Routing that takes no gradients: which voice a token hears is given, not learned."""

    @torch.no_grad()
    def positions(self, q: Tensor, k: Tensor) -> Tensor:
        """See ``SpeakerRouting``."""
        return super().positions(q, k)


def train_motion(run: Run, sets: Mapping[str, LatentClips], model: nn.ModuleDict) -> None:
    """First stage: a new base learns faces that move; the adapter is left alone."""
    model["adapter"].requires_grad_(False)
    train_on(run, MOTION, sets, model, hears=False)
    model["adapter"].requires_grad_(True)


def train_speech(run: Run, sets: Mapping[str, LatentClips], model: nn.ModuleDict) -> None:
    """Second stage: base and adapter learn to move with the voice."""
    train_on(run, SPEECH, sets, model, hears=True)


def train_on(
    run: Run,
    recipe: Recipe,
    sets: Mapping[str, LatentClips],
    model: nn.ModuleDict,
    *,
    hears: bool,
) -> None:
    """Train on clips of all shapes."""

    def step_loss(step: int, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, float]]:
        name = shape_of(run, step)
        return loss_of(model, sets[name].batch(rng, BATCHES[name]), rng, hears=hears)

    train(run, recipe, model, step_loss)


def shape_of(run: Run, step: int) -> str:
    """The shape of a step, the same in every process so that none waits for another."""
    shares = list(SHAPE_SHARES.values())
    return str(np.random.default_rng([run.seed, step]).choice(list(SHAPE_SHARES), p=shares))


def loss_of(
    model: nn.ModuleDict, batch: Batch, rng: np.random.Generator, *, hears: bool
) -> tuple[Tensor, Mapping[str, float]]:
    """Flow-matching loss of a batch, mouths and eyes counting more."""
    data = batch.latents
    sigma = draw_sigmas(rng, len(data))
    noise = normal(rng, data.shape)
    level = sigma.view(-1, 1, 1, 1, 1)
    noisy = hold_heads((1 - level) * data + level * noise, worn_context(batch, rng), batch.held)
    heard = None
    if hears:
        silent = torch.from_numpy(rng.random(len(data)) < DROP_VOICE)
        heard = voices_of(batch, silent)
    velocity = predict(model, noisy, sigma, batch.concat, heard, routing_of(batch, rng))
    return weighted_error((velocity - (noise - data)).square(), batch)


def weighted_error(error: Tensor, batch: Batch) -> tuple[Tensor, Mapping[str, float]]:
    """Mean of a squared error ``[B, C, T, h, w]`` behind the heads, with mouths and eyes twice."""
    error = error.mean(dim=1, keepdim=True)
    free = 1 - held_mask(batch.held, error.shape[2])
    base = (error * free).sum() / (free.sum() * error[0, 0, 0].numel())
    region = batch.weight * free
    loss = base + REGION_WEIGHT * (error * region).sum() / region.sum()
    return loss, {"base": base.item()}


def draw_sigmas(rng: np.random.Generator, count: int) -> Tensor:
    """Noise levels, more of the high ones, where a face finds its place and its mouth."""
    uniform = torch.from_numpy(rng.random(count)).float()
    return SIGMA_SHIFT * uniform / (1 + (SIGMA_SHIFT - 1) * uniform)


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    """Gaussian noise."""
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def held_mask(held: Tensor, latents: int) -> Tensor:
    """1 on the held latents at the head, ``[B, 1, T, 1, 1]``."""
    return (torch.arange(latents)[None] < held[:, None]).float().view(len(held), 1, latents, 1, 1)


def hold_heads(noisy: Tensor, context: Tensor, held: Tensor) -> Tensor:
    """Write each clip's clean context over its head."""
    length = context.shape[2]
    mask = held_mask(held, length)
    head = noisy[:, :, :length] * (1 - mask) + context * mask
    return torch.cat([head, noisy[:, :, length:]], dim=2)


def worn_context(batch: Batch, rng: np.random.Generator) -> Tensor:
    """The contexts with noise and a tint on those that continue another clip."""
    context = batch.context
    count = len(context)
    continues = (batch.held > 1).float().view(-1, 1, 1, 1, 1)
    amount = torch.from_numpy(np.maximum(0, rng.uniform(-1, 1, count))).float()
    tinted = torch.from_numpy(rng.random(count) < 0.4).float()
    noise = normal(rng, context.shape) * CONTEXT_NOISE * amount.view(-1, 1, 1, 1, 1)
    tint = normal(rng, (count, context.shape[1], 1, 1, 1)) * CONTEXT_TINT
    return context + continues * (noise + tint * tinted.view(-1, 1, 1, 1, 1))


def voices_of(batch: Batch, silent: Tensor) -> Tensor:
    """Audio windows of a batch, zero features where the clip shall hear nothing."""
    return batch.voices * (~silent).view(-1, 1, 1, 1, 1, 1)


def routing_of(batch: Batch, rng: np.random.Generator) -> SpeakerRouting | None:
    """Masks of the speakers: whole tiles, or the middle of each with background around it."""
    speakers = batch.voices.shape[1]
    if speakers == 1:
        return None
    rows, columns = (size // 2 for size in batch.latents.shape[-2:])
    wide = columns // speakers
    masks = torch.zeros(speakers + 1, rows, columns)
    inset, below = (int(rng.integers(2)), int(rng.integers(2)))
    for speaker in range(speakers):
        first = speaker * wide
        masks[speaker, : rows - below, first + inset : first + wide - inset] = 1
    masks[-1] = 1 - masks[:-1].sum(0)
    return QuietRouting(masks.flatten(1))


def predict(
    model: nn.ModuleDict,
    noisy: Tensor,
    sigma: Tensor,
    concat: Tensor,
    voices: Tensor | None,
    routing: SpeakerRouting | None,
) -> Tensor:
    """Velocity of a batch ``[B, 16, T, h, w]``.

    Args:
        model: ``base`` and ``adapter``.
        noisy: Latents with clean heads.
        sigma: ``[B]`` in [0, 1].
        concat: ``[B, 20, T, h, w]``.
        voices: Audio windows ``[B, S, F, 5, layers, hidden]``, or None for a base without audio.
        routing: Of several speakers.
    """
    base, adapter = model["base"], model["adapter"]
    assert isinstance(base, WanModel)
    assert isinstance(adapter, AudioAdapter)
    audio = None
    if voices is not None:
        tokens = adapter.audio_proj(voices.flatten(0, 1)).unflatten(0, voices.shape[:2])
        audio = AudioPass(adapter, tokens, BASE.heads, routing)
    texts = torch.zeros(len(noisy), BASE.text_tokens, BASE.text_dim)
    contexts = base.embed_contexts(texts)
    return base(noisy, 1000.0 * sigma, contexts, concat=concat, audio=audio)
