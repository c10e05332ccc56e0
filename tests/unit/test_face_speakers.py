"""Which speaker a face belongs to."""

import pytest
import torch

from endless_talk.errors import InputError
from endless_talk.masks.faces import Faces, face_speakers

SIZE = (10, 20)


def region(left, right):
    mask = torch.zeros(SIZE)
    mask[2:8, left:right] = 1
    return mask


LEFT, RIGHT = region(1, 8), region(12, 19)
PAIR = Faces(torch.stack([LEFT, RIGHT]))


def test_a_face_belongs_to_the_speaker_who_covers_it():
    regions, owners = face_speakers(PAIR, [region(10, 20), region(0, 10)])
    assert torch.equal(regions, PAIR.regions) and owners == [1, 0]


def test_a_face_that_nobody_covers_has_no_voice():
    assert face_speakers(PAIR, [region(0, 10)])[1] == [0, None]
    assert face_speakers(PAIR, [region(0, 4), region(12, 19)])[1] == [None, 1]


def test_speakers_everywhere_leave_it_open():
    regions, owners = face_speakers(PAIR, [None])
    assert torch.equal(regions, PAIR.regions) and owners is None


def test_without_faces_the_speakers_have_them():
    regions, owners = face_speakers(None, [None, RIGHT, LEFT])
    assert torch.equal(regions, torch.stack([RIGHT, LEFT])) and owners == [1, 2]
    assert face_speakers(None, [None]) == (None, None)


def test_pictures_of_different_sizes_are_refused():
    with pytest.raises(InputError, match=r"30x30|20x10"):
        face_speakers(PAIR, [torch.ones(30, 30)])
    with pytest.raises(InputError, match="same picture"):
        face_speakers(None, [LEFT, torch.ones(30, 30)])
