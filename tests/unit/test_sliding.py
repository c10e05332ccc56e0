"""A clip denoised as a whole, on tiny real networks: windows and resuming."""

import itertools

import pytest
import tiny
import torch

from endless_talk.audio.windows import TensorFeatures
from endless_talk.samplers.blend import Blend, blend_weights, hides_first
from endless_talk.samplers.denoise import EulerDenoiser
from endless_talk.samplers.guidance import AdaptiveProjectedGuidance, TalkGuidance
from endless_talk.samplers.plan import plan_chunks
from endless_talk.samplers.schedule import flow_sigmas
from endless_talk.samplers.sliding import (
    ESTIMATE,
    LATENTS,
    FirstFrame,
    Sweeper,
    sample_windows,
    step_ranges,
)
from endless_talk.samplers.window_denoise import WindowEuler
from endless_talk.samplers.windows import plan_windows
from endless_talk.standalone import WanConditioner, WanPredictor

SIDE, WINDOW, OVERLAP = 16, 17, 2
SIGMAS = flow_sigmas(4, 3.0)
TOTAL = 41
"""Frames: 11 latents, in windows of 5 that share 2."""


class Predictor(WanPredictor):
    """Counts its calls, and remembers what it saw in the first slot."""

    def __init__(self, *args):
        super().__init__(*args)
        self.calls, self.firsts, self.lengths = 0, [], []

    def predict(self, latents, sigma, branch, conditions):
        self.calls += 1
        self.firsts.append(latents[:, :1].clone())
        self.lengths.append(latents.shape[1])
        return super().predict(latents, sigma, branch, conditions)


