"""Mouths are found by their motion, without boxes and without the voice."""

import drawn
import numpy as np
import pytest
import torch
from scipy import ndimage

from endless_talk.errors import InputError
from endless_talk.training.faces.canvas import head_to_tile
from endless_talk.video.finding import find_mouths


def middle(box):
    return np.array([(box[1] + box[3]) / 2, (box[0] + box[2]) / 2])


def true_middle(seed, clip, tile=0):
    """Where the middle of the open mouth is on average, (y, x) in pixels."""
    from endless_talk.training.faces.identity import draw_identity

    person, motion = draw_identity(np.random.default_rng(seed)), clip.motions[tile]
    y, x = head_to_tile(person, motion, np.zeros((1, 1)), np.full((1, 1), 0.63))
    return np.array([y.mean(), x.mean() + tile]) * drawn.SIZE


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_drawn_mouth_is_found_within_three_pixels(seed):
    clip = drawn.talking(seed)
    (face,) = find_mouths(clip.blocks)
    assert np.abs(middle(face.mouth) - true_middle(seed, clip)).max() < 3
    assert 12 < face.mouth[2] - face.mouth[0] < 30
    assert face.source == "motion"


def test_eyes_and_face_follow_from_the_mouth():
    (face,) = find_mouths(drawn.talking(1).blocks)
    left, top, right, bottom = drawn.talking(1).boxes[0].eyes
    y, x = middle((left, top, right, bottom))
    assert face.eyes[0] < x < face.eyes[2] and face.eyes[1] < y < face.eyes[3]
    assert face.face[1] < face.eyes[1] < face.eyes[3] <= middle(face.mouth)[0] < face.face[3]


def test_two_faces_have_a_mouth_in_each_region():
    clip = drawn.talking(5, 6)
    regions = torch.zeros(2, drawn.SIZE, 2 * drawn.SIZE)
    regions[0, :, drawn.SIZE :] = 1
    regions[1, :, : drawn.SIZE] = 1
    right, left = find_mouths(clip.blocks, regions, source="test")
    assert np.abs(middle(left.mouth) - true_middle(5, clip, 0)).max() < 3
    assert np.abs(middle(right.mouth) - true_middle(6, clip, 1)).max() < 3


def test_large_pictures_are_looked_at_small():
    clip = drawn.talking(1, frames=60)
    large = [block.repeat_interleave(4, 2).repeat_interleave(4, 3) for block in clip.blocks]
    (small,), (found,) = find_mouths(clip.blocks), find_mouths(large)
    assert middle(found.mouth) / 4 == pytest.approx(middle(small.mouth), abs=2)


def scene(mouth=(44, 32), lamp=0.0, sway=0.0, contrast=0.3, frames=60):
    """A textured head that may sway, a patch that opens and closes, and a lamp in the corner."""
    rng = np.random.default_rng(0)
    texture = ndimage.gaussian_filter(rng.random((64, 64)), 1.0)
    texture = (texture - texture.min()) / np.ptp(texture)
    row, column = np.mgrid[:64, :64]
    opening = rng.random(frames)
    pictures = []
    for frame in range(frames):
        shift = sway * np.sin(frame / 5)
        picture = 0.05 + contrast * ndimage.shift(texture, (0, shift), order=1, mode="nearest")
        if mouth is not None:
            inside = np.hypot((row - mouth[0]) / 3, (column - mouth[1]) / 6) < 1
            picture[inside] *= 1 - 0.5 * opening[frame]
        picture[2:8, 2:8] += lamp * (frame % 2)
        pictures.append(picture)
    grey = (np.stack(pictures).clip(0, 1) * 255).astype(np.uint8)
    return drawn.blocks_of(np.repeat(grey[..., None], 3, axis=-1))


@pytest.mark.parametrize(
    "disturbance",
    [{}, {"lamp": 0.4}, {"sway": 5.0, "contrast": 0.9}],
    ids=["none", "a lamp", "sway"],
)
def test_other_motion_does_not_hide_the_mouth(disturbance):
    (face,) = find_mouths(scene(**disturbance))
    assert np.abs(middle(face.mouth) - [44.5, 32.5]).max() < 3


def test_what_moves_far_from_where_mouths_are_is_none():
    with pytest.raises(InputError, match="Nothing moves like a mouth"):
        find_mouths(scene(mouth=None, lamp=0.4))


def test_a_picture_that_stands_still_has_no_mouth():
    still = np.repeat(drawn.talking(1).pixels[:1], 20, axis=0)
    with pytest.raises(InputError, match="Nothing moves like a mouth in face 1 of 1"):
        find_mouths(drawn.blocks_of(still))


def test_faces_of_another_size_are_refused():
    with pytest.raises(InputError, match=r"32x32 .* 64x64"):
        find_mouths(drawn.talking(1).blocks, torch.ones(1, 32, 32))


def test_no_frames_are_refused():
    with pytest.raises(InputError, match="no frames"):
        find_mouths([])
