import dataclasses
import json
import math

import pytest
import torch
from golden import DEFAULT_DIR
from safetensors.torch import save_file

from endless_talk.errors import InputError
from endless_talk.models.adapter import AudioAdapter
from endless_talk.models.configs import AdapterConfig, VAEConfig, WanConfig
from endless_talk.models.detect import (
    Kind,
    adapter_config,
    check_features,
    check_fits,
    check_image_to_video,
    identify,
    require,
    split_merged,
    vae_config,
    wan_config,
)
from endless_talk.models.wan import WanModel
from endless_talk.models.wan_vae import WanVAE
from endless_talk.models.weights import Header, load_strict, open_weights


def both(shapes, key, weight, bias=None):
    shapes[f"{key}.weight"] = weight
    shapes[f"{key}.bias"] = bias or weight[:1]


def wan_shapes(dim=5120, ffn=13824, layers=40, channels=36, text=4096, image=True):
    """The published key table of Wan 2.1, written out from its description."""
    shapes = {"head.modulation": (1, 2, dim)}
    both(shapes, "patch_embedding", (dim, channels, 1, 2, 2))
    both(shapes, "text_embedding.0", (dim, text))
    both(shapes, "text_embedding.2", (dim, dim))
    both(shapes, "time_embedding.0", (dim, 256))
    both(shapes, "time_embedding.2", (dim, dim))
    both(shapes, "time_projection.1", (6 * dim, dim))
    both(shapes, "head.head", (64, dim))
    if image:
        both(shapes, "img_emb.proj.0", (1280,))
        both(shapes, "img_emb.proj.1", (1280, 1280))
        both(shapes, "img_emb.proj.3", (dim, 1280))
        both(shapes, "img_emb.proj.4", (dim,))
    for block in (f"blocks.{n}" for n in range(layers)):
        shapes[f"{block}.modulation"] = (1, 6, dim)
        both(shapes, f"{block}.norm3", (dim,))
        both(shapes, f"{block}.ffn.0", (ffn, dim))
        both(shapes, f"{block}.ffn.2", (dim, ffn))
        extra = ["k_img", "v_img"] if image else []
        for attention, names in (("self_attn", []), ("cross_attn", extra)):
            for name in ["q", "k", "v", "o", *names]:
                both(shapes, f"{block}.{attention}.{name}", (dim, dim))
            for name in ["norm_q", "norm_k", *(["norm_k_img"] if names else [])]:
                shapes[f"{block}.{attention}.{name}.weight"] = (dim,)
    return shapes


def adapter_shapes(dim=5120, layers=40, features=9216, hidden=512, tokens=32, width=768):
    shapes = {}
    both(shapes, "audio_proj.proj1", (hidden, 5 * features))
    both(shapes, "audio_proj.proj1_vf", (hidden, 8 * features))
    both(shapes, "audio_proj.proj2", (hidden, hidden))
    both(shapes, "audio_proj.proj3", (tokens * width, hidden))
    both(shapes, "audio_proj.norm", (width,))
    for block in (f"blocks.{n}" for n in range(layers)):
        both(shapes, f"{block}.audio_cross_attn.q_linear", (dim, dim))
        both(shapes, f"{block}.audio_cross_attn.kv_linear", (2 * dim, width))
        both(shapes, f"{block}.audio_cross_attn.proj", (dim, dim))
        both(shapes, f"{block}.norm_x", (dim,))
    return shapes


def module_shapes(build):
    with torch.device("meta"):
        module = build()
    return {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}


def said(**transformer):
    return {"config": json.dumps({"transformer": transformer})}


