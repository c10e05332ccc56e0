"""One step over all windows: what each of them estimates, blended to one estimate of the clip.

Knows a window plan and tensors whose third axis from the end is time. What is estimated - clean
latents or velocities - is the caller's; for a flow both give the same step, because blending is
linear and every frame is at the same noise level.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum

import torch
from torch import Tensor

from .windows import DenoisingWindow, WindowPlan


class Blend(Enum):
    """How the estimate of a window takes over from those before it."""

    PAPER = "paper"
    LINEAR = "linear"
    LINEAR_OPEN = "linear, open ends"
    COSINE = "cosine"
    AVERAGE = "average"


def blend_weights(width: int, blend: Blend) -> list[float]:
    """Weight of the estimate that is there already, per latent frame of an overlap.

    With W for ``width``: ``paper`` is ``((W - 1) - i) / (W - 2)``, at most 1, so that the first two
    frames stay as they are and the last is the new window's; ``linear`` reaches 1 and 0 at the
    ends, ``linear, open ends`` neither, ``cosine`` has flat ends, ``average`` is 0.5 throughout. A
    single frame is averaged by all of them.

    Source: MagicInfinite 4.1.3.
    Differs: the paper's first weight is above 1, which extrapolates a little at every step, and
    two frames would divide by 0; here they are 1 and 0.
    """
    last = width - 1
    if width == 1 or blend is Blend.AVERAGE:
        return [0.5] * width
    if blend is Blend.PAPER:
        steps = max(1, last - 1)  # of two frames the first stays and the second is new
        return [min(1.0, (last - i) / steps) for i in range(width)]
    if blend is Blend.LINEAR:
        return [(last - i) / last for i in range(width)]
    if blend is Blend.LINEAR_OPEN:
        return [(width - i) / (width + 1) for i in range(width)]
    return [(1 + math.cos(math.pi * i / last)) / 2 for i in range(width)]


def hides_first(width: int, blend: Blend) -> bool:
    """Whether nothing is seen of what a window estimates in its slot 0."""
    return width > 0 and blend_weights(width, blend)[0] == 1


def merge(clip: Tensor, window: DenoisingWindow, estimate: Tensor, blend: Blend) -> None:
    """Blend the estimate of a window into that of the clip, in place.

    Args:
        clip: float32 ``[..., T, h, w]``; the windows before are in it.
        window: The window.
        estimate: ``[..., L, h, w]``.
        blend: How.
    """
    whole = clip[..., window.start : window.stop, :, :]
    kept, covered = window.covered - window.blended, window.covered
    if window.blended:
        weights = whole.new_tensor(blend_weights(window.blended, blend)).view(-1, 1, 1)
        there, new = whole[..., kept:covered, :, :], estimate[..., kept:covered, :, :].to(whole)
        there.copy_(weights * there + (1 - weights) * new)
    whole[..., covered:, :, :] = estimate[..., covered:, :, :].to(whole)


def sweep(
    plan: WindowPlan,
    blend: Blend,
    latents: Tensor,
    estimate: Callable[[DenoisingWindow, Tensor], Tensor],
    look: Callable[[DenoisingWindow], None] | None = None,
) -> Tensor:
    """One evaluation of the whole clip, window by window.

    Every window reads the same ``latents``, whatever the others estimated: they may be evaluated
    anywhere and at once, as long as they are merged in order.

    Args:
        plan: The windows.
        blend: How they are joined.
        latents: Noisy latents of the clip, ``[..., T, h, w]``; only read.
        estimate: From a window and its part ``[..., L, h, w]`` to its estimate of the same shape.
        look: Called after every window; may raise to stop.

    Returns:
        ``[..., T, h, w]``, accumulated in float32, in the type of ``latents``.
    """
    clip = torch.empty(latents.shape, dtype=torch.float32, device=latents.device)
    for window in plan.windows:
        part = latents[..., window.start : window.stop, :, :]
        merge(clip, window, estimate(window, part), blend)
        if look is not None:
            look(window)
    return clip.to(latents.dtype)
