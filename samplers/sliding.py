"""The sliding-window loop: the latents of a whole clip, step by step.

Every step looks at all windows before the next one begins, so that the whole clip goes from noise
to pictures together. Knows a window plan and protocols; networks and guidance are the denoiser's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from .blend import Blend, hides_first, sweep
from .plan import Chunk
from .protocols import StepCallback
from .windows import DenoisingWindow, WindowPlan

LATENTS, ESTIMATE = "latents", "estimate"
"""Names in the state after a step: where the sampler stands, and the last estimate of the clip,
both ``[C, T, H, W]``."""

PREVIOUS_BELOW = 0.6
"""Noise level below which an estimate is good enough to begin a window from."""


class FirstFrame(Enum):
    """What the first slot of the windows after the first holds.

    It is the only place where the networks were trained to find a picture.
    """

    EVERY = "reference in every window"
    """The reference frame. What the window estimates there is not used."""

    ANCHOR = "anchor slot"
    """The reference frame, in a slot that is there for nothing else."""

    FIRST_ONLY = "first window only"
    """The noisy frame that belongs there, without a picture; nothing holds the identity."""

    PREVIOUS = "previous estimate"
    """At low noise the clip's own frame as the step before estimated it, else the reference."""


def needs_anchor(first_frame: FirstFrame, overlap: int, blend: Blend) -> bool:
    """Whether later windows need a slot of their own for the picture.

    Also where a real frame is under it that others do not estimate alone.

    Args:
        first_frame: What the first slot holds.
        overlap: Latent frames shared with the window before.
        blend: How estimates are blended.
    """
    if first_frame is FirstFrame.FIRST_ONLY:
        return False
    return first_frame is FirstFrame.ANCHOR or not hides_first(overlap, blend)


class FirstSlot(NamedTuple):
    """What a window is given in its first slot.

    Attributes:
        held: Clean latent frame ``[C, 1, H, W]`` in the noisy latents; None leaves them.
        shown: The same for the condition, instead of the reference frame; None is the reference.
        bare: The condition shows no picture at all.
    """

    held: Tensor | None = None
    shown: Tensor | None = None
    bare: bool = False


Predict = Callable[[DenoisingWindow, Tensor, FirstSlot], Tensor]
"""From a window, its part of the noisy latents ``[..., L, H, W]`` and its first slot to the guided
estimate of the same shape."""


class Sweeper:
    """The windows of one clip, looked at once per evaluation.

    Args:
        plan: The windows.
        conditions: Conditions of a window as a chunk; made whenever they are needed and not kept,
            because those of a whole clip are large.
        reference: The reference frame's latent ``[C, 1, H, W]``.
        blend: How windows are joined.
        first_frame: What the first slot of later windows holds.
        holds: Whether the network wants a clean latent in the first slot of what it reads.
        look: Called after every window; may raise to stop.

    Attributes:
        previous: The estimate of the clip after the step before, ``[C, T, H, W]``; the denoiser
            sets it.
    """

    def __init__(
        self,
        plan: WindowPlan,
        conditions: Callable[[Chunk], Any],
        reference: Tensor,
        *,
        blend: Blend = Blend.PAPER,
        first_frame: FirstFrame = FirstFrame.EVERY,
        holds: bool = True,
        look: Callable[[DenoisingWindow], None] | None = None,
    ):
        self.plan, self.conditions, self.reference = plan, conditions, reference
        self.blend, self.first_frame, self.holds, self.look = blend, first_frame, holds, look
        self.previous: Tensor | None = None

    @property
    def held(self) -> Tensor:
        """What is clean at the head of the clip itself, ``[C, 1, H, W]`` or of no frame."""
        return self.reference if self.holds else self.reference[:, :0]

    @property
    def remembers(self) -> bool:
        """Whether a step needs the estimate of the one before."""
        return self.first_frame is FirstFrame.PREVIOUS and len(self.plan.windows) > 1

    def __call__(self, latents: Tensor, sigma: float, predict: Predict) -> Tensor:
        """The estimate of the clip ``[..., T, H, W]`` at ``sigma``."""

        def estimate(window: DenoisingWindow, part: Tensor) -> Tensor:
            return predict(window, part, self.first_slot(window, sigma))

        return sweep(self.plan, self.blend, latents, estimate, self.look)

    def first_slot(self, window: DenoisingWindow, sigma: float) -> FirstSlot:
        """What a window is given in its first slot at ``sigma``."""
        if window.index and self.first_frame is FirstFrame.FIRST_ONLY:
            return FirstSlot(bare=True)
        picture = None
        if window.index and self.remembers and sigma < PREVIOUS_BELOW and self.previous is not None:
            picture = self.previous[:, window.start : window.start + 1]
        if not self.holds:
            return FirstSlot(shown=picture)
        return FirstSlot(held=self.reference if picture is None else picture)


