"""The standalone denoiser: Euler steps of a flow, the context held clean.

It knows a network as ``Predictor`` and a guidance rule; ComfyUI's samplers take its place in the
host.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Protocol

from torch import Tensor

from .guidance import Guidance
from .protocols import StepCallback
from .schedule import add_noise


class Predictor(Protocol):
    """A network that predicts velocities."""

    def begin_chunk(self) -> None:
        """Forget what belongs to the previous chunk."""
        ...

    def predict(self, latents: Tensor, sigma: float, branch: str, conditions: Any) -> Tensor:
        """Velocity ``[C, T, H, W]`` of ``latents`` at ``sigma`` under one guidance branch."""
        ...


def hold(latents: Tensor, held: Tensor) -> Tensor:
    """Write the clean context ``[C, Th, H, W]`` over the head of ``latents``, in place."""
    latents[:, : held.shape[1]] = held
    return latents


class EulerDenoiser:
    """First-order steps along the predicted velocity.

    Source: InfiniteTalk, ``generate_infinitetalk``.
    Differs: the context is only ever clean. Upstream also noises it at every step and overwrites
    the result, which has no effect but to draw random numbers.
    """

    def __init__(self, predictor: Predictor, guidance: Guidance):
        self.predictor = predictor
        self.guidance = guidance

    def denoise(
        self,
        noise: Tensor,
        conditions: Any,
        sigmas: Tensor,
        *,
        held: Tensor,
        start: Tensor | None = None,
        pinned: tuple[Tensor, Tensor] | None = None,
        callback: StepCallback | None = None,
    ) -> Tensor:
        """Denoise one chunk; see ``protocols.Denoiser``."""
        self.guidance.begin_chunk()
        self.predictor.begin_chunk()
        keep = pin_to(pinned, noise)
        # A schedule that begins below 1 begins from as little noise as the network expects there.
        begin = noise.new_zeros(()) if start is None else start
        begin = add_noise(begin, noise, float(sigmas[0]))
        latents = hold(keep(begin, float(sigmas[0])), held)
        for step, (sigma, following) in enumerate(pairwise(sigmas.tolist())):
            predictions = {
                branch: self.predictor.predict(latents, sigma, branch, conditions)
                for branch in self.guidance.branches(sigma)
            }
            velocity = self.guidance.combine(predictions, sigma)
            denoised = hold(latents - sigma * velocity, held)
            latents = hold(keep(latents + (following - sigma) * velocity, following), held)
            if callback is not None:
                callback(step + 1, len(sigmas) - 1, denoised)
        return latents


def pin_to(
    pinned: tuple[Tensor, Tensor] | None, noise: Tensor
) -> Callable[[Tensor, float], Tensor]:
    """A function that puts the pinned latents, noised to sigma, back where their mask is 1."""
    if pinned is None:
        return lambda latents, sigma: latents
    kept, mask = pinned
    return lambda latents, sigma: latents.lerp(add_noise(kept, noise, sigma), mask)
