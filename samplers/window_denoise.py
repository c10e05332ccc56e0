"""The standalone window denoiser: Euler steps of a flow over all windows of a clip.

For one window it is ``denoise.EulerDenoiser`` to the last bit. ComfyUI's samplers take its place in
the host.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor

from .denoise import Predictor, hold
from .guidance import Guidance
from .protocols import StepCallback
from .sliding import FirstSlot, Predict, Sweeper
from .window_rules import WindowRules
from .windows import DenoisingWindow


class WindowEuler:
    """First-order steps along the blended velocity.

    Velocities are blended, not clean estimates: the same for a flow, and with one window nothing is
    rounded. The predictor may not remember anything from call to call (no TeaCache), because its
    calls are about other windows in turn.

    Source: MagicInfinite 4.1.3.
    """

    def __init__(self, predictor: Predictor, guidance: Guidance, seed: int = 0):
        self.predictor, self.rules = predictor, WindowRules(guidance, seed)

    @property
    def one_go(self) -> str:
        """See ``sliding.WindowDenoiser``."""
        return self.rules.one_go

    def denoise_windows(
        self,
        sweeper: Sweeper,
        latents: Tensor,
        sigmas: Tensor,
        *,
        begun: bool,
        callback: StepCallback | None = None,
    ) -> Tensor:
        """See ``sliding.WindowDenoiser``."""
        held = sweeper.held
        if not begun:
            self.rules.forget()
            self.predictor.begin_chunk()
            latents = hold(latents.clone(), held)
        latents = latents.to(held)  # a state comes from the disk
        for step, (sigma, following) in enumerate(pairwise(sigmas.tolist())):
            velocity = sweeper(latents, sigma, self._predictor(sweeper, sigma))
            sweeper.previous = hold(latents - sigma * velocity, held)
            latents = hold(latents + (following - sigma) * velocity, held)
            if callback is not None:
                callback(step + 1, len(sigmas) - 1, sweeper.previous)
        return latents

    def _predictor(self, sweeper: Sweeper, sigma: float) -> Predict:
        def predict(window: DenoisingWindow, part: Tensor, slot: FirstSlot) -> Tensor:
            if slot.bare or slot.shown is not None:
                raise ValueError("the reference networks hold their first frame in every window")
            if slot.held is not None:
                part = hold(part.clone(), slot.held)
            conditions = sweeper.conditions(window.chunk)
            rule = self.rules.of(window)
            predictions = {
                branch: self.predictor.predict(part, sigma, branch, conditions)
                for branch in rule.branches(sigma)
            }
            return rule.combine(predictions, sigma)

        return predict
