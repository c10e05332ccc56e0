"""Our part inside ComfyUI's own networks and samplers, in this process."""

import copy

import pytest
import torch
from host_tree import find_tree

if find_tree() is None:
    pytest.skip("there is no ComfyUI tree: set COMFYUI_PATH", allow_module_level=True)
comfy = pytest.importorskip("comfy_on_path").comfy

import host_models as hm  # noqa: E402  (needs ComfyUI)
import tiny  # noqa: E402
from comfy.context_windows import IndexListContextHandler  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from endless_talk.bridge import unheard_hooks  # noqa: E402
from endless_talk.bridge_audio import cut_audio  # noqa: E402
from endless_talk.errors import InputError  # noqa: E402
from endless_talk.model_loaders.adapter import (  # noqa: E402
    attach_adapter,
    attached_adapter,
    load_adapter,
)
from endless_talk.models.adapter import AUDIO, AudioAdapter  # noqa: E402
from endless_talk.samplers.guidance import AdaptiveProjectedGuidance, TalkGuidance  # noqa: E402
from endless_talk.samplers.plan import plan_chunks  # noqa: E402
from endless_talk.samplers.schedule import flow_sigmas, sigmas_from  # noqa: E402
from endless_talk.samplers.streaming import Sampling, stream_clip  # noqa: E402

SAMPLERS = ["euler", "euler_ancestral", "dpmpp_2m", "dpmpp_sde", "uni_pc", "lcm", "res_multistep"]
PLAN = plan_chunks(30, hm.CHUNK_FRAMES, hm.CONTEXT_FRAMES)
SIGMAS = flow_sigmas(3, 7.0)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture
def talking():
    return attach_adapter(hm.host_model(), hm.host_adapter())


def held_for(chunk):
    return tiny.normal(16, 3 if chunk.index else 1, 8, 8, seed=5)


def one_chunk(twins, side, chunk=PLAN[1], sigmas=SIGMAS, **source):
    conditioner, denoiser, _ = side
    conditions = conditioner.conditions(chunk, twins.reference)
    noise, held = twins.noise(chunk.index), held_for(chunk)
    return denoiser.denoise(noise, conditions, sigmas, held=held, **source)


@pytest.mark.parametrize("speakers", [1, 2])
@pytest.mark.parametrize(
    "guidance",
    [TalkGuidance(5, 4), TalkGuidance(1, 2), TalkGuidance(), AdaptiveProjectedGuidance()],
    ids=["5/4", "1/2", "none", "apg"],
)
def test_host_equals_standalone_chunk_by_chunk(speakers, guidance, talking):
    twins = hm.Twins(speakers, guidance=guidance)
    for chunk in PLAN[:2]:
        ours = one_chunk(twins, twins.standalone(), chunk)
        theirs = one_chunk(twins, twins.host(talking), chunk)
        torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=0)


@pytest.mark.parametrize("guidance", [TalkGuidance(1, 2), TalkGuidance(5, 4), TalkGuidance()])
@pytest.mark.parametrize("speakers", [1, 2])
def test_strength_reaches_only_the_branches_that_hear(speakers, guidance, talking):
    """The host may batch a branch without the voice with one that has it."""
    twins = hm.Twins(speakers, guidance=guidance, strength=torch.tensor([0.5, 1.5][:speakers]))
    ours = one_chunk(twins, twins.standalone())
    torch.testing.assert_close(one_chunk(twins, twins.host(talking)), ours, atol=1e-4, rtol=0)
    plain = hm.Twins(speakers, guidance=guidance)
    assert (one_chunk(plain, plain.standalone()) - ours).abs().max() > 1e-3


def from_source(start, pinned):
    """Latents of a source to begin from, and to keep in the left half, the head included."""
    mask = torch.zeros(1, 5, 8, 8)
    mask[..., :4] = 1
    source = {"start": tiny.normal(16, 5, 8, 8, seed=21)} if start else {}
    return source | ({"pinned": (tiny.normal(16, 5, 8, 8, seed=22), mask)} if pinned else {})


