"""Denoising windows inside ComfyUI's own networks and samplers, in this process."""

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

from endless_talk import bridge_windows  # noqa: E402
from endless_talk.bridge import HostConditioner  # noqa: E402
from endless_talk.bridge_windows import (  # noqa: E402
    HostWindowDenoiser,
    WindowGuider,
    sampler_memory,
    shown_first,
)
from endless_talk.model_loaders.adapter import attach_adapter  # noqa: E402
from endless_talk.samplers.guidance import AdaptiveProjectedGuidance, TalkGuidance  # noqa: E402
from endless_talk.samplers.noise import chunk_seed  # noqa: E402
from endless_talk.samplers.schedule import flow_sigmas  # noqa: E402
from endless_talk.samplers.sliding import (  # noqa: E402
    LATENTS,
    FirstFrame,
    FirstSlot,
    Sweeper,
    sample_windows,
)
from endless_talk.samplers.window_denoise import WindowEuler  # noqa: E402
from endless_talk.samplers.windows import plan_windows  # noqa: E402

SIGMAS = flow_sigmas(4, 3.0)
TOTAL = 41
"""Frames: 11 latents, in windows of 5 that share 2."""


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def talking():
    return attach_adapter(hm.host_model(), hm.host_adapter())


def noise_of(plan):
    return tiny.normal(16, plan.latents, 8, 8, seed=8)


def sweeper_of(twins, conditioner, codec, total=TOTAL, *, window=17, **options):
    return Sweeper(
        plan_windows(total, window, 2),
        lambda chunk: conditioner.conditions(chunk, twins.reference),
        codec.encode(twins.reference[:, None]),
        **options,
    )


def ours(twins, total=TOTAL, **options):
    conditioner, denoiser, codec = twins.standalone()
    sweeper = sweeper_of(twins, conditioner, codec, total, **options)
    euler = WindowEuler(denoiser.predictor, twins.guidance)
    return sample_windows(sweeper, euler, lambda: noise_of(sweeper.plan), SIGMAS)


def theirs(twins, model, total=TOTAL, *, sampler="euler", states=None, sigmas=SIGMAS, **options):
    conditioner, _, codec = twins.host(model)
    sweeper = sweeper_of(twins, conditioner, codec, total, **options)
    sampler = comfy.samplers.sampler_object(sampler)
    denoiser = HostWindowDenoiser(model, sampler, twins.guidance, sweeper.plan, chunk_seed(7, 0))
    noise = lambda: noise_of(sweeper.plan)  # noqa: E731
    return sample_windows(sweeper, denoiser, noise, sigmas, states=states)


@pytest.mark.parametrize("speakers", [1, 2])
@pytest.mark.parametrize(
    "guidance",
    [TalkGuidance(5, 4), TalkGuidance(), AdaptiveProjectedGuidance()],
    ids=["5/4", "none", "apg"],
)
def test_host_equals_standalone(speakers, guidance, talking):
    twins = hm.Twins(speakers, guidance=guidance)
    got = theirs(twins, talking)
    torch.testing.assert_close(got, ours(twins), atol=1e-3, rtol=0)
    deaf = hm.Twins(speakers, guidance=guidance, voice_seed=50)
    assert (theirs(deaf, talking) - got).abs().max() > 1e-3


def test_so_it_does_with_the_estimate_of_the_step_before(talking):
    twins = hm.Twins(guidance=TalkGuidance(1, 2))
    got = theirs(twins, talking, first_frame=FirstFrame.PREVIOUS)
    expected = ours(twins, first_frame=FirstFrame.PREVIOUS)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)
    assert (got - theirs(twins, talking)).abs().max() > 1e-3


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "euler_ancestral", "uni_pc"])
@pytest.mark.parametrize("guidance", [TalkGuidance(5, 4), TalkGuidance()], ids=["5/4", "none"])
def test_one_window_is_plain_sampling_to_the_last_bit(sampler, guidance, talking):
    twins = hm.Twins(2, guidance=guidance)
    conditioner, plain, codec = twins.host(talking, sampler)
    plan = plan_windows(17, 17, 2)
    expected = plain.denoise(
        noise_of(plan),
        conditioner.conditions(plan.windows[0].chunk, twins.reference),
        SIGMAS,
        held=codec.encode(twins.reference[:, None]),
    )
    assert torch.equal(theirs(twins, talking, 17, sampler=sampler), expected)


