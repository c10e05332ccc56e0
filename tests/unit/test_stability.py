"""Planted drift, blur and motion are measured with their size."""

import math

import drawn
import numpy as np
import pytest
import torch

from endless_talk.video.regions import FaceBoxes
from endless_talk.video.stability import StabilityMeter, last_to_first, measure_drift

PARTS = [range(0, 50), range(50, 100), range(100, 150)]
FULL = FaceBoxes((20, 40, 44, 60), (10, 10, 54, 30), (-60, -60, 124, 124))


def curves_of(blocks, boxes, reference=None):
    shares = [(block + 1) / 2 for block in blocks]
    meter = StabilityMeter(shares[0][:, 0] if reference is None else reference, boxes)
    for block in shares:
        meter.append(block)
    return meter.curves()


def test_the_colour_of_the_background_is_measured_per_channel():
    clip = drawn.talking(1, frames=40)
    shift = torch.tensor([0.02, -0.01, 0.04]).view(3, 1, 1, 1)
    dim = [0.8 * block for block in clip.blocks]
    moved = curves_of([block + 2 * shift for block in dim], clip.boxes, (dim[0][:, 0] + 1) / 2)
    unmoved = curves_of(dim, clip.boxes)
    difference = moved.background - unmoved.background
    np.testing.assert_allclose(difference, np.tile([0.02, -0.01, 0.04], (40, 1)), atol=1e-5)
    assert np.abs(unmoved.background).mean() < 0.002, "a swaying head changes the background"


def test_without_a_background_there_is_no_figure():
    assert curves_of(drawn.talking(1, frames=20).blocks, [FULL]).background is None


def test_motion_is_told_apart_in_mouth_and_picture():
    frames = torch.zeros(3, 10, 64, 64)
    frames[:, 5:, 45, 30] = 1.0  # in the mouth
    frames[:, 8:, 2, 2] = 1.0  # outside
    curves = curves_of(list(frames.split(3, dim=1)), [FULL])
    mouth, outside = 24 * 20, 64 * 64 - 24 * 20
    assert np.flatnonzero(curves.motion).tolist() == [5, 8]
    assert curves.motion[5] == pytest.approx(0.5 / 64**2)
    assert curves.motion_mouth.shape == (1, 10)
    assert curves.motion_mouth[0, 5] == pytest.approx(0.5 / mouth)
    assert curves.motion_outside[8] == pytest.approx(0.5 / outside)
    assert not curves.motion_outside[5] and not curves.motion_mouth[0, 8]


@pytest.mark.parametrize("frames", [1, 7, 200])
def test_blocks_of_any_length_give_the_same(frames):
    clip = drawn.talking(1)
    one = curves_of(clip.blocks, clip.boxes)
    other = curves_of(drawn.blocks_of(clip.pixels, frames), clip.boxes)
    np.testing.assert_allclose(other.motion, one.motion, atol=1e-7)
    np.testing.assert_allclose(other.background, one.background, atol=1e-6)


def test_drift_is_error_growth_and_way():
    errors = np.zeros((150, 3))
    errors[:, 0] = 0.03 * np.arange(150) / 150
    drift = measure_drift(errors, PARTS)
    assert drift.first == pytest.approx(0.01 * 24.5 / 150)
    assert drift.last == pytest.approx(0.01 * 124.5 / 150)
    assert drift.moved == pytest.approx(0.01 * 100 / 150)
    assert drift.slope_per_minute == pytest.approx(0.01 / 150 * 1500)


def test_colours_that_swing_have_error_and_no_way():
    errors = 0.02 * np.tile(np.array([1.0, -1.0]), 75)[:, None] * np.ones(3)
    drift = measure_drift(errors, PARTS)
    assert drift.first == pytest.approx(0.02) == drift.last
    assert drift.moved == pytest.approx(0, abs=1e-12)
    assert drift.slope_per_minute == pytest.approx(0, abs=1e-9)


def test_sharpness_of_nothing_is_unknown():
    assert math.isnan(last_to_first(np.zeros(150), PARTS))