class WindowDenoiser(Protocol):
    """From noise to latents over the windows of a clip, in one call or in several."""

    @property
    def one_go(self) -> str:
        """Why all steps have to be made in one call; empty when a clip may go on at any step."""
        ...

    def denoise_windows(
        self,
        sweeper: Sweeper,
        latents: Tensor,
        sigmas: Tensor,
        *,
        begun: bool,
        callback: StepCallback | None = None,
    ) -> Tensor:
        """Denoise from ``sigmas[0]`` to ``sigmas[-1]``.

        Args:
            sweeper: Evaluates the clip; its ``previous`` is set after every step.
            latents: Noise ``[C, T, H, W]``, or what the call before returned.
            sigmas: ``[steps + 1]``, descending.
            begun: Whether there was a call before.
            callback: Called after every step.

        Returns:
            ``[C, T, H, W]``, clean when the last sigma is 0; else for the next call alone.
        """
        ...


class StepStates(Protocol):
    """Where a clip is kept between two steps."""

    def latest(self) -> tuple[int, Mapping[str, Tensor]] | None:
        """The last step that was saved, from 1, and its state."""
        ...

    def save(self, step: int, state: Mapping[str, Tensor]) -> None:
        """Keep the state after a step; those before are not needed any more."""
        ...


def step_ranges(steps: int, denoiser: WindowDenoiser, plan: WindowPlan) -> list[tuple[int, int]]:
    """The steps that are made in one call each, ``(first, stop)`` from 0.

    Decided by the plan and the sampler alone: a clip that goes on after a crash is cut at the same
    steps as one that was never interrupted, and so is the same to the last bit. One window is
    sampled in one go, which is what a chunk of the streaming sampler is.
    """
    if denoiser.one_go or len(plan.windows) == 1:
        return [(0, steps)]
    return list(pairwise(range(steps + 1)))


def sample_windows(
    sweeper: Sweeper,
    denoiser: WindowDenoiser,
    noise: Callable[[], Tensor],
    sigmas: Tensor,
    *,
    states: StepStates | None = None,
    callback: StepCallback | None = None,
    stop: Callable[[object], bool] | None = None,
) -> Tensor | None:
    """Denoise a clip, going on after the last step that was kept.

    Args:
        sweeper: The windows.
        denoiser: Makes the steps.
        noise: Noise ``[C, T, H, W]`` of the clip; asked for only at the beginning.
        sigmas: ``[steps + 1]``, descending to 0.
        states: Where the clip is kept between steps.
        callback: Called after every step with its number among all, from 1; may raise to stop.
        stop: Asked before every range of steps; True ends here.

    Returns:
        ``[C, T, H, W]``, or None when it was stopped.
    """
    steps = len(sigmas) - 1
    found = None if states is None else states.latest()
    done, state = (0, {}) if found is None else found
    latents = state[LATENTS] if done else None
    sweeper.previous = state.get(ESTIMATE)
    for first, last in step_ranges(steps, denoiser, sweeper.plan):
        if last <= done:
            continue
        if stop is not None and stop((first, last)):
            return None
        latents = denoiser.denoise_windows(
            sweeper,
            noise() if latents is None else latents,
            sigmas[first : last + 1],
            begun=first > 0,
            callback=None if callback is None else counted(callback, first, steps),
        )
        if states is not None:
            states.save(last, state_of(latents, sweeper, finished=last == steps))
    return latents


def state_of(latents: Tensor, sweeper: Sweeper, *, finished: bool) -> dict[str, Tensor]:
    """What the next step needs."""
    state = {LATENTS: latents}
    if sweeper.remembers and sweeper.previous is not None and not finished:
        state[ESTIMATE] = sweeper.previous
    return state


def counted(callback: StepCallback, first: int, steps: int) -> StepCallback:
    """A callback for a part of the steps, told as part of all."""
    return lambda step, _, denoised: callback(first + step, steps, denoised)
