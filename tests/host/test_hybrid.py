"""MagicInfinite's adapter inside ComfyUI's HunyuanVideo and samplers, in this process."""

import re

import pytest
import torch
from host_tree import find_tree

if find_tree() is None:
    pytest.skip("there is no ComfyUI tree: set COMFYUI_PATH", allow_module_level=True)
comfy = pytest.importorskip("comfy_on_path").comfy

import host_models as hm  # noqa: E402  (needs ComfyUI)
import hybrid_twins as ht  # noqa: E402
import tiny  # noqa: E402
from comfy.context_windows import IndexListContextHandler  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from endless_talk.bridge_audio import cut_audio  # noqa: E402
from endless_talk.bridge_hybrid import empty_prompt_for  # noqa: E402
from endless_talk.errors import InputError  # noqa: E402
from endless_talk.model_loaders.adapter import attach_adapter, load_adapter  # noqa: E402
from endless_talk.model_loaders.family import (  # noqa: E402
    HUNYUAN_CONCAT,
    HUNYUAN_REPLACE,
    WAN,
    talking_family,
)
from endless_talk.models.adapter import GATES  # noqa: E402
from endless_talk.models.hybrid_adapter import GROUPED_AUDIO  # noqa: E402
from endless_talk.models.hybrid_detect import describe_adapter  # noqa: E402
from endless_talk.models.hybrid_keys import to_comfy, widen_input  # noqa: E402
from endless_talk.samplers.guidance import TalkGuidance  # noqa: E402
from endless_talk.samplers.plan import Chunk  # noqa: E402
from endless_talk.samplers.schedule import flow_sigmas  # noqa: E402

CONFIGS = {"concat": ht.CONCAT, "replace": ht.REPLACE}
SIGMAS = flow_sigmas(3, 7.0)
FULL, SILENT = TalkGuidance(5, 4), TalkGuidance()


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(params=list(CONFIGS))
def config(request):
    return CONFIGS[request.param]


@pytest.fixture
def talking(config):
    return attach_adapter(ht.host_model(config), ht.host_adapter())


def host(twins, model, chunk=ht.WINDOWS[1], sigmas=SIGMAS):
    return twins.run(twins.host(model), model, chunk, sigmas)


def standalone(twins, model, chunk=ht.WINDOWS[1]):
    return twins.run(twins.standalone(model), model, chunk, SIGMAS)


@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
@pytest.mark.parametrize("guidance", [FULL, TalkGuidance(1, 2), SILENT], ids=["5/4", "1/2", "none"])
def test_host_equals_standalone_window_by_window(config, guidance, moving, talking):
    gates = ht.two_faces(moving)
    twins = ht.Twins(config, 2, guidance=guidance, gates=gates)
    for chunk in ht.WINDOWS:
        ours = standalone(twins, talking, chunk)
        torch.testing.assert_close(host(twins, talking, chunk), ours, atol=1e-4, rtol=0)


@pytest.mark.parametrize("null_audio", ["zeros", "skip"])
def test_host_equals_standalone_when_branches_are_batched(config, null_audio):
    """Prompts of one length: the host may evaluate several branches at once."""
    twins = ht.Twins(
        config,
        2,
        guidance=FULL,
        strength=torch.tensor([0.5, 1.5]),
        same_length=True,
        null_audio=null_audio,
    )
    model = twins.host_talking()
    ours = standalone(twins, model)
    torch.testing.assert_close(host(twins, model), ours, atol=1e-4, rtol=0)


@pytest.mark.parametrize("null_audio", ["zeros", "skip"])
def test_silence_is_what_the_adapter_was_trained_with(null_audio):
    twins = ht.Twins(ht.CONCAT, guidance=TalkGuidance(1, 2), null_audio=null_audio)
    other = ht.Twins(
        ht.CONCAT,
        guidance=TalkGuidance(1, 2),
        null_audio={"zeros": "skip", "skip": "zeros"}[null_audio],
    )
    a, b = twins.host_talking(), other.host_talking()
    assert (host(twins, a) - host(other, b)).abs().max() > 1e-3


