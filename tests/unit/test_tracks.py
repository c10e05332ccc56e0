"""Faces of a video: followed through shots, numbered as they appear, from every source."""

import numpy as np
import pytest
import torch

from endless_talk.errors import InputError
from endless_talk.masks.boxes import has_moments, typed_moments
from endless_talk.masks.faces import face_speakers, faces_from_boxes
from endless_talk.masks.finding import FaceSources, find_faces, speaker_region
from endless_talk.masks.following import BRIDGED_FRAMES, HELD_FRAMES
from endless_talk.masks.moving import (
    TrackSettings,
    find_tracks,
    follow_faces,
    tells_of_frames,
    typed_faces,
)
from endless_talk.masks.preview import draw_faces, preview_size
from endless_talk.masks.tracks import FaceTracks

SIZE = (120, 200)
SIDE = 20.0


def face(x, y=60.0, side=SIDE):
    """A box around a middle."""
    return (x - side / 2, y - side / 2, x + side / 2, y + side / 2)


def middles(tracks, number):
    """Where a face is from left to right in every frame, NaN where it is away."""
    return (tracks.boxes[number, :, 0] + tracks.boxes[number, :, 2]) / 2


def follow(frames, **options):
    return follow_faces(frames, SIZE, **options)


def trembling(frames, pixels=1.5, seed=0):
    """What a detector gives: boxes a little off, in any order."""
    rng = np.random.default_rng(seed)
    return [
        [tuple(np.array(box) + rng.uniform(-pixels, pixels, 4)) for box in rng.permutation(boxes)]
        if boxes
        else []
        for boxes in frames
    ]


# Following


def test_moving_faces_keep_their_numbers_whatever_order_they_are_found_in():
    paths = [30 + 20 * np.sin(np.arange(100) / 9), 110 + 0.4 * np.arange(100)]
    tracks = follow(trembling([[face(a), face(b)] for a, b in zip(*paths, strict=True)]))
    assert tracks.count == 2 and tracks.frames == 100
    for number, path in enumerate(paths):
        assert np.abs(middles(tracks, number) - path).max() < 2


@pytest.mark.parametrize("hidden", [0, 6, 16])
def test_two_faces_that_cross_keep_their_numbers(hidden):
    """Also when the one behind is not found while the other is before it."""
    right, left = 20 + 2.0 * np.arange(80), 180 - 2.0 * np.arange(80)
    frames = []
    for a, b in zip(right, left, strict=True):
        boxes = [face(a), face(b, y=64)]
        frames.append(boxes[:1] if abs(a - b) <= 2 * hidden else boxes)
    tracks = follow(trembling(frames, 1.0))
    assert tracks.count == 2
    assert np.abs(middles(tracks, 0) - right).max() < 3
    assert np.abs(middles(tracks, 1) - left).max() < 3


def test_gaps_are_bridged_in_a_straight_line_and_long_ones_are_absences():
    frames = [[face(50.0 + t)] for t in range(100)]
    short = [[] if 30 <= t < 60 else boxes for t, boxes in enumerate(frames)]
    assert np.allclose(middles(follow(short), 0), 50 + np.arange(100))
    still = [[face(50.0)] for _ in range(200)]
    long = [[] if 60 <= t < 60 + BRIDGED_FRAMES else boxes for t, boxes in enumerate(still)]
    away = np.isnan(middles(follow(long), 0))
    assert away[60 : 60 + BRIDGED_FRAMES].all() and away.sum() == BRIDGED_FRAMES
    assert follow(long).count == 1, "who comes back where it was is the same face"


def test_a_box_is_held_for_a_second_at_both_ends_of_a_face():
    frames = [[face(50.0)] if 40 <= t < 60 else [] for t in range(120)]
    there = np.flatnonzero(~np.isnan(middles(follow(frames), 0)))
    assert (there[0], there[-1]) == (40 - HELD_FRAMES, 59 + HELD_FRAMES)


