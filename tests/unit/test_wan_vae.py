"""The reference VAE: causality, carried state, and the 2-D form of its convolutions."""

import pytest
import tiny
import torch
from torch.nn import functional as F

from endless_talk.models.wan_vae import CausalConv3d, WanVAE, frame_groups, latent_statistics


@pytest.fixture(scope="module")
def vae():
    return tiny.vae()


def clip(frames, height=16, width=24, seed=0):
    return tiny.normal(3, frames, height, width, seed=seed).clamp(-1, 1)


def test_an_image_encodes_to_latent_zero_of_the_image_and_padding(vae):
    image = clip(1)
    padded = torch.cat([image, torch.zeros(3, 16, 16, 24)], dim=1)
    torch.testing.assert_close(vae.encode(image), vae.encode(padded)[:, :1])


def test_encoding_is_causal(vae):
    frames = clip(17)
    latents = vae.encode(frames)
    torch.testing.assert_close(vae.encode(frames[:, :9]), latents[:, :3], atol=1e-6, rtol=1e-5)
    changed = frames.clone()
    changed[:, 9:] = 0
    torch.testing.assert_close(vae.encode(changed)[:, :3], latents[:, :3], atol=1e-6, rtol=1e-5)
    assert (vae.encode(changed)[:, 3:] - latents[:, 3:]).abs().max() > 1e-3


def test_frames_beyond_the_last_group_are_ignored(vae):
    frames = clip(12)
    torch.testing.assert_close(vae.encode(frames), vae.encode(frames[:, :9]))


def test_encoding_in_groups_equals_encoding_at_once(vae):
    frames = clip(17)[None]
    state = {}
    grouped = torch.cat([vae.encoder(group, state) for group in frame_groups(frames)], dim=2)
    state = {}
    first, rest = frames[:, :, :1], frames[:, :, 1:]
    at_once = torch.cat([vae.encoder(first, state), vae.encoder(rest, state)], dim=2)
    torch.testing.assert_close(grouped, at_once, atol=1e-5, rtol=1e-4)


def test_decoding_latent_by_latent_equals_decoding_at_once(vae):
    latents = tiny.normal(16, 5, 2, 3)
    blocks = list(vae.decode(latents))
    assert [block.shape[1] for block in blocks] == [1, 4, 4, 4, 4]
    mean, deviation = latent_statistics(latents)
    z = vae.conv2(latents[None] * deviation + mean, {})
    state = {}
    at_once = torch.cat([vae.decoder(z[:, :, :1], state), vae.decoder(z[:, :, 1:], state)], dim=2)
    torch.testing.assert_close(torch.cat(blocks, 1), at_once[0].clamp(-1, 1), atol=1e-5, rtol=1e-4)


def test_decoding_is_causal_and_lazy(vae):
    latents = tiny.normal(16, 5, 2, 3)
    whole = torch.cat(list(vae.decode(latents)), dim=1)
    start = torch.cat(list(vae.decode(latents[:, :2])), dim=1)
    torch.testing.assert_close(start, whole[:, :5])
    first = next(iter(vae.decode(latents)))
    torch.testing.assert_close(first, whole[:, :1])


def test_two_clips_do_not_share_state(vae):
    one, two = clip(9), clip(9, seed=1)
    expected = vae.encode(two)
    vae.encode(one)
    torch.testing.assert_close(vae.encode(two), expected)


@pytest.mark.parametrize("kernel", [3, (3, 1, 1)])
def test_sums_of_2d_convolutions_equal_the_3d_convolution(kernel):
    conv = tiny.randomized(CausalConv3d(6, 10, kernel))
    x = tiny.normal(2, 6, 5 + 2, 8, 7)
    expected = F.conv3d(x, conv.weight, conv.bias, padding=(0, *conv.spatial_padding))
    torch.testing.assert_close(conv.as_2d(x), expected, atol=1e-5, rtol=1e-5)


def test_state_holds_two_frames_per_layer_and_no_view_of_more(vae):
    state = {}
    for group in frame_groups(clip(9)[None]):
        vae.encoder(group, state)
    for kept in state.values():
        assert kept.shape[2] <= 2
        assert kept.untyped_storage().nbytes() == kept.numel() * kept.element_size()


def test_the_networks_can_be_built_without_memory():
    with torch.device("meta"):
        meta = WanVAE(tiny.VAE)
    assert all(parameter.is_meta for parameter in meta.parameters())


@torch.no_grad()
def test_taps_of_zeros_are_left_out_without_a_difference():
    vae = tiny.vae()
    for name, module in vae.named_modules():
        if isinstance(module, CausalConv3d) and not name.startswith("decoder.head"):
            module.weight[:, :, :-1] = 0
    frames = clip(13)
    latents = vae.encode(frames)
    whole = torch.cat(list(vae.decode(latents)), dim=1)
    vae.skip_zero_taps()
    assert [m.looks_back for m in vae.modules() if isinstance(m, CausalConv3d)].count(True) == 1
    torch.testing.assert_close(vae.encode(frames), latents, atol=1e-5, rtol=1e-4)
    again = torch.cat(list(vae.decode(latents)), dim=1)
    torch.testing.assert_close(again, whole, atol=1e-5, rtol=1e-4)
