"""The robust colour anchor: drift goes, mouths and blinks stay, nothing explodes.

Ground truth is drawn, so that what a match does to it is its error. Levels are those of 255.
"""

import drawn
import numpy as np
import pytest
import torch

from endless_talk.video.color import ColorAnchor
from endless_talk.video.regions import background_mask
from endless_talk.video.robust_color import (
    COLOR_ANCHORS,
    MAX_CHANGE,
    MAX_SHIFT,
    RobustAnchor,
    color_anchor,
)

SEEDS = [1, 2, 3, 4]


def smooth(seed, spread=0.5, size=(64, 96)):
    """A picture of soft blobs, ``[3, H, W]``."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, 3, 6, 9, generator=generator) * spread
    return torch.nn.functional.interpolate(coarse, size, mode="bicubic")[0].clamp(-1, 1)


def talking(seed, every=4):
    """Frames of a drawn face that talks, blinks and sways, and the same face at rest."""
    clip = torch.cat(drawn.talking(seed, frames=80).blocks, dim=1)[:, ::every]
    return clip, drawn.resting(seed)


def levels(change):
    """Mean size of a change in levels."""
    return change.abs().mean().item() * 127.5


def scaled(factors, offset=0.0):
    """Scale brightness, black staying black, and shift; per channel, in fractions of full scale."""
    factors, offset = (torch.as_tensor(value).view(-1, 1, 1, 1) for value in (factors, offset))
    return lambda frames: (frames + 1) * factors - 1 + 2 * offset


def saturated(factor):
    def change(frames):
        gray = frames.mean(0, keepdim=True)
        return gray + factor * (frames - gray)

    return change


DRIFTS = {
    "exposure": scaled([0.9], 0.02),
    "tint": scaled([1.0], [0.04, -0.02, 0.03]),
    "contrast": lambda frames: 1.15 * frames,
    "saturation": saturated(1.2),
    "gain per channel": scaled([1.1, 1.0, 0.93]),
}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_talking_face_that_has_not_drifted_is_left_alone(seed):
    """The published statistics move the background with every opening of the mouth."""
    frames, reference = talking(seed)
    background = torch.from_numpy(background_mask(drawn.talking(seed, frames=80).boxes, (64, 64)))
    published, robust = (
        (anchor(reference).apply(frames) - frames)[..., background]
        for anchor in (ColorAnchor, RobustAnchor)
    )
    assert levels(published) > 0.3 and published.abs().max() * 127.5 > 2
    assert levels(robust) < 0.05 and robust.abs().max() * 127.5 < 0.2


@pytest.mark.parametrize("level", [-1.0, 1.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_fifth_of_the_picture_that_changes_does_not_move_the_rest(seed, level):
    frames, reference = talking(seed)
    frames[..., -13:] = level
    published, robust = (
        (anchor(reference).apply(frames) - frames)[..., :-13]
        for anchor in (ColorAnchor, RobustAnchor)
    )
    assert levels(published) > 10
    assert levels(robust) < 0.25


@pytest.mark.parametrize("drift", DRIFTS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_planted_drift_is_taken_back_while_the_face_talks(seed, drift):
    frames, reference = talking(seed)
    frames, reference = 0.8 * frames, 0.8 * reference  # so that nothing is clipped
    drifted = DRIFTS[drift](frames)
    before = levels(drifted - frames)
    left = levels(RobustAnchor(reference).apply(drifted) - frames)
    assert before > 2.5
    assert left < 0.2 * before and left < 0.6
    assert left < levels(ColorAnchor(reference).apply(drifted) - frames)


def test_a_drift_is_taken_back_under_a_hand_over_a_third_of_the_picture():
    frames, reference = talking(2)
    drifted = DRIFTS["tint"](0.8 * frames)
    drifted[..., :21] = 0.3
    restored = RobustAnchor(0.8 * reference).apply(drifted)
    assert levels((restored - 0.8 * frames)[..., 21:]) < 0.5


@pytest.mark.parametrize("level", [-1.0, -0.5, -0.137, 0.0, 0.4, 1.0])
def test_flat_and_black_frames_are_left_as_they_are(level):
    frame = torch.tensor([level, 0.9 * level, level / 3]).view(3, 1, 1, 1).expand(3, 1, 64, 96)
    assert levels(RobustAnchor(smooth(0)).apply(frame) - frame) < 1e-3
    noisy = frame + 0.01 * torch.randn(3, 1, 64, 96, generator=torch.Generator().manual_seed(0))
    assert levels(RobustAnchor(smooth(0)).apply(noisy.clamp(-1, 1)) - noisy.clamp(-1, 1)) < 1


def test_a_picture_is_left_as_it_is_by_a_reference_of_one_colour():
    reference = torch.tensor([0.2, -0.3, 0.1]).view(3, 1, 1).expand(3, 64, 96)
    picture = smooth(1)[:, None]
    assert levels(RobustAnchor(reference).apply(picture) - picture) < 1e-3


def test_a_frame_of_one_colour_takes_that_of_a_reference_of_one_colour():
    reference = torch.tensor([0.2, -0.3, 0.1]).view(3, 1, 1).expand(3, 64, 96)
    matched = RobustAnchor(reference).apply(reference[:, None] + 0.1)
    assert levels(matched[:, 0] - reference) < 1e-3


@pytest.mark.parametrize("spread", [0.001, 0.02, 0.1, 0.5, 2.0])
def test_no_frame_is_changed_by_more_than_the_bounds(spread):
    """Between any frames and reference: how far two colours move apart, and the mean moves."""
    for seed in range(8):
        reference = smooth(seed, spread)
        faded = (0.6 + 0.05 * seed) * smooth(seed, spread)
        frame = faded + smooth(100 + seed, 0.05 * spread)
        frame = frame + 0.1 * torch.randn(3, 1, 1, generator=torch.Generator().manual_seed(seed))
        frame = frame.clamp(-1, 1)
        matched = RobustAnchor(reference).apply(frame[:, None])[:, 0]
        pairs = torch.randperm(64 * 96, generator=torch.Generator().manual_seed(seed))
        before = (frame - frame.flatten(1)[:, pairs].view_as(frame)).norm(dim=0)
        after = (matched - matched.flatten(1)[:, pairs].view_as(frame)).norm(dim=0)
        assert (after <= before / (1 - MAX_CHANGE) + 1e-5).all()
        moved = (matched - frame).abs().max()
        # The shift at the middle and the change of contrast from there, at most across the range.
        assert moved <= 2 * MAX_SHIFT + 2 * 3**0.5 * MAX_CHANGE / (1 - MAX_CHANGE)


@pytest.mark.parametrize(
    ("tint", "taken_back"), [(0.1, 0.1), (0.15, 0.15), (0.2, 0.075), (0.31, 0.0)]
)
def test_a_shift_is_taken_back_up_to_the_bound_and_given_up_at_twice_as_much(tint, taken_back):
    reference = 0.5 * smooth(3, 0.3)
    drifted = (reference + 2 * tint)[:, None]
    moved = (drifted - RobustAnchor(reference).apply(drifted)).mean().item() / 2
    assert moved == pytest.approx(taken_back, abs=2e-3)


def test_another_picture_is_left_as_it_is():
    for seed in range(5):
        frame = smooth(50 + seed)[:, None]
        assert levels(RobustAnchor(smooth(seed)).apply(frame) - frame) < 0.1


@pytest.mark.parametrize("target", ["black", "gray", "another picture"])
def test_a_fade_stays_a_fade(target):
    """Steps of the published match reach 45 levels, where a picture becomes flat."""
    picture = smooth(1)
    ends = {"black": torch.full_like(picture, -1), "gray": torch.zeros_like(picture)}
    end = ends.get(target, smooth(60))
    fade = torch.stack([picture.lerp(end, step / 50) for step in range(51)], dim=1)
    matched = RobustAnchor(picture).apply(fade)
    steps = [levels(matched[:, index + 1] - matched[:, index]) for index in range(50)]
    assert max(steps) < 4 * levels(fade[:, 1] - fade[:, 0])
    assert levels(matched[:, -1] - end) < 0.1


def test_strength_is_the_share_of_the_correction():
    frames, reference = talking(1)
    drifted = DRIFTS["contrast"](0.6 * frames)
    whole = RobustAnchor(0.6 * reference).apply(drifted) - drifted
    half = RobustAnchor(0.6 * reference, 0.5).apply(drifted) - drifted
    torch.testing.assert_close(half, 0.5 * whole, atol=1e-5, rtol=0)
    assert RobustAnchor(reference, 0.0).apply(frames) is frames


def test_frames_are_matched_one_by_one_in_blocks_of_any_length():
    frames, reference = talking(1)
    anchor = RobustAnchor(reference)
    whole = anchor.apply(frames)
    for length in (1, 3, 7):
        parts = [anchor.apply(block) for block in frames.split(length, dim=1)]
        assert torch.equal(torch.cat(parts, dim=1), whole)


def test_the_reference_may_be_larger_than_the_frames():
    frames, reference = talking(2)
    large = torch.nn.functional.interpolate(reference[None], scale_factor=3, mode="nearest")[0]
    drifted = DRIFTS["tint"](0.8 * frames)
    assert levels(RobustAnchor(0.8 * large).apply(drifted) - 0.8 * frames) < 0.5


def test_frames_of_changing_sizes_are_each_compared_on_their_own_grid():
    anchor = RobustAnchor(smooth(1))
    for size in ((32, 48), (64, 96), (32, 48)):
        frame = torch.nn.functional.interpolate(smooth(1)[None], size, mode="area")[0][:, None]
        assert levels(anchor.apply(frame + 0.1) - frame.clamp(-1, 0.9)) < 1.5


def test_the_input_is_not_written_to_its_dtype_is_kept_and_the_range_too():
    frames = (2 * talking(1)[0]).to(torch.bfloat16)
    before = frames.clone()
    matched = RobustAnchor(talking(1)[1]).apply(frames)
    assert matched.dtype == torch.bfloat16 and matched.abs().max() <= 1
    assert torch.equal(frames, before)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_outside_0_to_1_is_refused(strength):
    with pytest.raises(ValueError, match=r"0 \(off\) to 1"):
        RobustAnchor(smooth(1), strength)


def test_a_clip_as_reference_is_refused():
    with pytest.raises(ValueError, match="one picture"):
        RobustAnchor(smooth(1)[:, None])


def test_anchors_are_chosen_by_name():
    made = {name: color_anchor(name, smooth(1), 0.5) for name in COLOR_ANCHORS}
    assert made["none"] is None
    assert isinstance(made["reference"], ColorAnchor) and made["reference"].strength == 0.5
    assert isinstance(made["robust"], RobustAnchor) and made["robust"].strength == 0.5
    with pytest.raises(ValueError, match="'sturdy'; choose one of reference, none, robust"):
        color_anchor("sturdy", smooth(1))


def test_the_names_that_graphs_know_stay():
    assert COLOR_ANCHORS[:2] == ("reference", "none")
    assert np.unique(COLOR_ANCHORS).size == len(COLOR_ANCHORS)
