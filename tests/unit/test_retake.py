"""A retake: the new take ends in the old one, and the rest of the clip does not notice."""

import pytest
import tiny
import torch

from endless_talk.samplers.denoise import EulerDenoiser
from endless_talk.samplers.guidance import TalkGuidance
from endless_talk.samplers.plan import plan_chunks
from endless_talk.samplers.retake import retake_sampling
from endless_talk.samplers.schedule import flow_sigmas
from endless_talk.samplers.streaming import HandOn, Sampling, fade_into, stream_clip

PLAN = plan_chunks(69, 25, 9)
"""Frames 0 to 24, then 16 more per chunk; the last adds 12."""

TAKEN = 2


class Shifting:
    """A predictor that moves everything by a chunk's own amount, whatever it sees."""

    def begin_chunk(self):
        pass

    def predict(self, latents, sigma, branch, conditions):
        return torch.full_like(latents, 0.1 * conditions.index) + 0.3 * latents


class Chunks:
    def conditions(self, chunk, reference):
        return chunk


class Still:
    def frame(self, start_frame):
        return torch.zeros(3, 16, 16)


class Takes:
    """A sink that has the chunks of an earlier clip but one."""

    def __init__(self, states=(), without=None):
        self.states, self.without = list(states), without
        self.frames, self.commits = {}, {}
        self._blocks = []

    def recall(self, chunk):
        self.at = chunk.index
        kept = chunk.index < len(self.states) and chunk.index != self.without
        return self.states[chunk.index] if kept else None

    def append(self, frames):
        self._blocks.append(frames.clone())

    def commit(self, state):
        self.frames[self.at] = torch.cat(self._blocks, dim=1)
        self.commits[self.at], self._blocks = state, []


@pytest.fixture(scope="module")
def codec():
    return tiny.vae()


def sampling(chunk, seed):
    latents = (chunk.frames - 1) // 4 + 1
    noise = tiny.normal(16, latents, 2, 2, seed=100 * seed + chunk.index)
    return Sampling(noise, flow_sigmas(3, 5.0))


def render(codec, sink, how, hand_on=HandOn.FRAMES):
    stream_clip(
        PLAN,
        reference=Still(),
        conditioner=Chunks(),
        denoiser=EulerDenoiser(Shifting(), TalkGuidance()),
        codec=codec,
        sink=sink,
        sampling=how,
        hand_on=hand_on,
    )
    return sink


@pytest.fixture(scope="module", params=list(HandOn), ids=lambda way: way.value)
def takes(request, codec):
    """The clip, and its chunk 1 made again with another seed."""
    whole = render(codec, Takes(), lambda chunk: sampling(chunk, 1), request.param)
    states = [whole.commits[index] for index in range(len(PLAN))]
    seen = []

    def again(chunk):
        seen.append(chunk.index)
        return retake_sampling(sampling(chunk, 2), states[TAKEN], codec)

    return whole, render(codec, Takes(states, TAKEN), again, request.param), seen


def test_only_the_one_chunk_is_made(takes):
    whole, again, seen = takes
    assert seen == [TAKEN] == list(again.frames)
    assert again.frames[TAKEN].shape == whole.frames[TAKEN].shape


def test_the_retake_is_another_take(takes):
    whole, again, _ = takes
    assert (again.frames[TAKEN][:, 8] - whole.frames[TAKEN][:, 8]).abs().max() > 0.02


def test_its_last_frame_is_the_one_that_the_next_chunk_goes_on_from(takes):
    whole, again, _ = takes
    torch.testing.assert_close(again.frames[TAKEN][:, -1], whole.frames[TAKEN][:, -1])


def test_what_it_hands_on_is_what_the_take_before_handed_on(takes):
    whole, again, _ = takes
    before, after = whole.commits[TAKEN], again.commits[TAKEN]
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_groups_at_its_end_are_pinned_and_nothing_else(codec):
    before = {"context_frames": tiny.normal(3, 9, 16, 16).tanh()}
    plain = sampling(PLAN[TAKEN], 2)
    latents, mask = retake_sampling(plain, before, codec).pinned
    assert mask[0, :, 0, 0].tolist() == [0, 0, 0, 0, 0, 1, 1]
    torch.testing.assert_close(latents[:, 5:], codec.encode(before["context_frames"])[:, 1:])
    handed = {**before, "context_latents": tiny.normal(16, 3, 2, 2)}
    latents, mask = retake_sampling(plain, handed, codec).pinned
    assert mask[0, :, 0, 0].tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert torch.equal(latents[:, 4:], handed["context_latents"])


def test_pinning_reaches_the_latents(codec):
    before = {"context_frames": tiny.normal(3, 9, 16, 16).tanh()}
    begin = retake_sampling(sampling(PLAN[TAKEN], 2), before, codec)
    denoiser = EulerDenoiser(Shifting(), TalkGuidance())
    held = tiny.normal(16, 3, 2, 2)
    out = denoiser.denoise(begin.noise, PLAN[TAKEN], begin.sigmas, held=held, pinned=begin.pinned)
    torch.testing.assert_close(out[:, 5:], codec.encode(before["context_frames"])[:, 1:])


def test_what_is_pinned_already_stays_pinned_before_the_ending(codec):
    plain = sampling(PLAN[TAKEN], 2)
    mask = torch.zeros_like(plain.noise[:1])
    mask[..., 0] = 1
    source = tiny.normal(16, 7, 2, 2, seed=9)
    pinned = Sampling(plain.noise, plain.sigmas, pinned=(source, mask))
    before = {"context_frames": tiny.normal(3, 9, 16, 16).tanh()}
    latents, both = retake_sampling(pinned, before, codec).pinned
    assert torch.equal(both[:, :5], mask[:, :5]) and bool((both[:, 5:] == 1).all())
    assert torch.equal(latents[:, :5], source[:, :5])
    assert torch.equal(pinned.pinned[1], mask), "the caller's mask was written to"


def test_the_last_chunk_of_a_shot_has_nothing_to_meet(codec):
    plain = sampling(PLAN[-1], 2)
    assert retake_sampling(plain, {}, codec) is plain
    assert retake_sampling(plain, {"figures": torch.zeros(3)}, codec) is plain


def test_one_frame_of_context_pins_nothing_and_is_reached(codec):
    begin = retake_sampling(
        sampling(PLAN[1], 2), {"context_frames": torch.ones(3, 1, 16, 16)}, codec
    )
    assert not begin.pinned[1].any()
    faded = fade_into(torch.zeros(3, 4, 2, 2), torch.ones(3, 1, 2, 2), -3)
    assert faded[0, :, 0, 0].tolist() == [0, 0, 0, 1]


def test_a_fade_does_not_depend_on_how_frames_come_in_blocks():
    frames, ending = tiny.normal(3, 17, 2, 2), tiny.normal(3, 9, 2, 2, seed=1)
    whole = fade_into(frames, ending, -8)
    pieces = [fade_into(frames[:, at : at + 3], ending, at - 8) for at in range(0, 17, 3)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole)
    assert torch.equal(whole[:, :8], frames[:, :8]) and torch.equal(whole[:, -1], ending[:, -1])
    distances = (whole[:, 8:] - ending).abs().mean((0, 2, 3)) / (frames[:, 8:] - ending).abs().mean(
        (0, 2, 3)
    )
    torch.testing.assert_close(distances, torch.arange(8, -1, -1) / 9)
