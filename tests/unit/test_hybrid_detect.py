"""HunyuanVideo bases and MagicInfinite adapters, told from their keys."""

import json
import math
from dataclasses import replace

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from endless_talk.errors import InputError
from endless_talk.models.configs import HUNYUAN_CONCAT, HybridAdapterConfig, HybridConfig
from endless_talk.models.detect import (
    Kind,
    adapter_kind,
    base_kind,
    identify,
    require,
)
from endless_talk.models.hybrid import HybridModel
from endless_talk.models.hybrid_adapter import HybridAudioAdapter
from endless_talk.models.hybrid_convert import convert, main
from endless_talk.models.hybrid_detect import (
    check_hybrid_fits,
    describe_adapter,
    hybrid_adapter_config,
    hybrid_config,
)
from endless_talk.models.hybrid_keys import widen_input
from endless_talk.models.weights import Header, open_weights

PUBLISHED = HybridConfig(
    dim=3072,
    double_blocks=20,
    single_blocks=40,
    in_channels=33,
    text_dim=4096,
    guidance_embed=True,
)
PUBLISHED_ADAPTER = HybridAdapterConfig(
    dim=3072,
    heads=24,
    feature_size=13 * 768,
    double_layers=tuple(range(20)),
    single_layers=tuple(range(1, 40, 2)),
)


def shapes_of(build):
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in build().state_dict().items()}


def base_shapes(config=tiny.HYBRID):
    return shapes_of(lambda: HybridModel(config))


def adapter_shapes(config=tiny.HYBRID_ADAPTER):
    return shapes_of(lambda: HybridAudioAdapter(config))


def test_the_published_network_has_the_published_size():
    shapes = base_shapes(PUBLISHED)
    assert sum(map(math.prod, shapes.values())) == 12_821_221_440
    assert shapes["double_blocks.19.img_mod.lin.weight"] == (18432, 3072)
    assert shapes["single_blocks.39.linear1.weight"] == (21504, 3072)
    assert shapes["txt_in.individual_token_refiner.blocks.1.adaLN_modulation.1.weight"] == (
        6144,
        3072,
    )


def test_the_adapter_has_the_size_it_was_designed_with():
    shapes = adapter_shapes(PUBLISHED_ADAPTER)
    encoder = sum(math.prod(s) for key, s in shapes.items() if key.startswith("audio_encoder"))
    attention = [s for key, s in shapes.items() if ".audio_attn." in key]
    assert round(encoder / 1e6, 1) == 29.0
    assert round(sum(map(math.prod, attention)) / 40 / 1e6, 1) == 23.6
    assert shapes["double_blocks.19.audio_attn.kv.weight"] == (6144, 768)
    assert shapes["audio_encoder.proj1.weight"] == (512, 49920)
    assert "single_blocks.0.audio_attn.q.weight" not in shapes


@pytest.mark.parametrize(
    "config",
    [PUBLISHED, tiny.HYBRID, replace(tiny.HYBRID, in_channels=16, guidance_embed=True)],
    ids=["published", "tiny", "replace"],
)
def test_sizes_of_a_base_come_from_its_keys(config):
    header = Header("base", base_shapes(config))
    assert identify(header) is base_kind(header) is Kind.HYBRID
    assert hybrid_config(header) == config


@pytest.mark.parametrize(
    "config", [PUBLISHED_ADAPTER, tiny.HYBRID_ADAPTER], ids=["published", "tiny"]
)
def test_sizes_of_an_adapter_come_from_its_keys(config):
    header = Header("adapter", adapter_shapes(config))
    assert identify(header) is adapter_kind(header) is Kind.HYBRID_ADAPTER
    assert hybrid_adapter_config(header) == config
    skipping = replace(config, null_audio="skip", trained_latents=21)
    metadata = describe_adapter(skipping, base="i2v_concat", window=21)
    said = Header("adapter", header.shapes, metadata)
    assert hybrid_adapter_config(said) == skipping


