"""Gates: which tokens hear whom, against the same drawn pixel by pixel."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pytest
import torch

from endless_talk.crop import crop_box
from endless_talk.errors import InputError
from endless_talk.masks.boxes import typed_moments
from endless_talk.masks.faces import faces_from_boxes
from endless_talk.masks.gates import RememberedGates, check_gates, speaker_gates
from endless_talk.masks.moving import follow_faces, typed_faces
from endless_talk.masks.pooling import RULES
from endless_talk.masks.tokens import latent_masks, token_masks
from endless_talk.masks.tracks import FaceTrack

SIZE = (90, 150)
CLIP = (64, 96)
BOX = crop_box(SIZE, CLIP)
SHRUNK = crop_box((300, 500), CLIP)
ENLARGED = crop_box((40, 50), CLIP)


@dataclass(frozen=True)
class Somebody:
    region: torch.Tensor | None = None
    track: FaceTrack | None = None
    rule: str = "any"


def drawn(*box, size=SIZE):
    left, top, right, bottom = box
    mask = torch.zeros(size)
    mask[top:bottom, left:right] = 1
    return Somebody(mask)


def moving_faces(size=SIZE, frames=41, motion="moving", seed=0):
    """Two faces that cross in frame 22, one of them away from 30 to 37."""
    rng = np.random.default_rng(seed)
    height, width = size
    boxes = np.empty((2, frames, 4), np.float32)
    for number, path in enumerate((np.linspace(0.1, 0.9, frames), np.linspace(0.95, 0.2, frames))):
        side = rng.uniform(0.2, 0.3) * height
        x, y = path * width, height * (0.4 + 0.1 * number + 0.1 * np.sin(np.arange(frames)))
        boxes[number] = np.stack([x - side / 2, y - side / 2, x + side / 2, y + side / 2], axis=1)
    boxes[1, 30:38] = np.nan
    tracks = follow_faces([[(1, 1, 9, 9)]] * frames, size)
    return replace(tracks, boxes=boxes, motion=motion)


def speakers_of(tracks, rule="any"):
    return [Somebody(None, tracks.track(face), rule) for face in range(1, tracks.count + 1)]


# The same, pixel by pixel


def seen_pixels(source, resized, kept, rule):
    """For every pixel of the clip along one side, the pixels of the source that decide."""
    for j in range(resized)[kept]:
        if rule == "any":
            first, last = j * source // resized, math.ceil((j + 1) * source / resized)
            yield range(first, last)
        else:
            yield range(j * source // resized, j * source // resized + 1)


def pixel_mask(source_mask, box, rule):
    """A mask of the source on the clip's pixels."""
    sizes = zip(box.source_size, box.resized_size, (box.rows, box.columns), strict=True)
    rows, columns = (list(seen_pixels(*side, rule)) for side in sizes)
    return np.array([[source_mask[np.ix_(r, c)].any() for c in columns] for r in rows])


