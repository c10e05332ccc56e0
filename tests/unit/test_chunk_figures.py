"""Figures per chunk: planted seams, tints, blur and rest are measured with their size."""

import drawn
import numpy as np
import pytest
import torch

from endless_talk.samplers.plan import Chunk, plan_chunks
from endless_talk.video.chunk_figures import (
    FIGURES,
    LAST_FRAME,
    ChunkFigures,
    ChunkMeter,
    MeasuredSink,
)
from endless_talk.video.chunk_report import figures_text
from endless_talk.video.seams import group_frames, measure_seams, seam_frames

PLAN = plan_chunks(105, 33, 9)  # 33, 24, 24, 24 new frames
GRAY = torch.full((3, 32, 48), 0.0)


class Source:
    """A reference that counts how often it is asked."""

    def __init__(self, picture):
        self.picture, self.asked = picture, []

    def frame(self, start_frame):
        self.asked.append(start_frame)
        return self.picture


class Journal:
    """A sink that keeps the states of its chunks, as a journal on disk does."""

    def __init__(self, states=()):
        self.states, self.frames, self.chunk = list(states), 0, None

    def recall(self, chunk):
        return self.states[chunk.index] if chunk.index < len(self.states) else None

    def append(self, frames):
        self.frames += frames.shape[1]

    def commit(self, state):
        self.states.append(state)

    def finish(self, sound):
        return sound


def watch(clip, plan=PLAN, reference=None, *, states=(), block=5):
    """Send ``[3, F, H, W]`` chunk by chunk through a measured sink."""
    reference = clip[:, 0] if reference is None else reference
    sink = MeasuredSink(Journal(states), Source(reference))
    for chunk in plan:
        if sink.recall(chunk) is None:
            start = chunk.start_frame + chunk.context_frames
            for frames in clip[:, start : start + chunk.kept_frames].split(block, dim=1):
                sink.append(frames)
            sink.commit({"context_frames": torch.zeros(1)})
    return sink


def walk(steps, size=(32, 48)):
    """A picture that changes by ``steps[f]``, in fractions of full scale, up and down in turn."""
    levels, up = [0.0], 1.0
    for step in steps[1:]:
        levels.append(levels[-1] + up * 2 * step)
        up = -up
    return torch.tensor(levels).view(1, -1, 1, 1).expand(3, -1, *size).clone()


def planned_steps(seam, group, within, plan=PLAN):
    steps = np.full(sum(chunk.kept_frames for chunk in plan), within)
    steps[group_frames(plan)] = group
    steps[seam_frames(plan)] = seam
    return steps


def test_a_planted_seam_is_measured_against_the_latent_groups():
    figures = watch(walk(planned_steps(0.06, 0.02, 0.01))).figures
    assert figures[0].seam is None
    assert [figures[index].seam for index in (1, 2, 3)] == pytest.approx([3] * 3, rel=1e-4)
    assert figures[2].group == pytest.approx(0.02, rel=1e-4)
    assert figures[2].motion == pytest.approx(0.01, rel=1e-4)


def test_seams_are_those_of_the_measurement_of_the_whole_clip():
    """On a drawn face with a seam planted at 57: the clip's own measurement says the same."""
    clip = torch.cat(drawn.talking(3, frames=105).blocks, dim=1)
    clip[:, 57:] += 0.05
    steps = (clip / 2).diff(dim=1).abs().mean((0, 2, 3)).numpy()
    whole = measure_seams(np.concatenate([[0], steps]), PLAN)
    figures = watch(clip).figures
    worst = max((1, 2, 3), key=lambda index: figures[index].seam)
    assert PLAN[worst].start_frame + 9 == whole.worst_frame == 57
    groups = np.mean([figures[1].group, figures[2].group])
    assert figures[2].seam * groups == pytest.approx(whole.worst * whole.group, rel=0.02)


def test_a_new_shot_has_no_seam_and_is_no_motion():
    plan = [Chunk(0, 0, 33, 0, 33), Chunk(1, 33, 33, 0, 33)]
    steps = np.full(66, 0.01)
    steps[33] = 0.4
    figures = watch(walk(steps), plan).figures
    assert figures[1].seam is None
    assert figures[1].motion == pytest.approx(0.01, rel=1e-4)


def test_a_seam_in_a_still_clip_is_bounded():
    still = torch.zeros(3, 57, 32, 48)
    still[:, 33:] = 0.02
    assert watch(still, PLAN[:2]).figures[1].seam == pytest.approx(0.01 / 0.0002, rel=1e-3)


def test_a_last_chunk_of_one_frame_is_measured_by_the_groups_before():
    plan = plan_chunks(58, 33, 9)
    figures = watch(walk(planned_steps(0.04, 0.02, 0.01, plan)), plan).figures[2]
    assert plan[2].kept_frames == 1
    assert (figures.group, figures.frozen) == (None, False)
    assert figures.seam == pytest.approx(2, rel=1e-3)


def test_a_tint_is_measured_as_the_mean_of_the_channels():
    clip = torch.cat(drawn.talking(1, frames=105).blocks, dim=1) * 0.8
    tint = 2 * torch.tensor([0.03, -0.015, 0.0]).view(3, 1, 1, 1)
    plain, tinted = watch(clip).figures, watch(clip + tint, reference=clip[:, 0]).figures
    for index in range(4):
        assert tinted[index].color == pytest.approx(0.015, abs=0.004)
        assert tinted[index].background == pytest.approx(0.015, abs=0.002)
        assert plain[index].background < 0.002


