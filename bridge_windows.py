"""Denoising windows in ComfyUI: the host's samplers over the whole clip, window by window.

The sampler sees one model whose estimate of the clip is blended from windows; every window is an
evaluation of ``bridge.TalkGuider`` with conditions of its own.

Letters: C latent channels, T latent frames of the clip, L of a window.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable
from typing import Any

import comfy.model_management
import comfy.sampler_helpers
import comfy.samplers
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from .bridge import HostConditions, TalkGuider, hold_batch, with_audio_windows
from .models.adapter import HOST_KEY
from .samplers.denoise import hold
from .samplers.guidance import Guidance
from .samplers.protocols import StepCallback
from .samplers.sliding import FirstSlot, Sweeper
from .samplers.window_rules import WindowRules
from .samplers.windows import DenoisingWindow, WindowPlan

STEPWISE_SAMPLERS = ("sample_euler",)
"""The host's samplers that remember nothing from step to step and draw nothing."""

CLIP_LATENTS = 100
"""Latent frames of a clip that take as much memory as one of a window: some seven copies of them in
float32 are on the device during a step, 450 bytes a position. The host reckons with 48 kB for a
position of a window of Wan 14B."""

CONCAT = "c_concat"
"""What the host calls what is appended to the noisy latents on the channel axis."""


class WindowGuider(TalkGuider):
    """A guider whose estimate is blended from those of the windows.

    Conditions are made for a window when it is evaluated, because those of all windows of a long
    clip do not fit into memory.
    """

    def __init__(self, model: Any, sweeper: Sweeper, rules: WindowRules):
        super().__init__(model, rules.guidance, sweeper.held[None])
        self.sweeper, self.rules, self.clip_held = sweeper, rules, sweeper.held[None]
        self._run = uuid.uuid4()

    def inner_sample(self, *args: Any, **options: Any) -> Tensor:
        """Sample without conditions of the clip as a whole; the host gets them back to clean up."""
        whole, self.conds = self.conds, {}
        try:
            return super().inner_sample(*args, **options)
        finally:
            self.conds = whole

    def predict_noise(
        self,
        x: Tensor,
        timestep: Tensor,
        model_options: dict[str, Any] | None = None,
        seed: Any = None,
    ) -> Tensor:
        """Guided estimate of the clean latents ``[1, C, T, H, W]`` at ``timestep`` (a sigma)."""
        evaluate = super().predict_noise

        def predict(window: DenoisingWindow, part: Tensor, slot: FirstSlot) -> Tensor:
            self.conds = self.window_conds(window, part, slot)
            self.guidance = self.rules.of(window)
            self.held = part[:, :, :0] if slot.held is None else slot.held[None]
            return evaluate(part, timestep, model_options, seed)

        denoised = self.sweeper(x, float(timestep.flatten()[0]), predict)
        self.conds = {}
        denoised = hold_batch(denoised, self.clip_held.to(x))
        if self.sweeper.remembers:
            self.sweeper.previous = denoised[0].clone()
        return denoised

    def window_conds(
        self, window: DenoisingWindow, part: Tensor, slot: FirstSlot
    ) -> dict[str, list[dict[str, Any]]]:
        """A window's conditions, made ready for the network as the host does for a whole clip."""
        given: HostConditions = self.sweeper.conditions(window.chunk)
        conds = {
            name: comfy.sampler_helpers.convert_cond(prompt)
            for name, prompt in given.branches.items()
        }
        comfy.samplers.preprocess_conds_hooks(conds)
        comfy.samplers.filter_registered_hooks_on_conds(conds, self.model_options)
        conds = comfy.samplers.process_conds(
            self.inner_model,
            part,
            conds,
            part.device,
            torch.zeros_like(part),
            None,
            given.seed,
            latent_shapes=[part.shape],
        )
        for name, prompt in conds.items():
            for number, cond in enumerate(prompt):
                cond["model_conds"] = shown_first(cond["model_conds"], slot)
                # The same at every step, as caches of the host and of the adapter expect.
                cond["uuid"] = uuid.uuid5(self._run, f"{window.index} {name} {number}")
        return conds


def shown_first(conds: dict[str, Any], slot: FirstSlot) -> dict[str, Any]:
    """Conditions that show in the first frame what the slot says, instead of the reference.

    Those that show nothing, neither a picture nor a mask, are of a prediction without reference.
    """
    concat = conds.get(CONCAT)
    if concat is None or not (slot.bare or slot.shown is not None) or not concat.cond.any():
        return conds
    shown = torch.zeros_like(concat.cond) if slot.bare else concat.cond.clone()
    if slot.shown is not None:
        shown[:, : slot.shown.shape[0], :1] = slot.shown.to(shown)
    return {**conds, CONCAT: concat._copy_with(shown)}


