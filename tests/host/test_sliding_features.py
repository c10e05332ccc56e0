"""The voice of a clip in windows: encoded before the network is on its device, and once."""

from types import SimpleNamespace

import pytest
import torch
from host_tree import find_tree

if find_tree() is None:
    pytest.skip("there is no ComfyUI tree: set COMFYUI_PATH", allow_module_level=True)
pytest.importorskip("comfy_on_path")

import host_models as hm
import tiny

from endless_talk.audio.windows import TensorFeatures
from endless_talk.model_loaders.adapter import attach_adapter
from endless_talk.nodes.sliding_render import conditions_for
from endless_talk.samplers.guidance import TalkGuidance
from endless_talk.samplers.windows import plan_windows


class Asked(TensorFeatures):
    """Features that say how often they were asked for."""

    times = 0

    def features(self, start_frame, stop_frame):
        self.times += 1
        return super().features(start_frame, stop_frame)


def test_no_step_brings_the_encoder_back():
    """It would push a network that fills the device off it in the middle of a step."""
    twins = hm.Twins(guidance=TalkGuidance())
    talking = attach_adapter(hm.host_model(), hm.host_adapter())
    codec = twins.host(talking)[2]
    voice = Asked(tiny.normal(60, tiny.LAYERS, tiny.CHANNELS))
    plan = plan_windows(49, 17, 2)
    clip = SimpleNamespace(
        branches=["full"], masks=None, settings=SimpleNamespace(seed=7), timeline=None
    )
    sources = SimpleNamespace(
        model=talking,
        prompts={"positive": None},
        speech=SimpleNamespace(speakers=[SimpleNamespace(features=voice, strength=1.0)]),
        reference=SimpleNamespace(tokens=lambda frame: None),
        guidance=TalkGuidance(),
    )
    with torch.inference_mode():
        conditioner = conditions_for(SimpleNamespace(clip=clip, gates=None), sources, codec)
        conditioner.conditions(plan.windows[0].chunk, twins.reference)
        before = voice.times
        for window in plan.windows:
            conditioner.conditions(window.chunk, twins.reference)
    assert len(plan.windows) > 2 and voice.times == before
