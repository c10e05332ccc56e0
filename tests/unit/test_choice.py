"""`auto` knows the published names and does not guess."""

import pytest

from endless_talk.errors import InputError
from endless_talk.model_loaders.choice import RULES, choose, looks_like, order_names, rank

ADAPTER, BASE, VAE, WAV2VEC = (RULES[kind] for kind in ("adapter", "base", "vae", "wav2vec"))

SINGLE = "WanVideo/InfiniteTalk/Wan2_1-InfiniTetalk-Single_fp16.safetensors"
MULTI = "WanVideo/InfiniteTalk/Wan2_1-InfiniteTalk-Multi_fp16.safetensors"
SINGLE_FP8 = "Wan2_1-InfiniteTalk-Single_fp8_e4m3fn_scaled_KJ.safetensors"
OTHERS = [
    "wan2.1_i2v_480p_14B_fp16.safetensors",
    "MelBandRoFormer/MelBandRoformer_fp16.safetensors",
    "Wan2_1-InfiniteTalk_Single_Q8.gguf",
]


@pytest.mark.parametrize(
    "name",
    [
        SINGLE,
        SINGLE_FP8,
        "Wan2_1-InfiniteTalk-Single_fp8_e5m2_scaled_KJ.safetensors",
        "wan2.1_infiniteTalk_single_fp16.safetensors",
        "single/infinitetalk.safetensors",
        "comfyui/infinitetalk_single.safetensors",
        "single\\infinitetalk.safetensors",
    ],
)
def test_auto_finds_every_published_adapter(name):
    assert choose(ADAPTER, [*OTHERS, name], "models") == name
    assert choose(ADAPTER, [*OTHERS, "multi/infinitetalk.safetensors", name], "models") == name


@pytest.mark.parametrize(
    "name",
    [MULTI, "wan2.1_infiniteTalk_multi_fp16.safetensors", "multi/infinitetalk.safetensors"],
)
def test_auto_takes_the_multi_adapter_when_it_is_the_only_one(name):
    assert choose(ADAPTER, [*OTHERS, name], "models") == name


@pytest.mark.parametrize(
    "name",
    [
        "wav2vec2-chinese-base_fp16.safetensors",
        "TencentGameMate/chinese-wav2vec2-base/model.safetensors",
    ],
)
def test_auto_finds_the_published_encoder_in_both_forms(name):
    large = "wav2vec2_large_english_fp16.safetensors"
    assert choose(WAV2VEC, [large, "whisper_large_v3_fp16.safetensors", name], "models") == name


@pytest.mark.parametrize("name", ["wan_2.1_vae.safetensors", "Wan2_1_VAE_bf16.safetensors"])
def test_auto_finds_the_published_vae(name):
    assert choose(VAE, ["wan2.2_vae.safetensors", "ae.safetensors", name], "models/vae") == name


def test_auto_prefers_half_precision_to_fp8():
    assert choose(ADAPTER, [SINGLE_FP8, SINGLE], "models") == SINGLE


def test_auto_refuses_to_choose_between_equals_and_names_both():
    comfy = "wan2.1_infiniteTalk_single_fp16.safetensors"
    with pytest.raises(InputError) as error:
        choose(ADAPTER, [SINGLE, comfy], "models")
    assert SINGLE in str(error.value) and comfy in str(error.value)


def test_copies_of_one_file_are_not_two_choices():
    copy = SINGLE.rsplit("/", 1)[-1]
    assert choose(ADAPTER, [copy, SINGLE], "models") == copy


def test_auto_takes_a_renamed_file_only_when_it_is_alone():
    mine = "my_infinitetalk.safetensors"
    assert choose(ADAPTER, [*OTHERS, mine], "models") == mine
    with pytest.raises(InputError, match="cannot choose"):
        choose(ADAPTER, [mine, "WanVideo_2_1_Multitalk_14B_fp8_e4m3fn.safetensors"], "models")


def test_auto_never_takes_a_multitalk_or_gguf_file_for_infinitetalk():
    names = ["WanVideo_2_1_Multitalk_14B_fp8_e4m3fn.safetensors", SINGLE]
    assert choose(ADAPTER, names, "models") == SINGLE
    with pytest.raises(InputError, match=r"such as Wan2_1-InfiniTetalk-Single_fp16.safetensors"):
        choose(ADAPTER, OTHERS, "models/model_patches")


@pytest.mark.parametrize(
    "name",
    [
        "Wan2_1-I2V-14B-480p_fp8_e4m3fn_scaled_KJ.safetensors",
        "Wan2_1-I2V-14B-480P_fp8_e4m3fn.safetensors",
        "wan2.1_i2v_480p_14B_fp8_scaled.safetensors",
        "wan2.1_i2v_720p_14B_fp16.safetensors",
    ],
)
def test_published_bases_are_recognised(name):
    assert rank(BASE, name) is not None


def test_a_list_begins_with_likely_files_and_hides_none():
    names = ["z.safetensors", "wan2.2_i2v_high_noise.safetensors", SINGLE, *OTHERS, "b.sft", "c.pt"]
    listed = order_names(BASE, names)
    assert listed[0] == OTHERS[0]
    assert set(listed) == {name for name in names if name.endswith((".safetensors", ".sft"))}


def test_a_joined_flashtalk_file_is_near_the_top_and_nothing_that_auto_means():
    """It is a Wan base with an adapter in it, under a name without Wan."""
    merged = "SoulX-FlashTalk-14B/diffusion_pytorch_model.safetensors"
    assert order_names(BASE, ["a.safetensors", merged, OTHERS[0]])[:2] == [OTHERS[0], merged]
    assert rank(BASE, merged) is None
    assert looks_like(BASE, "soulx_flashtalk_bf16.safetensors")
    assert not looks_like(BASE, "FlashTalk_lora_rank64.safetensors")


def test_a_lora_does_not_look_like_an_adapter():
    assert not looks_like(ADAPTER, "InfiniteTalk_lora_rank64.safetensors")
