"""The host's camera control on a MODEL that talks: Uni3C, which follows the frames of a render."""

import pytest
import torch
from host_tree import find_tree

if find_tree() is None:
    pytest.skip("there is no ComfyUI tree: set COMFYUI_PATH", allow_module_level=True)
pytest.importorskip("comfy_on_path")

import comfy.ldm.wan.uni3c
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import host_models as hm
import tiny
from comfy_extras.nodes_model_patch import WanUni3CControlnetApply

from endless_talk.model_loaders.adapter import attach_adapter
from endless_talk.samplers.guidance import TalkGuidance
from endless_talk.samplers.plan import plan_chunks
from endless_talk.samplers.schedule import flow_sigmas

PLAN = plan_chunks(30, hm.CHUNK_FRAMES, hm.CONTEXT_FRAMES)
SIGMAS = flow_sigmas(3, 7.0)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture
def uni3c():
    """The host's own network with two random layers, as a model patch."""
    network = comfy.ldm.wan.uni3c.WanUni3CControlnet(
        conv_out_dim=96,
        dim=96,
        ffn_dim=64,
        num_layers=2,
        time_embed_dim=96,
        out_proj_dim=96,
        add_channels=7,
        mid_channels=8,
        device="cpu",
        dtype=torch.float32,
        operations=comfy.ops.manual_cast,
    )
    return comfy.model_patcher.CoreModelPatcher(
        tiny.randomized(network, 5),
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def with_camera(model, uni3c, twins, seed, strength=1.0):
    """The node between the model and the sampler, as users put it."""
    render = tiny.normal(17, hm.SIDE, hm.SIDE, 3, seed=seed).mul(0.2).add(0.5).clamp(0, 1)
    vae = twins.host(model)[2].vae
    return WanUni3CControlnetApply().apply_patch(model, uni3c, vae, render, strength, 0.0, 1.0)[0]


def one_chunk(twins, model, chunk):
    conditioner, denoiser, _ = twins.host(model)
    conditions = conditioner.conditions(chunk, twins.reference)
    held = tiny.normal(16, 3 if chunk.index else 1, 8, 8, seed=5)
    out = denoiser.denoise(twins.noise(chunk.index), conditions, SIGMAS, held=held)
    assert torch.isfinite(out).all() and torch.equal(out[:, : held.shape[1]], held)
    return out


@pytest.mark.parametrize("guidance", [TalkGuidance(), TalkGuidance(5, 4)], ids=["none", "5/4"])
def test_uni3c_steers_a_talking_model_and_the_voice_is_still_heard(guidance, uni3c):
    talking = attach_adapter(hm.host_model(), hm.host_adapter())
    twins, other_voice = (hm.Twins(guidance=guidance, voice_seed=seed) for seed in (0, 50))
    camera = with_camera(talking, uni3c, twins, seed=31)
    other_camera = with_camera(talking, uni3c, twins, seed=32)
    off = with_camera(talking, uni3c, twins, seed=31, strength=0.0)
    for chunk in PLAN[:2]:
        plain, steered = one_chunk(twins, talking, chunk), one_chunk(twins, camera, chunk)
        assert (steered - plain).abs().max() > 1e-3
        assert (one_chunk(twins, other_camera, chunk) - steered).abs().max() > 1e-3
        assert (one_chunk(other_voice, camera, chunk) - steered).abs().max() > 1e-3
        torch.testing.assert_close(one_chunk(twins, off, chunk), plain, atol=1e-5, rtol=0)
