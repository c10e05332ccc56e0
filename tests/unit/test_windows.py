"""Denoising windows: where they lie, how they are blended, what the network finds in their head."""

import itertools

import pytest
import tiny
import torch

from endless_talk.errors import InputError
from endless_talk.frames import latent_frames
from endless_talk.samplers.blend import Blend, blend_weights, hides_first, merge, sweep
from endless_talk.samplers.sliding import FirstFrame, needs_anchor
from endless_talk.samplers.windows import LastWindow, plan_windows

EVERY_LENGTH = range(1, 1600, 3)


def planned(total, latents=9, overlap=3, **more):
    return plan_windows(total, 4 * (latents - 1) + 1, overlap, **more)


def starts(plan):
    return [window.start for window in plan.windows]


@pytest.mark.parametrize("last", LastWindow)
@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize("overlap", [0, 1, 3, 4])
def test_every_latent_is_covered_and_every_window_is_whole(last, anchored, overlap):
    for total in EVERY_LENGTH:
        plan = planned(total, overlap=overlap, last=last, anchored=anchored)
        needed, hidden = latent_frames(total + 3), int(anchored)
        assert plan.latents >= needed and plan.windows[-1].stop == plan.latents
        if needed <= 9:
            assert starts(plan) == [0] and plan.latents == needed
            continue
        assert {window.latents for window in plan.windows} == {9}
        for before, window in itertools.pairwise(plan.windows):
            assert window.covered == before.stop - window.start >= overlap + hidden
            assert window.covered < 9, "a window adds something"
        if last is LastWindow.PAD:
            assert all(w.covered == overlap + hidden for w in plan.windows[1:])
            assert plan.latents - needed < 9 - overlap - hidden
        else:
            assert plan.latents == needed, "nothing is denoised past the end"


def test_the_number_of_windows_is_the_published_one():
    for total in EVERY_LENGTH:
        needed = latent_frames(total + 3)
        count = 1 if needed <= 33 else 1 + -(-(needed - 33) // (33 - 8))
        for last in LastWindow:
            assert len(plan_windows(total, 129, 8, last=last).windows) == count


def test_the_ends_of_the_three_ways():
    assert starts(planned(77)) == [0, 6, 12]  # 20 latents in windows of 9 that share 3
    assert starts(planned(77, last=LastWindow.SHIFT)) == [0, 6, 11]
    assert starts(planned(77, last=LastWindow.EVEN)) == [0, 6, 11]
    assert starts(planned(73, last=LastWindow.EVEN)) == [0, 5, 10]
    shifted = planned(77, last=LastWindow.SHIFT).windows[-1]
    assert (shifted.covered, shifted.blended) == (4, 3), "the first of the four stays as it is"


def test_the_overlap_is_a_quarter_when_none_is_said():
    assert plan_windows(1000, 81).windows[1].covered == 5
    assert plan_windows(1000, 129).windows[1].covered == 8


@pytest.mark.parametrize("overlap", [0, 3])
@pytest.mark.parametrize("anchored", [False, True])
def test_windows_add_every_frame_once(anchored, overlap):
    for total in EVERY_LENGTH:
        spans = planned(total, overlap=overlap, anchored=anchored).spans
        assert spans[0].context_frames == 0
        ends = [(span.first_new_frame, span.stop_new_frame) for span in spans]
        assert ends[0][0] == 0 and ends[-1][1] == total
        assert all(one[1] == other[0] for one, other in itertools.pairwise(ends))


def test_a_window_hears_from_its_first_frame_on():
    window = planned(77).windows[1]
    chunk = window.chunk
    assert (chunk.start_frame, chunk.frames, chunk.context_frames) == (24, 33, 0)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"total": 0}, "at least 1"),
        ({"window_frames": 80}, "77 or 81"),
        ({"overlap": 11}, "at most half"),
        ({"overlap": -1}, "at most half"),
        ({"window_frames": 5, "overlap": 1, "anchored": True}, "use at least 9"),
    ],
)
def test_what_does_not_fit_is_refused(wanted, says):
    total = wanted.pop("total", 300)
    with pytest.raises(InputError, match=says):
        plan_windows(total, **wanted)


PAPER = {
    0: [],
    1: [0.5],
    2: [1, 0],
    3: [1, 1, 0],
    4: [1, 1, 0.5, 0],
    5: [1, 1, 2 / 3, 1 / 3, 0],
    6: [1, 1, 0.75, 0.5, 0.25, 0],
    7: [1, 1, 0.8, 0.6, 0.4, 0.2, 0],
    8: [1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0],
}


@pytest.mark.parametrize("width", PAPER)
def test_the_weights_of_the_paper(width):
    assert blend_weights(width, Blend.PAPER) == pytest.approx(PAPER[width])


