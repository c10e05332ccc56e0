"""The Euler loop: context stays clean, pinned latents stay, start replaces noise."""

import pytest
import torch

from endless_talk.errors import InputError
from endless_talk.samplers.denoise import EulerDenoiser
from endless_talk.samplers.guidance import TalkGuidance
from endless_talk.samplers.noise import chunk_noise
from endless_talk.samplers.schedule import PRESETS, add_noise, even_sigmas, flow_sigmas

SHAPE = (16, 5, 4, 6)


class Towards:
    """A perfect network: the velocity that leads from the input straight to one target."""

    def __init__(self, target):
        self.target, self.inputs, self.chunks = target, [], 0

    def begin_chunk(self):
        self.chunks += 1

    def predict(self, latents, sigma, branch, conditions):
        self.inputs.append(latents.clone())
        return (latents - self.target) / sigma


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(SHAPE, generator=generator) for _ in range(4)]


def test_a_perfect_network_is_followed_to_its_target(tensors):
    target, noise, *_ = tensors
    network = Towards(target)
    out = EulerDenoiser(network, TalkGuidance()).denoise(
        noise, None, flow_sigmas(6, 7.0), held=target[:, :0]
    )
    torch.testing.assert_close(out, target, atol=1e-5, rtol=1e-5)
    assert len(network.inputs) == 6 and network.chunks == 1


def test_context_is_clean_in_every_input_estimate_and_result(tensors):
    target, noise, held, _ = tensors
    held = held[:, :3]
    network, estimates = Towards(target), []
    out = EulerDenoiser(network, TalkGuidance()).denoise(
        noise,
        None,
        flow_sigmas(4, 7.0),
        held=held,
        callback=lambda step, steps, denoised: estimates.append((step, steps, denoised)),
    )
    for latents in [*network.inputs, *(estimate[2] for estimate in estimates), out]:
        assert torch.equal(latents[:, :3], held)
    assert [estimate[:2] for estimate in estimates] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert not torch.equal(noise[:, :3], held), "the caller's noise was written to"


def test_pinned_latents_are_kept_where_their_mask_is_one(tensors):
    target, noise, kept, _ = tensors
    mask = torch.zeros(1, *SHAPE[1:])
    mask[..., :3] = 1
    network = Towards(target)
    out = EulerDenoiser(network, TalkGuidance()).denoise(
        noise, None, flow_sigmas(5, 3.0), held=target[:, :0], pinned=(kept, mask)
    )
    assert torch.equal(out[..., :3], kept[..., :3])
    torch.testing.assert_close(out[..., 3:], target[..., 3:], atol=1e-5, rtol=1e-5)
    sigmas = flow_sigmas(5, 3.0)
    for latents, sigma in zip(network.inputs[1:], sigmas[1:], strict=False):
        noised = add_noise(kept, noise, sigma)
        torch.testing.assert_close(latents[..., :3], noised[..., :3])


def test_a_start_is_noised_to_the_first_level(tensors):
    target, noise, start, _ = tensors
    network, sigmas = Towards(target), flow_sigmas(4, 7.0)[1:]
    EulerDenoiser(network, TalkGuidance()).denoise(
        noise, None, sigmas, held=target[:, :0], start=start
    )
    assert torch.equal(network.inputs[0], add_noise(start, noise, float(sigmas[0])))


def test_without_a_start_there_is_as_much_noise_as_the_first_level_says(tensors):
    target, noise, *_ = tensors
    for sigmas in (flow_sigmas(4, 7.0), flow_sigmas(4, 7.0)[1:], torch.tensor([0.4, 0.0])):
        network = Towards(target)
        EulerDenoiser(network, TalkGuidance()).denoise(noise, None, sigmas, held=target[:, :0])
        assert torch.equal(network.inputs[0], float(sigmas[0]) * noise)


def test_what_is_pinned_is_pinned_from_the_first_step(tensors):
    target, noise, start, kept = tensors
    network, sigmas = Towards(target), flow_sigmas(4, 7.0)[1:]
    EulerDenoiser(network, TalkGuidance()).denoise(
        noise,
        None,
        sigmas,
        held=target[:, :0],
        start=start,
        pinned=(kept, torch.ones(1, *SHAPE[1:])),
    )
    assert torch.equal(network.inputs[0], add_noise(kept, noise, float(sigmas[0])))


def test_noise_depends_on_seed_and_chunk_alone():
    again = chunk_noise(42, 3, SHAPE)
    assert torch.equal(chunk_noise(42, 3, SHAPE), again)
    assert not torch.equal(chunk_noise(42, 4, SHAPE), again)
    assert not torch.equal(chunk_noise(43, 3, SHAPE), again)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    chunk_noise(1, 1, SHAPE)
    assert torch.equal(torch.rand(1), expected), "the global generator was used"


@pytest.mark.parametrize(
    ("steps", "shift", "first", "last"),
    [
        (40, 7.0, [1000, 996.259, 992.345, 988.248], [278.376, 160.653, 6.958, 0]),
        (40, 11.0, [1000, 997.616, 995.115, 992.489], [377.413, 231.227, 10.891, 0]),
        (8, 2.0, [1000, 923.160, 833.528, 727.620], [445.308, 251.312, 1.998, 0]),
        (4, 2.0, [1000, 800.240, 500.750, 1.998], [500.750, 1.998, 0]),
    ],
)
def test_the_schedule_is_the_published_one(steps, shift, first, last):
    timesteps = (flow_sigmas(steps, shift) * 1000).tolist()
    assert timesteps[:4] == pytest.approx(first, abs=1e-3)
    assert timesteps[-len(last) :] == pytest.approx(last, abs=1e-3)


def test_every_preset_descends_from_one_to_zero():
    for preset in PRESETS.values():
        sigmas = preset.sigmas()
        assert len(sigmas) == preset.steps + 1
        assert sigmas[0] == 1 and sigmas[-1] == 0
        assert (sigmas.diff() < 0).all()


@pytest.mark.parametrize(
    "preset", ["MagicInfinite, 4 steps", "lightx2v, 4 steps", "SoulX-FlashTalk, 4 steps"]
)
def test_four_distilled_steps_are_the_timesteps_they_were_distilled_at(preset):
    trained = [5 * t / (1 + 4 * t) for t in (1.0, 0.75, 0.5, 0.25, 0.0)]
    assert PRESETS[preset].sigmas().tolist() == pytest.approx(trained)
    assert trained == pytest.approx([1.0, 0.9375, 0.8333, 0.625, 0.0], abs=1e-4)


@pytest.mark.parametrize("sigmas", [flow_sigmas, even_sigmas])
@pytest.mark.parametrize(("steps", "shift"), [(0, 7.0), (4, 0.0), (4, -1.0), (4, float("nan"))])
def test_impossible_schedules_are_refused(sigmas, steps, shift):
    with pytest.raises(InputError):
        sigmas(steps, shift)