@pytest.mark.parametrize(
    ("start", "pinned"), [(True, False), (False, True), (True, True)], ids=["start", "pin", "both"]
)
@pytest.mark.parametrize("guidance", [TalkGuidance(5, 4), TalkGuidance()], ids=["5/4", "none"])
def test_host_equals_standalone_with_a_source(start, pinned, guidance, talking):
    twins = hm.Twins(2, guidance=guidance)
    sigmas = sigmas_from(flow_sigmas(4, 7.0), 0.8) if start else SIGMAS
    source = from_source(start, pinned)
    for chunk in PLAN[:2]:
        ours = one_chunk(twins, twins.standalone(), chunk, sigmas, **source)
        theirs = one_chunk(twins, twins.host(talking), chunk, sigmas, **source)
        torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=0)
        plain = one_chunk(twins, twins.host(talking), chunk, sigmas)
        free = (theirs - plain)[:, 3:, :, 4:].abs().max()
        assert free > 1e-2, "nothing of the source reaches what is made"


@pytest.mark.parametrize("pinned", [False, True])
def test_host_equals_standalone_from_a_low_level_without_a_source(pinned, talking):
    twins, sigmas = hm.Twins(guidance=TalkGuidance()), torch.tensor([0.4, 0.2, 0.0])
    source = from_source(False, pinned)
    for chunk in PLAN[:2]:
        ours = one_chunk(twins, twins.standalone(), chunk, sigmas, **source)
        theirs = one_chunk(twins, twins.host(talking), chunk, sigmas, **source)
        torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_pinned_latents_are_exact_after_every_sampler(sampler, talking):
    twins = hm.Twins(guidance=TalkGuidance(1, 2))
    source = from_source(True, True)
    out = one_chunk(twins, twins.host(talking, sampler), **source)
    assert torch.equal(out[:, :3], held_for(PLAN[1])), "context comes before what is pinned"
    assert torch.equal(out[:, 3:, :, :4], source["pinned"][0][:, 3:, :, :4])
    assert torch.isfinite(out).all()


def test_image_tokens_are_made_once_for_every_reference_frame(talking):
    twins = hm.Twins(guidance=TalkGuidance())
    expected = one_chunk(twins, twins.host(talking))
    asked = []

    def tokens(frame):
        asked.append(frame)
        return twins.image if frame is twins.reference else None

    conditioner, denoiser, _ = twins.host(talking)
    conditioner.image_tokens = tokens
    same = one_chunk(twins, (conditioner, denoiser, None))
    assert torch.equal(one_chunk(twins, (conditioner, denoiser, None)), same)
    assert len(asked) == 1 and torch.equal(same, expected)
    other = twins.reference.flip(2)
    branches = conditioner.conditions(PLAN[1], other).branches
    assert asked[1] is other
    assert all("clip_vision_output" not in values for [[_, values]] in branches.values())


class Recorder:
    """A sink that keeps frames, for comparison only."""

    def __init__(self):
        self.frames = []

    def append(self, frames):
        self.frames.append(frames.clone())

    def commit(self, state):
        pass

    def recall(self, chunk):
        return None


def run_free(twins, side):
    conditioner, denoiser, codec = side
    sink = Recorder()
    stream_clip(
        PLAN,
        reference=twins,
        conditioner=conditioner,
        denoiser=denoiser,
        codec=codec,
        sink=sink,
        sampling=lambda chunk: Sampling(twins.noise(chunk.index), SIGMAS),
    )
    return torch.cat(sink.frames, dim=1)


@pytest.mark.parametrize("speakers", [1, 2])
def test_host_equals_standalone_running_free(speakers, talking):
    twins = hm.Twins(speakers, guidance=TalkGuidance(5, 4))
    ours, theirs = run_free(twins, twins.standalone()), run_free(twins, twins.host(talking))
    assert ours.shape[1] == 30
    torch.testing.assert_close(theirs, ours, atol=1e-3, rtol=0)