def test_faces_are_numbered_as_they_appear_and_from_the_left():
    late, first, second = face(30), face(100), face(160)
    frames = [[second, first] if t < 30 else [second, first, late] for t in range(60)]
    tracks = follow(frames)
    assert [np.nanmean(middles(tracks, n)) for n in range(3)] == [100, 160, 30]
    missed = [boxes[:1] if t < 3 else boxes for t, boxes in enumerate(frames)]
    assert np.nanmean(middles(follow(missed), 0)) == 100, "missed in the first frames"


def test_every_shot_numbers_its_faces_anew():
    one = [[face(40), face(150)]] * 20
    two = [[face(160, 90)]] * 30
    tracks = follow(one + two, cuts=[20])
    assert tracks.count == 2 and tracks.shots == [(0, 20), (20, 50)]
    assert (middles(tracks, 0)[:20] == 40).all() and (middles(tracks, 0)[20:] == 160).all()
    assert (middles(tracks, 1)[:20] == 150).all() and np.isnan(middles(tracks, 1)[20:]).all()
    assert tracks.best_frames() == [0, 20]
    joined = follow(one + two)
    assert joined.count == 3, "without the cut the face of the second shot is a third one"


def test_nothing_is_held_across_a_cut():
    frames = [[face(50)]] * 20 + [[face(120)]] * 2 + [[]] * 30
    tracks = follow(frames, cuts=[20])
    assert np.isnan(middles(tracks, 0)[20:]).all() and tracks.left_out == 1


def test_mistakes_of_a_detector_are_left_out_and_counted():
    frames = [[face(50)] + ([face(150)] if t in (7, 8, 9, 30) else []) for t in range(60)]
    tracks = follow(frames)
    assert (tracks.count, tracks.left_out) == (1, 1)
    assert "1 left out" in tracks.summary


def test_the_largest_faces_count_when_not_all_do():
    frames = [[face(30, side=8), face(100, side=30), face(160, side=25)]] * 20
    tracks = follow(frames, at_most=2)
    assert [middles(tracks, n)[0] for n in range(2)] == [100, 160] and tracks.left_out == 1


def test_a_video_of_a_single_frame_has_faces_too():
    assert follow([[face(50), face(90)]]).count == 2


def test_boxes_grow_by_share_and_by_pixels():
    tracks = follow([[(40.0, 40.0, 60.0, 80.0)]] * 6, grow=0.5, dilate=3)
    assert tracks.boxes[0, 0].tolist() == [27, 17, 73, 103]


def test_tracks_are_a_few_numbers_per_frame():
    tracks = follow([[face(50), face(120)]] * 5400)
    assert tracks.boxes.dtype == np.float32 and tracks.boxes.nbytes == 5400 * 2 * 16


# What a track is for others


def test_a_track_is_a_region_where_its_face_is_first():
    frames = [[face(40.0 + t)] + ([face(150)] if t >= 30 else []) for t in range(90)]
    tracks = follow(frames)
    expected = faces_from_boxes([face(40), face(150)], SIZE).regions
    torch.testing.assert_close(speaker_region(tracks, 1, None), expected[0])
    torch.testing.assert_close(speaker_region(tracks, 2, None), expected[1])
    assert speaker_region(tracks, 0, None) is None and tracks.track(0) is None
    assert tracks.track(2).index == 1
    regions, owners = face_speakers(tracks, [expected[0], expected[1]])
    torch.testing.assert_close(regions, expected)
    assert owners == [0, 1]


def test_all_faces_together_are_their_union_over_frames():
    tracks = follow([[face(40.0 + t)] for t in range(90)])
    expected = torch.zeros(SIZE)
    expected[50:70, 30:139] = 1
    torch.testing.assert_close(tracks.together, expected)


def test_a_face_number_that_does_not_exist_is_a_sentence():
    tracks = follow([[face(40)]] * 9)
    for ask in (tracks.region, tracks.track):
        with pytest.raises(InputError, match=r"face is 2, but Face Masks found 1 in the video"):
            ask(2)