class Memory:
    def __init__(self, dies_after=None):
        self.saved, self.dies_after = {}, dies_after

    def latest(self):
        return max(self.saved.items()) if self.saved else None

    def save(self, step, state):
        self.saved = {step: {name: tensor.clone() for name, tensor in state.items()}}
        if step == self.dies_after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("first_frame", [FirstFrame.EVERY, FirstFrame.PREVIOUS])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_clip_that_died_after_a_step_goes_on_to_the_same_bits(step, first_frame, talking):
    twins = hm.Twins(guidance=TalkGuidance(1, 2))
    whole = theirs(twins, talking, first_frame=first_frame)
    states = Memory(dies_after=step)
    with pytest.raises(KeyboardInterrupt):
        theirs(twins, talking, states=states, first_frame=first_frame)
    states.dies_after = None
    assert torch.equal(theirs(twins, talking, states=states, first_frame=first_frame), whole)
    assert torch.equal(states.saved[4][LATENTS], whole)


def test_stepping_is_what_one_call_over_all_steps_gives(talking):
    twins = hm.Twins(guidance=TalkGuidance(1, 2))
    conditioner, _, codec = twins.host(talking)
    sweeper = sweeper_of(twins, conditioner, codec)
    euler = comfy.samplers.sampler_object("euler")
    denoiser = HostWindowDenoiser(talking, euler, twins.guidance, sweeper.plan, 3)
    noise = noise_of(sweeper.plan)
    at_once = denoiser.denoise_windows(sweeper, noise, SIGMAS, begun=False)
    torch.testing.assert_close(theirs(twins, talking), at_once, atol=1e-4, rtol=0)


def test_a_range_that_starts_next_to_pure_noise_loses_nothing(talking):
    """At 40 steps of shift 11 the first stop is at 0.9977, where 1 - sigma is small."""
    twins = hm.Twins(guidance=TalkGuidance())
    sigmas = torch.tensor([1.0, 0.9977, 0.5, 0.0])
    got = theirs(twins, talking, sigmas=sigmas)
    conditioner, denoiser, codec = twins.standalone()
    sweeper = sweeper_of(twins, conditioner, codec)
    euler = WindowEuler(denoiser.predictor, twins.guidance)
    expected = sample_windows(sweeper, euler, lambda: noise_of(sweeper.plan), sigmas)
    torch.testing.assert_close(got, expected, atol=1e-3, rtol=0)


def test_which_samplers_may_stop_between_steps():
    sampler = comfy.samplers.sampler_object
    assert sampler_memory(sampler("euler")) == ""
    for name in ("dpmpp_2m", "euler_ancestral", "uni_pc", "lcm", "res_multistep"):
        assert sampler_memory(sampler(name))
    assert sampler_memory(comfy.samplers.ksampler("euler", {"s_churn": 1.0}))


def test_the_networks_see_no_more_than_a_window(talking):
    lengths = []

    def seen(executor, x, *args, **kwargs):
        lengths.append(x.shape[2])
        return executor(x, *args, **kwargs)

    spied = talking.clone()
    spied.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL, "spy", seen)
    twins = hm.Twins(guidance=TalkGuidance())
    theirs(twins, spied)
    assert lengths == [5] * (4 * 3)


def with_windows(model, *, freenoise=False):
    clone = model.clone()
    clone.model_options["context_handler"] = IndexListContextHandler(
        context_schedule=comfy.context_windows.get_matching_context_schedule("standard_static"),
        fuse_method=comfy.context_windows.get_matching_fuse_method("pyramid"),
        context_length=3,
        context_overlap=1,
        dim=2,
        freenoise=freenoise,
    )
    comfy.context_windows.create_prepare_sampling_wrapper(clone)
    if freenoise:
        comfy.context_windows.create_sampler_sample_wrapper(clone)
    return clone


