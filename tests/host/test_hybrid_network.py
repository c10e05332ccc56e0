"""The reference HunyuanVideo against ComfyUI's own, on the same random weights."""

from dataclasses import replace

import pytest
import torch
from host_tree import find_tree

if find_tree() is None:
    pytest.skip("there is no ComfyUI tree: set COMFYUI_PATH", allow_module_level=True)
comfy = pytest.importorskip("comfy_on_path").comfy

import comfy.ops  # noqa: E402, F811  (needs ComfyUI)
import tiny  # noqa: E402
from comfy.ldm.hunyuan_video.model import HunyuanVideo  # noqa: E402

from endless_talk.models.hybrid import DEFAULT_GUIDANCE  # noqa: E402

LATENTS = (2, 16, 3, 6, 4)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


def host_network(config, state):
    """ComfyUI's class with the sizes of a configuration."""
    network = HunyuanVideo(
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        vec_in_dim=config.pooled_dim,
        context_in_dim=config.text_dim,
        hidden_size=config.dim,
        mlp_ratio=4.0,
        num_heads=config.heads,
        depth=config.double_blocks,
        depth_single_blocks=config.single_blocks,
        axes_dim=[16, 56, 56],
        theta=256,
        patch_size=[1, 2, 2],
        qkv_bias=True,
        guidance_embed=config.guidance_embed,
        byt5=False,
        meanflow=False,
        use_cond_type_embedding=False,
        vision_in_dim=None,
        meanflow_sum=False,
        operations=comfy.ops.disable_weight_init,
        dtype=torch.float32,
    )
    network.load_state_dict(state, strict=True)
    return network.eval()


@pytest.mark.parametrize("dim", [128, 256])
@pytest.mark.parametrize("guidance", [False, True], ids=["plain", "guidance"])
@pytest.mark.parametrize("channels", [33, 16], ids=["concat", "replace"])
@pytest.mark.parametrize("words", [5, 9], ids=["short text", "text longer than a frame"])
def test_the_reference_network_equals_the_hosts(dim, guidance, channels, words):
    """Text longer than the 6 tokens of a frame: in ComfyUI the text's head stands still."""
    config = replace(tiny.HYBRID, dim=dim, guidance_embed=guidance, in_channels=channels)
    ours = tiny.hybrid(config)
    theirs = host_network(config, ours.state_dict())
    rows = 1 if channels == 16 and guidance else 2  # the host cannot batch this one
    x = tiny.normal(*LATENTS, seed=1)[:rows]
    text, pooled = tiny.normal(2, words, 24, seed=2)[:rows], tiny.normal(2, 768, seed=3)[:rows]
    time = torch.tensor([700.0, 150.0])[:rows]
    scale = torch.tensor([DEFAULT_GUIDANCE, 3.0])[:rows]
    concat = tiny.normal(rows, 17, 3, 6, 4, seed=4) if channels == 33 else None
    replaced = channels == 16
    got = ours(x, time, text, pooled, concat=concat, first_is_clean=replaced, guidance=scale)
    seen = x if concat is None else torch.cat([x, concat], dim=1)
    index = torch.zeros(rows) if replaced else None
    expected = theirs(seen, time, text.clone(), pooled, guidance=scale, guiding_frame_index=index)
    assert expected.std() > 0.1
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    if guidance:
        other = ours(x, time, text, pooled, concat=concat, first_is_clean=replaced, guidance=1.0)
        assert (other - expected).abs().max() > 1e-3