def test_what_happens_in_the_middle_is_no_colour_of_the_rim():
    clip = torch.zeros(3, 33, 64, 64)
    clip[:, :, 20:44, 20:44] = 1.0
    figures = watch(clip, PLAN[:1], torch.zeros(3, 64, 64)).figures[0]
    assert figures.color == pytest.approx(0.5 * 24 * 24 / 64**2)
    assert figures.background == 0


def test_the_reference_may_have_another_size():
    figures = watch(torch.full((3, 33, 32, 48), 0.2), PLAN[:1], torch.full((3, 99, 70), 0.1))
    assert figures.figures[0].color == pytest.approx(0.05)


def test_blur_is_measured_against_the_first_chunk():
    clip = torch.cat(drawn.talking(2, frames=105).blocks, dim=1)
    blurred = torch.nn.functional.avg_pool2d(clip[:, 57:], 3, 1, 1, count_include_pad=False)
    figures = watch(torch.cat([clip[:, :57], blurred], dim=1)).figures
    assert figures[0].sharpness == 1
    assert figures[1].sharpness == pytest.approx(1, abs=0.05)
    assert figures[2].sharpness < 0.6 and figures[3].sharpness < 0.6


def test_a_chunk_in_which_nothing_moves_is_called_frozen():
    steps = planned_steps(0.02, 0.02, 0.01)
    steps[60:80] = 0.0005  # a twentieth of what is usual
    figures = watch(walk(steps)).figures
    assert [figures[index].frozen for index in range(4)] == [False, False, True, False]
    assert watch(torch.zeros(3, 33, 32, 48), PLAN[:1]).figures[0].frozen


@pytest.mark.parametrize("block", [1, 4, 200])
def test_blocks_of_any_length_give_the_same_figures(block):
    clip = torch.cat(drawn.talking(1, frames=105).blocks, dim=1)
    assert watch(clip, block=block).figures == watch(clip).figures


@pytest.mark.parametrize("done", [1, 2, 3, 4])
def test_a_resumed_clip_has_the_figures_of_one_that_was_not_interrupted(done):
    clip = torch.cat(drawn.talking(1, frames=105).blocks, dim=1)
    whole = watch(clip)
    again = watch(clip, states=whole.sink.states[:done])
    assert again.figures == whole.figures
    assert again.sink.frames == sum(chunk.kept_frames for chunk in PLAN[done:])
    assert again.reference.asked == [chunk.start_frame for chunk in PLAN[done:]]
    for ours, theirs in zip(again.sink.states, whole.sink.states, strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_state_is_passed_on_with_the_figures_and_one_coarse_frame():
    state = watch(torch.zeros(3, 33, 480, 832), PLAN[:1]).sink.states[0]
    assert set(state) == {"context_frames", FIGURES, LAST_FRAME}
    assert state[LAST_FRAME].shape == (3, 120, 208)
    assert state[LAST_FRAME].untyped_storage().nbytes() == 3 * 120 * 208 * 4


def test_chunks_kept_without_figures_are_missing_and_the_next_has_no_seam():
    clip = torch.cat(drawn.talking(1, frames=105).blocks, dim=1)
    figures = watch(clip, states=[{}]).figures
    assert sorted(figures) == [1, 2, 3]
    assert figures[1].seam is None and figures[2].seam is not None
    assert figures[1].sharpness == 1


def test_figures_come_back_from_json_as_they_were():
    figures = ChunkFigures(None, 0.1 + 0.2, 1e-9, 1.0, True, None, 1 / 3, 0.0)
    assert ChunkFigures.from_json(figures.to_json()) == figures
    newer = figures.to_json().replace("{", '{"later":1,', 1)
    assert ChunkFigures.from_json(newer) == figures


def test_frames_of_any_float_type_are_looked_at_and_not_written_to():
    frames = torch.rand(3, 6, 32, 48).to(torch.float16)
    before = frames.clone()
    meter = ChunkMeter(PLAN[0], GRAY, None)
    meter.append(frames)
    assert torch.equal(frames, before)
    assert isinstance(meter.figures({}).color, float)


def figures_of(seam=1.0, color=0.002, sharpness=1.0, frozen=False):
    return ChunkFigures(seam, color, color, sharpness, frozen, 0.01, 0.01, 0.1)


def test_the_text_names_the_worst_chunks_with_their_times_and_the_trend():
    plan = plan_chunks(81 + 9 * 72)
    figures = {k: figures_of(color=0.001 * k, sharpness=1 - 0.01 * k) for k in range(10)}
    figures[4] = figures_of(seam=2.5, color=0.004, sharpness=0.96, frozen=True)
    seams, color, rim, sharpness, frozen = figures_text(figures, plan)
    assert "1.00 of the steps" in seams and "largest 2.50 in #4 (0:11)" in seams
    assert "0.0045 from the reference" in color and "largest 0.0090 in #9 (0:26)" in color
    assert "+0.0208 per minute" in color, "0.001 every 72 frames"
    assert rim.startswith("colour of the rim")
    assert "-0.21 per minute" in sharpness and "least 0.91 in #9 (0:26)" in sharpness
    assert frozen == "next to nothing moves in #4 (0:11)"


def test_the_text_of_one_chunk_speaks_of_no_seam_and_no_trend():
    lines = figures_text({0: figures_of(seam=None)}, plan_chunks(81))
    assert len(lines) == 2 and "per minute" not in "".join(lines)
    assert figures_text({}, plan_chunks(81)) == []
