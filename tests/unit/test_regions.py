"""Boxes of a face and the pixels they stand for."""

import numpy as np
import pytest

from endless_talk.errors import InputError
from endless_talk.video.regions import (
    FaceBoxes,
    background_mask,
    check_boxes,
    cheeks,
    face_around_mouth,
    mouth_mask,
    outline_mask,
    pixel_box,
)

FACE = FaceBoxes(mouth=(40, 70, 60, 84), eyes=(30, 40, 70, 56), face=(20, 20, 80, 92))
SIZE = (100, 100)


def test_boxes_become_whole_pixels_inside_the_picture():
    assert pixel_box((1.4, -3, 99.6, 120), SIZE) == (1, 0, 100, 100)
    assert pixel_box((120, 10, 130, 5), SIZE) == (100, 10, 100, 10)


def test_the_mask_of_mouths_is_their_boxes():
    mask = mouth_mask([FACE], SIZE)
    assert mask.sum() == 20 * 14 and mask[70:84, 40:60].all()


def test_cheeks_lie_between_eyes_and_mouth_on_both_sides():
    left, right = cheeks(FACE)
    assert left[2] < 50 < right[0] and left[1] == right[1]
    assert 48 < left[1] < left[3] < 77
    assert left[0] + right[2] == pytest.approx(100)


def test_the_background_is_beside_and_above_the_head():
    mask = background_mask([FACE], SIZE)
    assert mask[:18].all() and mask[50, 5] and mask[50, 95]
    assert not mask[25:90, 40:60].any() and not mask[78:].any()


def test_a_face_that_fills_the_picture_leaves_no_background():
    full = FaceBoxes((30, 60, 70, 90), (20, 20, 80, 50), (-60, -60, 160, 160))
    assert background_mask([full], SIZE) is None


def test_the_outline_is_a_rim_without_the_middle():
    mask = outline_mask(FACE, SIZE)
    assert mask[50, 21] and mask[50, 78] and not mask[50, 50] and not mask[50, 5]


def test_a_face_around_a_mouth_has_the_proportions_of_one():
    face = face_around_mouth((40, 70, 60, 84), "test")
    assert face.eyes == pytest.approx((34, 51.4, 66, 69.8)) and face.source == "test"
    assert face.face == pytest.approx((24.4, 33.8, 75.6, 89.8))


@pytest.mark.parametrize(
    ("faces", "says"),
    [
        ([], "no face"),
        ([FACE, face_around_mouth((98, 70, 120, 84))], r"face 2 is \(98, 70, 120, 84\): 2x14"),
    ],
)
def test_mouths_that_cannot_be_seen_are_refused(faces, says):
    with pytest.raises(InputError, match=says):
        check_boxes(faces, SIZE)


def test_masks_of_two_faces_are_joined():
    other = FaceBoxes((5, 70, 15, 80), (2, 40, 18, 50), (0, 30, 20, 90))
    both = mouth_mask([FACE, other], SIZE)
    assert np.array_equal(both, mouth_mask([FACE], SIZE) | mouth_mask([other], SIZE))
