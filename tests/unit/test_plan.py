"""The plan: coverage, alignment, and what is refused."""

import dataclasses
import itertools

import pytest

from endless_talk.errors import InputError
from endless_talk.frames import clip_frames, is_chunk_length, latent_frames, pixel_frames
from endless_talk.samplers.plan import SHORTEST_LAST_FRAMES, plan_chunks, plan_shots

SIZES = [(81, 9), (81, 1), (81, 25), (33, 5), (17, 9), (5, 1), (9, 5)]


@pytest.mark.parametrize(("chunk_frames", "context_frames"), SIZES)
def test_chunks_keep_every_frame_exactly_once(chunk_frames, context_frames):
    for total in range(1, 2001):
        next_frame = 0
        for chunk in plan_chunks(total, chunk_frames, context_frames):
            assert chunk.start_frame + chunk.context_frames == next_frame
            assert 1 <= chunk.kept_frames <= chunk.frames - chunk.context_frames
            next_frame += chunk.kept_frames
        assert next_frame == total


@pytest.mark.parametrize(("chunk_frames", "context_frames"), SIZES)
def test_a_chunk_starts_with_the_last_frames_of_the_one_before(chunk_frames, context_frames):
    plan = plan_chunks(500, chunk_frames, context_frames)
    for before, after in itertools.pairwise(plan):
        assert after.index == before.index + 1
        assert after.start_frame + after.context_frames == before.stop_frame
        assert is_chunk_length(after.frames)


@pytest.mark.parametrize(
    ("total", "chunks"), [(1, 1), (81, 1), (82, 2), (153, 2), (154, 3), (225, 3), (1000, 14)]
)
def test_chunk_counts_are_the_published_ones(total, chunks):
    assert len(plan_chunks(total)) == chunks


def test_chunk_starts_are_the_published_ones():
    assert [chunk.start_frame for chunk in plan_chunks(250)] == [0, 72, 144, 216]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((0,), "0 frames"),
        ((100, 80, 9), "81"),
        ((100, 81, 10), "9 or 13"),
        ((100, 9, 9), "lower context_frames"),
        ((100, 9, 13), "lower context_frames"),
    ],
)
def test_impossible_plans_are_refused_with_what_to_do(arguments, says):
    with pytest.raises(InputError, match=says):
        plan_chunks(*arguments)


def test_clip_length_is_the_nearest_frame_count():
    assert clip_frames(29 / 25) == 29  # truncation in floating point would give 28
    assert clip_frames(0.1) == 3
    assert clip_frames(0.0) == 1
    assert clip_frames(0.0199) == 1
    assert [clip_frames(n / 25) for n in range(1, 500)] == list(range(1, 500))


def test_latents_and_frames_convert_both_ways():
    for latents in range(1, 50):
        assert latent_frames(pixel_frames(latents)) == latents
    assert [latent_frames(frames) for frames in (1, 4, 5, 8, 9, 81)] == [1, 1, 2, 2, 3, 21]


@pytest.mark.parametrize(
    "cuts", [[], [1], [50], [81, 82], [10, 90, 91, 200], [0, 250, 300], list(range(1, 250, 7))]
)
def test_a_clip_with_cuts_keeps_every_frame_once_and_no_chunk_keeps_two_shots(cuts):
    next_frame = 0
    plan = plan_shots(250, cuts)
    for index, chunk in enumerate(plan):
        assert chunk.index == index
        first = chunk.start_frame + chunk.context_frames
        assert first == next_frame
        next_frame += chunk.kept_frames
        assert not any(chunk.start_frame < cut < next_frame for cut in cuts)
        assert (chunk.context_frames == 0) == (first == 0 or first in cuts)
    assert next_frame == 250


def test_a_clip_without_cuts_is_planned_as_ever():
    assert plan_shots(250, []) == plan_chunks(250)
    assert [(c.start_frame, c.kept_frames) for c in plan_shots(250, [100])] == [
        (0, 81),
        (72, 19),
        (100, 81),
        (172, 69),
    ]


@pytest.mark.parametrize(("chunk_frames", "context_frames"), SIZES)
def test_a_shortened_chunk_samples_what_is_kept_of_it_and_no_group_more(
    chunk_frames, context_frames
):
    for total in range(1, 500):
        whole = plan_chunks(total, chunk_frames, context_frames)
        *same, last = plan_chunks(total, chunk_frames, context_frames, shorten_last=True)
        assert same == whole[:-1]
        needed = last.context_frames + last.kept_frames
        assert is_chunk_length(last.frames) and needed <= last.frames <= chunk_frames
        assert last.frames >= min(SHORTEST_LAST_FRAMES, chunk_frames)
        assert last.frames < needed + 4 or last.frames <= SHORTEST_LAST_FRAMES
        assert dataclasses.replace(last, frames=chunk_frames) == whole[-1]


def test_every_shot_is_shortened_at_its_end():
    plan = plan_shots(300, [100, 150], shorten_last=True)
    assert [chunk.frames for chunk in plan] == [81, 33, 53, 81, 81]
    assert [chunk.kept_frames for chunk in plan] == [81, 19, 50, 81, 69]