@lru_cache
def brute_masks(box, frame, covering):
    """Masks of both moving faces on the clip; a pixel in both is that of the nearest middle."""
    pixels = moving_faces(box.source_size).pixels[:, frame]
    masks, middles = [], []
    for left, top, right, bottom in pixels:
        source = np.zeros(box.source_size, bool)
        source[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
        masks.append(pixel_mask(source, box, "any" if covering else "nearest"))
        middles.append(((top + bottom) / 2, (left + right) / 2))
    down, across = (box.source_size[n] / box.resized_size[n] for n in (0, 1))
    for y, x in zip(*np.nonzero(np.sum(masks, axis=0) > 1), strict=True):
        at = ((y + box.top + 0.5) * down, (x + box.left + 0.5) * across)
        near = min(range(len(masks)), key=lambda n: math.dist(at, middles[n]))
        for number, mask in enumerate(masks):
            mask[y, x] &= number == near
    return masks


def brute_union(box, frames, face, rule):
    return np.any([brute_masks(box, frame, rule == "any")[face] for frame in frames], axis=0)


def brute_tokens(mask, rule, dilate=0):
    grown = np.zeros_like(mask)
    for y, x in zip(*np.nonzero(mask), strict=True):
        grown[max(y - dilate, 0) : y + dilate + 1, max(x - dilate, 0) : x + dilate + 1] = True
    tokens = []
    for y in range(0, mask.shape[0], 16):
        for x in range(0, mask.shape[1], 16):
            share = grown[y : y + 16, x : x + 16].mean()
            first = grown[y, x]
            tokens.append(
                {"any": share > 0, "area": share >= 0.5, "nearest": first, "soft": share}[rule]
            )
    return torch.tensor(tokens, dtype=torch.float32)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dilate", [0, 5])
@pytest.mark.parametrize("box", [BOX, SHRUNK, ENLARGED], ids=["alike", "shrunk", "enlarged"])
def test_moving_gates_are_those_of_every_pixel(rule, dilate, box):
    tracks = moving_faces(box.source_size)
    gates = speaker_gates(speakers_of(tracks, rule), box, 16, 9, dilate=dilate)
    assert gates.shape == (2, 3, 24)
    for latent, frames in enumerate(([16], range(17, 21), range(21, 25))):
        for face in range(2):
            expected = brute_tokens(brute_union(box, frames, face, rule), rule, dilate)
            torch.testing.assert_close(gates[face, latent], expected)
    assert gates.any() and not gates.all()


@pytest.mark.parametrize("rule", RULES)
def test_a_union_is_over_all_frames_made_at_once(rule):
    tracks = moving_faces(motion="union")
    gates = speaker_gates(speakers_of(tracks), BOX, 16, 9, rule=rule)
    assert gates.shape == (2, 1, 24)
    for face in range(2):
        expected = brute_tokens(brute_union(BOX, range(16, 25), face, rule), rule)
        torch.testing.assert_close(gates[face, 0], expected)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dilate", [0, 7])
@pytest.mark.parametrize("box", [BOX, SHRUNK, ENLARGED], ids=["alike", "shrunk", "enlarged"])
def test_the_gate_of_a_picture_is_that_of_every_pixel(rule, dilate, box):
    height, width = box.source_size
    somebody = drawn(width // 4, height // 5, width // 2, height // 2, size=box.source_size)
    gates = speaker_gates([somebody], box, 0, 81, rule=rule, dilate=dilate)
    expected = brute_tokens(pixel_mask(somebody.region.numpy() > 0, box, rule), rule, dilate)
    torch.testing.assert_close(gates, expected[None, None])


def test_the_nearest_rule_is_the_one_of_the_published_routing():
    box = crop_box((131, 197), (128, 192))
    region = (torch.rand(131, 197, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    gates = speaker_gates([Somebody(region, rule="nearest")], box, 0, 5)
    assert torch.equal(gates[0], token_masks(latent_masks(region[None], box)))


# Time


def test_the_first_latent_is_one_frame_and_the_others_are_four():
    """A face that is elsewhere in every frame: each latent has exactly the columns of its own."""
    frames = 13
    boxes = [[(16.0 * t, 20, 16.0 * t + 1, 40)] for t in range(frames)]
    size = (64, 16 * frames)
    tracks = replace(follow_faces([[(0, 20, 16, 40)]] * frames, size), motion="moving")
    tracks = replace(tracks, boxes=np.array(boxes, np.float32).transpose(1, 0, 2))
    gates = speaker_gates(speakers_of(tracks), crop_box(size, size), 0, frames)
    columns = gates.unflatten(-1, (4, frames))[0].amax(dim=1)
    found = [row.nonzero().flatten().tolist() for row in columns]
    assert found == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]
    later = speaker_gates(speakers_of(tracks), crop_box(size, size), 4, 5)
    columns = later.unflatten(-1, (4, frames))[0].amax(dim=1)
    assert [row.nonzero().flatten().tolist() for row in columns] == [[4], [5, 6, 7, 8]]


def test_past_its_end_a_video_stands_still_or_goes_where_it_is_told():
    tracks = moving_faces()
    people = speakers_of(tracks)
    held = speaker_gates(people, BOX, 60, 5)
    assert torch.equal(held, speaker_gates(people, BOX, 40, 1).expand(-1, 2, -1))
    looped = speaker_gates(people, BOX, 41, 5, source_frame=lambda frame: frame % 41)
    assert torch.equal(looped, speaker_gates(people, BOX, 0, 5))


def test_who_is_away_hears_nothing():
    gates = speaker_gates(speakers_of(moving_faces()), BOX, 25, 13)
    assert gates[1, :2].any(dim=1).all() and not gates[1, 2:].any()
    assert gates[0].any(dim=1).all()


def test_people_of_pictures_and_of_videos_may_speak_together():
    tracks = moving_faces()
    still = drawn(10, 10, 40, 40)
    gates = speaker_gates([still, *speakers_of(tracks)], BOX, 0, 9)
    assert gates.shape == (3, 3, 24)
    assert torch.equal(gates[:1, :1], speaker_gates([still], BOX, 0, 9))
    assert torch.equal(gates[0], gates[0, :1].expand(3, -1))
    assert torch.equal(gates[1:], speaker_gates(speakers_of(tracks), BOX, 0, 9))


def test_permuting_speakers_permutes_their_gates():
    people = speakers_of(moving_faces())
    gates = speaker_gates(people, BOX, 0, 17)
    assert torch.equal(speaker_gates(people[::-1], BOX, 0, 17), gates.flip(0))


def test_a_chunk_of_another_length_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="4n"):
        speaker_gates([Somebody()], BOX, 0, 8)


@pytest.mark.parametrize("rule", RULES)
def test_remembered_gates_are_the_same_and_made_once(rule, monkeypatch):
    people = speakers_of(moving_faces())
    remembered = RememberedGates(people, BOX, rule=rule, dilate=3)
    expected = {
        start: speaker_gates(people, BOX, start, 9, rule=rule, dilate=3) for start in (0, 8)
    }
    for start in (0, 8):
        assert torch.equal(remembered(start, 9), expected[start])
    monkeypatch.setattr("endless_talk.masks.gates._track_gates", None)
    for start in (8, 0):
        assert torch.equal(remembered(start, 9), expected[start])


# Places


def test_somebody_alone_without_a_place_has_the_whole_picture():
    assert torch.equal(speaker_gates([Somebody()], BOX, 0, 81), torch.ones(1, 1, 24))


@pytest.mark.parametrize(
    ("size", "clip"), [((90, 150), CLIP), ((900, 1500), CLIP), ((2000, 3001), (256, 384))]
)
def test_a_face_of_one_pixel_never_vanishes_by_the_default_rule(size, clip):
    box = crop_box(size, clip)
    for x, y in ((size[1] // 2, size[0] // 2), (size[1] // 3, size[0] // 3 + 1)):
        tracks = follow_faces([[(x, y, x + 1, y + 1)]] * 5, size)
        for somebody in (drawn(x, y, x + 1, y + 1, size=size), *speakers_of(tracks)):
            assert 1 <= speaker_gates([somebody], box, 0, 5).sum() <= 4  # on a token's corner


@pytest.mark.parametrize("rule", ["area", "nearest"])
def test_a_face_too_small_for_a_rule_is_a_sentence(rule):
    somebody = drawn(70, 40, 75, 45)
    with pytest.raises(InputError, match=rf"speaker 1: .* pixels at 96x64, .* the rule '{rule}'"):
        speaker_gates([somebody], BOX, 0, 5, rule=rule)


@pytest.mark.parametrize(
    ("people", "box", "says"),
    [
        ([Somebody(), drawn(1, 1, 50, 50)], BOX, "where speaker 1 of 2 is: give every speaker"),
        ([Somebody(), Somebody()], BOX, "where speakers 1 and 2 of 2 are"),
        ([drawn(1, 1, 50, 50), drawn(5, 5, 5, 9)], BOX, "speaker 2: the mask is empty"),
        ([drawn(0, 0, 9, 90)], crop_box(SIZE, (96, 64)), "all of them outside"),
        ([drawn(1, 1, 50, 50)], SHRUNK, "mask is 150x90 pixels and the picture 500x300"),
        ([Somebody(rule="most")], BOX, "choose one of any, area, nearest, soft"),
    ],
)
def test_speakers_who_cannot_be_placed_are_a_sentence(people, box, says):
    for ask in (lambda: speaker_gates(people, box, 0, 5), lambda: check_gates(people, box)):
        with pytest.raises(InputError, match=says):
            ask()


@pytest.mark.parametrize(
    ("tracks", "box", "options", "says"),
    [
        (moving_faces(), SHRUNK, {}, "of a video of 150x90 pixels and the picture is 500x300"),
        (
            moving_faces(),
            BOX,
            {"source_frames": 50},
            r"video of 41 frames \(1.64 s\), the reference has 50",
        ),
        (
            typed_faces(typed_moments("0:00 0 0 9 90"), SIZE, 100),
            crop_box(SIZE, (96, 64)),
            {},
            "face 1 is never in the part of the video that is kept at 64x96",
        ),
        (
            typed_faces(typed_moments("0:00 50 40 54 44"), SIZE, 100),
            BOX,
            {"rule": "area"},
            "too small for the rule 'area'",
        ),
    ],
)
def test_faces_of_a_video_that_can_never_be_heard_are_a_sentence(tracks, box, options, says):
    with pytest.raises(InputError, match=says):
        check_gates(speakers_of(tracks), box, **options)


def test_a_face_that_comes_late_passes():
    tracks = typed_faces(typed_moments("0:00 -\n0:03 50 40 90 80"), SIZE, 100)
    check_gates(speakers_of(tracks), BOX, source_frames=100)
    assert not speaker_gates(speakers_of(tracks), BOX, 0, 5).any()


def test_regions_are_not_written_to():
    somebody = Somebody(faces_from_boxes([(10, 10, 50, 50)], SIZE).regions[0])
    before = somebody.region.clone()
    speaker_gates([somebody], BOX, 0, 5, dilate=3)
    assert torch.equal(somebody.region, before)
