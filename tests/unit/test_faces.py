"""Faces from every source are the same thing: regions numbered from the left."""

import numpy as np
import pytest
import torch

from endless_talk.errors import InputError
from endless_talk.masks.boxes import detected_boxes, typed_boxes
from endless_talk.masks.faces import (
    dilated,
    faces_from_boxes,
    faces_from_mask,
    faces_side_by_side,
)
from endless_talk.masks.finding import FaceSources, find_faces, speaker_region
from endless_talk.masks.preview import draw_faces

SIZE = (60, 100)
LEFT, RIGHT = (10, 10, 30, 40), (60, 15, 85, 45)


def mask(*boxes, size=SIZE):
    drawn = torch.zeros(1, *size)
    for left, top, right, bottom in boxes:
        drawn[:, top:bottom, left:right] = 1
    return drawn


def host_box(box):
    left, top, right, bottom = box
    return {"x": left, "y": top, "width": right - left, "height": bottom - top, "label": "face"}


def landmarks(*boxes, size=SIZE):
    faces = [{"bbox_xyxy": np.array(box, np.float32)} for box in boxes]
    return {"frames": [faces], "image_size": size}


@pytest.mark.parametrize(
    "sources",
    [
        FaceSources(boxes="60, 15, 85, 45\n10 10 30 40"),
        FaceSources(boxes="(0.6, 0.25, 0.85, 0.75); 0.1,0.16667,0.3,0.66667"),
        FaceSources(bboxes=[[host_box(RIGHT), host_box(LEFT)]]),
        FaceSources(bboxes=[host_box(RIGHT), host_box(LEFT)]),
        FaceSources(landmarks=landmarks(RIGHT, LEFT)),
        FaceSources(mask=mask(RIGHT, LEFT)),
        FaceSources(mask=torch.cat([mask(RIGHT), mask(LEFT)])),
    ],
    ids=["typed", "shares", "per picture", "flat", "landmarks", "painted", "batch of masks"],
)
def test_every_source_gives_the_same_faces_from_the_left(sources):
    faces = find_faces(sources, SIZE, grow=0, dilate=0)
    torch.testing.assert_close(faces.regions, torch.cat([mask(LEFT), mask(RIGHT)]))
    torch.testing.assert_close(faces.together, mask(LEFT, RIGHT)[0])


def test_a_single_box_of_the_host_is_one_face():
    assert find_faces(FaceSources(bboxes=host_box(LEFT)), SIZE, grow=0).count == 1


def test_grow_adds_its_share_on_every_side_of_a_detected_box_only():
    grown = find_faces(FaceSources(bboxes=host_box((40, 20, 60, 40))), SIZE, grow=0.5)
    torch.testing.assert_close(grown.regions, mask((30, 10, 70, 50)))
    typed = find_faces(FaceSources(boxes="40 20 60 40"), SIZE, grow=0.5)
    torch.testing.assert_close(typed.regions, mask((40, 20, 60, 40)))


def test_boxes_that_grow_into_each_other_share_no_pixel_and_lose_none():
    boxes = [(20.0, 10.0, 45.0, 50.0), (50.0, 10.0, 75.0, 50.0)]
    together = torch.stack([faces_from_boxes([box], SIZE, 0.5).regions[0] for box in boxes])
    faces = faces_from_boxes(boxes, SIZE, 0.5)
    assert faces.regions.sum(dim=0).max() == 1
    torch.testing.assert_close(faces.together, together.amax(dim=0))
    for region, (left, top, right, bottom) in zip(faces.regions, boxes, strict=True):
        assert region[int(top) : int(bottom), int(left) : int(right)].all()


def test_dilate_grows_a_painted_face_by_pixels():
    faces = find_faces(FaceSources(mask=mask((40, 20, 60, 40))), SIZE, dilate=3)
    torch.testing.assert_close(faces.regions, mask((37, 17, 63, 43)))
    torch.testing.assert_close(dilated(mask(LEFT)[0], 0), mask(LEFT)[0])


def test_specks_are_left_out_and_counted():
    faces = faces_from_mask(mask(LEFT, RIGHT, (98, 58, 99, 59)))
    assert (faces.count, faces.left_out) == (2, 1)
    assert "1 specks" in faces.summary


def test_an_even_split_covers_what_was_painted():
    painted = mask((20, 10, 80, 50))
    faces = faces_side_by_side(SIZE, painted)
    torch.testing.assert_close(faces.regions, mask_pair((20, 10, 50, 50), (50, 10, 80, 50)))
    whole = find_faces(FaceSources(), SIZE, split_evenly=True)
    assert whole.count == 2 and whole.regions[0, :, 50:].sum() == 0


