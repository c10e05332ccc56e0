"""A patch that moves by a known amount is found there."""

import numpy as np
import pytest
from scipy import ndimage

from endless_talk.video.tracking import PatchTracker, sampled

CENTRE = (19.5, 29.5)


def plane(seed=0, size=(64, 64), coarse=2.0):
    noise = np.random.default_rng(seed).normal(size=size)
    smooth = ndimage.gaussian_filter(noise, coarse)
    return smooth / np.abs(smooth).max()


def moved(picture, down, right, turn):
    """The picture with its content shifted, and turned clockwise about the middle of the patch."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(float)
    y, x = y - CENTRE[0] - down, x - CENTRE[1] - right
    cos, sin = np.cos(turn), np.sin(turn)
    return sampled(picture, CENTRE[0] + cos * y - sin * x, CENTRE[1] + cos * x + sin * y)


@pytest.mark.parametrize(
    "motion", [(0, 0, 0), (1.3, -0.7, 0), (0, 0, 0.08), (-2.0, 2.0, -0.09)], ids=str
)
def test_shift_and_turn_are_recovered(motion):
    picture = plane()
    tracker = PatchTracker(picture, (12, 8, 48, 32))
    assert tracker.centre == CENTRE
    pose = tracker.follow(moved(picture, *motion))
    assert (pose.down, pose.right) == pytest.approx(motion[:2], abs=0.1)
    assert pose.turn == pytest.approx(motion[2], abs=0.01)
    assert tracker.found


def test_points_are_carried_along():
    picture, motion = plane(), (1.3, -0.7, 0.08)
    seen = moved(picture, *motion)
    tracker = PatchTracker(picture, (12, 8, 48, 32))
    tracker.follow(seen)
    y, x = np.mgrid[34:46, 20:40].astype(float)
    before, after = sampled(picture, y, x), sampled(seen, *tracker.carried(y, x))
    assert np.abs(after - before).mean() < 0.05 < np.abs(sampled(seen, y, x) - before).mean()


def test_brightness_and_contrast_are_not_motion():
    picture = plane()
    tracker = PatchTracker(picture, (12, 8, 48, 32))
    pose = tracker.follow(0.6 * moved(picture, 1.0, 0.5, 0.0) + 0.3)
    assert (pose.down, pose.right, pose.turn) == pytest.approx((1.0, 0.5, 0.0), abs=0.1)


def test_a_head_that_tilts_further_and_further_is_followed():
    picture = plane()
    tracker = PatchTracker(picture, (12, 8, 48, 32))
    for turn in np.linspace(0, 1.0, 11):
        tracker.follow(moved(picture, 0.0, 0.0, turn))
    pose = tracker.follow(moved(picture, 1.0, -1.0, 1.0))
    assert (pose.down, pose.right) == pytest.approx((1.0, -1.0), abs=0.15)
    assert pose.turn == pytest.approx(1.0, abs=0.02) and tracker.likeness > 0.95


def test_a_jump_is_found_by_searching():
    """Fine texture: refining alone would not come near."""
    picture = plane(coarse=0.8)
    tracker = PatchTracker(picture, (12, 8, 48, 32))
    pose = tracker.follow(moved(picture, -6.0, 7.0, 0.0))
    assert (pose.down, pose.right) == pytest.approx((-6.0, 7.0), abs=0.15)


def test_what_is_lost_stays_where_it_was():
    picture = plane()
    tracker = PatchTracker(picture, (12, 8, 48, 32))
    before = tracker.follow(moved(picture, 1.0, 1.0, 0.0))
    assert tracker.follow(np.zeros_like(picture)) == before
    assert not tracker.found
    tracker.follow(moved(picture, 1.5, 1.0, 0.0))
    assert tracker.found and tracker.pose.down == pytest.approx(1.5, abs=0.1)


def test_sampling_between_pixels_is_linear_and_ends_at_the_edge():
    ramp = np.arange(12.0).reshape(3, 4)
    y, x = np.array([0.0, 0.5, 1.25, 9.0, -4.0]), np.array([0.0, 1.0, 2.5, 9.0, 1.0])
    np.testing.assert_allclose(sampled(ramp, y, x), [0, 3, 7.5, 11, 1])
    np.testing.assert_allclose(sampled(np.stack([ramp, -ramp]), y, x)[1], [0, -3, -7.5, -11, -1])