class Scene:
    """One clip's worth of tiny networks and inputs."""

    def __init__(self, total=TOTAL, guidance=None, voice_seed=3, **sweeper):
        self.base, self.adapter, self.vae = tiny.wan(), tiny.adapter(), tiny.vae()
        self.plan = plan_windows(
            total, sweeper.pop("window", WINDOW), sweeper.pop("overlap", OVERLAP)
        )
        self.picture = tiny.normal(3, SIDE, SIDE, seed=4).clamp(-1, 1)
        self.guidance = guidance or TalkGuidance(1, 2)
        self.predictor = Predictor(self.base, self.adapter)
        image = tiny.normal(1, 257, 20, seed=6)
        self.conditioner = WanConditioner(
            self.base,
            self.adapter,
            self.vae,
            texts={
                name: tiny.normal(6, 16, seed=s) for s, name in enumerate(("positive", "negative"))
            },
            voices=[TensorFeatures(tiny.normal(90, 3, 8, seed=voice_seed))],
            image_tokens=lambda _: image,
        )
        self.reference = self.vae.encode(self.picture[:, None])
        self.options = sweeper

    def sweeper(self, **more):
        return Sweeper(
            self.plan,
            lambda chunk: self.conditioner.conditions(chunk, self.picture),
            self.reference,
            **{**self.options, **more},
        )

    def noise(self):
        return tiny.normal(16, self.plan.latents, SIDE // 8, SIDE // 8, seed=8)

    def sample(self, **more):
        denoiser = WindowEuler(self.predictor, self.guidance)
        return sample_windows(self.sweeper(), denoiser, self.noise, SIGMAS, **more)


class Memory:
    """States between steps, in memory; optionally the machine dies after some of them."""

    def __init__(self, dies_after=None):
        self.saved, self.dies_after = {}, dies_after

    def latest(self):
        return max(self.saved.items()) if self.saved else None

    def save(self, step, state):
        self.saved = {step: {name: tensor.clone() for name, tensor in state.items()}}
        if step == self.dies_after:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


GUIDANCES = {
    "none": TalkGuidance(),
    "1/2": TalkGuidance(1, 2),
    "5/4": TalkGuidance(5, 4),
    "apg": AdaptiveProjectedGuidance(),
}


@pytest.mark.parametrize("guidance", GUIDANCES.values(), ids=GUIDANCES.keys())
@pytest.mark.parametrize("window", [17, 129])
def test_one_window_is_plain_sampling_to_the_last_bit(guidance, window):
    scene = Scene(17, guidance=guidance, window=window)
    got = scene.sample()
    (chunk,) = plan_chunks(17, 17, 9)
    expected = EulerDenoiser(scene.predictor, scene.guidance).denoise(
        scene.noise(),
        scene.conditioner.conditions(chunk, scene.picture),
        SIGMAS,
        held=scene.reference,
    )
    assert torch.equal(got, expected)
    assert not torch.equal(got, Scene(17, guidance=guidance, voice_seed=30).sample())


def test_every_step_looks_at_every_window_once_and_at_no_more_than_a_window():
    scene = Scene()
    scene.sample()
    assert [w.start for w in scene.plan.windows] == [0, 3, 6]
    assert scene.predictor.calls == 4 * 3 * 2, "steps, windows, branches"
    assert set(scene.predictor.lengths) == {5}


@pytest.mark.parametrize("blend", [blend for blend in Blend if hides_first(OVERLAP, blend)])
def test_what_is_blended_is_what_windows_say(blend):
    """Against a loop that is written out: estimates of clean latents, blended, an Euler step."""
    scene = Scene(blend=blend)
    latents = scene.noise()
    latents[:, :1] = scene.reference
    weights = torch.tensor(blend_weights(2, blend)).view(1, -1, 1, 1)
    for sigma, following in itertools.pairwise(SIGMAS.tolist()):
        clean = torch.zeros_like(latents)
        for index, start in enumerate((0, 3, 6)):
            part = latents[:, start : start + 5].clone()
            part[:, :1] = scene.reference
            conditions = scene.conditioner.conditions(
                scene.plan.windows[index].chunk, scene.picture
            )
            by_name = {
                name: scene.predictor.predict(part, sigma, name, conditions)
                for name in ("full", "text_only")
            }
            estimate = part - sigma * (2 * by_name["full"] - by_name["text_only"])
            if index:
                there = clean[:, start : start + 2]
                estimate[:, :2] = weights * there + (1 - weights) * estimate[:, :2]
            clean[:, start : start + 5] = estimate
        clean[:, :1] = scene.reference
        latents = latents + (following - sigma) * (latents - clean) / sigma
    torch.testing.assert_close(scene.sample()[:, 1:], latents[:, 1:], atol=1e-5, rtol=1e-4)


def test_later_windows_find_the_reference_in_their_first_slot():
    scene = Scene()
    scene.sample()
    assert all(torch.equal(first, scene.reference) for first in scene.predictor.firsts)


def test_the_estimate_of_the_step_before_takes_its_place_at_low_noise():
    scene, seen = Scene(first_frame=FirstFrame.PREVIOUS), []
    scene.sample(callback=lambda step, steps, denoised: seen.append(denoised.clone()))
    sigmas = SIGMAS.tolist()[:-1]
    firsts = iter(scene.predictor.firsts)
    low = 0
    for step, sigma in enumerate(sigmas):
        for window in scene.plan.windows:
            for _ in ("full", "text_only"):
                expected = scene.reference
                if window.index and sigma < 0.6:
                    expected, low = seen[step - 1][:, window.start : window.start + 1], low + 1
                assert torch.equal(next(firsts), expected)
    assert low, "no step is below"
    assert not torch.equal(scene.sample(), Scene().sample())


def test_a_network_that_holds_nothing_is_left_alone():
    scene = Scene(holds=False)
    held = []

    def predict(window, part, slot):
        held.append(slot)
        return part

    sweeper = scene.sweeper()
    latents = scene.noise()
    assert torch.equal(sweeper(latents, 0.5, predict), latents)
    assert sweeper.held.shape[1] == 0
    assert all(slot.held is None and not slot.bare for slot in held)
    bare = scene.sweeper(first_frame=FirstFrame.FIRST_ONLY)
    held.clear()
    bare(latents, 0.5, predict)
    assert [slot.bare for slot in held] == [False, True, True]
    shown = scene.sweeper(first_frame=FirstFrame.PREVIOUS)
    shown.previous = latents
    held.clear()
    shown(latents, 0.5, predict)
    assert held[0].shown is None and torch.equal(held[1].shown, latents[:, 3:4])


@pytest.mark.parametrize("first_frame", [FirstFrame.EVERY, FirstFrame.PREVIOUS])
@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_clip_that_died_after_any_step_goes_on_to_the_same_bits(step, first_frame):
    whole = Scene(first_frame=first_frame).sample()
    scene, states = Scene(first_frame=first_frame), Memory(dies_after=step)
    with pytest.raises(KeyboardInterrupt):
        scene.sample(states=states)
    states.dies_after = None
    again = Scene(first_frame=first_frame)
    steps = []
    got = again.sample(states=states, callback=lambda step, steps_, _: steps.append((step, steps_)))
    assert torch.equal(got, whole)
    assert steps == [(number, 4) for number in range(step + 1, 5)]
    assert again.predictor.calls == (4 - step) * 3 * 2
    assert list(states.saved) == [4] and list(states.saved[4]) == [LATENTS]


def test_the_estimate_is_kept_where_the_next_step_needs_it():
    scene, states = Scene(first_frame=FirstFrame.PREVIOUS), Memory(dies_after=2)
    with pytest.raises(KeyboardInterrupt):
        scene.sample(states=states)
    assert set(states.saved[2]) == {LATENTS, ESTIMATE}


def test_a_range_is_a_step_unless_something_is_remembered_or_there_is_one_window():
    def ranges(scene):
        return step_ranges(4, WindowEuler(scene.predictor, scene.guidance), scene.plan)

    assert ranges(Scene()) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert ranges(Scene(17)) == [(0, 4)]
    assert ranges(Scene(guidance=AdaptiveProjectedGuidance())) == [(0, 4)]


def test_momentum_belongs_to_a_window():
    """Two windows that see the same give the same, whatever the one before it remembered."""
    guidance = AdaptiveProjectedGuidance(momentum=-0.75)
    alone = Scene(17, guidance=guidance)
    expected = alone.sample()
    got = Scene(guidance=guidance).sample()
    assert got.shape[1] == 11 and not torch.equal(got[:, :5], expected)
    # The first three latents of window 0 are nobody else's; only its own input changes them.
    first = plan_windows(TOTAL, WINDOW, 0).windows[0]
    apart = Scene(guidance=guidance, overlap=0)
    noise = apart.noise()
    apart.noise = lambda: noise
    together = apart.sample()[:, : first.latents]
    alone.noise = lambda: noise[:, :5]
    torch.testing.assert_close(together, alone.sample(), atol=0, rtol=0)


def test_it_stops_before_a_step_when_told():
    asked = []

    def stop(step_range):
        asked.append(step_range)
        return len(asked) == 3

    states = Memory()
    assert Scene().sample(states=states, stop=stop) is None
    assert list(states.saved) == [2]


def test_it_may_be_stopped_between_two_windows():
    looks = []

    def look(window):
        looks.append(window.index)
        if len(looks) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Scene(look=look).sample()
    assert looks == [0, 1, 2, 0, 1]
