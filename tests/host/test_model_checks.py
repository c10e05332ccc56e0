"""What is found out once the models are loaded, before anything is made with them."""

from types import SimpleNamespace

import pytest
from host_tree import find_tree

if find_tree() is None:
    pytest.skip("there is no ComfyUI tree: set COMFYUI_PATH", allow_module_level=True)
comfy = pytest.importorskip("comfy_on_path").comfy

import host_models as hm  # noqa: E402  (needs ComfyUI)
import hybrid_twins as ht  # noqa: E402
import tiny  # noqa: E402

from endless_talk.errors import InputError  # noqa: E402
from endless_talk.model_loaders.adapter import attach_adapter, attached_adapter  # noqa: E402
from endless_talk.nodes.models import ClipSources, model_warnings  # noqa: E402
from endless_talk.samplers.guidance import TalkGuidance  # noqa: E402


def sources(model, *, timeline=None, image_tokens=None):
    """Everything fits but what is given."""
    size = attached_adapter(model).model.config.feature_size
    speaker = SimpleNamespace(feature_size=size, layers=1, hidden=size)
    return ClipSources(
        model=model,
        vae=SimpleNamespace(latent_channels=16, latent_dim=3),
        prompts={},
        speech=SimpleNamespace(speakers=[speaker]),
        reference=SimpleNamespace(image_tokens=image_tokens),
        guidance=TalkGuidance(),
        sampler=None,
        timeline=timeline,
    )


def test_a_prompt_of_the_timeline_fits_the_model_too():
    model = attach_adapter(hm.host_model(), hm.host_adapter())
    width = model.model.diffusion_model.text_dim
    right, wrong = ([[tiny.normal(1, 3, w, seed=1), {}]] for w in (width, width + 1))
    model_warnings(sources(model, timeline=SimpleNamespace(prompts=(right,))))
    with pytest.raises(InputError, match=rf"timeline's 2. prompt is {width + 1} wide"):
        model_warnings(sources(model, timeline=SimpleNamespace(prompts=(right, wrong))))


def test_clip_vision_that_hunyuan_does_not_use_is_said():
    model = attach_adapter(ht.host_model(tiny.HYBRID), ht.host_adapter())
    assert not any("CLIP vision" in each for each in model_warnings(sources(model)))
    warnings = model_warnings(sources(model, image_tokens=tiny.normal(1, 257, 8, seed=2)))
    assert any("CLIP vision is not used" in each for each in warnings)