def test_audio_mask_strength_and_context_each_change_the_result(talking):
    guidance = TalkGuidance(1, 2)
    twins = hm.Twins(2, guidance=guidance)
    plain = one_chunk(twins, twins.host(talking))
    swapped = twins.masks[[1, 0, 2]]
    for other in (
        hm.Twins(2, guidance=guidance, voice_seed=50),
        hm.Twins(2, guidance=guidance, masks=swapped),
        hm.Twins(2, guidance=guidance, strength=torch.tensor([0.0, 1.0])),
    ):
        assert (one_chunk(other, other.host(talking)) - plain).abs().max() > 1e-3
    conditioner, denoiser, _ = twins.host(talking)
    conditions = conditioner.conditions(PLAN[1], twins.reference)
    held = held_for(PLAN[1]) + 0.5
    moved = denoiser.denoise(twins.noise(1), conditions, SIGMAS, held=held)
    assert (moved - plain)[:, 3:].abs().max() > 1e-3


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_context_is_exact_after_every_sampler(sampler, talking):
    twins = hm.Twins(guidance=TalkGuidance(1, 2))
    sigmas = SIGMAS.clone()
    out = one_chunk(twins, twins.host(talking, sampler), sigmas=sigmas)
    assert torch.equal(sigmas, SIGMAS), "the next chunk would get another schedule"
    assert torch.equal(out[:, :3], held_for(PLAN[1]))
    assert torch.isfinite(out).all()
    assert torch.equal(out, one_chunk(twins, twins.host(talking, sampler))), "not reproducible"


def plain_sample(model):
    """A run of the host's own sampling that knows nothing of us."""
    noise = tiny.normal(1, 16, 5, 8, 8, seed=3)
    condition = [[tiny.normal(1, 6, 32, seed=4), {}]]
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


def test_nothing_leaks_into_a_plain_sampler_that_uses_the_same_model(talking):
    untouched = hm.host_model()
    expected = plain_sample(untouched)
    twins = hm.Twins(2, guidance=TalkGuidance(5, 4))
    one_chunk(twins, twins.host(talking))
    assert torch.equal(plain_sample(talking), expected)
    assert "patches" not in untouched.model_options["transformer_options"]


def test_attaching_twice_speaks_once(talking):
    twins = hm.Twins(guidance=TalkGuidance())
    once = one_chunk(twins, twins.host(talking))
    again = attach_adapter(talking, hm.host_adapter())
    assert torch.equal(one_chunk(twins, twins.host(again)), once)
    other = attach_adapter(talking, hm.host_adapter(seed=30))
    assert not torch.equal(one_chunk(twins, twins.host(other)), once)
    assert attached_adapter(talking) is not attached_adapter(other)


