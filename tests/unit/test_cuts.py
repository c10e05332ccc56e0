"""Cuts in drawn scenes whose cuts are known: hard ones are found, and nothing else is."""

from functools import lru_cache

import numpy as np
import pytest
from PIL import Image

from endless_talk.errors import InputError
from endless_talk.reference.cuts import SHORTEST_SHOT, STAMP_SIZE, cuts_of, find_cuts, parse_cuts
from endless_talk.training.faces.identity import draw_identity
from endless_talk.training.faces.motion import draw_motion
from endless_talk.training.faces.scene import render
from endless_talk.training.speech.synthetic import synthetic_utterance

SIDE = (54, 96)


@lru_cache(maxsize=64)
def scene(seed, size=(120, 200)):
    """A place: a tinted gradient with soft and hard things in it, ``[H, W, 3]`` in 0..255."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]] / np.array(size).max()
    base, slope = rng.uniform(40, 215, 3), rng.uniform(-80, 80, (2, 3))
    picture = base + y[..., None] * slope[0] + x[..., None] * slope[1]
    for _ in range(18):
        centre, radius = rng.uniform(0, 1, 2), rng.uniform(0.03, 0.2)
        inside = np.hypot(y - centre[0], x - centre[1]) < radius
        picture[inside] = rng.uniform(0, 255, 3)
    return np.clip(picture, 0, 255)


def view(picture, top=20.0, left=20.0, zoom=1.0):
    """What a camera sees of a place, as a frame ``[54, 96, 3]``."""
    height, width = SIDE[0] / zoom, SIDE[1] / zoom
    image = Image.fromarray(picture.astype(np.uint8))
    box = (left, top, left + width, top + height)
    return np.asarray(image.resize(SIDE[::-1], Image.Resampling.BILINEAR, box=box), np.float32)


def stamps(frames, noise=3.0, seed=0):
    rng = np.random.default_rng(seed)
    for frame in frames:
        grain = rng.normal(0, noise, frame.shape)
        pixels = np.clip(frame + grain, 0, 255).astype(np.uint8)
        yield np.asarray(Image.fromarray(pixels).resize(STAMP_SIZE[::-1], Image.Resampling.BOX))


def still(seed, frames):
    return [view(scene(seed))] * frames


@pytest.mark.parametrize("seed", range(6))
def test_hard_cuts_are_found_where_they_are(seed):
    frames = still(seed, 30) + still(seed + 100, 17) + still(seed + 200, 40)
    assert find_cuts(stamps(frames)) == [30, 47]


@pytest.mark.parametrize("speed", [0.5, 1.5, 3.0, 5.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_pan_is_no_cut(seed, speed):
    place = scene(seed, (60, 500))
    frames = [view(place, 2, min(speed * frame, 400)) for frame in range(80)]
    assert find_cuts(stamps(frames)) == []


@pytest.mark.parametrize("seed", range(4))
def test_a_cut_within_a_pan_is_found(seed):
    first, second = scene(seed, (60, 300)), scene(seed + 50, (60, 300))
    frames = [view(first, 2, 3.0 * frame) for frame in range(40)]
    frames += [view(second, 2, 3.0 * frame) for frame in range(40)]
    assert find_cuts(stamps(frames)) == [40]


@pytest.mark.parametrize("seed", range(4))
def test_a_zoom_is_no_cut(seed):
    frames = [view(scene(seed), 20, 20, 1 + frame / 40) for frame in range(60)]
    assert find_cuts(stamps(frames)) == []


@pytest.mark.parametrize("flash", [1, 2, 4, 6])
@pytest.mark.parametrize("strength", [90, 400])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_flash_is_no_cut(seed, strength, flash):
    frames = still(seed, 60)
    for frame in range(25, 25 + flash):
        frames[frame] = frames[frame] + strength
    assert find_cuts(stamps(frames)) == []


def test_a_flash_over_a_cut_hides_no_cut():
    frames = still(1, 30) + [np.full((*SIDE, 3), 255.0)] * 3 + still(2, 30)
    assert find_cuts(stamps(frames)) in ([30], [33])


@pytest.mark.parametrize("seed", range(4))
def test_somebody_crossing_is_no_cut(seed):
    frames = still(seed, 60)
    for frame in range(60):
        crossed = frames[frame].copy()
        left = int(-40 + 4 * frame)
        crossed[5:, max(left, 0) : max(left + 40, 0)] = (150, 60, 30)
        frames[frame] = crossed
    assert find_cuts(stamps(frames)) == []


@pytest.mark.parametrize("seed", range(4))
def test_light_that_is_switched_off_is_no_cut(seed):
    frames = still(seed, 40) + [view(scene(seed)) * 0.35] * 40
    assert find_cuts(stamps(frames)) == []


def test_a_cross_fade_and_a_fade_to_black_are_no_cut():
    weights = np.linspace(0, 1, 25)
    first, second = view(scene(1)), view(scene(2))
    fade = [first * (1 - weight) + second * weight for weight in weights]
    assert find_cuts(stamps([first] * 30 + fade + [second] * 30)) == []
    out = [first * (1 - weight) for weight in weights]
    assert find_cuts(stamps([first] * 30 + out + [first * 0] * 30)) == []


@pytest.mark.parametrize("seed", range(6))
def test_talking_faces_are_cut_only_where_the_face_changes(seed):
    clips = []
    for who in (seed, seed + 60):
        rng = np.random.default_rng(who)
        person = draw_identity(rng)
        said = synthetic_utterance(rng, 60)
        motion = draw_motion(rng, said.mouth_open, said.mouth_width)
        clips += [frame.astype(np.float32) for frame in render([person], [motion], 64)]
    assert find_cuts(stamps(clips)) == [60]


def test_of_cuts_in_quick_succession_the_first_counts():
    frames = still(1, 40) + still(2, SHORTEST_SHOT - 3) + still(3, 40)
    assert find_cuts(stamps(frames)) == [40]


@pytest.mark.parametrize("frames", [0, 1, 5, 9])
def test_a_video_of_a_few_frames_has_no_cut(frames):
    assert find_cuts(stamps(still(1, frames))) == []


def test_repeated_pictures_of_a_slow_video_hide_no_cut():
    frames = [frame for frame in still(1, 20) + still(2, 20) for _ in range(2)]
    assert find_cuts(stamps(frames, noise=0)) == [40]


def test_pictures_are_looked_at_only_where_cuts_have_to_be_found():
    stamps = iter([np.zeros((*STAMP_SIZE, 3), np.uint8)] * 50)
    assert cuts_of("1.0", 50, stamps) == [25] and cuts_of(" None ", 50, stamps) == []
    assert len(list(stamps)) == 50
    shots = [np.full((*STAMP_SIZE, 3), level, np.uint8) for level in [30] * 25 + [220] * 25]
    assert cuts_of("Auto", 50, shots) == find_cuts(shots)


def test_a_list_of_cuts_is_read_in_seconds():
    assert parse_cuts("12.4, 31.0", 1000) == [310, 775]
    assert parse_cuts("0  1.02", 100) == [26]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("12,4s", "'4s'.*seconds such as"),
        ("-1", "'-1'"),
        ("nan", "'nan'"),
        ("5, 3", "3 s after 5 s"),
        ("1, 40", r"40 s, but the video ends at 40\.00 s"),
    ],
)
def test_cuts_that_cannot_be_are_a_sentence(text, says):
    with pytest.raises(InputError, match=says):
        parse_cuts(text, 1000)
