"""Stretches in which nothing moves are found, and rests in silence are not."""

import math

import numpy as np
import pytest

from endless_talk.video.motion import Frozen, frozen_stretches, least_moving

SPEECH = np.full(200, 0.6)


def moving(start=0, stop=0, level=0.0):
    motion = 0.01 * (1 + 0.5 * np.sin(np.arange(200)))
    motion[start:stop] = level
    return motion


def test_a_planted_stretch_is_found_with_its_frames():
    assert frozen_stretches(moving(60, 85), SPEECH, face=2) == [Frozen("mouth", 2, 60, 85)]
    assert frozen_stretches(moving(60, 85), SPEECH, what="head") == [Frozen("head", 0, 60, 85)]


def test_a_frozen_clip_is_one_stretch():
    still = np.zeros(200)
    assert frozen_stretches(still, SPEECH) == [Frozen("mouth", 0, 1, 200)]


@pytest.mark.parametrize(
    ("motion", "envelope"),
    [
        (moving(), SPEECH),
        (moving(60, 71), SPEECH),
        (moving(60, 85), np.zeros(200)),
        (moving(60, 85, level=0.003), SPEECH),
    ],
    ids=["moves", "a short rest", "in silence", "moves a little"],
)
def test_what_is_natural_is_not_reported(motion, envelope):
    assert frozen_stretches(motion, envelope) == []


def test_a_head_may_rest_longer_than_a_mouth():
    assert frozen_stretches(moving(60, 80), SPEECH)
    assert not frozen_stretches(moving(60, 80), SPEECH, what="head")


def test_the_least_moving_stretch_is_relative_to_the_median():
    parts = [range(0, 50), range(50, 100), range(100, 150), range(150, 200)]
    motion = np.repeat([0.01, 0.02, 0.002, 0.01], 50)
    assert least_moving(motion, parts) == pytest.approx(0.2)
    assert least_moving(np.zeros(200), parts) == 0
    assert math.isnan(least_moving(motion, parts[:1]))
