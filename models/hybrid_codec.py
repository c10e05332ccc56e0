"""A Wan VAE as a HunyuanVideo-type model sees it.

In ComfyUI the model's family decides how raw latents are scaled, whatever VAE they come from:
HunyuanVideo's are multiplied by one number, Wan's normalised per channel. The hybrid model of the
built-in demo is trained on the former, so that it runs there with the demo's VAE, which is Wan's.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from .wan_vae import WanVAE, latent_statistics

SCALE = 0.476986
"""HunyuanVideo's factor on raw latents."""


def to_hybrid(latents: Tensor) -> Tensor:
    """Latents ``[B, C, T, h, w]`` as normalised for Wan to those the hybrid model sees."""
    shift, scale = latent_statistics(latents)
    return SCALE * (latents * scale + shift)


def to_wan(latents: Tensor) -> Tensor:
    """The other way."""
    shift, scale = latent_statistics(latents)
    return (latents / SCALE - shift) / scale


class HybridCodec:
    """A ``VideoCodec`` of the hybrid model.

    Args:
        vae: The VAE.
    """

    def __init__(self, vae: WanVAE):
        self.vae = vae

    def encode(self, frames: Tensor) -> Tensor:
        """Frames ``[3, F, H, W]`` in [-1, 1] to latents ``[16, T, h, w]``."""
        return to_hybrid(self.vae.encode(frames)[None])[0]

    def decode(self, latents: Tensor) -> Iterator[Tensor]:
        """Latents to blocks of frames."""
        return self.vae.decode(to_wan(latents[None])[0])
