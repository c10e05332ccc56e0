"""Pieces of a clip through the host's VAEs: which of them have to be faded, and what that mends."""

from types import SimpleNamespace

import pytest
import torch
from host_tree import find_tree

if find_tree() is None:
    pytest.skip("there is no ComfyUI tree: set COMFYUI_PATH", allow_module_level=True)
comfy = pytest.importorskip("comfy_on_path").comfy

import host_models as hm  # noqa: E402  (needs ComfyUI)
import tiny  # noqa: E402
from comfy.ldm.models.autoencoder import AutoencoderKL  # noqa: E402

from endless_talk.bridge import HostCodec  # noqa: E402
from endless_talk.samplers.pieces import FADE_FRAMES, LEAD_FRAMES, slide_clip  # noqa: E402
from endless_talk.samplers.plan import plan_chunks  # noqa: E402

NARROW = {
    "double_z": True,
    "z_channels": 16,
    "resolution": 256,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 32,
    "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 1,
    "attn_resolutions": [],
    "dropout": 0.0,
    "conv3d": True,
    "time_compress": 4,
}
"""HunyuanVideo's VAE, a quarter as wide and with half of its blocks."""


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


class Hunyuan:
    """The host's class with random weights, as a codec."""

    def __init__(self):
        torch.manual_seed(0)
        self.network = AutoencoderKL(ddconfig=NARROW, embed_dim=16).eval()
        for weight in self.network.parameters():
            if weight.ndim < 2:
                torch.nn.init.normal_(weight, std=0.03)
            else:
                torch.nn.init.kaiming_normal_(weight)

    def decode(self, latents):
        yield self.network.decode(latents[None])[0]


class Frames:
    def __init__(self):
        self.blocks = []

    def recall(self, chunk):
        return None

    def append(self, frames):
        self.blocks.append(frames.clone())

    def commit(self, state):
        pass


def test_the_host_tells_which_vaes_look_ahead():
    latent_format = comfy.latent_formats.HunyuanVideo()
    hunyuan = SimpleNamespace(first_stage_model=Hunyuan().network)
    assert HostCodec(hunyuan, latent_format).looks_ahead
    wan = comfy.sd.VAE(sd=hm.copied(tiny.vae()))
    assert not HostCodec(wan, comfy.latent_formats.Wan21()).looks_ahead


def test_fading_mends_what_pieces_of_hunyuans_vae_differ_by():
    """Against the clip decoded whole, right behind the place where two pieces meet."""
    codec, latents = Hunyuan(), tiny.normal(16, 16, 4, 4, seed=41)
    (whole,) = codec.decode(latents)
    plan = plan_chunks(57, 41, LEAD_FRAMES)

    def error(fade_frames):
        sink = Frames()
        slide_clip(plan, latents=lambda: latents, codec=codec, sink=sink, fade_frames=fade_frames)
        joined = torch.cat(sink.blocks, dim=1)
        return (joined - whole[:, :57]).abs().mean(dim=(0, 2, 3))[41 : 41 + FADE_FRAMES]

    plain, faded = error(0), error(FADE_FRAMES)
    assert plain[0] > 0.05 * whole.std()
    assert faded.max() < 0.4 * plain.max()
