"""The streaming loop on tiny protocols: what is kept, what is handed on, what is called."""

import pytest
import torch

from endless_talk.samplers.plan import Chunk, plan_chunks
from endless_talk.samplers.streaming import HandOn, Sampling, stitch, stream_clip

HEIGHT, WIDTH = 8, 8


class FrameNumbers:
    """A codec whose latents are the frame numbers themselves, one latent per frame."""

    def __init__(self):
        self.encoded, self.decoded_blocks = [], 0

    def encode(self, frames):
        self.encoded.append(frames)
        return frames

    def decode(self, latents):
        for block in latents.split([1] + [4] * ((latents.shape[1] - 1) // 4), dim=1):
            self.decoded_blocks += 1
            yield block


class Counting:
    """A denoiser that writes the clip frame number into every frame after the held ones."""

    def __init__(self):
        self.calls = []

    def denoise(self, noise, conditions, sigmas, *, held, callback=None, **_):
        chunk = conditions
        self.calls.append((chunk, held))
        numbers = torch.arange(chunk.start_frame, chunk.stop_frame).float()
        latents = numbers.view(1, -1, 1, 1).expand(3, -1, HEIGHT, WIDTH).clone()
        if chunk.context_frames:
            latents[:, : held.shape[1]] = held
        if callback:
            callback(1, 1, latents)
        return latents


class Conditions:
    def __init__(self):
        self.references = []

    def conditions(self, chunk, reference):
        self.references.append((chunk.start_frame, reference))
        return chunk


class Still:
    def frame(self, start_frame):
        return torch.zeros(3, HEIGHT, WIDTH)


class Sink:
    def __init__(self, held=()):
        self.frames, self.commits, self.held = [], [], list(held)

    def recall(self, chunk):
        return self.held[chunk.index] if chunk.index < len(self.held) else None

    def append(self, frames):
        self.frames += frames[0, :, 0, 0].tolist()

    def commit(self, state):
        self.commits.append((len(self.frames), state))


def run(total, frames=17, context=9, **more):
    parts = {
        "codec": FrameNumbers(),
        "denoiser": Counting(),
        "conditioner": Conditions(),
        "sink": Sink(),
    }
    plan = more.pop("plan", None) or plan_chunks(total, frames, context)
    parts |= more
    parts["complete"] = stream_clip(
        plan,
        reference=Still(),
        sampling=lambda _: Sampling(torch.zeros(1), torch.tensor([1.0, 0.0])),
        **parts,
    )
    return plan, parts


@pytest.mark.parametrize("total", [1, 2, 16, 17, 18, 25, 26, 100])
def test_the_clip_is_every_frame_in_order(total):
    _, parts = run(total)
    assert parts["sink"].frames == list(range(total))


@pytest.mark.parametrize("total", [1, 41, 42, 66, 67, 73, 74])
def test_so_it_is_with_a_shorter_last_chunk(total):
    plan, parts = run(total, plan=plan_chunks(total, 41, 9, shorten_last=True))
    assert parts["sink"].frames == list(range(total))
    assert (plan[-1].frames < 41) == (total in (1, 42, 66, 67, 74)), "the others need all of it"


def test_the_context_of_a_chunk_is_the_end_of_the_one_before():
    plan, parts = run(60)
    for chunk, held in parts["denoiser"].calls[1:]:
        numbers = held[0, :, 0, 0].tolist()
        assert numbers == list(range(chunk.start_frame, chunk.start_frame + 9))
    assert parts["denoiser"].calls[0][1].shape[1] == 1, "chunk 0 is held by its reference frame"
    assert len(parts["codec"].encoded) == len(plan)


def test_every_chunk_is_committed_with_the_context_of_the_next():
    plan, parts = run(60)
    commits = parts["sink"].commits
    assert [done for done, _ in commits] == [17, 25, 33, 41, 49, 57, 60]
    assert all(state["context_frames"].shape[1] == 9 for _, state in commits[:-1])
    assert commits[-1][1] == {}
    assert len(plan) == len(commits)


def test_a_cut_chunk_is_decoded_no_further_than_needed():
    _, parts = run(18)  # the second chunk keeps 1 frame: 10 of its 17 frames are decoded
    assert parts["codec"].decoded_blocks == 5 + 4


def test_the_reference_is_asked_for_where_the_chunk_starts():
    plan, parts = run(60)
    assert [start for start, _ in parts["conditioner"].references] == [c.start_frame for c in plan]


def test_colour_is_matched_before_the_context_is_cut():
    class Shift:
        def apply(self, frames):
            return frames + 1000

    _, parts = run(30, color=lambda _: Shift())
    assert parts["sink"].frames[0] == 1000
    held = parts["denoiser"].calls[1][1]
    assert held[0, 0, 0, 0] == 1008


def test_colour_is_matched_on_no_frame_that_is_thrown_away():
    class Count:
        frames = 0

        def apply(self, frames):
            self.frames += frames.shape[1]
            return frames

    count = Count()
    plan, parts = run(180, frames=81, context=9, color=lambda _: count)
    assert parts["sink"].frames == list(range(180))
    assert [chunk.kept_frames for chunk in plan] == [81, 72, 27]
    decoded = 81 + 72 + 28  # the last chunk is cut within a block
    assert count.frames == decoded


def test_the_callback_hears_every_step_and_may_stop_the_loop():
    heard = []

    def callback(chunk, step, steps, denoised):
        heard.append((chunk.index, step, steps))
        if chunk.index == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(60, callback=callback)
    assert heard == [(0, 1, 1), (1, 1, 1), (2, 1, 1)]


def test_stitching_does_not_depend_on_how_frames_come_in_blocks():
    plan = plan_chunks(40, 17, 9)
    frames = torch.arange(17).float().view(1, -1, 1, 1).expand(3, -1, 2, 2)
    whole, pieces = Sink(), Sink()
    context = stitch([frames], plan[1], plan[2], whole)
    same = stitch(frames.split(1, dim=1), plan[1], plan[2], pieces)
    assert whole.frames == pieces.frames == list(range(9, 17))
    assert torch.equal(context, same) and context[0, :, 0, 0].tolist() == list(range(8, 17))


def test_what_the_sink_holds_is_not_made_again():
    _, whole = run(60)
    states = [state for _, state in whole["sink"].commits[:3]]
    _, parts = run(60, sink=Sink(states))
    assert [chunk.index for chunk, _ in parts["denoiser"].calls] == [3, 4, 5, 6]
    assert parts["sink"].frames == list(range(33, 60))
    assert torch.equal(parts["denoiser"].calls[0][1], states[2]["context_frames"])


def test_it_stops_before_a_chunk_when_told_and_says_that_more_is_missing():
    sink = Sink()
    plan, parts = run(60, sink=sink, stop=lambda chunk: chunk.index == 2)
    assert sink.frames == list(range(25))
    assert [chunk.index for chunk, _ in parts["denoiser"].calls] == [0, 1]
    assert parts["complete"] is False
    assert run(60)[1]["complete"] is True
    assert len(plan) == 7


def test_a_chunk_without_context_starts_from_its_reference():
    plan = [
        Chunk(0, 0, 17, 0, 10),
        Chunk(1, 10, 17, 0, 17),
        Chunk(2, 18, 17, 9, 8),
    ]
    _, parts = run(None, plan=plan)
    assert [held.shape[1] for _, held in parts["denoiser"].calls] == [1, 1, 9]
    assert parts["sink"].frames == list(range(35))
    assert [set(state) for _, state in parts["sink"].commits] == [set(), {"context_frames"}, set()]


def test_latents_are_handed_on_as_they_were_sampled():
    _, parts = run(60, hand_on=HandOn.LATENTS)
    assert all(held.shape[1] == 3 for _, held in parts["denoiser"].calls[1:])
    assert len(parts["codec"].encoded) == 1, "only the first reference was encoded"
