"""Gates on Wan: the same in ComfyUI and on the reference networks."""

import pytest
import torch
from host_tree import find_tree

if find_tree() is None:
    pytest.skip("there is no ComfyUI tree: set COMFYUI_PATH", allow_module_level=True)
pytest.importorskip("comfy_on_path")

import host_models as hm
import tiny

from endless_talk.model_loaders.adapter import attach_adapter
from endless_talk.samplers.guidance import TalkGuidance
from endless_talk.samplers.plan import Chunk
from endless_talk.samplers.schedule import flow_sigmas

SIGMAS = flow_sigmas(2, 7.0)
CHUNK = Chunk(1, 8, 17, 0, 17)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture
def talking():
    return attach_adapter(hm.host_model(), hm.host_adapter())


def places(moving=False):
    gates = torch.zeros(1, 2, 5 if moving else 1, 16)
    for latent in range(gates.shape[2]):
        gates[0, 0, latent, latent : latent + 5] = 1
        gates[0, 1, latent, latent + 4 : latent + 9] = 0.7
    return gates


def run(twins, side, gates):
    conditioner, denoiser, _ = side
    conditioner.gates = None if gates is None else lambda _chunk: gates
    conditions = conditioner.conditions(CHUNK, twins.reference)
    held = tiny.normal(16, 1, 8, 8, seed=5)
    return denoiser.denoise(twins.noise(1), conditions, SIGMAS, held=held)


@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
@pytest.mark.parametrize("guidance", [TalkGuidance(5, 4), TalkGuidance(1, 2)], ids=["5/4", "1/2"])
def test_host_equals_standalone_with_gates(moving, guidance, talking):
    strength = torch.tensor([0.5, 1.5])
    twins, gates = hm.Twins(2, guidance=guidance, strength=strength), places(moving)
    ours = run(twins, twins.standalone(), gates)
    theirs = run(twins, twins.host(talking), gates)
    torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=0)
    assert (run(twins, twins.host(talking), gates.flip(1)) - ours).abs().max() > 1e-3
    routed = run(twins, twins.host(talking), None)
    assert (routed - ours).abs().max() > 1e-3
