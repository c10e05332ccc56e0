"""The encoder computes what transformers computes, from every key layout users have."""

import json
from dataclasses import replace

import pytest
import torch
from voices import TINY, made_up_voice, tiny_encoder

from endless_talk.errors import InputError
from endless_talk.models.wav2vec import Wav2VecEncoder, load_wav2vec
from endless_talk.models.wav2vec_keys import (
    detect_wav2vec,
    normalize_wav2vec_keys,
    wav2vec_metadata_beside,
)

METADATA = {"config": json.dumps({"wav2vec2": {"num_attention_heads": TINY.heads}})}


def weights():
    return tiny_encoder().state_dict()


def with_prefix(state_dict):
    return {f"wav2vec2.{name}": tensor for name, tensor in state_dict.items()}


def with_old_position_names(state_dict):
    old = {"parametrizations.weight.original0": "weight_g"}
    old["parametrizations.weight.original1"] = "weight_v"
    renamed = {}
    for name, tensor in state_dict.items():
        for new_name, old_name in old.items():
            name = name.replace(new_name, old_name)
        renamed[name] = tensor
    return renamed


def with_pretraining_heads(state_dict):
    heads = ["quantizer.codevectors", "project_q.weight", "project_hid.bias", "lm_head.weight"]
    extra = {name: torch.zeros(2) for name in heads}
    return {**with_prefix(state_dict), "wav2vec2.masked_spec_embed": torch.zeros(2), **extra}


def shapes_of(state_dict):
    return {name: tuple(tensor.shape) for name, tensor in state_dict.items()}


@pytest.mark.parametrize(
    "layout",
    [
        with_prefix,
        with_old_position_names,
        lambda state_dict: with_prefix(with_old_position_names(state_dict)),
        with_pretraining_heads,
    ],
)
def test_every_key_layout_gives_the_same_encoder(layout):
    stored = layout(weights())
    config = detect_wav2vec(shapes_of(stored), METADATA)
    assert config == TINY
    waveform = torch.from_numpy(made_up_voice(1.0))[None]
    encoder = load_wav2vec(config, stored)
    assert not encoder.training
    assert torch.equal(encoder(waveform, 25), tiny_encoder()(waveform, 25))


def test_loading_without_accelerate_gives_the_same_encoder(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "accelerate", None)
    waveform = torch.from_numpy(made_up_voice(0.5))[None]
    loaded = load_wav2vec(TINY, weights())
    assert torch.equal(loaded(waveform, 12), tiny_encoder()(waveform, 12))


def test_hidden_states_are_those_of_transformers_without_resampling():
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    from endless_talk.models.wav2vec import _transformers_settings

    reference = Wav2Vec2Model(Wav2Vec2Config(**_transformers_settings(TINY))).eval()
    encoder = load_wav2vec(TINY, reference.state_dict())
    waveform = torch.from_numpy(made_up_voice(1.0))[None]
    with torch.no_grad():
        expected = reference(waveform).last_hidden_state
        states = encoder(waveform, expected.shape[1])
    assert states.shape == (1, expected.shape[1], TINY.layers, TINY.hidden)
    torch.testing.assert_close(states[:, :, -1], expected, atol=1e-5, rtol=0)


def test_the_input_of_the_first_layer_comes_before_the_outputs_where_it_is_wanted():
    """13 states instead of 12; a layer run on the first of them gives the second."""
    config = replace(TINY, with_input=True)
    waveform = torch.from_numpy(made_up_voice(1.0))[None]
    encoder = load_wav2vec(config, weights())
    states, outputs = encoder(waveform, 25), load_wav2vec(TINY, weights())(waveform, 25)
    assert states.shape[2] == config.states == TINY.layers + 1 == TINY.states + 1
    assert torch.equal(states[:, :, 1:], outputs)
    second = encoder.encoder.layers[0](states[:, :, 0])
    second = second[0] if isinstance(second, tuple) else second
    torch.testing.assert_close(second, states[:, :, 1])


def test_an_adapters_size_tells_whether_it_reads_the_input():
    assert TINY.read_by(4 * 32).states == 4 and TINY.read_by(3 * 32) == TINY
    assert TINY.read_by(5 * 32) == TINY, "another size is for others to refuse"
    assert replace(TINY, with_input=True).read_by(3 * 32) == TINY


def test_a_batch_is_its_rows():
    encoder = tiny_encoder()
    batch = torch.stack([torch.from_numpy(made_up_voice(1.0, seed)) for seed in range(3)])
    together = encoder(batch, 25)
    alone = torch.cat([encoder(row[None], 25) for row in batch])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_one_frame_samples_the_first_feature():
    encoder = tiny_encoder()
    assert encoder(torch.from_numpy(made_up_voice(0.1))[None], 1).shape == (1, 1, 3, 32)


def test_the_published_convolutions_see_400_samples_every_320():
    encoder = tiny_encoder()
    assert (encoder.field_samples, encoder.hop_samples) == (400, 320)


def test_gradients_reach_the_first_convolution():
    encoder = Wav2VecEncoder(TINY).train()
    encoder(torch.from_numpy(made_up_voice(0.5))[None], 12).square().sum().backward()
    assert encoder.feature_extractor.conv_layers[0].conv.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_weights_of_any_float_type_are_cast_to_float32(dtype):
    stored = {name: tensor.to(dtype) for name, tensor in weights().items()}
    encoder = load_wav2vec(TINY, stored)
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    expected = stored["encoder.layer_norm.weight"].float()
    assert torch.equal(encoder.encoder.layer_norm.weight, expected)


