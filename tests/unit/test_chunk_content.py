"""Keys of chunks against what the chunks are made from: they change together, chunk by chunk."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
import videos

from endless_talk.reference.dubbing import DubSettings, DubSource, VideoReference
from endless_talk.reference.motion import Motion
from endless_talk.reference.sources import FramesReference, reference_of
from endless_talk.reference.video import PicturesVideo
from endless_talk.samplers.plan import plan_shots
from endless_talk.video.job_keys import chunk_keys, chunk_places, digest

SIZE = videos.SIZE
FRAMES = 130


def numbered(count, first=0):
    pictures = [torch.from_numpy(videos.numbered(first + index)) for index in range(count)]
    return PicturesVideo(torch.stack(pictures).float() / 255, 25.0)


def dub(count=150, size=SIZE, keep=None, first=0, **settings):
    source = DubSource(numbered(count, first), size, DubSettings(length="audio", **settings))
    return VideoReference(source, size, keep=keep)


def mask(row):
    keep = torch.zeros(1, SIZE[0] // 8, SIZE[1] // 8)
    keep[:, row] = 1
    return keep


def planned(reference):
    return plan_shots(FRAMES, reference.cuts(FRAMES), 33, 9, shorten_last=True)


def keys_of(reference, shown=()):
    """Keys; ``shown`` are chunks that see a picture of a timeline."""
    plan = planned(reference)
    parts = [
        [place, reference.chunk_content(c.start_frame, c.frames, own=c.index not in shown)]
        for place, c in zip(chunk_places(plan), plan, strict=True)
    ]
    return chunk_keys(parts, common=list(reference.size))


def inputs_of(reference, shown=()):
    """The same of the very pixels that go into the networks."""
    plan = planned(reference)
    parts = []
    for place, chunk in zip(chunk_places(plan), plan, strict=True):
        frame = None if chunk.index in shown else reference.source.frame(chunk.start_frame)
        part = [place, frame]
        if reference.source_strength or reference.keep is not None:
            under = reference.source.frames(chunk.start_frame, chunk.frames)
            part += [under, reference.source_strength, reference.keep]
        parts.append(part)
    return chunk_keys(parts, common=list(reference.size))


DUBS = {
    "as it is": lambda: dub(),
    "a keyframe": lambda: dub(keyframes="0"),
    "a keyframe more": lambda: dub(keyframes="0, 2.1"),
    "a keyframe moved": lambda: dub(keyframes="0, 2.4"),
    "a keyframe that no chunk reaches": lambda: dub(keyframes="0, 2.1, 5.9"),
    "a cut": lambda: dub(cuts=(90,)),
    "a cut more": lambda: dub(cuts=(90, 110)),
    "a cut behind the clip": lambda: dub(cuts=(140,)),
    "a shorter video": lambda: dub(70),
    "in a loop": lambda: dub(70, when_short="loop"),
    "bouncing": lambda: dub(70, when_short="bounce"),
    "a loop that is not needed": lambda: dub(when_short="loop"),
    "another video": lambda: dub(first=1),
    "begun from": lambda: dub(source_strength=0.2),
    "begun from more": lambda: dub(source_strength=0.3),
    "begun from, with a cut": lambda: dub(source_strength=0.3, cuts=(90,)),
    "begun from, with a keyframe": lambda: dub(source_strength=0.3, keyframes="0, 2.1"),
    "begun from what is held": lambda: dub(70, source_strength=0.3, keyframes="0"),
    "begun from what bounces": lambda: dub(
        70, source_strength=0.3, keyframes="0", when_short="bounce"
    ),
    "kept": lambda: dub(keep=mask(0)),
    "kept elsewhere": lambda: dub(keep=mask(1)),
    "another size": lambda: dub(size=(32, 48)),
}


@pytest.fixture(scope="module")
def known():
    """Keys and inputs of every kind."""
    made = {kind: make() for kind, make in DUBS.items()}
    return {kind: (keys_of(one), inputs_of(one)) for kind, one in made.items()}


def same(one, other):
    return [a == b for a, b in zip(one, other, strict=False)]


OTHER_VIDEOS = (
    "a shorter video",
    "in a loop",
    "bouncing",
    "begun from what is held",
    "begun from what bounces",
)


@pytest.mark.parametrize("kind", DUBS)
def test_a_key_changes_with_what_its_chunk_or_an_earlier_one_is_made_from_and_only_then(
    kind, known
):
    keys, inputs = known[kind]
    for other, (their_keys, their_inputs) in known.items():
        if (kind in OTHER_VIDEOS) != (other in OTHER_VIDEOS):
            continue  # another file is another content, also where its pictures are the same
        assert same(keys, their_keys) == same(inputs, their_inputs), other


def test_the_settings_reach_different_numbers_of_chunks(known):
    """So that the test above compares something."""

    def kept(kind, other):
        return sum(same(known[kind][0], known[other][0]))

    assert len(known["as it is"][0]) == 6
    assert kept("a keyframe", "a keyframe more") == kept("a keyframe", "a keyframe moved") == 3
    assert kept("as it is", "a cut") == 3 and kept("a cut", "a cut more") > 3
    assert kept("a keyframe more", "a keyframe that no chunk reaches") == 6
    assert kept("as it is", "a loop that is not needed") == 6
    assert kept("a shorter video", "in a loop") == 2
    assert kept("begun from what is held", "begun from what bounces") == 2
    assert kept("begun from", "begun from more") == kept("kept", "kept elsewhere") == 0


def test_a_sharp_keyframe_is_known_by_those_it_is_chosen_among():
    one = keys_of(dub(keyframes="nearest sharp"))
    assert one == keys_of(dub(keyframes="nearest sharp"))
    cut = keys_of(dub(keyframes="nearest sharp", cuts=(90,)))
    assert same(one, cut)[:2] == [True, True] and not all(same(one, cut))
    assert not any(same(one, keys_of(dub())))


def test_nothing_is_decoded_to_know_a_key():
    reference = dub(keyframes="nearest sharp", source_strength=0.3)
    reference.source.video.picture = None
    assert keys_of(reference)


def test_what_lies_under_a_picture_of_the_timeline_counts_and_what_it_hides_does_not():
    plain, other = dub(keyframes="0, 2.1"), dub(keyframes="0, 2.4")
    for shown in ((), (3, 4), (4,)):
        assert same(keys_of(plain, shown), keys_of(other, shown)) == same(
            inputs_of(plain, shown), inputs_of(other, shown)
        )
    begun = [dub(source_strength=0.3, first=first) for first in (0, 1)]
    assert keys_of(begun[0], range(20)) != keys_of(begun[1], range(20))
    assert keys_of(plain, (3,)) != keys_of(plain)


def noise(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (60, 90, 3), np.uint8)


def bordered(seed=0):
    """Another border around the same middle."""
    picture = noise()
    picture[:2] = noise(seed)[:2]
    return picture


def test_a_moving_picture_is_known_by_its_motion_and_by_all_of_it():
    made = [
        reference_of(picture, SIZE, motion)
        for picture in (noise(), noise(1), bordered(1))
        for motion in Motion
    ]
    keys = [keys_of(one) for one in made]
    assert all(one[-1] != other[-1] for one, other in combinations(keys, 2))
    assert keys[0] == keys_of(reference_of(noise(), SIZE, Motion.STILL))
    assert keys[1] == keys_of(reference_of(noise(), SIZE, Motion.ZOOM))


def test_every_chunk_of_a_moving_picture_has_its_own_view():
    zoom = reference_of(noise(), SIZE, Motion.ZOOM)
    seen = [zoom.chunk_content(start, 33)["seen"] for start in (0, 24, 48)]
    assert len({digest(one) for one in seen}) == 3
    still = reference_of(noise(), SIZE, Motion.STILL)
    assert still.chunk_content(0, 33) == still.chunk_content(24, 33)


def test_image_tokens_count_where_they_are_used():
    tokens = [torch.full((1, 257, 1280), float(value)) for value in range(2)]
    still = [replace(reference_of(noise(), SIZE), image_tokens=one) for one in tokens]
    assert keys_of(still[0])[0] != keys_of(still[1])[0]
    assert keys_of(still[0])[0] != keys_of(reference_of(noise(), SIZE))[0]
    video = [replace(dub(), image_tokens=one, encode=lambda _: tokens[0]) for one in tokens]
    first, later = ([one.chunk_content(start, 33) for one in video] for start in (0, 24))
    assert first[0] != first[1] and later[0] == later[1] != dub().chunk_content(24, 33)
    named = replace(dub(keyframes="0"), image_tokens=tokens[0], encode=lambda _: tokens[1])
    frame = named.source.first
    assert named.source.frame(24) is frame and named.tokens(frame) is tokens[0]
    assert named.chunk_content(24, 33)["tokens"] == named.token_hash


def test_frames_are_one_object_as_long_as_they_are_the_same():
    frames = FramesReference(np.stack([noise(seed) for seed in range(3)]), SIZE)
    assert frames.frame(0) is frames.first
    second = frames.frame(1)
    assert frames.frame(1) is second and frames.frame(2) is frames.frame(9) is not second
    assert frames.frame(0) is frames.first