def test_audio_gates_strength_and_reference_each_change_the_result(config, talking):
    gates = ht.two_faces()
    twins = ht.Twins(config, 2, guidance=FULL, gates=gates)
    plain = host(twins, talking)
    head = 1 if config.family.holds_first_frame else 0
    for others in (
        {"voice_seed": 50},
        {"gates": gates.flip(1)},
        {"strength": torch.tensor([0.0, 1.0])},
    ):
        other = ht.Twins(config, 2, **{"guidance": FULL, "gates": gates, **others})
        assert (host(other, talking) - plain)[:, head:].abs().max() > 1e-3, others
    other = ht.Twins(config, 2, guidance=FULL, gates=gates)
    other.reference = other.reference.flip(2)
    assert (host(other, talking) - plain)[:, head:].abs().max() > 1e-3


def test_masks_of_speakers_are_gates_that_stand_still(config, talking):
    """What the streaming sampler knows of its speakers: the background's mask comes last."""
    masks = torch.zeros(3, ht.TOKENS)
    masks[0, :5], masks[1, 8:14] = 1, 1
    masks[2] = 1 - masks[:2].sum(0)
    twins = ht.Twins(config, 2, guidance=FULL, gates=masks[None, :2, None])
    expected = host(twins, talking)
    conditioner, denoiser = ht.Twins(config, 2, guidance=FULL).host(talking, masks=masks)
    got = twins.run((conditioner, denoiser), talking, ht.WINDOWS[1], SIGMAS)
    torch.testing.assert_close(got, expected)


def test_the_picture_stays_when_the_words_go():
    twins = ht.Twins(ht.CONCAT, guidance=FULL)
    model = twins.host_talking()
    conditioner, _ = twins.host(model)
    branches = conditioner.conditions(ht.WINDOWS[0], twins.reference).branches
    assert len(branches) == 3
    for [[_, values]] in branches.values():
        mask, latent = values["concat_mask"], values["concat_latent_image"]
        assert mask[:, :, 0].eq(0).all() and mask[:, :, 1:].eq(1).all()
        assert latent[:, :, 0].abs().min() > 0 and latent[:, :, 1:].eq(0).all()


@pytest.mark.parametrize("same_length", [False, True], ids=["apart", "batched"])
def test_host_equals_standalone_without_the_picture_where_nothing_is_asked_for(same_length):
    """Only ``unconditional`` goes without; the host begins from latents that it must not see."""
    blind = TalkGuidance(5, 4, drop_reference=True)
    twins = ht.Twins(ht.CONCAT, 2, guidance=blind, same_length=same_length)
    model = twins.host_talking()
    sides = twins.host(model)
    seen = {
        name: values["concat_mask"].eq(0).any() or values["concat_latent_image"].any()
        for name, [[_, values]] in sides[0]
        .conditions(ht.WINDOWS[1], twins.reference)
        .branches.items()
    }
    assert seen == {"full": True, "audio_only": True, "unconditional": False}
    got = twins.run(sides, model, ht.WINDOWS[1], SIGMAS)
    torch.testing.assert_close(got, standalone(twins, model), atol=1e-4, rtol=0)
    sighted = ht.Twins(ht.CONCAT, 2, guidance=FULL, same_length=same_length)
    assert (host(sighted, model) - got).abs().max() > 1e-3


def test_a_replaced_first_frame_is_seen_by_every_prediction():
    """The picture is in the latents themselves, so it stays, on both sides."""
    twins = ht.Twins(ht.REPLACE, guidance=TalkGuidance(5, 4, drop_reference=True))
    kept = ht.Twins(ht.REPLACE, guidance=FULL)
    model = twins.host_talking()
    assert torch.equal(host(twins, model), host(kept, model))
    assert torch.equal(standalone(twins, model), standalone(kept, model))


class Counted:
    """The batch sizes that the network was called with."""

    def __init__(self, model):
        self.rows = []
        network = model.model.diffusion_model
        self.hook = network.register_forward_pre_hook(
            lambda _, args, kwargs: self.rows.append(args[0].shape[0]), with_kwargs=True
        )


def test_a_replaced_frame_with_guidance_embedding_is_never_batched():
    for config, expected in ((ht.REPLACE, {1}), (ht.CONCAT, {3})):
        twins = ht.Twins(config, guidance=FULL, same_length=True)
        model = twins.host_talking()
        counted = Counted(model)
        host(twins, model)
        counted.hook.remove()
        assert set(counted.rows) == expected