@pytest.mark.parametrize("freenoise", [False, True])
def test_our_windows_are_not_cut_again_by_those_of_the_host(freenoise, talking):
    twins = hm.Twins(2, guidance=TalkGuidance(1, 2))
    model = with_windows(talking, freenoise=freenoise)
    handler = model.model_options["context_handler"]
    assert torch.equal(theirs(twins, model), theirs(twins, talking))
    assert handler.freenoise == freenoise and "should_use_context" not in vars(handler)


@pytest.mark.parametrize("freenoise", [False, True])
def test_one_window_is_cut_by_those_of_the_host(freenoise, talking):
    twins = hm.Twins(2, guidance=TalkGuidance(1, 2))
    model = with_windows(talking, freenoise=freenoise)
    got = theirs(twins, model, window=129)
    assert torch.isfinite(got).all() and got.shape[1] == 11
    assert (got - theirs(twins, talking, window=129)).abs().max() > 1e-3
    deaf = hm.Twins(2, guidance=TalkGuidance(1, 2), voice_seed=50)
    assert (theirs(deaf, model, window=129) - got).abs().max() > 1e-3


def test_it_may_be_stopped_between_two_windows(talking):
    twins, looks = hm.Twins(guidance=TalkGuidance()), []

    def look(window):
        looks.append(window.index)
        if len(looks) == 2:
            comfy.model_management.interrupt_current_processing()
        comfy.model_management.throw_exception_if_processing_interrupted()

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        theirs(twins, talking, look=look)
    assert looks == [0, 1]
    assert torch.equal(theirs(twins, talking), theirs(twins, talking)), "and nothing is left of it"


@pytest.mark.parametrize(("clip_latents", "frames"), [(100, 7), (2, 13)], ids=["short", "long"])
def test_memory_is_reckoned_for_a_window(clip_latents, frames, talking, monkeypatch):
    """5 latents and a quarter for the adapter; in a long clip, here of 11, also for the clip's."""
    monkeypatch.setattr(bridge_windows, "CLIP_LATENTS", clip_latents)
    asked, made = [], comfy.sampler_helpers.estimate_memory

    def reckoned(model, shape, conds):
        asked.append(list(shape))
        return made(model, shape, conds)

    monkeypatch.setattr(comfy.sampler_helpers, "estimate_memory", reckoned)
    theirs(hm.Twins(guidance=TalkGuidance()), talking)
    assert asked and all(shape[2] == frames for shape in asked)


def test_a_window_has_the_same_name_at_every_step(talking, monkeypatch):
    """By it the host's caches and the adapter's know what they have seen before."""
    names, made = {}, WindowGuider.window_conds

    def window_conds(self, window, part, slot):
        conds = made(self, window, part, slot)
        found = tuple(cond["uuid"] for prompt in conds.values() for cond in prompt)
        names.setdefault(window.index, []).append(found)
        return conds

    monkeypatch.setattr(WindowGuider, "window_conds", window_conds)
    theirs(hm.Twins(guidance=TalkGuidance(5, 4)), talking, sampler="dpmpp_2m")
    assert len(names) > 2
    assert all(len(seen) == 4 and len(set(seen)) == 1 for seen in names.values())
    every = [name for seen in names.values() for name in seen[0]]
    assert len(set(every)) == len(every) == 3 * len(names)


def test_nothing_is_kept_of_the_conditions_of_windows(talking, monkeypatch):
    """Those of an hour would be 17 GB; one window's are there at a time."""
    import gc
    import weakref

    alive = []
    made = HostConditioner.conditions

    def conditions(self, chunk, reference):
        out = made(self, chunk, reference)
        alive.append(weakref.ref(out))
        gc.collect()
        assert sum(each() is not None for each in alive) <= 3
        return out

    monkeypatch.setattr(HostConditioner, "conditions", conditions)
    theirs(hm.Twins(guidance=TalkGuidance()), talking)
    assert len(alive) > 12


def test_what_a_concat_condition_shows_first():
    concat = comfy.conds.CONDNoiseShape(tiny.normal(1, 17, 5, 2, 2))
    conds = {"c_concat": concat, "other": 1}
    assert shown_first(conds, FirstSlot()) is conds
    assert not shown_first(conds, FirstSlot(bare=True))["c_concat"].cond.any()
    latent = tiny.normal(16, 1, 2, 2, seed=2)
    shown = shown_first(conds, FirstSlot(shown=latent))["c_concat"].cond
    assert torch.equal(shown[0, :16, :1], latent)
    assert torch.equal(shown[:, :, 1:], concat.cond[:, :, 1:])
    assert torch.equal(shown[:, 16:], concat.cond[:, 16:]), "the mask says that it is known"
    blind = {"c_concat": comfy.conds.CONDNoiseShape(torch.zeros(1, 17, 5, 2, 2))}
    assert shown_first(blind, FirstSlot(shown=latent)) is blind, "no reference stays none"