BASE = Header("base.safetensors", wan_shapes())
ADAPTER = Header("adapter.safetensors", adapter_shapes())
MERGED = Header("merged.safetensors", wan_shapes() | adapter_shapes())
T2V = Header("t2v.safetensors", wan_shapes(1536, 8960, 30, channels=16, image=False))
VAE = Header("vae.safetensors", module_shapes(lambda: WanVAE(VAEConfig(width=96))))
WAV2VEC = Header("w.safetensors", {"feature_extractor.conv_layers.0.conv.weight": (512, 1, 10)})
LORA = Header("lora.safetensors", {"blocks.0.self_attn.q.lora_down.weight": (64, 5120)})
UMT5 = Header("umt5.safetensors", {"encoder.block.0.layer.0.SelfAttention.q.weight": (4096, 4096)})
UMT5_WAN = Header("t5.safetensors", {"token_embedding.weight": (256384, 4096)})
CLIP = Header(
    "c.safetensors", {"vision_model.embeddings.patch_embedding.weight": (1280, 3, 14, 14)}
)
OPEN_CLIP = Header("oc.safetensors", {"visual.patch_embedding.weight": (1280, 3, 14, 14)})
OTHER = Header("sdxl.safetensors", {"first_stage_model.decoder.conv_in.bias": (512,)})

PUBLISHED_BASE = WanConfig(
    dim=5120,
    ffn_dim=13824,
    heads=40,
    layers=40,
    in_channels=36,
    out_channels=16,
    text_dim=4096,
    text_tokens=512,
    freq_dim=256,
    image_branch=True,
    image_dim=1280,
    eps=1e-6,
)
PUBLISHED_ADAPTER = AdapterConfig(
    dim=5120,
    layers=40,
    feature_size=9216,
    first_window=5,
    group_window=8,
    hidden=512,
    tokens=32,
    token_dim=768,
)


# Published sizes


def test_the_published_base_is_recognised_by_its_1303_tensors():
    assert (len(BASE.shapes), BASE.parameters) == (1303, 16_394_878_784)
    assert wan_config(BASE) == PUBLISHED_BASE
    check_image_to_video(wan_config(BASE), BASE.name)


def test_the_published_adapter_is_recognised_by_its_330_tensors():
    assert (len(ADAPTER.shapes), ADAPTER.parameters) == (330, 2_487_168_000)
    assert adapter_config(ADAPTER) == PUBLISHED_ADAPTER
    check_fits(PUBLISHED_BASE, PUBLISHED_ADAPTER)
    check_features(PUBLISHED_ADAPTER, hidden=768, layers=12)


def test_networks_built_from_the_detected_sizes_have_the_published_keys_and_shapes():
    assert module_shapes(lambda: WanModel(wan_config(BASE))) == BASE.shapes
    assert module_shapes(lambda: AudioAdapter(adapter_config(ADAPTER))) == ADAPTER.shapes


def test_the_small_text_to_video_model_has_twelve_heads_and_no_image_branch():
    config = wan_config(T2V)
    assert (config.heads, config.layers, config.in_channels) == (12, 30, 16)
    assert (config.image_branch, config.image_dim) == (False, None)
    assert not config.is_image_to_video


def test_the_published_vae_has_four_levels():
    assert vae_config(VAE) == VAEConfig(96, (1, 2, 4, 4), 2, 16, (False, True, True))


@pytest.mark.parametrize(
    "config",
    [
        VAEConfig(8, (1, 2), 1, 4, (True,)),
        VAEConfig(4, (1, 1, 2), 3, 16, (True, False)),
        VAEConfig(6, (2, 3, 3, 4), 2, 8, (False, True, True)),
    ],
)
def test_other_vae_sizes_are_read_back_from_their_own_shapes(config):
    assert vae_config(Header("v", module_shapes(lambda: WanVAE(config)))) == config


# Golden files


def golden_header(*names, **transformer):
    files = [open_weights(DEFAULT_DIR / f"{name}.safetensors") for name in names]
    shapes = {key: shape for file in files for key, shape in file.shapes.items()}
    return Header(names[0], shapes, said(**transformer) if transformer else {})


