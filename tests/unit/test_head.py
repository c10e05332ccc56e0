"""A head that has moved is looked at where it is, whatever the size of the picture."""

import numpy as np
import pytest
from scipy import ndimage

from endless_talk.video.head import HeadTracker
from endless_talk.video.regions import FaceBoxes

FACE = FaceBoxes(mouth=(24, 44, 42, 56), eyes=(16, 18, 48, 32), face=(10, 6, 54, 60))


def picture(scale=1):
    """A textured face, ``[3, H, W]`` in 0..1."""
    noise = np.random.default_rng(0).random((3, 66, 66))
    smooth = ndimage.gaussian_filter(noise, (0, 1.5, 1.5))
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return ndimage.zoom(smooth, (1, scale, scale), order=1)


def scaled(scale):
    boxes = ([value * scale for value in box] for box in (FACE.mouth, FACE.eyes, FACE.face))
    return FaceBoxes(*map(tuple, boxes))


@pytest.mark.parametrize("scale", [1, 4], ids=["small", "averaged down"])
def test_colours_and_shift_follow_the_head(scale):
    frame, (down, right) = picture(scale), (2 * scale, -3 * scale)
    head = HeadTracker(frame, scaled(scale))
    assert head.shift == (0, 0)
    cells = head.cells(scaled(scale).mouth, 4, 2)
    before = head.colours(cells)
    assert before.shape == (3, 4, 2)
    head.follow(np.roll(frame, (down, right), axis=(1, 2)))
    assert head.found and np.abs(np.subtract(head.shift, (down, right))).max() <= scale / 4
    np.testing.assert_allclose(head.colours(cells), before, atol=0.02)


def test_a_cell_is_the_mean_of_its_part():
    frame = np.zeros((3, 66, 66))
    frame[:, 44:47, 24:33] = 1  # the first quarter of the mouth, its left half
    frame[0, 53:56, 33:42] = 0.5
    head = HeadTracker(frame, FACE)
    expected = np.zeros((3, 4, 2))
    expected[:, 0, 0], expected[0, 3, 1] = 1, 0.5
    np.testing.assert_allclose(head.colours(head.cells(FACE.mouth, 4, 2)), expected, atol=0.12)
