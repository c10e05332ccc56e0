"""The drawn faces: the same scene every time and at every size, and boxes that hold their parts."""

from dataclasses import fields, replace

import numpy as np
import pytest

from endless_talk.training.faces.boxes import eye_box, face_box, mouth_box
from endless_talk.training.faces.haircuts import HAIR_CUTS
from endless_talk.training.faces.identity import BACKGROUNDS, DRAWING_STYLES, draw_identity
from endless_talk.training.faces.motion import SHIFT_LIMIT, TILT_LIMIT, Motion, draw_motion
from endless_talk.training.faces.scene import render


def a_face(seed=0, **changes):
    return replace(draw_identity(np.random.default_rng(seed)), **changes)


def a_motion(frames, **values):
    """A still, silent, open-eyed face but for the values given."""
    still = {field.name: np.zeros(frames, np.float32) for field in fields(Motion)}
    given = {name: np.broadcast_to(np.float32(value), frames) for name, value in values.items()}
    return Motion(**{**still, **given})


def every_wobble(**values):
    """The eight corners of what a drawn motion may do with the head, and its resting place."""
    signs = np.stack(np.meshgrid(*[[-1, 1]] * 3), -1).reshape(-1, 3)
    y, x, tilt = np.concatenate([signs, np.zeros((1, 3))]).T
    place = {"shift_y": y * SHIFT_LIMIT, "shift_x": x * SHIFT_LIMIT, "tilt": tilt * TILT_LIMIT}
    return a_motion(9, **{**place, "nod": y, **values})


def speech(frames=40):
    time = np.arange(frames, dtype=np.float32)
    return np.abs(np.sin(time / 3)), np.sin(time / 7)


def outside(picture, box):
    """The pictures ``[F, H, W, ...]`` with the box blanked out."""
    top, left, bottom, right = box
    rest = picture.copy()
    rest[:, top:bottom, left:right] = 0
    return rest


def test_the_same_scene_is_drawn_the_same_way():
    again = []
    for _ in range(2):
        rng = np.random.default_rng(7)
        again.append(render([draw_identity(rng)], [draw_motion(rng, *speech())], 64))
    np.testing.assert_array_equal(*again)


def test_a_frame_does_not_depend_on_its_neighbours():
    face, motion = a_face(3), draw_motion(np.random.default_rng(3), *speech())
    clip = render([face], [motion], 64)
    for frame in (0, 17, 39):
        alone = render([face], [motion.between(frame, frame + 1)], 64)[0]
        assert np.abs(alone.astype(int) - clip[frame]).max() <= 1


@pytest.mark.parametrize("seed", range(6))
def test_the_scene_is_the_same_at_every_size(seed):
    face, motion = a_face(seed), draw_motion(np.random.default_rng(seed), *speech(4))
    small = render([face], [motion], 64).astype(float)
    large = render([face], [motion], 128).astype(float)
    reduced = large.reshape(4, 64, 2, 64, 2, 3).mean((2, 4))
    assert np.abs(reduced - small).mean() < 3
    assert np.quantile(np.abs(reduced - small), 0.99) < 45


@pytest.mark.parametrize("mouth_width", [-1, 0, 1])
@pytest.mark.parametrize("seed", range(4))
def test_a_wider_opening_is_darker(seed, mouth_width):
    face = a_face(seed, drawing="flat", stubble=0.0)
    motion = a_motion(6, mouth_open=np.linspace(0, 1, 6), mouth_width=mouth_width)
    top, left, bottom, right = mouth_box(face, 64)
    luma = render([face], [motion], 64)[:, top:bottom, left:right].mean(-1)
    dark = (luma < 50).sum((1, 2)).astype(int)
    assert (np.diff(dark) > 0).all()
    assert dark[-1] - dark[0] > 20


def test_rounded_is_narrower_and_taller_than_wide():
    face = a_face(1, lips=(0.0, 1.0, 0.0))
    clips = [render([face], [a_motion(1, mouth_open=0.8, mouth_width=w)], 256) for w in (-1, 1)]
    plain = [
        render(
            [replace(face, lips=(1.0, 0.0, 1.0))], [a_motion(1, mouth_open=0.8, mouth_width=w)], 256
        )
        for w in (-1, 1)
    ]
    lips = [(a != b).any(-1)[0] for a, b in zip(clips, plain, strict=True)]
    (tall, narrow), (flat, wide) = [(m.any(1).sum(), m.any(0).sum()) for m in lips]
    assert narrow < 0.75 * wide
    assert tall > 1.05 * flat