def test_golden_transformers_give_the_sizes_of_their_case():
    case = json.loads((DEFAULT_DIR / "dit_single_a_t1000_square.json").read_text())["config"]
    names = ("dit_weights_a", "dit_img_emb_1280_shared")
    header = golden_header(*names, num_heads=case["num_heads"], text_len=case["text_len"])
    assert identify(header) is Kind.MERGED
    base, audio = wan_config(header), adapter_config(header)
    assert (base.dim, base.ffn_dim, base.heads) == (case["dim"], case["ffn_dim"], case["num_heads"])
    assert (base.layers, base.freq_dim) == (case["num_layers"], case["freq_dim"])
    assert (base.in_channels, base.out_channels) == (case["in_dim"], case["out_dim"])
    assert (base.text_dim, base.text_tokens) == (case["text_dim"], case["text_len"])
    assert (base.image_dim, base.eps) == (case["clip_dim"], case["eps"])
    assert audio.feature_size == case["audio_blocks"] * case["audio_channels"]
    assert audio.first_window == case["audio_window"]
    assert audio.group_window == case["audio_window"] + case["vae_scale"] - 1
    assert (audio.hidden, audio.tokens) == (case["intermediate_dim"], case["context_tokens"])
    assert (audio.token_dim, audio.dim, audio.layers) == (case["output_dim"], base.dim, base.layers)
    parts = split_merged(header)
    assert module_shapes(lambda: WanModel(base)) == parts[0].shapes
    assert module_shapes(lambda: AudioAdapter(audio)) == parts[1].shapes


def test_golden_vae_gives_the_sizes_of_its_case_and_loads():
    case = json.loads((DEFAULT_DIR / "vae_encode_a.json").read_text())["config"]
    file = open_weights(DEFAULT_DIR / "vae_weights_a.safetensors")
    config = vae_config(file)
    assert (config.width, config.latent_channels) == (case["dim"], case["z_dim"])
    assert config.multipliers == tuple(case["dim_mult"])
    assert config.residual_blocks == case["num_res_blocks"]
    assert config.temporal_down == tuple(case["temperal_downsample"])
    with torch.device("meta"):
        module = WanVAE(config)
    load_strict(module, file.read(), file.name)
    assert not any(parameter.is_meta for parameter in module.parameters())


def test_golden_audio_encoder_is_one():
    assert identify(golden_header("audio_features_weights_a")) is Kind.WAV2VEC


# Metadata


def test_the_metadata_override_the_number_of_heads_text_length_and_epsilon():
    shapes = wan_shapes(96, 192, 2, text=64)
    metadata = said(num_heads=4, text_len=24, text_dim=64, eps=1e-5, model_type="i2v")
    config = wan_config(Header("tiny.safetensors", shapes, metadata))
    assert (config.heads, config.text_tokens, config.eps) == (4, 24, 1e-5)


def test_a_width_that_is_no_multiple_of_128_needs_the_number_of_heads():
    with pytest.raises(InputError, match=r"tiny.safetensors is 96 wide.*num_heads"):
        wan_config(Header("tiny.safetensors", wan_shapes(96, 192, 2)))


@pytest.mark.parametrize("heads", [0, 3, 128])
def test_heads_must_divide_the_width_into_even_parts(heads):
    with pytest.raises(InputError, match="even widths"):
        wan_config(Header("tiny.safetensors", wan_shapes(128, 192, 2), said(num_heads=heads)))


@pytest.mark.parametrize(
    ("field", "value"),
    [("text_dim", 512), ("dim", 64), ("num_layers", 30), ("in_dim", 16), ("ffn_dim", 1)],
)
def test_metadata_that_contradict_the_shapes_are_refused(field, value):
    with pytest.raises(InputError, match=rf"contradict its tensors: {field} {value} \(shapes: "):
        wan_config(dataclasses.replace(BASE, metadata=said(**{field: value})))