def test_masks_of_padding_are_dropped_when_they_mask_nothing(config, talking):
    twins = ht.Twins(config, guidance=FULL, same_length=True)
    expected = host(twins, talking)
    conditioner, denoiser = twins.host(talking)
    for prompt in conditioner.prompts.values():
        prompt[0][1]["attention_mask"] = torch.ones(1, prompt[0][0].shape[1])
    got = twins.run((conditioner, denoiser), talking, ht.WINDOWS[1], SIGMAS)
    torch.testing.assert_close(got, expected)
    for prompt in conditioner.prompts.values():
        prompt[0][1]["attention_mask"][:, -2:] = 0
    padded = twins.run((conditioner, denoiser), talking, ht.WINDOWS[1], SIGMAS)
    assert torch.isfinite(padded).all() and not torch.equal(padded, got)


def test_a_prompt_of_another_text_encoder_is_refused(talking, config):
    twins = ht.Twins(config, guidance=SILENT)
    conditioner, _ = twins.host(talking)
    conditioner.prompts = {"positive": [[tiny.normal(1, 7, 24), {}]]}
    with pytest.raises(InputError, match="hunyuan_video"):
        conditioner.conditions(ht.WINDOWS[0], twins.reference)
    conditioner.prompts = {"positive": empty_prompt_for(talking)}
    conditioner.conditions(ht.WINDOWS[0], twins.reference)


def plain_sample(model, config):
    """A run of the host's own sampling that knows nothing of us."""
    noise = tiny.normal(1, *ht.LATENT, seed=3)
    values = {"pooled_output": tiny.normal(1, 768, seed=5)}
    condition = [[tiny.normal(1, 6, 24, seed=4), values]]
    return comfy.sample.sample_custom(
        model,
        noise,
        1.0,
        comfy.samplers.sampler_object("euler"),
        SIGMAS,
        condition,
        condition,
        torch.zeros_like(noise),
        seed=1,
        disable_pbar=True,
    )


def test_nothing_leaks_into_a_plain_sampler_that_uses_the_same_model(config, talking):
    untouched = ht.host_model(config)
    expected = plain_sample(untouched, config)
    twins = ht.Twins(config, 2, guidance=FULL, gates=ht.two_faces())
    host(twins, talking)
    assert torch.equal(plain_sample(talking, config), expected)
    assert "patches_replace" not in untouched.model_options["transformer_options"]


class Louder:
    """Another pack's replacement of a block."""

    def __init__(self):
        self.calls = 0

    def __call__(self, inputs, extra):
        self.calls += 1
        out = extra["original_block"](inputs)
        return {**out, "img": out["img"] * 1.5}


@pytest.mark.parametrize("place", [("double_block", 0), ("single_block", 1)])
def test_replacements_of_other_packs_still_run(place, config):
    foreign = Louder()
    model = ht.host_model(config)
    twins = ht.Twins(config, guidance=SILENT)
    without = host(twins, attach_adapter(model, ht.host_adapter()))
    other = model.clone()
    other.set_model_patch_replace(foreign, "dit", *place)
    patched = attach_adapter(other, ht.host_adapter())
    got = host(twins, patched)
    assert foreign.calls and (got - without).abs().max() > 1e-3
    deaf = ht.Twins(config, guidance=SILENT, strength=torch.zeros(1))
    assert (host(deaf, patched) - got).abs().max() > 1e-3, "the audio was lost"
    again = attach_adapter(patched, ht.host_adapter())
    torch.testing.assert_close(host(twins, again), got)


def test_attaching_twice_speaks_once(config, talking):
    twins = ht.Twins(config, guidance=SILENT)
    once = host(twins, talking)
    assert torch.equal(host(twins, attach_adapter(talking, ht.host_adapter())), once)
    other = attach_adapter(talking, ht.host_adapter(seed=30))
    assert not torch.equal(host(twins, other), once)


def test_the_adapter_is_loaded_and_freed_with_the_model(config, talking):
    assert len(talking.get_nested_additional_models()) == 1
    assert not ht.host_model(config).get_nested_additional_models()