def test_the_summary_says_when_each_face_is_there():
    tracks = follow([[face(40)] + ([face(150)] if t >= 100 else []) for t in range(150)])
    assert tracks.summary.splitlines() == [
        "2 faces in 6.00 s, 1 shot",
        "face 1: 0.00 to 6.00 s",
        "face 2: 3.00 to 6.00 s",
    ]
    assert tracks.track(2).summary == "face 2 of the video, in 50% of its frames"


def test_the_smallest_face_has_a_pixel():
    boxes = np.array([[[10.2, 10.2, 10.4, 10.4]]], np.float32)
    assert FaceTracks(boxes, SIZE).regions.sum() == 1


def test_a_preview_shows_the_faces_of_its_frame_with_their_numbers():
    tracks = follow([[face(50, side=40)] + ([face(150)] if t >= 30 else []) for t in range(60)])
    assert tracks.best_frames() == [5]  # held for a second before it is seen
    small = tracks.at(0, (60, 100))
    assert small.regions[0, 20:40, 15:35].all() and small.regions[0].sum() == 400
    assert not small.regions[1].any()
    assert (draw_faces(small, None)[20:40, 15:35] > 0).any()
    assert preview_size((1080, 1920)) == (474, 843) and preview_size(SIZE) == SIZE


# Typed


def test_typed_moments_move_in_a_straight_line_and_stay_at_the_end():
    text = "0:00 10 10 30 30; 100 10 120 30\n0:02 60 10 80 30; -\n0:03.2 60 50 80 70"
    tracks = typed_faces(typed_moments(text, SIZE), SIZE, 100)
    assert middles(tracks, 0)[[0, 25, 50, 80, 99]].tolist() == [20, 45, 70, 70, 70]
    assert tracks.boxes[0, [50, 65, 80, 99], 1].tolist() == [10, 30, 50, 50]
    there = ~np.isnan(middles(tracks, 1))
    assert there[:50].all() and not there[50:].any(), "it goes when it is told to"


def test_typed_moments_do_not_move_across_a_cut():
    text = "0:00 10 10 30 30\n0:02 60 10 80 30"
    tracks = typed_faces(typed_moments(text, SIZE), SIZE, 150, [30, 70, 100])
    assert (middles(tracks, 0)[:30] == 20).all()
    assert (middles(tracks, 0)[30:70] == 70).all(), "the first moment of a shot is its beginning"
    assert (middles(tracks, 0)[70:] == 70).all(), "and holds in shots without one"
    late = typed_faces(typed_moments("0:02 60 10 80 30", SIZE), SIZE, 100, [30])
    assert np.isnan(middles(late, 0)[:30]).all() and (middles(late, 0)[30:] == 70).all()


def test_the_order_of_typed_boxes_numbers_the_faces():
    tracks = typed_faces(typed_moments("0:00 100 10 120 30; 10 10 30 30", SIZE), SIZE, 10)
    assert [middles(tracks, n)[0] for n in range(2)] == [110, 20]


def test_typed_shares_are_shares_of_the_video():
    tracks = typed_faces(typed_moments("0:00 0.1 0.25 0.3 0.5", SIZE), SIZE, 10)
    assert tracks.boxes[0, 0].tolist() == [20, 30, 60, 60]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0:00 1 2 30 40\n5 6 70 80", "the line '5 6 70 80' has no time"),
        ("0:02 1 2 30 40\n0:01 5 6 70 80", "ascending"),
        ("0:00", "has a time but no box"),
        ("0:00 1 2 30", "4 numbers"),
        ("0:00 1 2 30 40\n0:05 1 2 30 40", "boxes has 0:05.00, but the video ends at 0:04.00"),
        ("0:01 300 2 330 40", r"boxes at 0:01.00: .* outside the picture of 200x120"),
        ("0:01 -", "no face, only times"),
    ],
)
def test_typed_moments_that_are_wrong_are_a_sentence(text, says):
    assert has_moments(text)
    with pytest.raises(InputError, match=says):
        find_tracks(FaceSources(boxes=text), SIZE, 100, (), TrackSettings())


# Sources


def host_boxes(frames):
    return [
        [{"x": x, "y": y, "width": right - x, "height": bottom - y} for x, y, right, bottom in each]
        for each in frames
    ]