def test_a_text_to_video_file_that_says_i2v_is_refused():
    with pytest.raises(InputError, match=r"model_type i2v \(shapes: 16 input channels\)"):
        wan_config(dataclasses.replace(T2V, metadata=said(model_type="i2v")))


@pytest.mark.parametrize("config", ["{", "3", '{"transformer": 3}', "[]"])
def test_unreadable_metadata_are_refused(config):
    with pytest.raises(InputError, match="metadata 'config' that is not JSON"):
        wan_config(dataclasses.replace(BASE, metadata={"config": config}))


def test_metadata_of_other_programs_do_not_matter():
    assert wan_config(dataclasses.replace(BASE, metadata={"format": "pt"})) == PUBLISHED_BASE
    assert wan_config(dataclasses.replace(BASE, metadata={"config": "{}"})) == PUBLISHED_BASE


# What a file is


KINDS = [
    (BASE, Kind.WAN),
    (T2V, Kind.WAN),
    (ADAPTER, Kind.ADAPTER),
    (MERGED, Kind.MERGED),
    (VAE, Kind.VAE),
    (WAV2VEC, Kind.WAV2VEC),
    (Header("w", {f"wav2vec2.{key}": s for key, s in WAV2VEC.shapes.items()}), Kind.WAV2VEC),
    (LORA, Kind.LORA),
    (Header("fusion", {"blocks.0.norm3.diff": (5120,)}), Kind.LORA),
    (UMT5, Kind.TEXT_ENCODER),
    (UMT5_WAN, Kind.TEXT_ENCODER),
    (CLIP, Kind.CLIP_VISION),
    (OPEN_CLIP, Kind.CLIP_VISION),
    (OTHER, Kind.UNKNOWN),
    (Header("empty", {}), Kind.UNKNOWN),
]


@pytest.mark.parametrize(("header", "kind"), KINDS, ids=lambda value: getattr(value, "name", None))
def test_every_kind_of_file_is_told_by_its_keys(header, kind):
    assert identify(header) is kind


@pytest.mark.parametrize("wanted", [Kind.WAN, Kind.ADAPTER, Kind.VAE, Kind.WAV2VEC, Kind.LORA])
@pytest.mark.parametrize(("header", "kind"), KINDS, ids=lambda value: getattr(value, "name", None))
def test_a_file_is_taken_as_its_own_kind_and_as_no_other(header, kind, wanted):
    if kind is wanted or (kind is Kind.MERGED and wanted in (Kind.WAN, Kind.ADAPTER)):
        assert identify(require(header, wanted)) is wanted
        return
    with pytest.raises(InputError) as caught:
        require(header, wanted)
    message = str(caught.value)
    assert message.startswith(f"{header.name} is missing ")
    assert f"it looks like {kind.value}" in message
    assert f"choose {wanted.value} here" in message


def test_a_base_given_as_adapter_is_told_what_is_missing_and_where_it_belongs():
    with pytest.raises(InputError) as caught:
        adapter_config(BASE)
    assert str(caught.value) == (
        "base.safetensors is missing audio_proj.proj1.weight; it looks like a Wan base model: load "
        "it where a Wan base model is asked for, and choose an InfiniteTalk audio adapter here, "
        "such as Wan2_1-InfiniteTalk-Multi_fp16.safetensors."
    )


def test_one_shard_of_several_is_called_that():
    name = "diffusion_pytorch_model-00001-of-00007.safetensors"
    shapes = {key: shape for key, shape in BASE.shapes.items() if not key.startswith("head.")}
    with pytest.raises(InputError, match="one of several parts"):
        wan_config(Header(name, shapes))


def test_a_file_without_some_blocks_is_incomplete():
    shapes = {key: s for key, s in BASE.shapes.items() if not key.startswith("blocks.7.")}
    with pytest.raises(InputError, match="blocks up to 39 but none numbered 7"):
        wan_config(Header("base.safetensors", shapes))


