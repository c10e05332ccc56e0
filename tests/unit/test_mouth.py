"""The opening of drawn mouths, whose truth is known."""

import drawn
import numpy as np
import pytest

from endless_talk.video.face import FaceMeter
from endless_talk.video.mouth import WIDE_OPEN_DARKENING, mouth_curve, scale_of
from endless_talk.video.regions import face_around_mouth
from endless_talk.video.sync import correlation

SEEDS = [1, 2, 3, 4, 5, 6]


def looks_of(clip, reference=None, boxes=None):
    frames = clip.pixels.transpose(0, 3, 1, 2) / 255
    start = frames[0] if reference is None else (reference.numpy() + 1) / 2
    meter = FaceMeter(start, boxes or clip.boxes[0])
    for frame in frames:
        meter.append(frame)
    return meter.curves()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_opening_of_a_drawn_mouth_is_measured(seed):
    clip = drawn.talking(seed)
    curves = looks_of(clip)
    opening = mouth_curve(curves.looks).opening
    assert correlation(opening, clip.opening) >= 0.96
    assert curves.tracked >= 0.9


def test_six_drawn_mouths_are_measured_well_on_average():
    openings = [mouth_curve(looks_of(drawn.talking(seed)).looks).opening for seed in SEEDS]
    truths = [drawn.talking(seed).opening for seed in SEEDS]
    assert np.mean([correlation(*pair) for pair in zip(openings, truths, strict=True)]) >= 0.975
    # From 0 closed to 1 widest, as the truth relative to its own widest.
    errors = [
        np.abs(opening - truth / np.percentile(truth, 98)).mean()
        for opening, truth in zip(openings, truths, strict=True)
    ]
    assert np.mean(errors) < 0.1


def test_closed_is_low_and_wide_is_high():
    clip = drawn.talking(1)
    curve = mouth_curve(looks_of(clip).looks)
    closed, wide = clip.opening < 0.02, clip.opening > 0.8 * clip.opening.max()
    assert np.median(curve.opening[closed]) < 0.1 and np.median(curve.opening[wide]) > 0.75
    assert curve.darkening[closed].mean() < 0.2 * WIDE_OPEN_DARKENING
    assert curve.darkening[wide].mean() > 0.5 * WIDE_OPEN_DARKENING


def test_a_closed_mouth_stays_closed_on_the_scale_of_a_talking_one():
    """On its own scale silence would fill 0 to 1 with sway."""
    reference = drawn.resting(1)
    talking = mouth_curve(looks_of(drawn.talking(1), reference).looks)
    silent = looks_of(drawn.talking(1, quiet=True), reference).looks
    assert mouth_curve(silent, talking.scale).opening.mean() < 0.1
    assert np.percentile(mouth_curve(silent).opening, 98) == pytest.approx(1)
    assert talking.opening.mean() > 0.15


def test_a_black_collar_in_the_box_does_not_open_the_mouth():
    """Something as strong as the mouth, which does not snap."""
    clip = drawn.talking(2)
    left, _, right, bottom = (int(value) for value in clip.boxes[0].mouth)
    pixels = clip.pixels.copy()
    pixels[:, bottom - 4 : bottom, left:right] = 0
    curves = looks_of(drawn.Drawn(pixels, clip.boxes, clip.motions, clip.voices))
    assert correlation(mouth_curve(curves.looks).opening, clip.opening) >= 0.95


def test_a_mouth_whose_eyes_are_unknown_is_measured_by_proportion():
    clip = drawn.talking(3)
    left, top, right, bottom = clip.boxes[0].mouth
    inner = (left + 9, top + 5, right - 9, bottom - 6)
    curves = looks_of(clip, boxes=face_around_mouth(inner))
    assert correlation(mouth_curve(curves.looks).opening, clip.opening) >= 0.95


def test_a_mouth_that_never_moves_has_no_opening():
    looks = np.repeat(np.random.default_rng(0).random((1, 32, 2)), 50, axis=0)
    curve = mouth_curve(looks)
    assert not curve.opening.any() and not curve.darkening.any()
    assert mouth_curve(looks[:1]).opening.tolist() == [0]


def test_rows_that_change_count_and_the_others_do_not():
    looks = np.full((60, 32, 2), 0.5)
    looks[::2, 10:14, 0] = 0.1
    scale = scale_of(looks)
    assert scale.weights.sum() == pytest.approx(1)
    assert scale.weights[10:14].sum() > 0.99
    np.testing.assert_allclose(scale.closed[:, 0], 0.5)
    assert scale.opening(looks).tolist() == pytest.approx([1, 0] * 30)