def test_a_schedule_of_the_host_shifts_nothing_of_ours(talking):
    """ModelSamplingSD3 changes the model's own sigmas; ours are given."""
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    shifted = ModelSamplingSD3().patch(talking, 3.0)[0]
    twins = hm.Twins(guidance=TalkGuidance())
    expected = one_chunk(twins, twins.host(talking))
    torch.testing.assert_close(one_chunk(twins, twins.host(shifted)), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_other_weight_types_stay_close(dtype):
    twins = hm.Twins(2, guidance=TalkGuidance(1, 2))
    exact = one_chunk(twins, twins.host())
    model = attach_adapter(hm.host_model(dtype=dtype), hm.host_adapter())
    got = one_chunk(twins, twins.host(model))
    assert torch.isfinite(got).all()
    bound = {torch.float16: 0.01, torch.bfloat16: 0.05, torch.float8_e4m3fn: 0.3}[dtype]
    assert (got - exact).abs().mean() < bound * exact.abs().mean()
    assert torch.equal(got[:, :3], exact[:, :3])


def adapter_file(path, kind):
    """The tiny adapter as users have it: one float type, or fp8 with or without scales."""
    state = hm.copied(tiny.randomized(AudioAdapter(hm.ADAPTER), 1))
    if kind == "mixed":
        state = {key: value.half() if value.ndim == 2 else value for key, value in state.items()}
    if kind in ("fp8", "scaled fp8"):
        for key in [key for key, value in state.items() if value.ndim == 2]:
            scale = state[key].abs().max() / 200 if kind == "scaled fp8" else torch.tensor(1.0)
            state[key] = (state[key] / scale).to(torch.float8_e4m3fn)
            if kind == "scaled fp8":
                state[key.replace(".weight", ".scale_weight")] = scale
    if kind == "scaled fp8":
        state["scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)
    save_file(state, path)
    return str(path)


@pytest.mark.parametrize(
    ("kind", "bound"), [("fp32", 1e-4), ("mixed", 1e-2), ("fp8", 0.2), ("scaled fp8", 0.2)]
)
def test_adapter_files_of_every_float_type_are_heard(kind, bound, tmp_path, talking):
    twins = hm.Twins(2, guidance=TalkGuidance())
    exact = one_chunk(twins, twins.host(talking))
    silent = torch.zeros(2)
    deaf = one_chunk(twins, hm.Twins(2, guidance=TalkGuidance(), strength=silent).host(talking))
    path = adapter_file(tmp_path / "adapter.safetensors", kind)
    loaded = load_adapter(path)
    got = one_chunk(twins, twins.host(attach_adapter(hm.host_model(), loaded)))
    heard = (exact - deaf).abs().mean()
    assert (got - exact).abs().mean() <= bound * heard
    if kind == "scaled fp8":
        assert {p.dtype for p in loaded.model.parameters()} == {torch.float16}


def with_windows(model, length=3, overlap=1):
    clone = model.clone()
    clone.model_options["context_handler"] = IndexListContextHandler(
        context_schedule=comfy.context_windows.get_matching_context_schedule("standard_static"),
        fuse_method=comfy.context_windows.get_matching_fuse_method("pyramid"),
        context_length=length,
        context_overlap=overlap,
        dim=2,
    )
    return clone


def test_host_context_windows_cut_the_audio_with_the_video(talking):
    twins = hm.Twins(2, guidance=TalkGuidance(1, 2))
    windowed = with_windows(talking)
    handler = windowed.model_options["context_handler"]
    before = copy.deepcopy(handler.callbacks)
    out = one_chunk(twins, twins.host(windowed))
    assert torch.isfinite(out).all() and torch.equal(out[:, :3], held_for(PLAN[1]))
    assert handler.callbacks == before, "the handler that other nodes share was changed"
    deaf = hm.Twins(2, guidance=TalkGuidance(1, 2), voice_seed=50)
    assert (one_chunk(deaf, deaf.host(windowed)) - out)[:, 3:].abs().max() > 1e-3


def test_one_window_over_everything_is_no_window(talking):
    twins = hm.Twins(2, guidance=TalkGuidance(5, 4))
    expected = one_chunk(twins, twins.host(talking))
    got = one_chunk(twins, twins.host(with_windows(talking, length=5)))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


class Window:
    def __init__(self, indices, anchor=None):
        self.index_list = indices
        if anchor is not None:
            self.causal_anchor_index = anchor


@pytest.mark.parametrize(
    ("window", "frames"),
    [
        (Window([0, 1, 2]), list(range(9))),
        (Window([2, 3]), [8, 9, 10, 11, 12]),
        (Window([3, 4], anchor=2), list(range(8, 17))),
        (Window([4, 0]), [16, -3, -2, -1, 0]),
    ],
)
def test_a_window_hears_the_pixel_frames_of_its_latents(window, frames):
    numbers = torch.arange(17.0).view(1, 1, 17, 1, 1, 1)
    value = comfy.conds.CONDRegular(numbers)
    cut = cut_audio(AUDIO, value, window, None, torch.device("cpu"), {})
    assert cut.cond.flatten().tolist() == [frame % 17 for frame in frames]
    assert cut_audio("c_crossattn", value, window, None, torch.device("cpu"), {}) is None


@pytest.mark.parametrize("name", ["EasyCacheNode", "LazyCacheNode"])
def test_step_caches_act_and_start_afresh_in_every_chunk(name, talking):
    from comfy_extras import nodes_easycache

    node = getattr(nodes_easycache, name)
    cached = node.execute(talking, 0.9, 0.0, 1.0, False).args[0]
    twins = hm.Twins(guidance=TalkGuidance(1, 2))
    sigmas = flow_sigmas(8, 7.0)
    exact = one_chunk(twins, twins.host(talking), sigmas=sigmas)
    first = one_chunk(twins, twins.host(cached), sigmas=sigmas)
    assert (first - exact).abs().max() > 1e-4, "the cache did nothing"
    one_chunk(twins, twins.host(cached), PLAN[0], sigmas)
    assert torch.equal(one_chunk(twins, twins.host(cached), sigmas=sigmas), first)


def test_a_compiled_model_follows_audio_strength_and_speakers(talking):
    """As the host's TorchCompileModel compiles: nothing in transformer_options is guarded."""
    from comfy_api.torch_helpers import set_torch_compile_wrapper
    from comfy_extras.nodes_torch_compile import skip_torch_compile_dict

    compiled = talking.clone()
    set_torch_compile_wrapper(
        compiled, backend="eager", options={"guard_filter_fn": skip_torch_compile_dict}
    )
    cases = [
        hm.Twins(1, guidance=TalkGuidance()),
        hm.Twins(1, guidance=TalkGuidance(), voice_seed=50),
        hm.Twins(1, guidance=TalkGuidance(), strength=torch.tensor([0.3])),
        hm.Twins(2, guidance=TalkGuidance()),
        hm.Twins(2, guidance=TalkGuidance(1, 2), voice_seed=70),
    ]
    for twins in cases:
        expected = one_chunk(twins, twins.host(talking))
        got = one_chunk(twins, twins.host(compiled))
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_post_cfg_functions_run_and_what_cannot_run_is_named(talking):
    twins = hm.Twins(guidance=TalkGuidance(1, 2))
    expected = one_chunk(twins, twins.host(talking))
    patched = talking.clone()
    patched.set_model_sampler_post_cfg_function(lambda args: args["denoised"] * 0.5)
    changed = one_chunk(twins, twins.host(patched))
    assert (changed - expected)[:, 3:].abs().max() > 1e-3
    assert torch.equal(changed[:, :3], expected[:, :3])
    assert unheard_hooks(talking) == []
    patched.set_model_sampler_cfg_function(lambda args: args["cond"])
    assert len(unheard_hooks(patched)) == 1


@pytest.mark.parametrize("work", ["encode", "decode"])
def test_a_cancel_is_heard_within_the_work_of_the_vae(work, monkeypatch, talking):
    _, _, codec = hm.Twins(guidance=TalkGuidance()).host(talking)
    looks = []

    def third_look():
        looks.append(1)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(
        comfy.model_management, "throw_exception_if_processing_interrupted", third_look
    )
    with pytest.raises(KeyboardInterrupt):
        if work == "encode":
            codec.encode(tiny.normal(3, 33, 64, 64))
        else:
            next(iter(codec.decode(tiny.normal(16, 9, 8, 8))))
    network = codec.vae.first_stage_model
    assert not network.encoder._forward_pre_hooks and not network.decoder._forward_pre_hooks


def test_the_adapter_is_loaded_and_freed_with_the_model(talking):
    twins = hm.Twins(guidance=TalkGuidance())
    one_chunk(twins, twins.host(talking))
    assert [patcher.model for patcher in talking.get_nested_additional_models()] == [
        attached_adapter(talking).model
    ]


def test_models_that_cannot_talk_are_refused():
    from dataclasses import replace

    from endless_talk.models.wan import WanModel

    flat = replace(hm.WAN, in_channels=16, image_branch=False, image_dim=None)
    state = hm.copied(tiny.randomized(WanModel(flat)))
    with pytest.raises(InputError, match="text-to-video"):
        attach_adapter(hm.host_model(state), hm.host_adapter())
    deep = hm.copied(tiny.randomized(WanModel(replace(hm.WAN, layers=3))))
    with pytest.raises(InputError, match="3 blocks"):
        attach_adapter(hm.host_model(deep), hm.host_adapter())