def test_families_are_told_apart_and_do_not_mix(config, talking):
    expected = HUNYUAN_REPLACE if config is ht.REPLACE else HUNYUAN_CONCAT
    assert talking_family(talking) is expected
    wan = hm.host_model()
    assert talking_family(wan) is WAN
    with pytest.raises(InputError, match=r"is HunyuanVideo.*InfiniteTalk adapter"):
        attach_adapter(talking, hm.host_adapter())
    with pytest.raises(InputError, match=r"is Wan.*MagicInfinite adapter"):
        attach_adapter(wan, ht.host_adapter())


def test_only_models_that_hold_their_first_frame_stream(config, talking):
    from endless_talk.nodes.models import check_streams

    check_streams(hm.host_model())
    if config is ht.REPLACE:
        check_streams(talking)
    else:
        with pytest.raises(InputError, match="Sliding Window"):
            check_streams(talking)


def with_windows(model, length, overlap=1, **options):
    clone = model.clone()
    clone.model_options["context_handler"] = IndexListContextHandler(
        context_schedule=comfy.context_windows.get_matching_context_schedule("standard_static"),
        fuse_method=comfy.context_windows.get_matching_fuse_method("pyramid"),
        context_length=length,
        context_overlap=overlap,
        dim=2,
        **options,
    )
    return clone


class Window:
    def __init__(self, indices, anchor=None):
        self.index_list = indices
        if anchor is not None:
            self.causal_anchor_index = anchor


@pytest.mark.parametrize(
    ("window", "latents"),
    [(Window([0, 1]), [0, 1]), (Window([2, 3]), [2, 3]), (Window([2, 3], anchor=1), [1, 2, 3])],
)
def test_a_window_hears_its_own_latents_and_has_their_gates(window, latents):
    numbers = torch.arange(16.0).view(1, 1, 16, 1, 1, 1)
    value = comfy.conds.CONDRegular(numbers)
    cut = cut_audio(GROUPED_AUDIO, value, window, None, torch.device("cpu"), {})
    expected = [4 * latent + k for latent in latents for k in range(4)]
    assert cut.cond.flatten().tolist() == expected
    moving = comfy.conds.CONDRegular(torch.arange(4.0).view(1, 1, 4, 1))
    cut = cut_audio(GATES, moving, window, None, torch.device("cpu"), {})
    assert cut.cond.flatten().tolist() == latents
    still = comfy.conds.CONDRegular(torch.ones(1, 1, 1, 4))
    assert cut_audio(GATES, still, window, None, torch.device("cpu"), {}) is still


LONG = Chunk(0, 0, 25, 0, 25)


class Heard:
    """Shapes of latents, tokens and gates of every call of the network."""

    def __init__(self, model):
        self.calls = []
        network = model.model.diffusion_model
        self.hook = network.register_forward_pre_hook(self.look, with_kwargs=True)

    def look(self, _network, args, kwargs):
        hearing = kwargs["transformer_options"]["endless_talk"]
        self.calls.append((args[0].shape[2], hearing.tokens.shape[2], hearing.gates.shape[2]))


@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
def test_host_context_windows_cut_audio_and_gates_with_the_video(moving):
    gates = ht.two_faces(moving, latents=7)
    twins = ht.Twins(ht.CONCAT, 2, guidance=TalkGuidance(1, 2), gates=gates)
    talking = twins.host_talking()
    windowed = with_windows(talking, 4, 2, cond_retain_index_list="0", latent_retain_index_list="0")
    heard = Heard(windowed)
    out = host(twins, windowed, LONG)
    heard.hook.remove()
    assert torch.isfinite(out).all()
    assert {call[:2] for call in heard.calls} == {(4, 4), (5, 5)}, "an anchor is one latent more"
    assert all(call[2] == (call[0] if moving else 1) for call in heard.calls)
    other = ht.Twins(ht.CONCAT, 2, guidance=TalkGuidance(1, 2), gates=gates, voice_seed=50)
    assert (host(other, windowed, LONG) - out).abs().max() > 1e-3


def test_every_host_window_begins_with_the_clean_picture_of_a_replaced_frame():
    """With the host's anchor and the picture retained, as its node is to be set."""
    twins = ht.Twins(ht.REPLACE, guidance=SILENT)
    windowed = with_windows(
        twins.host_talking(), 4, 2, cond_retain_index_list="0", latent_retain_index_list="0"
    )
    heads, held = [], twins.held(windowed)
    hook = windowed.model.diffusion_model.register_forward_pre_hook(
        lambda _, args: heads.append((args[0].shape[2], args[0][0, :, :1].clone()))
    )
    out = host(twins, windowed, LONG)
    hook.remove()
    assert {length for length, _ in heads} == {4, 5}
    assert all(torch.equal(head, held) for _, head in heads)
    assert torch.equal(out[:, :1], held) and torch.isfinite(out).all()