def test_all_that_does_not_fit_is_named_in_one_message():
    stored = weights()
    del stored["encoder.layers.1.layer_norm.weight"]
    stored["encoder.layers.0.extra"] = torch.zeros(1)
    stored["feature_projection.projection.bias"] = torch.zeros(5)
    with pytest.raises(InputError) as caught:
        load_wav2vec(TINY, stored, "voice.safetensors")
    message = str(caught.value)
    assert message.startswith("voice.safetensors ")
    assert "1 missing (encoder.layers.1.layer_norm.weight)" in message
    assert "1 unexpected (encoder.layers.0.extra)" in message
    assert "feature_projection.projection.bias: expected [32], got [5]" in message


def test_normalisation_of_the_waveform_follows_the_metadata():
    settings = {"num_attention_heads": TINY.heads, "do_normalize": True}
    metadata = {"config": json.dumps({"wav2vec2": settings})}
    config = detect_wav2vec(shapes_of(weights()), metadata)
    assert config == replace(TINY, normalize_waveform=True)
    waveform = 3.0 * torch.from_numpy(made_up_voice(1.0))[None] + 0.5
    prepared = Wav2VecEncoder(config).prepare(waveform)
    assert prepared.mean().abs() < 1e-5
    assert prepared.std() == pytest.approx(1.0, abs=1e-3)


def base_shapes(hidden=768):
    """Shapes of a published encoder, without its middle tensors."""
    kernels = (10, 3, 3, 3, 3, 2, 2)
    shapes = {
        f"wav2vec2.feature_extractor.conv_layers.{index}.conv.weight": (512, 512, kernel)
        for index, kernel in enumerate(kernels)
    }
    for layer in range(12):
        prefix = f"wav2vec2.encoder.layers.{layer}."
        shapes[prefix + "attention.k_proj.weight"] = (hidden, hidden)
        shapes[prefix + "feed_forward.intermediate_dense.weight"] = (4 * hidden, hidden)
    shapes["wav2vec2.encoder.layer_norm.weight"] = (hidden,)
    shapes["wav2vec2.encoder.pos_conv_embed.conv.weight_v"] = (hidden, hidden // 16, 128)
    return shapes


def test_the_published_encoder_is_read_from_its_shapes_alone():
    config = detect_wav2vec(base_shapes(), {})
    assert (config.hidden, config.layers, config.heads, config.ffn_dim) == (768, 12, 12, 3072)
    assert config.conv_kernels == (10, 3, 3, 3, 3, 2, 2)
    assert config.conv_strides == (5, 2, 2, 2, 2, 2, 2)
    assert (config.position_kernel, config.position_groups) == (128, 16)
    assert not config.normalize_waveform


def test_layers_past_nine_are_counted():
    assert detect_wav2vec(base_shapes(), {}).layers == 12


def test_the_large_encoder_is_refused_with_its_width():
    with pytest.raises(InputError, match=r"768 wide .* got the large kind, 1024 wide; choose"):
        detect_wav2vec(base_shapes(1024), {})


@pytest.mark.parametrize("extra", ["layer_norm.weight", "conv.bias"])
def test_layer_norms_after_later_convolutions_are_refused(extra):
    shapes = {**base_shapes(), f"wav2vec2.feature_extractor.conv_layers.1.{extra}": (512,)}
    with pytest.raises(InputError, match="large kind"):
        detect_wav2vec(shapes, {})


@pytest.mark.parametrize(
    ("shapes", "metadata", "message"),
    [
        ({"blocks.0.weight": (4, 4)}, {}, "expected a wav2vec2 audio encoder"),
        (shapes_of(weights()), {}, "num_attention_heads"),
        (shapes_of(weights()), {"config": "not JSON"}, "under `config`"),
        (base_shapes(), {"config": '{"wav2vec2": {"conv_stride": [5, 2]}}'}, "conv_stride"),
        (base_shapes(), {"config": '{"wav2vec2": {"num_attention_heads": 7}}'}, "divides"),
    ],
)
def test_what_cannot_be_told_is_refused(shapes, metadata, message):
    with pytest.raises(InputError, match=message):
        detect_wav2vec(shapes, metadata)


def test_settings_beside_the_file_are_read_only_when_they_are_of_a_wav2vec2(tmp_path):
    weights_path = tmp_path / "model.safetensors"
    assert wav2vec_metadata_beside(weights_path) == {}
    settings = {"model_type": "wav2vec2", "num_attention_heads": TINY.heads}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "preprocessor_config.json").write_text('{"do_normalize": true}')
    config = detect_wav2vec(shapes_of(weights()), wav2vec_metadata_beside(weights_path))
    assert config == replace(TINY, normalize_waveform=True)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert wav2vec_metadata_beside(weights_path) == {}
    (tmp_path / "config.json").write_text("not JSON")
    with pytest.raises(InputError, match=r"config\.json"):
        wav2vec_metadata_beside(weights_path)


def test_normalising_normal_names_changes_nothing():
    assert normalize_wav2vec_keys(weights()).keys() == weights().keys()