def test_a_missing_key_that_a_size_comes_from_is_named():
    shapes = {key: s for key, s in ADAPTER.shapes.items() if "proj1_vf" not in key}
    with pytest.raises(InputError, match=r"audio_proj\.proj1_vf\.weight .* it is missing"):
        adapter_config(Header("adapter.safetensors", shapes))


def test_merged_checkpoints_split_into_two_that_fit():
    base, audio = split_merged(MERGED)
    assert base.shapes == BASE.shapes
    assert audio.shapes == ADAPTER.shapes
    assert wan_config(MERGED) == PUBLISHED_BASE
    assert adapter_config(MERGED) == PUBLISHED_ADAPTER


def test_parts_of_a_merged_file_read_only_their_own_tensors(tmp_path):
    shapes = wan_shapes(16, 32, 2, text=8) | adapter_shapes(16, 2, 12, 4, 2, 8)
    path = tmp_path / "merged.safetensors"
    weights = {f"model.diffusion_model.{key}": torch.randn(shape) for key, shape in shapes.items()}
    save_file(weights, path)
    file = require(open_weights(path), Kind.ADAPTER)
    config = adapter_config(file)
    assert config == AdapterConfig(16, 2, 12, 5, 8, 4, 2, 8)
    with torch.device("meta"):
        module = AudioAdapter(config)
    load_strict(module, file.read(), file.name)
    for key, tensor in module.state_dict().items():
        assert torch.equal(tensor, weights[f"model.diffusion_model.{key}"])


# What does not go together


def test_a_text_to_video_base_is_refused_for_infinitetalk():
    message = "takes 16 input channels and looks like a text-to-video model.* with 36"
    with pytest.raises(InputError, match=message):
        check_image_to_video(wan_config(T2V), T2V.name)


def test_another_wan_variant_is_refused_for_infinitetalk():
    control = dataclasses.replace(PUBLISHED_BASE, in_channels=52)
    with pytest.raises(InputError, match="takes 52 input channels and looks like another Wan"):
        check_image_to_video(control, "control.safetensors")


@pytest.mark.parametrize("change", [{"dim": 1536}, {"layers": 30}])
def test_an_adapter_of_another_size_than_the_base_is_refused(change):
    with pytest.raises(InputError, match="made for 40 blocks of width 5120, the base model has"):
        check_fits(dataclasses.replace(PUBLISHED_BASE, **change), PUBLISHED_ADAPTER)


def test_features_of_another_audio_encoder_are_refused():
    with pytest.raises(InputError) as caught:
        check_features(PUBLISHED_ADAPTER, hidden=1024, layers=24)
    assert str(caught.value) == (
        "The adapter expects 12 x 768 = 9216 audio features per frame, this wav2vec2 model gives "
        "24 x 1024 = 24576: use chinese-wav2vec2-base."
    )


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("audio_proj.proj1_vf.weight", (512, 46080)),
        ("audio_proj.proj1.weight", (512, 46081)),
        ("audio_proj.proj3.weight", (24577, 512)),
    ],
)
def test_an_adapter_with_impossible_windows_is_refused(key, shape):
    with pytest.raises(InputError, match="expected widths like 46080, 73728 and 768"):
        adapter_config(Header("adapter.safetensors", {**ADAPTER.shapes, key: shape}))


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("encoder.conv1.weight", (96, 12, 3, 3, 3)),
        ("encoder.downsamples.4.residual.2.weight", (100, 192, 3, 3, 3)),
    ],
)
def test_the_vae_of_another_wan_is_refused(key, shape):
    with pytest.raises(InputError, match=r"choose the VAE of Wan 2.1, such as wan_2.1_vae"):
        vae_config(Header("wan2.2_vae.safetensors", {**VAE.shapes, key: shape}))


def test_parameters_are_counted_from_shapes():
    assert Header("x", {"a": (2, 3), "b": ()}).parameters == math.prod((2, 3)) + 1