def host_landmarks(frames, size=SIZE):
    faces = [[{"bbox_xyxy": np.array(box, np.float32)} for box in boxes] for boxes in frames]
    return {"frames": faces, "image_size": size}


FRAMES = [[face(40.0 + t), face(150)] for t in range(20)]
SOURCES = {
    "bboxes": FaceSources(bboxes=host_boxes(FRAMES)),
    "landmarks": FaceSources(landmarks=host_landmarks(FRAMES)),
    "typed": FaceSources(
        boxes="0:00 30 50 50 70; 140 50 160 70\n0:00.76 49 50 69 70; 140 50 160 70"
    ),
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_gives_the_same_tracks(name):
    assert tells_of_frames(SOURCES[name])
    settings = TrackSettings(grow=0, dilate=0, motion="moving", rule="soft")
    tracks = find_tracks(SOURCES[name], SIZE, 20, (), settings)
    assert (tracks.motion, tracks.rule) == ("moving", "soft")
    np.testing.assert_allclose(middles(tracks, 0), 40 + np.arange(20), atol=1e-4)
    np.testing.assert_allclose(middles(tracks, 1), 150)


def test_what_is_of_one_picture_holds_for_the_whole_video():
    single = [
        FaceSources(bboxes=host_boxes(FRAMES[:1])),
        FaceSources(landmarks=host_landmarks(FRAMES[:1])),
        FaceSources(boxes="1 2 30 40"),
        FaceSources(mask=torch.ones(1, *SIZE)),
    ]
    assert not any(map(tells_of_frames, single))


@pytest.mark.parametrize(
    ("sources", "frames", "says"),
    [
        (FaceSources(bboxes=host_boxes(FRAMES)), 25, "bboxes are of 20 pictures, .* 25 frames"),
        (FaceSources(landmarks=host_landmarks(FRAMES)), 7, "landmarks are of 20 pictures"),
        (FaceSources(landmarks=host_landmarks(FRAMES, (9, 9))), 20, "9x9 pixels, the video is 200"),
        (FaceSources(bboxes=host_boxes([[]] * 20)), 20, "No face was found in the 20 frames"),
        (
            FaceSources(bboxes=host_boxes([[]] * 16 + FRAMES[:4])),
            20,
            r"for more than a moment \(8 boxes",
        ),
        (
            FaceSources(bboxes=host_boxes([*FRAMES[:12], [face(300)], *FRAMES[:7]])),
            20,
            r"frame 12 \(0:00.48\): the box .* outside the picture of 200x120",
        ),
        (FaceSources(bboxes=[[{"x": 1}], []]), 2, "x, y, width and height"),
        (FaceSources(bboxes=host_boxes(FRAMES), boxes="0:00 1 2 3 4"), 20, "bboxes and boxes"),
    ],
)
def test_faces_of_a_video_that_cannot_be_had_are_a_sentence(sources, frames, says):
    with pytest.raises(InputError, match=says):
        find_tracks(sources, SIZE, frames, (), TrackSettings())


def test_what_a_detector_finds_beside_the_picture_is_no_face():
    """As it does when somebody leaves; one such frame is no reason to refuse a video."""
    stray = [boxes + [face(300)] * (number == 12) for number, boxes in enumerate(FRAMES)]
    found, plain = (
        find_tracks(FaceSources(landmarks=host_landmarks(frames)), SIZE, 20, (), TrackSettings())
        for frames in (stray, FRAMES)
    )
    assert np.array_equal(found.boxes, plain.boxes)


def test_settings_that_do_not_exist_are_a_sentence():
    with pytest.raises(InputError, match="motion is 'still'; choose one of union, moving"):
        TrackSettings(motion="still")
    with pytest.raises(InputError, match="choose one of any, area, nearest, soft"):
        TrackSettings(rule="most")


def test_moments_of_a_picture_are_refused():
    with pytest.raises(InputError, match="boxes has times, but the picture does not move"):
        find_faces(FaceSources(boxes="0:00 1 2 30 40"), SIZE)
