"""Seams and latent groups: which frames they are, and how a jump is measured."""

import numpy as np
import pytest

from endless_talk.samplers.plan import Chunk, plan_chunks, plan_shots
from endless_talk.video.seams import (
    group_frames,
    measure_seams,
    seam_frames,
    shot_frames,
    stretches,
)

PLAN = plan_chunks(200, 33, 9)


def test_seams_and_groups_of_a_plan_are_counted_within_each_chunk():
    """By hand: chunks keep 0..32, 33..56, 57..80, …; groups are 1-4, 5-8, … of each chunk."""
    plan = plan_chunks(60, 33, 9)
    assert seam_frames(plan) == [33, 57]
    assert group_frames(plan) == [5, 9, 13, 17, 21, 25, 29, 37, 41, 45, 49, 53]


def test_chunks_without_context_shift_the_groups_by_one():
    plan = [Chunk(0, 0, 33, 0, 33), Chunk(1, 33, 33, 0, 33)]
    assert group_frames(plan) == [5, 9, 13, 17, 21, 25, 29, 38, 42, 46, 50, 54, 58, 62]


def steps(seam, group, within, plan=PLAN, frames=200):
    """Differences per frame with a known size at each kind of step."""
    values = np.full(frames, within)
    values[group_frames(plan)] = group
    values[seam_frames(plan)] = seam
    values[:2] = 99  # never read: nothing is before frame 0, and frame 0 is the reference
    return values


def test_a_planted_jump_is_measured_against_the_groups():
    seams = measure_seams(steps(0.03, 0.02, 0.01), PLAN)
    assert (seams.seam, seams.group, seams.within) == pytest.approx((0.03, 0.02, 0.01))
    assert seams.ratio == pytest.approx(1.5) == seams.worst


def test_the_worst_seam_is_named():
    values = steps(0.02, 0.02, 0.01)
    values[57] = 0.08
    seams = measure_seams(values, PLAN)
    assert (seams.worst_frame, seams.worst) == (57, pytest.approx(4))


def test_the_wrong_phase_would_flatter_nobody():
    """Groups counted from another frame of each chunk than its first give another ratio."""
    values = steps(0.02, 0.02, 0.01)
    shifted = [Chunk(c.index, c.start_frame + 7, 26, 2, c.kept_frames) for c in PLAN[1:]]
    assert measure_seams(values, PLAN).ratio == pytest.approx(1)
    assert measure_seams(values, [PLAN[0], *shifted]).ratio > 1.3


def test_a_cut_between_shots_is_no_seam_and_counts_for_nothing():
    """Shots of 57 and 33 frames: 33 is a seam, 57 a cut; a cut is far larger than either."""
    plan = plan_shots(90, [57], 33, 9)
    assert (seam_frames(plan), shot_frames(plan)) == ([33], [0, 57])
    values = steps(0.03, 0.02, 0.01, plan, 90)
    values[57:59] = 99  # never read, as the first two of the clip
    seams = measure_seams(values, plan)
    assert (seams.seam, seams.group, seams.within) == pytest.approx((0.03, 0.02, 0.01))
    assert seams.worst_frame == 33


def test_shots_of_one_chunk_each_have_no_seams():
    assert measure_seams(np.ones(60), plan_shots(60, [20, 40], 33, 9)) is None


@pytest.mark.parametrize("frames", [1, 20, 33])
def test_one_chunk_has_no_seams(frames):
    assert measure_seams(np.ones(frames), plan_chunks(frames, 33, 9)) is None


def test_seams_behind_the_end_of_a_cut_clip_are_left_out():
    seams = measure_seams(steps(0.03, 0.02, 0.01)[:40], PLAN)
    assert seams.worst_frame == 33 and seams.ratio == pytest.approx(1.5)


def test_stretches_are_the_chunks_new_frames():
    assert stretches(60, plan_chunks(60, 33, 9)) == [range(33), range(33, 60)]
    assert stretches(62, plan_chunks(62, 33, 9)) == [range(33), range(33, 62)]
    assert stretches(70, plan_chunks(70, 33, 9)) == [range(33), range(33, 57), range(57, 70)]


@pytest.mark.parametrize(
    ("frames", "starts"),
    [
        (1, [0]),
        (2, [0, 1]),
        (100, [0, 50]),
        (150, [0, 75]),
        (230, [0, 75, 150]),
        (240, [0, 75, 150, 225]),
    ],
)
def test_without_a_plan_they_are_three_seconds(frames, starts):
    found = stretches(frames, None)
    assert [part.start for part in found] == starts and found[-1].stop == frames