@pytest.mark.parametrize("style", HAIR_CUTS)
def test_only_the_face_box_moves(style):
    face = a_face(5, hair_style=style)
    clip = render([face], [every_wobble(mouth_open=1)], 64)
    rest = outside(clip, face_box(face, 64))
    assert (rest == rest[:1]).all()


@pytest.mark.parametrize("mouth_width", [-1, 0, 1])
@pytest.mark.parametrize("size", [64, 200])
def test_the_mouth_box_holds_the_lips(size, mouth_width):
    for seed in range(4):
        face = a_face(seed)
        motion = every_wobble(mouth_open=1, mouth_width=mouth_width)
        red, green = (
            render([replace(face, lips=lips)], [motion], size)
            for lips in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
        )
        changed = (red != green).any(-1)
        assert changed.any()
        assert not outside(changed, mouth_box(face, size)).any()


def test_the_eye_box_holds_iris_and_lids():
    for seed in range(4):
        face = a_face(seed)
        motion = every_wobble(gaze_x=np.linspace(-1, 1, 9), gaze_y=np.linspace(1, -1, 9))
        changed = render([face], [motion], 64) != render(
            [replace(face, iris=(0.0, 1.0, 0.0), lid=0.6)], [motion], 64
        )
        assert changed.any()
        assert not outside(changed, eye_box(face, 64)).any()


def test_boxes_of_a_later_tile_are_shifted_by_whole_tiles():
    face = a_face(2)
    for box in (mouth_box, eye_box, face_box):
        top, left, bottom, right = box(face, 64)
        assert box(face, 64, tile=2) == (top, left + 128, bottom, right + 128)
        assert 0 <= top < bottom <= 64
        assert 0 <= left < right <= 64


def test_each_face_keeps_to_its_tile():
    faces = [a_face(seed, background="plain") for seed in (1, 2, 3)]
    faces = [replace(face, backdrop=faces[0].backdrop) for face in faces]
    motions = [draw_motion(np.random.default_rng(s), *speech(3)) for s in range(3)]
    together = render(faces, motions, 64)
    assert together.shape == (3, 64, 192, 3)
    assert together.dtype == np.uint8
    for tile, (face, motion) in enumerate(zip(faces, motions, strict=True)):
        alone = render([face], [motion], 64)
        np.testing.assert_array_equal(together[:, :, 64 * tile : 64 * (tile + 1)], alone)


def test_identities_differ():
    rng = np.random.default_rng(0)
    faces = [draw_identity(rng) for _ in range(24)]
    pictures = np.stack([render([face], [a_motion(1)], 64)[0] for face in faces]).astype(float)
    apart = np.abs(pictures[:, None] - pictures[None]).mean((2, 3, 4)) + 1e3 * np.eye(24)
    assert apart.min() > 8
    assert len({face.hair_style for face in faces}) >= 8
    assert {face.drawing for face in faces} == set(DRAWING_STYLES)


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_a_background_shows_both_its_colours(background):
    face = a_face(4, background=background, backdrop=((0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    clip = render([face] * 2, [a_motion(1)] * 2, 64)[0].astype(int)
    greener, bluer = clip[..., 1] > clip[..., 2] + 200, clip[..., 2] > clip[..., 1] + 200
    assert greener.sum() > 40
    assert (bluer.sum() > 40) == (background != "plain")


def test_drawn_motion_is_slow_and_stays_within_its_limits():
    rng = np.random.default_rng(1)
    for _ in range(20):
        motion = draw_motion(rng, *speech(250))
        for name, limit in (
            ("shift_y", SHIFT_LIMIT),
            ("shift_x", SHIFT_LIMIT),
            ("tilt", TILT_LIMIT),
        ):
            values = getattr(motion, name)
            assert np.abs(values).max() <= limit
            assert np.abs(np.diff(values)).max() < 0.25 * limit
        closed = np.flatnonzero(np.diff((motion.blink > 0).astype(int)) == 1)
        assert 1 <= len(closed) <= 5
        assert (np.diff(closed) >= 50).all()
        assert {getattr(motion, field.name).dtype for field in fields(Motion)} == {np.dtype("f4")}


def test_motions_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="one length"):
        render([a_face(0), a_face(1)], [a_motion(3), a_motion(4)], 64)
