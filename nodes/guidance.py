"""Talk Guidance and Talk Sigmas: how strongly, and along which noise levels.

The formulas are the samplers'; these are their settings.
"""

from __future__ import annotations

from comfy_api.latest import io

from ..samplers.folds import LARGEST_JITTER, SWITCH_SIGMA, Folds
from ..samplers.guidance import AdaptiveProjectedGuidance, TalkGuidance, describe_rule
from ..samplers.schedule import PRESETS, Preset, sigmas_from
from .sockets import Guidance, show_under_node

CATEGORY = "EndlessTalk/sample"
CUSTOM = "custom"

SPACINGS = {"InfiniteTalk": False, "even": True}
"""What is chosen, and whether the steps are even before the shift."""

REFERENCES = {"in every prediction": False, "not in the unconditional one": True}
"""What is chosen, and whether the unconditional prediction goes without the reference picture."""


class TalkGuidanceNode(io.ComfyNode):
    """Scales of the text and of the audio direction."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EndlessTalkGuidance",
            display_name="Talk Guidance",
            category=CATEGORY,
            description="Guidance along the prompt and along the voice, separately. Without this "
            "node both are 1: one network call per step, as step LoRAs want it.",
            search_aliases=[
                "cfg",
                "audio cfg",
                "APG",
                "guidance scale",
                "two-fold",
                "three-fold",
                "DualCFG",
                "InfiniteTalk",
                "MagicInfinite",
            ],
            inputs=[
                io.Float.Input(
                    "text",
                    default=5.0,
                    min=0.0,
                    max=30.0,
                    step=0.1,
                    optional=True,
                    tooltip="Weight of the prompt against the negative prompt. 5 as published; 1 "
                    "is none, for step LoRAs, and saves a network call per step.",
                ),
                io.Float.Input(
                    "audio",
                    default=4.0,
                    min=0.0,
                    max=30.0,
                    step=0.1,
                    optional=True,
                    tooltip="Weight of the voice against silence. 4 as published, 3 to 5 follow "
                    "the voice more closely; 2 with a step LoRA; 1 is none.",
                ),
                io.Combo.Input(
                    "folds",
                    options=[folds.value for folds in Folds],
                    default=Folds.ONE_RULE.value,
                    optional=True,
                    tooltip="What is guided along. one rule: text, then audio, as InfiniteTalk. by "
                    "noise level: both together at high noise, text and audio apart below, as "
                    "MagicInfinite. audio only: no negative prompt, 2 calls per step.",
                ),
                io.Float.Input(
                    "switch",
                    default=SWITCH_SIGMA,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    tooltip="For by noise level: from this noise level up a step takes 2 network "
                    "calls (two-fold), below it 3 (three-fold). 1 is pure noise, 0.75 published.",
                ),
                io.Boolean.Input(
                    "apg",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip="Adaptive projected guidance: less oversaturation at high weights, "
                    "for the same number of network calls.",
                ),
                io.Float.Input(
                    "jitter",
                    default=0.0,
                    min=0.0,
                    max=LARGEST_JITTER,
                    step=0.01,
                    optional=True,
                    advanced=True,
                    tooltip="Spread of the weights from step to step, as a part of what exceeds 1; "
                    "drawn from the seed. 0 is none; MagicInfinite was distilled with some.",
                ),
                io.Combo.Input(
                    "reference",
                    options=[*REFERENCES],
                    default=next(iter(REFERENCES)),
                    optional=True,
                    advanced=True,
                    tooltip="Which predictions see the reference picture. All, as public weights "
                    "want it; without it in the unconditional one, guidance pushes towards the "
                    "picture, too, as in MagicInfinite's paper. HunyuanVideo of 33 channels only.",
                ),
            ],
            outputs=[
                Guidance.Output("guidance", tooltip="For the sampler."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        text: float = 5.0,
        audio: float = 4.0,
        folds: str = Folds.ONE_RULE.value,
        switch: float = SWITCH_SIGMA,
        apg: bool = False,
        jitter: float = 0.0,
        reference: str = next(iter(REFERENCES)),
    ) -> io.NodeOutput:
        rule = AdaptiveProjectedGuidance if apg else TalkGuidance
        drop = REFERENCES[reference]
        guidance = rule(text, audio, Folds(folds), switch, jitter, drop_reference=drop)
        show_under_node(cls.hidden.unique_id, "\n".join(describe_rule(guidance)))
        return io.NodeOutput(guidance)


class TalkSigmas(io.ComfyNode):
    """The published schedules as SIGMAS."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EndlessTalkSigmas",
            display_name="Talk Sigmas",
            category=CATEGORY,
            description="Noise levels of a chunk, in the published form. For the sampler's "
            "'sigmas', where it replaces steps and shift.",
            search_aliases=[
                "scheduler",
                "sigmas",
                "shift",
                "steps",
                "InfiniteTalk",
                "FusionX",
                "lightx2v",
                "MagicInfinite",
                "FlashTalk",
            ],
            inputs=[
                io.Combo.Input(
                    "preset",
                    options=[*PRESETS, CUSTOM],
                    default=next(iter(PRESETS)),
                    optional=True,
                    tooltip="Steps and shift that belong together; what else the weights want is "
                    "said under the node. custom: those below.",
                ),
                io.Int.Input(
                    "steps",
                    default=6,
                    min=1,
                    max=200,
                    optional=True,
                    tooltip="Denoising steps per chunk; for custom only. 4 to 8 need a step LoRA, "
                    "40 as published.",
                ),
                io.Float.Input(
                    "shift",
                    default=7.0,
                    min=0.1,
                    max=100.0,
                    step=0.1,
                    optional=True,
                    tooltip="More spends more steps at high noise; for custom only. 7 for 480p, "
                    "11 for 720p, 2 with an 8-step LoRA.",
                ),
                io.Float.Input(
                    "start",
                    default=1.0,
                    min=0.01,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    tooltip="Noise level to begin at. Keep 1, pure noise, for clips from a "
                    "picture; less leaves out steps, for latents to begin from.",
                ),
                io.Combo.Input(
                    "spacing",
                    options=[*SPACINGS],
                    default=next(iter(SPACINGS)),
                    optional=True,
                    advanced=True,
                    tooltip="For custom only. InfiniteTalk: the last step is a very short one, as "
                    "published. even: all are alike before the shift, as 4-step distilled models "
                    "were trained.",
                ),
            ],
            outputs=[
                io.Sigmas.Output("sigmas", tooltip="Noise levels from the first to 0."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        preset: str = next(iter(PRESETS)),
        steps: int = 6,
        shift: float = 7.0,
        start: float = 1.0,
        spacing: str = next(iter(SPACINGS)),
    ) -> io.NodeOutput:
        chosen = PRESETS.get(preset, Preset(steps, shift, SPACINGS[spacing]))
        sigmas = sigmas_from(chosen.sigmas(), start)
        levels = " ".join(f"{sigma:.3f}" for sigma in sigmas.tolist())
        rest = f"\nwith {chosen.goes_with}" if chosen.goes_with else ""
        show_under_node(cls.hidden.unique_id, f"{len(sigmas) - 1} steps: {levels}{rest}")
        return io.NodeOutput(sigmas)