def test_base_and_adapter_may_be_one_file():
    header = Header("both", {**base_shapes(), **adapter_shapes()})
    assert identify(header) is Kind.HYBRID_MERGED
    assert base_kind(header) is Kind.HYBRID and adapter_kind(header) is Kind.HYBRID_ADAPTER
    assert hybrid_config(header) == tiny.HYBRID
    assert hybrid_adapter_config(header) == tiny.HYBRID_ADAPTER
    assert set(require(header, Kind.HYBRID).shapes) == set(base_shapes())
    with pytest.raises(InputError, match="load it where"):
        require(header, Kind.WAN)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"img_in.proj.weight": (128, 32, 1, 2, 2)}, "SkyReels"),
        ({"img_in.proj.weight": (128, 20, 1, 2, 2)}, "another variant"),
        ({"img_in.proj.weight": (100, 33, 1, 2, 2)}, "multiple of 128"),
        ({"img_in.proj.weight": (128, 33, 2, 2)}, "5 dimensions"),
        ({"vision_in.proj.0.weight": (128,)}, "HunyuanVideo 1.5"),
        ({"byt5_in.fc1.weight": (128, 64)}, "HunyuanImage"),
        ({"time_r_in.in_layer.weight": (128, 256)}, "MeanFlow"),
        ({"audio_adapter_blocks.0.norm1.weight": (128,)}, "Avatar"),
    ],
)
def test_relatives_with_other_inputs_are_refused(changed, message):
    with pytest.raises(InputError, match=message):
        hybrid_config(Header("base", {**base_shapes(), **changed}))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"null_audio": "noise"}, "null_audio noise"),
        ({"heads": 4}, "heads 4"),
        ({"double_layers": [0]}, "double_layers"),
        ({"audio_layers": 13, "audio_channels": 768}, "9984 audio features"),
        ({"audio_window": 7}, "window of 7"),
        ({"window": 1}, "window 1 .expected a number of latent frames"),
        ({"window": "81"}, "window '81'"),
    ],
)
def test_metadata_that_contradict_the_tensors_are_refused(said, message):
    header = Header("adapter", adapter_shapes(), {"config": json.dumps(said)})
    with pytest.raises(InputError, match=message):
        hybrid_adapter_config(header)
    broken = Header("adapter", adapter_shapes(), {"config": "{"})
    with pytest.raises(InputError, match="not a JSON object"):
        hybrid_adapter_config(broken)


def test_an_adapter_that_does_not_fit_its_base_is_refused():
    check_hybrid_fits(tiny.HYBRID, tiny.HYBRID_ADAPTER)
    for other in (
        replace(tiny.HYBRID, dim=256),
        replace(tiny.HYBRID, single_blocks=3),
        replace(tiny.HYBRID, double_blocks=1),
    ):
        with pytest.raises(InputError, match="choose the base"):
            check_hybrid_fits(other, tiny.HYBRID_ADAPTER)


def test_a_prefixed_adapter_file_is_read(tmp_path):
    state = {f"magicinfinite.{k}": v for k, v in tiny.hybrid_adapter().state_dict().items()}
    save_file(state, tmp_path / "adapter.safetensors")
    file = open_weights(tmp_path / "adapter.safetensors")
    assert hybrid_adapter_config(file) == tiny.HYBRID_ADAPTER
    assert set(file.read()) == set(adapter_shapes())


def test_widening_the_input_changes_no_prediction():
    narrow = tiny.hybrid(replace(tiny.HYBRID, in_channels=16))
    wide = HybridModel(tiny.HYBRID)
    wide.load_state_dict(widen_input(narrow.state_dict()))
    latents, time = tiny.normal(1, 16, 3, 8, 8), torch.tensor([500.0])
    text, pooled = tiny.normal(1, 5, 24, seed=1), tiny.normal(1, 768, seed=2)
    expected = narrow(latents, time, text, pooled)
    got = wide(latents, time, text, pooled, concat=tiny.normal(1, 17, 3, 8, 8, seed=3))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(InputError, match="33 input channels"):
        widen_input({"img_in.proj.weight": torch.zeros(1, 33, 1, 2, 2)}, 16)
    with pytest.raises(InputError, match="HunyuanVideo base"):
        widen_input({})


def test_a_base_in_its_original_names_is_converted_and_widened(tmp_path, capsys):
    narrow = tiny.hybrid(replace(tiny.HYBRID, in_channels=16))
    state = {
        key.replace("img_attn.qkv", "img_attn_qkv").replace("txt_mod.lin.", "txt_mod.linear."): v
        for key, v in narrow.state_dict().items()
    }
    source, target = tmp_path / "original.safetensors", tmp_path / "wide.safetensors"
    save_file(state, source)
    assert hybrid_config(open_weights(source)) == replace(tiny.HYBRID, in_channels=16)
    main([str(source), str(target), "--concat"])
    assert hybrid_config(open_weights(target)).family is HUNYUAN_CONCAT
    written = load_file(target)
    key = "double_blocks.1.img_attn.qkv.weight"
    assert torch.equal(written[key], narrow.state_dict()[key])
    with pytest.raises(InputError, match="already"):
        convert(source, target)
    with pytest.raises(SystemExit):
        main([str(tmp_path / "absent.safetensors"), str(target)])
    assert "absent" in capsys.readouterr().err
