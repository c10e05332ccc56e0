"""Folds of guidance inside ComfyUI's samplers, and against its own guiders where they coincide."""

from dataclasses import replace

import pytest
import tiny
import torch
from host_tree import find_tree

if find_tree() is None:
    pytest.skip("there is no ComfyUI tree: set COMFYUI_PATH", allow_module_level=True)
comfy = pytest.importorskip("comfy_on_path").comfy

import host_models as hm  # noqa: E402  (needs ComfyUI)
from comfy_extras.nodes_custom_sampler import Guider_DualCFG  # noqa: E402

from endless_talk.model_loaders.adapter import attach_adapter  # noqa: E402
from endless_talk.nodes.models import has_own_guidance  # noqa: E402
from endless_talk.samplers.folds import Folds  # noqa: E402
from endless_talk.samplers.guidance import (  # noqa: E402
    AdaptiveProjectedGuidance,
    TalkGuidance,
    calls_per_step,
)
from endless_talk.samplers.plan import plan_chunks  # noqa: E402
from endless_talk.samplers.schedule import PRESETS  # noqa: E402

SIGMAS = PRESETS["MagicInfinite, 4 steps"].sigmas()
CHUNK = plan_chunks(33, hm.CHUNK_FRAMES, hm.CONTEXT_FRAMES)[1]


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture
def talking():
    return attach_adapter(hm.host_model(), hm.host_adapter())


def ours(twins, side, held_latents=0):
    conditioner, denoiser, _ = side
    conditions = conditioner.conditions(CHUNK, twins.reference)
    noise = twins.noise(CHUNK.index)
    held = torch.zeros_like(noise[:, :held_latents])
    return denoiser.denoise(noise, conditions, SIGMAS, held=held), conditions


def of_the_host(twins, guider, model):
    """What one of ComfyUI's guiders makes of the same noise."""
    noise = twins.noise(CHUNK.index)[None]
    sampler = comfy.samplers.sampler_object("euler")
    out = guider.sample(
        noise, torch.zeros_like(noise), sampler, SIGMAS.clone(), disable_pbar=True, seed=1
    )
    return model.model.latent_format.process_in(out.float().cpu())[0]


@pytest.mark.parametrize(
    "guidance",
    [
        TalkGuidance(5, 4, Folds.BY_NOISE),
        TalkGuidance(5, 4, Folds.THREE),
        TalkGuidance(1, 3, Folds.AUDIO),
        AdaptiveProjectedGuidance(5, 4, Folds.BY_NOISE),
    ],
    ids=["by noise", "three", "audio", "apg by noise"],
)
@pytest.mark.parametrize("speakers", [1, 2])
def test_host_equals_standalone_under_every_fold(speakers, guidance, talking):
    twins = hm.Twins(speakers, guidance=guidance)
    expected, _ = ours(twins, twins.standalone(), held_latents=3)
    made, _ = ours(twins, twins.host(talking), held_latents=3)
    torch.testing.assert_close(made, expected, atol=1e-4, rtol=0)


def test_three_folds_are_the_host_s_dual_guider(talking):
    """Its first scale is the one of the audio, its second the one of the text."""
    twins = hm.Twins(2, guidance=TalkGuidance(5.0, 4.0, Folds.THREE))
    made, conditions = ours(twins, twins.host(talking))
    told = conditions.branches
    guider = Guider_DualCFG(talking)
    guider.set_conds(told["full"], told["text_only"], told["unconditional"])
    guider.set_cfg(4.0, 5.0, nested=False)
    torch.testing.assert_close(made, of_the_host(twins, guider, talking), atol=1e-4, rtol=0)
    guider.set_cfg(5.0, 4.0, nested=False)
    assert (made - of_the_host(twins, guider, talking)).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("folds", "away"), [(Folds.TWO, "unconditional"), (Folds.AUDIO, "text_only")]
)
def test_folds_along_one_direction_are_the_host_s_plain_guider(folds, away, talking):
    twins = hm.Twins(2, guidance=TalkGuidance(1.0, 3.0, folds))
    made, conditions = ours(twins, twins.host(talking))
    guider = comfy.samplers.CFGGuider(talking)
    guider.set_conds(conditions.branches["full"], conditions.branches[away])
    guider.set_cfg(3.0)
    torch.testing.assert_close(made, of_the_host(twins, guider, talking), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("guidance", "calls"),
    [
        (TalkGuidance(5, 4, Folds.BY_NOISE), [2, 2, 2, 3]),
        (TalkGuidance(5, 4, Folds.BY_NOISE, switch=0.9), [2, 2, 3, 3]),
        (TalkGuidance(5, 4, Folds.AUDIO), [2, 2, 2, 2]),
        (TalkGuidance(), [1, 1, 1, 1]),
    ],
)
def test_the_network_is_called_as_often_as_the_plan_says(guidance, calls, talking):
    rows = []

    def count(executor, x, *args, **kwargs):
        rows.append(x.shape[0])
        return executor(x, *args, **kwargs)

    counted = talking.clone()
    counted.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL, "count", count)
    twins = hm.Twins(guidance=guidance)
    ours(twins, twins.host(counted), held_latents=3)
    assert calls_per_step(guidance, SIGMAS) == calls
    assert sum(rows) == sum(calls)


def test_a_base_with_guidance_of_its_own_is_known(talking):
    for own in (True, False):
        config = replace(tiny.HYBRID, guidance_embed=own)
        model = comfy.sd.load_diffusion_model_state_dict(hm.copied(tiny.hybrid(config)))
        assert has_own_guidance(model) is own
    assert not has_own_guidance(talking)


def test_jitter_follows_the_chunk_s_seed_in_the_host(talking):
    def made(clip_seed, jitter):
        twins = hm.Twins(guidance=TalkGuidance(1, 3, jitter=jitter))
        conditioner, denoiser, codec = twins.host(talking)
        conditioner.seed = clip_seed
        return ours(twins, (conditioner, denoiser, codec))[0]

    assert torch.equal(made(1, 0.3), made(1, 0.3))
    assert not torch.equal(made(1, 0.3), made(2, 0.3))
    assert torch.equal(made(1, 0.0), made(2, 0.0)), "the seed reaches more than the jitter"