def test_the_weights_of_the_others():
    assert blend_weights(5, Blend.LINEAR) == [1, 0.75, 0.5, 0.25, 0]
    assert blend_weights(4, Blend.LINEAR_OPEN) == [0.8, 0.6, 0.4, 0.2]
    assert blend_weights(3, Blend.COSINE) == pytest.approx([1, 0.5, 0])
    assert blend_weights(3, Blend.AVERAGE) == [0.5, 0.5, 0.5]
    for blend in Blend:
        assert blend_weights(0, blend) == [] and blend_weights(1, blend) == [0.5]
        for width in range(2, 12):
            weights = blend_weights(width, blend)
            assert all(0 <= weight <= 1 for weight in weights)
            assert weights == sorted(weights, reverse=True)


def test_which_blends_hide_the_first_slot():
    hiding = {Blend.PAPER, Blend.LINEAR, Blend.COSINE}
    assert {blend for blend in Blend if hides_first(2, blend)} == hiding
    assert not any(hides_first(width, blend) for width in (0, 1) for blend in Blend)


def test_when_the_picture_needs_a_slot_of_its_own():
    assert not needs_anchor(FirstFrame.EVERY, 5, Blend.PAPER)
    assert needs_anchor(FirstFrame.EVERY, 1, Blend.PAPER)
    assert needs_anchor(FirstFrame.PREVIOUS, 5, Blend.AVERAGE)
    assert needs_anchor(FirstFrame.ANCHOR, 5, Blend.PAPER)
    assert not needs_anchor(FirstFrame.FIRST_ONLY, 0, Blend.AVERAGE)


@pytest.mark.parametrize("blend", Blend)
@pytest.mark.parametrize("last", LastWindow)
@pytest.mark.parametrize("anchored", [False, True])
def test_windows_that_agree_give_back_what_they_agree_on(blend, last, anchored):
    for overlap in range(5):
        plan = planned(150, overlap=overlap, last=last, anchored=anchored)
        latents = tiny.normal(2, plan.latents, 1, 1)
        got = sweep(plan, blend, latents, lambda _, part: 3 * part)
        torch.testing.assert_close(got, 3 * latents)


def test_each_frame_is_weighed_as_planned():
    plan = planned(77, overlap=4)  # windows at 0, 5, 10, 15
    got = sweep(
        plan,
        Blend.PAPER,
        torch.zeros(1, plan.latents, 1, 1),
        lambda window, part: torch.full_like(part, float(window.index)),
    ).flatten()
    ramp = torch.tensor([0, 0, 0.5, 1])
    assert torch.equal(got[:5], torch.zeros(5))
    assert torch.equal(got[5:9], ramp) and torch.equal(got[10:14], 1 + ramp)
    assert got[9] == 1 and torch.equal(got[19:], torch.full((5,), 3.0))


def test_an_anchor_is_never_seen():
    for blend in Blend:
        plan = planned(150, overlap=2, anchored=True)

        def estimate(window, part):
            out = torch.zeros_like(part)
            out[:, 0] = 1000.0 * window.index
            return out

        got = sweep(plan, blend, torch.zeros(1, plan.latents, 1, 1), estimate)
        assert not got.any(), blend


def test_windows_of_a_step_read_the_same_latents_and_may_come_from_anywhere():
    """Estimates made beforehand, in any order, are those of one after the other."""
    plan = planned(150)
    latents = tiny.normal(2, plan.latents, 2, 2)

    def estimate(window, part):
        return torch.sin(part * (1 + window.index))

    whole = sweep(plan, Blend.PAPER, latents, estimate)
    elsewhere = {
        window.index: estimate(window, latents[:, window.start : window.stop])
        for window in reversed(plan.windows)
    }
    merged = torch.empty_like(latents)
    for window in plan.windows:
        merge(merged, window, elsewhere[window.index], Blend.PAPER)
    assert torch.equal(merged, whole)


def test_half_precision_is_added_up_in_single():
    plan = planned(150, overlap=4)
    latents = tiny.normal(1, plan.latents, 2, 2).bfloat16()
    got = sweep(plan, Blend.LINEAR_OPEN, latents, lambda _, part: part)
    assert got.dtype == torch.bfloat16 and torch.equal(got, latents)


def test_it_looks_up_after_every_window():
    plan, seen = planned(77), []
    sweep(plan, Blend.PAPER, torch.zeros(1, 21, 1, 1), lambda _, part: part, seen.append)
    assert seen == list(plan.windows)


@pytest.mark.parametrize("blend", Blend)
def test_blending_clean_estimates_velocities_or_the_next_latents_is_the_same(blend):
    plan = planned(150, overlap=4)
    sigma, following = 0.7, 0.4
    latents = tiny.normal(3, plan.latents, 2, 2).double()

    def velocity(window, part):
        return torch.sin(part + window.index)

    def clean(window, part):
        return part - sigma * velocity(window, part)

    def stepped(window, part):
        return part + (following - sigma) * velocity(window, part)

    by_velocity = latents + (following - sigma) * sweep(plan, blend, latents, velocity)
    estimate = sweep(plan, blend, latents, clean)
    by_clean = latents + (following - sigma) * (latents - estimate) / sigma
    by_latents = sweep(plan, blend, latents, stepped)
    torch.testing.assert_close(by_clean, by_velocity, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(by_latents, by_velocity, atol=1e-6, rtol=1e-6)
