"""Training of the hybrid transformer: first faces that move, then faces that move with a voice.

Flow matching: between data and noise at level sigma the network learns the velocity (noise - data).
Nothing is held: the portrait comes as channels of its own beside the noisy latents, as in the paper
(3.2), and every latent takes part in the loss, the first as well.

Source: two-stage curriculum, face mask and face-weighted loss of MagicInfinite (3.3, eq. 2 to 4).
Differs: eq. 3 is read as in ``training.transformer``. The paper names no share of windows that hear
or see nothing; here one in ten each, for the folds of guidance. Errors are counted in units of the
channels' own deviations, since the scale of HunyuanVideo leaves them unequal.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ...models.hybrid import HybridModel
from ...models.hybrid_adapter import HybridAudioAdapter, HybridAudioPass
from ...models.hybrid_codec import SCALE
from ...models.wan_vae import LATENT_STD
from ..loop import Recipe, Run, train
from ..transformer import REGION_WEIGHT, draw_sigmas, normal, shape_of
from .sizes import no_text
from .windows import WindowClips, Windows, draw_gates

MOTION = Recipe("hybrid motion", steps=300, rate=2e-3, muon=6e-3, decay=60, adamw=("mod",))
SPEECH = Recipe("hybrid speech", steps=1600, rate=1.5e-3, muon=5e-3, decay=120, adamw=("mod",))

BATCHES = {"long": 4, "short": 8, "pair": 4, "trio": 2}
"""Per process and step; about as many tokens each."""

DROP_VOICE, DROP_ALL = 0.1, 0.1
"""Shares of windows that hear zero features, and that see no portrait either."""


def train_motion(run: Run, sets: Mapping[str, WindowClips], model: nn.ModuleDict) -> None:
    """First stage: a new base learns faces that move; the adapter is left alone."""
    model["adapter"].requires_grad_(False)
    train_on(run, MOTION, sets, model, hears=False)
    model["adapter"].requires_grad_(True)


def train_speech(run: Run, sets: Mapping[str, WindowClips], model: nn.ModuleDict) -> None:
    """Second stage: base and adapter learn to move with the voice, inside the face masks."""
    train_on(run, SPEECH, sets, model, hears=True)


def train_on(
    run: Run,
    recipe: Recipe,
    sets: Mapping[str, WindowClips],
    model: nn.ModuleDict,
    *,
    hears: bool,
) -> None:
    """Train on windows of all shapes."""

    def step_loss(step: int, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, float]]:
        name = shape_of(run, step)
        return loss_of(model, sets[name].batch(rng, BATCHES[name]), rng, hears=hears)

    train(run, recipe, model, step_loss)


def loss_of(
    model: nn.ModuleDict, windows: Windows, rng: np.random.Generator, *, hears: bool
) -> tuple[Tensor, Mapping[str, float]]:
    """Flow-matching loss of a batch, mouths and eyes counting more."""
    data = windows.latents
    sigma, noise = draw_sigmas(rng, len(data)), normal(rng, data.shape)
    level = sigma.view(-1, 1, 1, 1, 1)
    lot = torch.from_numpy(rng.random(len(data)))
    blind, deaf = lot < DROP_ALL, lot < DROP_ALL + DROP_VOICE
    concat = portrait_channels(windows, blind)
    voices = silence(windows.voices, deaf) if hears else None
    gates = draw_gates(rng, windows)
    velocity = predict(model, (1 - level) * data + level * noise, sigma, concat, voices, gates)
    return weighted_error(velocity - (noise - data), windows.weight)


def weighted_error(error: Tensor, weight: Tensor) -> tuple[Tensor, Mapping[str, float]]:
    """Mean square of an error ``[B, C, T, h, w]``, mouths and eyes ``[B, 1, 1, h, w]`` again."""
    deviations = SCALE * error.new_tensor(LATENT_STD).view(1, -1, 1, 1, 1)
    squared = (error / deviations).square().mean(dim=(1, 2), keepdim=True)
    base = squared.mean()
    region = (squared * weight).sum() / weight.sum()
    return base + REGION_WEIGHT * region, {"base": base.item()}


def portrait_channels(windows: Windows, blind: Tensor) -> Tensor:
    """Portrait and mask ``[B, 17, T, h, w]``: there in the first latent, zeros behind it.

    Args:
        windows: The batch.
        blind: Bool ``[B]``, windows that see no portrait.
    """
    batch, channels, latents, height, width = windows.latents.shape
    concat = torch.zeros(batch, channels + 1, latents, height, width)
    seen = (~blind).float().view(-1, 1, 1, 1)
    concat[:, :channels, 0] = windows.reference * seen
    concat[:, channels:, 0] = seen
    return concat


def silence(voices: Tensor, deaf: Tensor) -> Tensor:
    """Audio windows of a batch, zero features where a window shall hear nothing."""
    return voices * (~deaf).view(-1, 1, 1, 1, 1, 1)


def predict(
    model: nn.ModuleDict,
    noisy: Tensor,
    sigma: Tensor,
    concat: Tensor,
    voices: Tensor | None,
    gates: Tensor | None,
) -> Tensor:
    """Velocity of a batch ``[B, 16, T, h, w]``.

    Args:
        model: ``base`` and ``adapter``.
        noisy: Noisy latents.
        sigma: ``[B]`` in [0, 1].
        concat: ``[B, 17, T, h, w]``.
        voices: Audio windows ``[B, S, 4T, 5, layers, hidden]``, or None for a base without audio.
        gates: Where each speaker is heard ``[B, S, 1, N]``; None is everywhere.
    """
    base, adapter = model["base"], model["adapter"]
    assert isinstance(base, HybridModel)
    assert isinstance(adapter, HybridAudioAdapter)
    audio = None
    if voices is not None:
        tokens = adapter.audio_encoder(voices.flatten(0, 1)).unflatten(0, voices.shape[:2])
        audio = HybridAudioPass(adapter, tokens, gates)
    text, pooled = no_text(len(noisy), noisy)
    return base(noisy, 1000.0 * sigma, text, pooled, concat=concat, audio=audio)