class HostWindowDenoiser:
    """The host's sampling as a ``sliding.WindowDenoiser``.

    Args:
        model: A MODEL with the adapter attached.
        sampler: The host's SAMPLER.
        guidance: How predictions are combined; copied for every window.
        plan: The windows. With more than one, a context handler of the host is not asked; with one
            it may cut the clip as it likes.
        seed: For samplers and guidance that draw numbers of their own.
    """

    def __init__(self, model: Any, sampler: Any, guidance: Guidance, plan: WindowPlan, seed: int):
        windows = plan.windows
        if len(windows) > 1:
            self.model = with_own_windows(model, windows[0].latents, plan.latents)
        else:
            self.model = with_audio_windows(model)
        self.sampler, self.seed = sampler, seed
        self.rules = WindowRules(guidance, seed)
        self.latent_format = model.model.latent_format

    @property
    def one_go(self) -> str:
        """See ``sliding.WindowDenoiser``."""
        return self.rules.one_go or sampler_memory(self.sampler)

    def denoise_windows(
        self,
        sweeper: Sweeper,
        latents: Tensor,
        sigmas: Tensor,
        *,
        begun: bool,
        callback: StepCallback | None = None,
    ) -> Tensor:
        """Denoise over some steps.

        The host begins at ``sigma · noise + (1 - sigma) · latents`` and ends by dividing by
        ``1 - sigma``. So what a call leaves, given to the next with no noise, goes on exactly where
        the sampler stood.
        """
        if not begun:
            self.rules.forget()
        guider = WindowGuider(self.model, sweeper, self.rules)
        first = sweeper.conditions(sweeper.plan.windows[0].chunk)
        guider.inner_set_conds(dict(first.branches))

        def step_done(step: int, denoised: Tensor, _x: Tensor, steps: int) -> None:
            comfy.model_management.throw_exception_if_processing_interrupted()
            if callback is not None:
                callback(step + 1, steps, denoised[0])

        nothing = torch.zeros_like(latents)[None]
        out = guider.sample(
            nothing if begun else latents[None],
            self.latent_format.process_out(latents[None]) if begun else nothing,
            self.sampler,
            sigmas.clone(),  # the host's UniPC writes to them
            callback=step_done,
            disable_pbar=True,
            seed=self.seed,
        )
        left = self.latent_format.process_in(out.float().cpu())[0]
        return hold(left, sweeper.held.to(left)) if float(sigmas[-1]) == 0 else left


def sampler_memory(sampler: Any) -> str:
    """Why the steps of a sampler cannot be taken one by one; empty when they can."""
    name = getattr(getattr(sampler, "sampler_function", None), "__name__", "")
    if name in STEPWISE_SAMPLERS and not getattr(sampler, "extra_options", None):
        return ""
    return "only Euler, which remembers nothing, can be stopped between two steps"


def with_own_windows(model: Any, latents: int, clip_latents: int) -> Any:
    """A clone for windows of ours: the host reckons with a window's memory, and cuts nothing.

    It also reckons with the latents of the whole clip, which are there too. A handler of the host's
    context windows stays in place, because wrappers of its node ask for it, but as a copy that is
    never used.

    Args:
        model: The MODEL.
        latents: Latent frames of a window.
        clip_latents: Those of the clip.
    """
    clone = model.clone()
    reckoned = min(clip_latents, latents + clip_latents // CLIP_LATENTS)

    def reckon(
        executor: Callable[..., Any], model: Any, shape: Any, *args: Any, **options: Any
    ) -> Any:
        # A share, because the adapter may have asked for more than the clip has.
        frames = -(-shape[2] * reckoned // clip_latents)
        return executor(model, [*shape[:2], frames, *shape[3:]], *args, **options)

    clone.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, f"{HOST_KEY}_windows", reckon)
    handler = model.model_options.get("context_handler")
    if handler is not None:
        idle = copy.copy(handler)
        idle.should_use_context = lambda *_args, **_options: False
        idle.freenoise = False
        clone.model_options["context_handler"] = idle
    return clone


def has_context_windows(model: Any) -> bool:
    """Whether another node cuts a MODEL's input into context windows."""
    return model.model_options.get("context_handler") is not None
