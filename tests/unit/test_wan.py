"""The reference Wan transformer: what its inputs change and what they must not."""

from dataclasses import replace

import pytest
import tiny
import torch

from endless_talk.models.adapter import AudioPass
from endless_talk.models.wan import WanModel
from endless_talk.samplers.teacache import BranchCache

TIMESTEP = torch.tensor([500.0])


@pytest.fixture(scope="module")
def model():
    return tiny.wan()


@pytest.fixture(scope="module")
def adapter():
    return tiny.adapter()


def predict(model, *, text=None, image=None, audio=None, cache=None, concat_seed=2):
    text = tiny.normal(1, 4, 16, seed=5) if text is None else text
    return model(
        tiny.normal(1, 16, 3, 4, 6, seed=1),
        TIMESTEP,
        model.embed_contexts(text, image),
        concat=tiny.normal(1, 20, 3, 4, 6, seed=concat_seed),
        audio=audio,
        cache=cache,
    )


def hear(adapter, seed=3, strength=None):
    windows = tiny.normal(1, 9, 5, tiny.LAYERS, tiny.CHANNELS, seed=seed)
    tokens = adapter.project(windows.to(adapter.audio_proj.norm.weight.dtype))
    return AudioPass(adapter, tokens, heads=2, strength=strength)


def test_every_input_matters(model, adapter):
    plain = predict(model)
    image = tiny.normal(1, 7, 20, seed=6)
    variants = [
        predict(model, text=tiny.normal(1, 4, 16, seed=9)),
        predict(model, image=image),
        predict(model, audio=hear(adapter)),
        predict(model, audio=hear(adapter, seed=4)),
        predict(model, concat_seed=8),
    ]
    for variant in variants:
        assert (variant - plain).abs().max() > 1e-3


def test_audio_of_strength_zero_is_no_audio(model, adapter):
    torch.testing.assert_close(
        predict(model, audio=hear(adapter, strength=torch.zeros(1, 1))), predict(model)
    )


def test_text_is_padded_with_zeros_that_take_part(model):
    text = tiny.normal(1, 4, 16, seed=5)
    padded = torch.cat([text, torch.zeros(1, 2, 16)], dim=1)
    torch.testing.assert_close(predict(model, text=text), predict(model, text=padded))
    shorter = tiny.wan(replace(tiny.WAN, text_tokens=4))
    assert (predict(shorter, text=text) - predict(model, text=text)).abs().max() > 1e-4


def test_without_clip_tokens_the_text_passes_the_image_branch(model):
    block = model.blocks[0].cross_attn
    x, text = tiny.normal(1, 10, 48), tiny.normal(1, 6, 48, seed=1)
    torch.testing.assert_close(block(x, text, None), block(x, text, text))


def test_a_model_without_img_emb_ignores_clip_tokens():
    model = tiny.wan(replace(tiny.WAN, image_dim=None))
    image = tiny.normal(1, 7, 20, seed=6)
    assert torch.equal(predict(model, image=image), predict(model))


def test_a_text_to_video_layout_has_no_image_branch():
    keys = WanModel(replace(tiny.WAN, image_branch=False, image_dim=None)).state_dict()
    assert not any("_img" in key or key.startswith("img_emb") for key in keys)


def test_batch_rows_do_not_see_each_other(model):
    latents, concat = tiny.normal(2, 16, 3, 4, 6), tiny.normal(2, 20, 3, 4, 6, seed=1)
    text, timesteps = tiny.normal(2, 4, 16, seed=2), torch.tensor([900.0, 100.0])
    contexts = model.embed_contexts(text)
    together = model(latents, timesteps, contexts, concat=concat)
    for row in range(2):
        one = slice(row, row + 1)
        alone = model(
            latents[one], timesteps[one], model.embed_contexts(text[one]), concat=concat[one]
        )
        torch.testing.assert_close(together[one], alone, atol=1e-5, rtol=1e-4)


def test_half_precision_stays_close_and_returns_float32(model, adapter):
    expected = predict(model, audio=hear(adapter))
    half_model, half_adapter = tiny.wan().bfloat16(), tiny.adapter().bfloat16()
    got = predict(half_model, audio=hear(half_adapter))
    assert got.dtype == torch.float32
    assert (got - expected).abs().mean() < 0.05 * expected.abs().mean()


def test_a_cached_step_runs_no_block_and_looks_at_no_attention_map(model):
    ran = []
    hooks = [b.register_forward_hook(lambda *_: ran.append(1)) for b in model.blocks]
    cache = BranchCache((0.0,), threshold=1.0)
    outputs = [predict(model, cache=cache) for _ in range(7)]
    for hook in hooks:
        hook.remove()
    assert len(ran) == 5 * len(model.blocks), "5 warm-up steps compute, the rest reuse"
    torch.testing.assert_close(outputs[6], outputs[0])


def test_a_single_text_token_is_worth_many_equal_ones():
    config = replace(tiny.WAN, image_branch=False, image_dim=None, text_tokens=1)
    model = tiny.wan(config)
    latents, timestep = tiny.normal(1, 16, 3, 4, 4), torch.tensor([500.0])
    concat = tiny.normal(1, 20, 3, 4, 4, seed=1)
    token = tiny.normal(1, 1, config.text_dim, seed=2)
    one, many = (
        model(latents, timestep, model.embed_contexts(text), concat=concat)
        for text in (token, token.expand(1, 5, -1))
    )
    torch.testing.assert_close(one, many, atol=1e-5, rtol=1e-5)
