"""``talk --timeline``: what changes in the course of a clip, and what is made again for it."""

import re
import shutil
from pathlib import Path

import files
import job_stubs as stubs
import job_talk
import numpy as np
import pytest
from job_talk import run, talk

from endless_talk.cli import main
from endless_talk.samplers.plan import plan_chunks
from endless_talk.video.seams import group_frames

HERE = Path(__file__).parent
PORTRAIT = HERE.parents[1] / "assets" / "portrait.png"

MAX_JOINT = 2.5
"""Step into the retake, in units of the steps between latent groups of the clip: 2.01 to 2.18
recorded with three seeds, 2.11 before it was made again."""

MAX_END = 1.2
"""Step out of it, in units of the one that was there before: 0.96 to 1.01 recorded."""

MIN_CHANGE = 2.0
"""Levels by which a retake differs from the take before, in the middle of the chunk."""


CHUNK_FRAMES, SECONDS = 25, 2.6
"""Four chunks: 25 frames, 16, 16 and 8, from 0, 1.0, 1.64 and 2.28 s on; shorter ones have no room
for a retake."""


@pytest.fixture
def _short_chunks(monkeypatch):
    job_talk.shorten_chunks(monkeypatch, CHUNK_FRAMES)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Inputs and a finished job; copy it before changing it."""
    folder = tmp_path_factory.mktemp("rendered")
    job_talk.inputs(folder / "given", SECONDS)
    files.picture(folder / "given" / "other.png", (64, 90))
    with pytest.MonkeyPatch.context() as patch:
        job_talk.shorten_chunks(patch, CHUNK_FRAMES)
        assert talk(folder / "given", folder / "jobs") == 0
    return folder


@pytest.fixture
def finished(rendered, tmp_path, _short_chunks):
    shutil.copytree(rendered, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def timed(finished, capsys):
    """Renders the job with a timeline; the chunks that were made, by index."""

    def render(lines, *more):
        written = finished / "timeline.txt"
        written.write_text(lines)
        capsys.readouterr()
        given = finished / "given"
        assert talk(given, finished / "jobs", "--timeline", written, *more) == 0
        return made(capsys.readouterr().out)

    return render


def made(said):
    return [int(number) - 1 for number in re.findall(r"^chunk (\d+)/\d+, f", said, re.MULTILINE)]


def clip(folder, number):
    return files.frames_of(folder / f"jobs/talk/talk_{number:05}_.mp4").astype(int)


def test_a_new_seed_makes_only_the_chunks_from_its_time_on(timed, finished):
    assert timed("0:01.7 seed 7") == [2, 3]
    before, after = clip(finished, 1), clip(finished, 2)
    assert np.array_equal(before[:41], after[:41])
    assert np.abs(before[41:] - after[41:]).max() > 2


def test_lines_that_change_nothing_make_nothing(timed):
    assert timed("// only a note\n0:00 seed 42\n0:01 audio 1, image 0") == []


def test_keep_rest_makes_one_chunk_and_going_back_makes_none(timed, finished):
    assert timed("#1 seed 7, keep rest") == [1]
    before, after = clip(finished, 1), clip(finished, 2)
    others = [*range(25), *range(41, 65)]
    assert np.array_equal(before[others], after[others])
    assert np.abs(before[25:32] - after[25:32]).max() > 2
    # The next chunk goes on from the last frame of the take before.
    apart = np.abs(before - after).mean(axis=(1, 2, 3))
    assert apart[40] < 0.2 * apart[25:33].mean()
    assert timed("") == []
    assert timed("#1 seed 7, keep rest\n#2 seed 8, keep rest") == [2]


def test_the_last_chunk_is_made_again_although_nothing_follows(timed):
    assert timed("#3 seed 7, keep rest") == [3]


def test_a_retake_of_a_retaken_clip_keeps_what_it_does_not_touch(timed):
    assert timed("0:02 seed 5") == [2, 3]
    assert timed("0:02 seed 5\n#1 seed 7, keep rest") == [1]
    assert timed("0:02 seed 5\n#0 seed 9, keep rest\n#1 seed 7, keep rest") == [0]


def test_the_strength_of_the_voice_changes_what_its_chunks_and_those_after_look_like(
    timed, finished
):
    assert timed("0:01.1-0:01.2 audio 0") == [1, 2, 3]
    before, after = clip(finished, 1), clip(finished, 2)
    assert np.array_equal(before[:25], after[:25]) and not np.array_equal(before, after)


def test_another_picture_is_known_by_its_content(timed, finished):
    given, copied = finished / "given", finished / "copied.png"
    other = ("--timeline-image", given / "other.png")
    assert timed("#2 image 1", *other) == [2, 3]
    before, after = clip(finished, 1), clip(finished, 2)
    assert np.array_equal(before[:41], after[:41]) and not np.array_equal(before, after)
    shutil.copy(given / "other.png", copied)
    more = ("--timeline-image", given / "portrait.png", "--timeline-image", copied)
    assert timed("#2 image 2", *more) == []
    assert timed("#2 image 1", *more) == [2, 3]


def test_a_clip_in_one_go_has_a_timeline_too(finished):
    given, lines = finished / "given", finished / "timeline.txt"
    lines.write_text("0:02 seed 7")
    inputs = (given / "portrait.png", given / "voice.wav")
    assert run(*inputs, "--out", finished / "plain.mp4") == 0
    assert run(*inputs, "--out", finished / "timed.mp4", "--timeline", lines) == 0
    plain, changed = (
        files.frames_of(finished / f"{name}.mp4").astype(int) for name in ("plain", "timed")
    )
    assert np.abs(plain[:38] - changed[:38]).mean() < 1 < np.abs(plain[41:] - changed[41:]).max()


def test_the_plan_says_where_changes_begin_and_makes_nothing(finished, capsys):
    given, lines = finished / "given", finished / "timeline.txt"
    lines.write_text("0:02 seed 7\n0:01.1-0:01.2 audio 0.5")
    before = stubs.content(finished / "jobs/talk")
    assert talk(given, finished / "jobs", "--timeline", lines, "--plan") == 0
    said = capsys.readouterr().out
    assert "0:02 → from #2 at 0:01.6 on: seed 7" in said
    assert "0:01.1-0:01.2 → #1 (0:01.0 to 0:01.6): audio 0.5" in said
    assert "job talk: 3 of 4 chunks to make, #1, #2, #3" in said and made(said) == []
    assert stubs.content(finished / "jobs/talk") == before
    assert run(given / "portrait.png", given / "voice.wav", "--timeline", lines, "--plan") == 0
    assert "from #2 at 0:01.6 on" in capsys.readouterr().out


def test_the_plan_refuses_what_a_run_would_refuse(finished, capsys):
    lines, given = finished / "timeline.txt", finished / "given"
    lines.write_text("0:01.1 audio 0.5\n#2 seed 3, keep rest")
    assert talk(given, finished / "jobs", "--timeline", lines, "--plan") == 2
    assert "job talk does not have that clip" in capsys.readouterr().err


def test_times_are_those_of_the_whole_clip_also_where_it_ends_early(timed, finished, capsys):
    assert timed("0:02.5 seed 7", "--stop-at", 1.2) == []
    assert timed("0:02.5 seed 7") == [3]


def test_a_take_that_is_gone_is_said_before_anything_is_written(finished, capsys):
    lines, root = finished / "timeline.txt", finished / "elsewhere"
    lines.write_text("#1 seed 7, keep rest")
    assert talk(finished / "given", root, "--timeline", lines) == 2
    message = capsys.readouterr().err.strip()
    assert "render it without this line first" in message and message.count("\n") == 0
    assert not root.exists()


WRONG = {
    "a time": ("0:00 seed 1\n41 seed 7", (), "line 2, 41 seed 7: 41 is neither", "write 0:41"),
    "a word": ("0:01 sed 7", (), "line 1", "did you mean seed?"),
    "past the end": ("0:00 seed 1\n\n0:41 seed 7", (), "line 3", "past the end of the clip"),
    "a prompt": ('0:01 prompt "she laughs"', (), "line 1", "no text encoder"),
    "no image": ("0:01 image 1", (), "line 1", "--timeline-image"),
    "image 2 of 1": ("0:01 image 2", ("--timeline-image", PORTRAIT), "line 1", "write image 1"),
    "two lines": ("0:01 seed x\n0:02 audio y", (), "line 1", "line 2"),
}


def refused(finished, capsys, *more):
    """The message of a run without a job that was refused and wrote nothing."""
    given, before = finished / "given", sorted(finished.rglob("*"))
    out = ("--out", finished / "clip.mp4")
    assert run(given / "portrait.png", given / "voice.wav", *out, *more) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("endless-talk: ") and "Traceback" not in message
    assert sorted(finished.rglob("*")) == before
    return message


@pytest.mark.parametrize("kind", WRONG)
def test_lines_that_cannot_be_are_refused_with_their_number(kind, finished, capsys):
    lines, more, *says = WRONG[kind]
    (finished / "timeline.txt").write_text(lines)
    message = refused(finished, capsys, "--timeline", finished / "timeline.txt", *more)
    assert all(words in message for words in says), message
    assert message.count("\n") == (1 if kind == "two lines" else 0)


def test_keep_rest_without_a_job_is_refused_with_its_line(finished, capsys):
    (finished / "timeline.txt").write_text("#1 seed 7, keep rest")
    message = refused(finished, capsys, "--timeline", finished / "timeline.txt")
    assert "line 1" in message and "--job" in message and message.count("\n") == 0


FILES = {
    "missing": (lambda p: p / "no.txt", "no timeline no.txt"),
    "a folder": (lambda p: p, "is a folder"),
    "no text": (lambda p: PORTRAIT, "no text in UTF-8"),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_that_are_no_timeline_are_refused(kind, finished, capsys):
    make, says = FILES[kind]
    message = refused(finished, capsys, "--timeline", make(finished))
    assert says in message and message.count("\n") == 0


def test_pictures_for_lines_are_opened_as_any_picture(finished, capsys):
    lines, absent = finished / "timeline.txt", finished / "no.png"
    lines.write_text("0:01 image 1")
    message = refused(finished, capsys, "--timeline", lines, "--timeline-image", absent)
    assert "no.png" in message
    assert "--timeline" in refused(finished, capsys, "--timeline-image", PORTRAIT)


@pytest.fixture(scope="module")
def retaken(tmp_path_factory):
    """The embedded model's clip of four chunks, and the same with another take of the second."""
    folder = tmp_path_factory.mktemp("retaken")
    (folder / "timeline.txt").write_text("#1 seed 7, keep rest")
    inputs = ["talk", "--image", PORTRAIT, "--audio", HERE / "voice.ogg", "--stop-at", "11"]
    inputs += ["--job", "talk", "--folder", folder / "jobs"]
    assert main([str(word) for word in inputs]) == 0
    before = stubs.content(folder / "jobs/talk", clips=False)
    again = [*inputs, "--timeline", folder / "timeline.txt"]
    assert main([str(word) for word in again]) == 0
    new = set(stubs.content(folder / "jobs/talk", clips=False)) - set(before)
    return clip(folder, 1), clip(folder, 2), new


@pytest.fixture(scope="module")
def plan():
    return plan_chunks(275)


def test_the_embedded_model_makes_one_chunk_again_and_it_is_another_take(retaken, plan):
    before, after, new = retaken
    assert len(new) == 2, "an mp4 and its state"
    taken = slice(plan[1].first_new_frame, plan[1].stop_new_frame)
    others = np.ones(len(before), bool)
    others[taken] = False
    assert np.array_equal(before[others], after[others])
    middle = slice(taken.start + 20, taken.stop - 20)
    assert np.abs(before[middle] - after[middle]).mean() > MIN_CHANGE


def test_the_joints_of_a_retake_are_no_worse_than_any_seam(retaken, plan):
    joints = []
    for frames in retaken[:2]:
        steps = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
        usual = steps[np.array(group_frames(plan)) - 1].mean()
        joints.append([steps[chunk.first_new_frame - 1] / usual for chunk in plan[1:3]])
    (_, end_before), (begin, end) = joints
    assert begin <= MAX_JOINT and end <= MAX_END * end_before, joints