def mask_pair(left, right):
    return torch.cat([mask(left), mask(right)])


@pytest.mark.parametrize(
    ("sources", "size", "says"),
    [
        (FaceSources(), SIZE, "Nothing tells where the faces are"),
        (FaceSources(), None, "Nothing tells"),
        (FaceSources(boxes="1 2 3 4", mask=mask(LEFT)), SIZE, "mask and boxes"),
        (FaceSources(boxes="1 2 3 4"), None, "boxes but no picture"),
        (FaceSources(bboxes=[[]]), SIZE, "No face was found"),
        (FaceSources(landmarks=landmarks()), SIZE, "No face was found"),
        (FaceSources(landmarks=landmarks(LEFT, size=(9, 9))), SIZE, "9x9"),
        (FaceSources(bboxes=[[host_box(LEFT)], []]), SIZE, "2 pictures"),
        (FaceSources(bboxes=[[{"left": 1}]]), SIZE, "x, y, width and height"),
        (FaceSources(mask=mask()), SIZE, "empty"),
        (FaceSources(mask=torch.cat([mask(LEFT), mask()])), SIZE, "Mask 2 of 2"),
        (FaceSources(mask=mask((5, 5, 6, 6))), SIZE, "too small"),
        (FaceSources(mask=mask(LEFT, size=(70, 100))), SIZE, "100x70"),
        (FaceSources(boxes="1 2 3"), SIZE, "4 numbers"),
        (FaceSources(boxes="10 10 30 40; 20 a 30 40"), SIZE, "face 2"),
        (FaceSources(boxes="200 10 300 40"), SIZE, "outside"),
        (FaceSources(bboxes=[host_box(LEFT), host_box(LEFT)]), SIZE, "same face"),
    ],
)
def test_faces_that_cannot_be_had_are_a_sentence(sources, size, says):
    if says == "too small":
        sources = FaceSources(mask=torch.nn.functional.pad(sources.mask, (0, 100, 0, 100)))
        size = tuple(sources.mask.shape[1:])
    with pytest.raises(InputError, match=says):
        find_faces(sources, size)


def test_an_even_split_with_boxes_is_refused():
    with pytest.raises(InputError, match="split evenly"):
        find_faces(FaceSources(boxes="1 2 3 4"), SIZE, split_evenly=True)
    with pytest.raises(InputError, match="connect the picture"):
        find_faces(FaceSources(), None, split_evenly=True)


def test_a_speaker_is_a_face_a_mask_or_the_whole_picture():
    faces = faces_from_boxes([LEFT, RIGHT], SIZE)
    assert speaker_region(None, 0, None) is None
    assert speaker_region(faces, 0, None) is None
    torch.testing.assert_close(speaker_region(faces, 2, None), mask(RIGHT)[0])
    both = speaker_region(None, 0, mask(LEFT, RIGHT) * 0.8)
    torch.testing.assert_close(both, mask(LEFT, RIGHT)[0])


@pytest.mark.parametrize(
    ("faces", "face", "drawn", "says"),
    [
        (None, 1, None, "no faces are connected"),
        (faces_from_boxes([LEFT], SIZE), 2, None, "found 1"),
        (faces_from_boxes([LEFT], SIZE), -1, None, "found 1"),
        (None, 1, mask(LEFT), "a mask is connected"),
        (None, 0, mask(), "empty"),
        (None, 0, torch.cat([mask(LEFT), mask(RIGHT)]), "batch"),
    ],
)
def test_a_speaker_without_a_place_is_a_sentence(faces, face, drawn, says):
    with pytest.raises(InputError, match=says):
        speaker_region(faces, face, drawn)


def test_the_preview_marks_every_face_and_nothing_else():
    faces = faces_from_boxes([(10, 10, 40, 50), (60, 10, 90, 50)], SIZE)
    grey = np.full((*SIZE, 3), 90, np.uint8)
    preview = draw_faces(faces, grey)
    changed = (preview != grey).any(axis=2)
    assert changed[faces.together.numpy() > 0].all()
    assert not changed[dilated(faces.together, 1).numpy() == 0].any()
    assert draw_faces(faces, None).shape == (*SIZE, 3)


def test_typed_shares_and_pixels_are_told_apart_per_face():
    assert typed_boxes("0 0 0.5 1; 10 0 50 60", SIZE) == [(0, 0, 50, 60), (10, 0, 50, 60)]


def test_no_boxes_are_no_boxes():
    assert detected_boxes([]) == [] and detected_boxes(None) == [] and typed_boxes(" \n; ") == []
