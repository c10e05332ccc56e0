"""A camera over a still picture: where it looks, how fast it moves, and what a chunk gets."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from endless_talk.frames import FPS
from endless_talk.reference.motion import CLOSEST, PERIOD_SECONDS, Motion, MovingReference
from endless_talk.reference.pictures import fit_picture
from endless_talk.reference.sources import reference_of
from endless_talk.samplers.plan import CHUNK_FRAMES, CONTEXT_FRAMES

STRIDE = CHUNK_FRAMES - CONTEXT_FRAMES
SIZE = (96, 160)
HALF = int(PERIOD_SECONDS * FPS / 2)


def gradient(size=(240, 400)):
    """A picture that tells its place: red is across, green is down, 0 to 250."""
    picture = np.zeros((*size, 3), np.uint8)
    picture[..., 0] = np.linspace(0, 250, size[1])
    picture[..., 1] = np.linspace(0, 250, size[0])[:, None]
    return picture


def levels(frame):
    return (frame + 1) * 127.5


@pytest.mark.parametrize("size", [(240, 400), (301, 400), (90, 151), (96, 160)])
def test_a_zoom_begins_with_the_still_picture(size):
    picture = gradient(size)
    moving = MovingReference(picture, SIZE, Motion.ZOOM)
    assert (levels(moving.first) - levels(fit_picture(picture, SIZE))).abs().max() <= 3


def test_a_zoom_comes_closer_and_returns():
    moving = MovingReference(gradient(), SIZE, Motion.ZOOM)
    widths = [moving.view(frame)[2] - moving.view(frame)[0] for frame in (0, HALF, 2 * HALF)]
    assert widths == pytest.approx([400, 400 / CLOSEST, 400])
    left, top, right, bottom = moving.view(HALF)
    assert (left + right, top + bottom) == pytest.approx((400, 240)), "not to the middle"
    seen = levels(moving.frame(HALF))
    assert seen[0, 48, 0] == pytest.approx(250 * left / 400, abs=3)
    assert seen[1, -1, 80] == pytest.approx(250 * bottom / 240, abs=3)


def test_a_pan_goes_to_both_sides_within_the_picture():
    moving = MovingReference(gradient(), SIZE, Motion.PAN)
    views = [moving.view(frame) for frame in range(0, 2 * HALF, 10)]
    lefts = [view[0] for view in views]
    assert lefts[0] == pytest.approx((400 - 400 / CLOSEST) / 2)
    assert min(lefts) == pytest.approx(0, abs=0.5)
    assert max(view[2] for view in views) == pytest.approx(400, abs=0.5)
    assert {round(view[3] - view[1], 6) for view in views} == {round(240 / CLOSEST, 6)}
    quarter = levels(moving.frame(HALF // 2))
    assert quarter[0, 48, -1] > 245 and levels(moving.first)[0, 48, -1] < 240


@pytest.mark.parametrize("motion", [Motion.ZOOM, Motion.PAN])
def test_two_chunks_in_a_row_see_nearly_the_same(motion):
    moving = MovingReference(gradient(), SIZE, motion)
    views = np.array([moving.view(frame) for frame in range(0, 8 * HALF, STRIDE)])
    steps = np.abs(np.diff(views, axis=0)).max(axis=0) / (400, 240, 400, 240)
    assert 0.005 < steps.max() < 0.025
    assert (views[:, :2] >= -1e-6).all() and (views[:, 2:] <= (400 + 1e-6, 240 + 1e-6)).all()


def test_the_same_frame_is_the_same_object():
    moving = MovingReference(gradient(), SIZE, Motion.ZOOM)
    assert moving.frame(0) is moving.first
    assert moving.frame(72) is moving.frame(72)
    assert not torch.equal(moving.frame(144), moving.first)
    assert moving.frame(0) is moving.first
    with pytest.raises(IndexError):
        moving.frame(-1)


def test_views_have_their_own_tokens():
    references = [reference_of(gradient(), SIZE, motion) for motion in Motion]
    still, zoom, _ = references
    assert still.source.frame(500) is still.source.first
    first, other = torch.zeros(1, 257, 1280), torch.ones(1, 257, 1280)
    seeing = replace(zoom, image_tokens=first, encode=lambda frame: other)
    assert seeing.tokens(seeing.source.first) is first
    assert seeing.tokens(seeing.source.frame(72)) is other
    assert still.cuts(500) == zoom.cuts(500) == []