def test_a_model_without_a_held_frame_is_left_alone(talking, monkeypatch):
    helds = []
    twins = hm.Twins(guidance=TalkGuidance())
    step = WindowGuider.window_conds

    def spy(self, window, part, slot):
        helds.append(slot.held)
        return step(self, window, part, slot)

    monkeypatch.setattr(WindowGuider, "window_conds", spy)
    free = theirs(twins, talking, holds=False)
    assert helds and all(held is None for held in helds)
    assert (free - theirs(twins, talking))[:, :1].abs().max() > 1e-3


@pytest.mark.parametrize("moving", [False, True], ids=["still faces", "moving faces"])
@pytest.mark.parametrize(
    ("config", "holds"), [(ht.CONCAT, False), (ht.REPLACE, True)], ids=["concat", "replace"]
)
def test_hunyuan_equals_standalone(config, holds, moving):
    guidance = TalkGuidance(1, 2)
    twins = ht.Twins(config, 2, guidance=guidance, gates=ht.two_faces(moving))
    model = twins.host_talking()
    plan = plan_windows(33, 13, 2)
    latent = twins.codec(model).encode(twins.reference[:, None])
    results = []
    for conditioner, denoiser in (twins.standalone(model), twins.host(model)[:2]):
        sweeper = Sweeper(
            plan,
            lambda chunk, made=conditioner: made.conditions(chunk, twins.reference),
            latent,
            holds=holds,
        )
        ours = hasattr(denoiser, "predictor")
        euler = comfy.samplers.sampler_object("euler")
        windowed = (
            WindowEuler(denoiser.predictor, guidance)
            if ours
            else HostWindowDenoiser(model, euler, guidance, plan, 3)
        )
        results.append(sample_windows(sweeper, windowed, lambda: noise_of(plan), SIGMAS))
    torch.testing.assert_close(results[1], results[0], atol=1e-3, rtol=0)
    assert torch.equal(results[1][:, :1], latent) == holds


def test_hunyuan_windows_show_what_their_first_frame_is_to_be(monkeypatch):
    twins = ht.Twins(ht.CONCAT, guidance=TalkGuidance())
    model = twins.host_talking()
    conditioner = twins.host(model)[0]
    plan = plan_windows(33, 13, 2)
    latent = twins.codec(model).encode(twins.reference[:, None])
    seen, make = [], WindowGuider.window_conds

    def spy(self, window, part, slot):
        conds = make(self, window, part, slot)
        concat = conds["full"][0]["model_conds"]["c_concat"].cond
        seen.append((window.index, concat[0, :16, :1].clone(), bool(concat.any())))
        return conds

    monkeypatch.setattr(WindowGuider, "window_conds", spy)

    def made(first_frame):
        seen.clear()
        sweeper = Sweeper(
            plan,
            lambda chunk: conditioner.conditions(chunk, twins.reference),
            latent,
            first_frame=first_frame,
            holds=False,
        )
        euler = comfy.samplers.sampler_object("euler")
        denoiser = HostWindowDenoiser(model, euler, TalkGuidance(), plan, 3)
        return sample_windows(sweeper, denoiser, lambda: noise_of(plan), SIGMAS)

    every = made(FirstFrame.EVERY)
    assert all(there for _, _, there in seen)
    bare = made(FirstFrame.FIRST_ONLY)
    assert all(there == (index == 0) for index, _, there in seen)
    previous = made(FirstFrame.PREVIOUS)
    later = [shown for index, shown, _ in seen if index == 1]
    changed = [not torch.equal(shown, later[0]) for shown in later]
    assert changed == [float(sigma) < 0.6 for sigma in SIGMAS[:-1]] and any(changed)
    assert not torch.equal(every, bare) and not torch.equal(every, previous)
