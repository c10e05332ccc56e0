"""Training of the VAE: faces in, the same faces out, through latents of about unit variance.

First single frames, which are cheap because a causal convolution sees one tap of three, then clips.
The encoder never looks back at frames before a group of four: one that did gave a frame other
latents near the beginning of a chunk than later, and so every chunk began with a jump.
Then the statistics of the latents are folded into the two 1 x 1 convolutions around them, so that
the published constants normalise this VAE's latents as well; and when the transformer has learned
those, the decoder is polished. The mouth and the eyes weigh more than the wall behind them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.wan_vae import LATENT_MEAN, LATENT_STD, State, WanVAE, frame_groups
from .data import Clips
from .latents import encode
from .loop import Recipe, Run, train

IMAGES = Recipe("vae-images", steps=1600, rate=3e-3, muon=8e-3, decay=40)
CLIPS = Recipe("vae-clips", steps=1000, rate=1.2e-3, muon=3e-3, decay=60)
DECODER = Recipe("decoder", steps=400, rate=1e-3, muon=2.5e-3, decay=60)

IMAGES_BATCH = {1: 4}
CLIPS_BATCH = {5: 2, 9: 1, 13: 1}
"""Faces per process and step by length of the clips; the longer ones so that the decoder knows what
it remembers in the middle of a clip."""

CLIPS_SHARES = (0.3, 0.55, 0.15)
DECODER_BATCH = {13: 1}
SCENES = ("long", "short", "pair")
SHARES = (0.42, 0.42, 0.16)

HANDOVER_FIRST, HANDOVER_WEIGHT = 4, 0.5
"""From this frame on, the last of a group, a decoded clip is encoded again as the context of a next
chunk is; its latents should be those of the clip itself."""

KL_WEIGHT = 3e-4
DIFFERENCE_WEIGHT = 2.0
"""Of changes from frame to frame: what flickers is seen before what is blurred."""

FEATURE_WEIGHT = 5.0
"""How much more a pixel near the mouth or the eyes counts."""


def train_images(run: Run, data: Mapping[str, Clips], vae: WanVAE) -> None:
    """Train a new VAE on single frames."""
    train_on(run, IMAGES, data, vae, IMAGES_BATCH, (1.0,))


def train_clips(run: Run, data: Mapping[str, Clips], vae: WanVAE) -> None:
    """Go on with clips, and standardise the latents."""
    train_on(run, CLIPS, data, vae, CLIPS_BATCH, CLIPS_SHARES)
    standardize_latents(vae, data["long"])


def train_decoder(run: Run, data: Mapping[str, Clips], vae: WanVAE) -> None:
    """Polish the decoder alone, while the latents that others learn from stay as they are.

    It learns as well that what it decodes is encoded to the same latents again, so that a chunk
    begins with what the one before ended with.
    """
    vae.requires_grad_(False)
    vae.decoder.requires_grad_(True)
    vae.conv2.requires_grad_(True)
    train_on(run, DECODER, data, vae, DECODER_BATCH, (1.0,), handover=True)
    vae.requires_grad_(True)


def train_on(
    run: Run,
    recipe: Recipe,
    data: Mapping[str, Clips],
    vae: WanVAE,
    batches: Mapping[int, int],
    shares: Sequence[float],
    *,
    handover: bool = False,
) -> None:
    """Train on clips of several lengths."""
    weights = {name: data[name].feature_weight(FEATURE_WEIGHT) for name in SCENES}

    def step_loss(step: int, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, float]]:
        # The same shape in every process, so that none waits for another.
        lots = np.random.default_rng([run.seed, step])
        name, frames = lots.choice(SCENES, p=SHARES), int(lots.choice(list(batches), p=shares))
        count = max(1, batches[frames] // data[name].shape.faces)
        clips, rows = data[name].random_spans(rng, count, frames)
        loss, figures, out = loss_of(vae, clips, weights[name][rows], rng)
        if handover:
            error = handover_error(vae, clips, out)
            loss, figures = loss + HANDOVER_WEIGHT * error, {**figures, "handover": error.item()}
        return loss, figures

    train(run, recipe, vae, step_loss)


def handover_error(vae: WanVAE, frames: Tensor, out: Tensor) -> Tensor:
    """How far the latents of decoded frames are from those of the frames, squared."""
    with torch.no_grad():
        wanted = encode(vae, frames[:, :, HANDOVER_FIRST:])
    return (encode(vae, out[:, :, HANDOVER_FIRST:].clamp(-1, 1)) - wanted).square().mean()


def loss_of(
    vae: WanVAE, frames: Tensor, weight: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Mapping[str, float], Tensor]:
    """Reconstruction of ``[B, 3, F, H, W]`` in [-1, 1], gradients, frame differences, KL.

    Args:
        vae: The VAE.
        frames: The clips.
        weight: ``[B, 1, 1, H, W]``, mean about 1.
        rng: For the sample of the posterior.
    """
    state: State = {}
    moments = [vae.encoder(group, state) for group in frame_groups(frames)]
    mean, log_variance = vae.conv1(torch.cat(moments, dim=2), {}).chunk(2, dim=1)
    log_variance = log_variance.clamp(-12, 4)
    noise = torch.from_numpy(rng.standard_normal(mean.shape, dtype=np.float32))
    z = vae.conv2(mean + (0.5 * log_variance).exp() * noise, {})
    state = {}
    out = torch.cat([vae.decoder(latent, state) for latent in z.split(1, dim=2)], dim=2)
    error = out - frames
    pixel = ((error.abs() + 2 * error.square()) * weight).mean()
    edges = sum(error.diff(dim=dim).abs().mean() for dim in (-1, -2))
    change = error.diff(dim=2).abs().mean() if frames.shape[2] > 1 else error.new_zeros(())
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
    loss = pixel + edges + DIFFERENCE_WEIGHT * change + KL_WEIGHT * kl
    return loss, {"psnr": psnr(error), "kl": kl.item()}, out


def psnr(error: Tensor) -> float:
    """PSNR in dB of an error in the range -1 to 1."""
    return float(-10 * torch.log10(error.detach().square().mean() / 4))


@torch.no_grad()
def standardize_latents(vae: WanVAE, clips: Clips) -> None:
    """Fold the latents' own mean and deviation into the convolutions around them.

    Networks work on ``(latent - LATENT_MEAN) / LATENT_STD``, the published statistics; this
    VAE's latents get exactly those.
    """
    frames, _ = clips.random_spans(np.random.default_rng(0), 96, 9)
    state: State = {}
    moments = [vae.encoder(group, state) for group in frame_groups(frames)]
    latents = vae.conv1(torch.cat(moments, dim=2), {}).chunk(2, dim=1)[0]
    std, mean = torch.std_mean(latents, dim=(0, 2, 3, 4))
    scale = torch.tensor(LATENT_STD) / std
    shift = torch.tensor(LATENT_MEAN) - scale * mean
    channels, column = len(scale), scale.view(-1, 1, 1, 1, 1)
    # Into the layer before: new = scale * old + shift. Out of the layer after: its inverse.
    vae.conv1.weight[:channels] *= column
    bias, bias_after = vae.conv1.bias, vae.conv2.bias
    assert bias is not None
    assert bias_after is not None
    bias[:channels] = bias[:channels] * scale + shift
    vae.conv2.weight /= scale.view(1, -1, 1, 1, 1)
    bias_after -= (vae.conv2.weight[:, :, 0, 0, 0] * shift).sum(dim=1)


@torch.no_grad()
def round_trip_psnr(vae: WanVAE, frames: Tensor) -> float:
    """PSNR in dB of ``[B, 3, F, H, W]`` through the VAE."""
    errors = []
    for clip in frames:
        out = torch.cat(list(vae.decode(vae.encode(clip))), dim=1)
        errors.append(F.mse_loss(out, clip).item())
    return float(-10 * np.log10(np.mean(errors) / 4))
