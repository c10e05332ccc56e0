"""What moves with a face is measured where the face has moved to."""

import drawn
import numpy as np
import pytest
from scipy import ndimage

from endless_talk.video.face import FaceMeter, edge_energy
from endless_talk.video.regions import FaceBoxes, face_around_mouth
from endless_talk.video.stability import last_to_first

HALVES = [range(0, 100), range(100, 200)]


def curves_of(pixels, boxes, reference=None):
    frames = pixels.transpose(0, 3, 1, 2) / 255
    meter = FaceMeter(frames[0] if reference is None else reference, boxes)
    for frame in frames:
        meter.append(frame)
    return meter.curves()


def closed(seed):
    return (drawn.resting(seed).numpy() + 1) / 2


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_sway_and_speech_change_neither_skin_nor_sharpness(seed):
    clip = drawn.talking(seed)
    curves = curves_of(clip.pixels, clip.boxes[0], closed(seed))
    assert np.abs(curves.skin).mean() < 0.015
    assert np.abs(curves.skin[:100].mean(0) - curves.skin[100:].mean(0)).mean() < 0.004
    assert last_to_first(curves.eyes, HALVES) == pytest.approx(1, abs=0.1)
    assert last_to_first(curves.outline, HALVES) == pytest.approx(1, abs=0.15)
    assert curves.tracked > 0.9


def test_a_planted_colour_is_measured_on_the_skin():
    clip = drawn.talking(1)
    pixels = (clip.pixels * 0.8).astype(np.uint8)
    before = curves_of(pixels, clip.boxes[0])
    pixels[100:, ..., 1] += 10
    after = curves_of(pixels, clip.boxes[0])
    moved = (after.skin - before.skin)[100:].mean(axis=0)
    assert moved == pytest.approx([0, 10 / 255, 0], abs=0.003)
    np.testing.assert_allclose(after.skin[:100], before.skin[:100], atol=1e-12)


def test_a_blur_lowers_sharpness_and_raises_the_error_of_identity():
    clip = drawn.talking(1)
    pixels = clip.pixels.copy()
    pixels[100:] = ndimage.uniform_filter(pixels[100:], (1, 3, 3, 1))
    curves = curves_of(pixels, clip.boxes[0])
    assert last_to_first(curves.eyes, HALVES) < 0.6
    assert last_to_first(curves.outline, HALVES) < 0.6
    sharp = curves_of(clip.pixels, clip.boxes[0])
    assert curves.identity[100:].mean() > 1.15 * sharp.identity[100:].mean()


def test_another_face_has_a_large_error_of_identity():
    own = curves_of(drawn.talking(1).pixels, drawn.talking(1).boxes[0], closed(1))
    other = curves_of(drawn.talking(2).pixels, drawn.talking(1).boxes[0], closed(1))
    assert other.identity.mean() > 4 * own.identity.mean()
    assert own.identity.mean() < 0.05


def test_a_speaking_mouth_is_no_error_of_identity():
    """The same sway with and without speech: the difference is the chin alone."""
    clip = drawn.talking(1)
    speaking = curves_of(clip.pixels, clip.boxes[0], closed(1)).identity.mean()
    silent = curves_of(drawn.talking(1, quiet=True).pixels, clip.boxes[0], closed(1))
    assert abs(speaking - silent.identity.mean()) < 0.015


def test_a_face_too_small_to_follow_is_measured_where_it_was():
    clip = drawn.talking(1, frames=20)
    tiny = FaceBoxes((20, 40, 44, 60), (30, 20, 34, 24), (5, 5, 60, 64))
    curves = curves_of(clip.pixels, tiny)
    assert curves.tracked == 0 and np.isfinite(curves.looks).all()


def test_eyes_outside_the_picture_are_not_followed():
    clip = drawn.talking(1, frames=20)
    curves = curves_of(clip.pixels, face_around_mouth((10, 2, 50, 20)))
    assert curves.tracked == 0 and not curves.eyes.any()


def test_edges_move_with_the_shift():
    light = np.zeros((8, 8))
    light[4, 4] = 1
    pixels = np.array([[3], [3]])
    assert edge_energy(light, pixels, (0, 0)) == 0
    assert edge_energy(light, pixels, (1, 1)) == pytest.approx(2)
    assert edge_energy(light, pixels, (0, 1)) == pytest.approx(1)
    assert edge_energy(light, pixels, (40, 0)) == 0