def test_one_window_over_everything_is_no_window(config, talking):
    twins = ht.Twins(config, 2, guidance=FULL, gates=ht.two_faces(True))
    expected = host(twins, talking)
    torch.testing.assert_close(host(twins, with_windows(talking, 4)), expected)


ORIGINAL = (
    (r"^(time|guidance)_in\.in_layer", r"\1_in.mlp.0"),
    (r"^(time|guidance)_in\.out_layer", r"\1_in.mlp.2"),
    (r"c_embedder\.in_layer", "c_embedder.linear_1"),
    (r"c_embedder\.out_layer", "c_embedder.linear_2"),
    (r"t_embedder\.in_layer", "t_embedder.mlp.0"),
    (r"t_embedder\.out_layer", "t_embedder.mlp.2"),
    (r"((?:refiner\.blocks\.\d+\.|_)mlp)\.0", r"\1.fc1"),
    (r"((?:refiner\.blocks\.\d+\.|_)mlp)\.2", r"\1.fc2"),
    (r"_attn\.norm\.(q)uery_norm|_attn\.norm\.(k)ey_norm", r"_attn_\1\2_norm"),
    (r"\.norm\.(q)uery_norm|\.norm\.(k)ey_norm", r".\1\2_norm"),
    (r"_attn\.(qkv|proj)", r"_attn_\1"),
    (r"(modulation|_mod)\.lin\.", r"\1.linear."),
)
"""What HunyuanVideo calls the parts of ComfyUI's keys."""


def original_key(key):
    for ours, theirs in ORIGINAL:
        key = re.sub(ours, theirs, key)
    return key


def test_our_renaming_of_original_checkpoints_is_the_hosts(config):
    state = hm.copied(tiny.hybrid(config))
    original = {original_key(key): value for key, value in state.items()}
    assert len(set(original) - set(state)) > 40
    settings = ht.host_model(config).model.model_config
    assert set(settings.process_unet_state_dict(original)) == set(state)
    ours = to_comfy(original)
    assert set(ours) == set(state)
    assert all(torch.equal(ours[key], value) for key, value in state.items())
    wrapped = {f"module.{key}": value for key, value in original.items()}
    assert set(to_comfy(wrapped)) == set(state)


def test_a_widened_base_computes_what_it_did():
    narrow = hm.copied(tiny.hybrid(ht.replace(ht.CONCAT, in_channels=16)))
    twins = ht.Twins(ht.CONCAT, guidance=SILENT)
    text_only = ht.host_model(None, dict(narrow))
    widened = ht.host_model(None, widen_input(narrow))
    assert talking_family(widened) is HUNYUAN_CONCAT
    expected = plain_sample(text_only, None)
    torch.testing.assert_close(plain_sample(widened, None), expected)
    talking = attach_adapter(widened, ht.host_adapter())
    other = ht.Twins(ht.CONCAT, guidance=SILENT)
    other.reference = other.reference.flip(1)
    torch.testing.assert_close(host(other, talking), host(twins, talking))


@pytest.mark.parametrize("prefix", ["", "magicinfinite."])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_adapter_files_are_heard(prefix, dtype, tmp_path):
    twins = ht.Twins(ht.CONCAT, guidance=SILENT)
    exact = host(twins, twins.host_talking())
    state = hm.copied(tiny.hybrid_adapter())
    state = {f"{prefix}{key}": value.to(dtype) for key, value in state.items()}
    path = tmp_path / "magicinfinite.safetensors"
    save_file(state, path, describe_adapter(tiny.HYBRID_ADAPTER) if prefix else None)
    got = host(twins, attach_adapter(ht.host_model(ht.CONCAT), load_adapter(str(path))))
    deaf = ht.Twins(ht.CONCAT, guidance=SILENT, strength=torch.zeros(1))
    heard = (exact - host(deaf, deaf.host_talking())).abs().mean()
    bound = 1e-5 if dtype == torch.float32 else 0.1
    assert (got - exact).abs().mean() < bound * heard
