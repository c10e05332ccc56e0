"""What a job's chunks are made from, and that a folder that cannot be written to is left alone."""

import os
import shutil

import files
import job_stubs as stubs
import job_talk
import pytest

from endless_talk.talk import TalkSettings, plan_talk
from endless_talk.talk_keys import journal_plan


@pytest.fixture
def inputs(tmp_path):
    return job_talk.inputs(tmp_path / "inputs")


def plan(inputs, models="x", **changes):
    settings = TalkSettings(size="custom", custom_size=(64, 64), **changes)
    job = plan_talk(inputs / "portrait.png", inputs / "voice.wav", settings)
    return journal_plan(job, models)


def same_chunks(before, after):
    return sum(one == other for one, other in zip(before.keys, after.keys, strict=False))


CHANGES = {
    "seed": {"seed": 1},
    "steps": {"steps": 3},
    "shift": {"shift": 5.0},
    "audio scale": {"audio_scale": 3.0},
    "colour strength": {"color_strength": 0.5},
    "colour anchor": {"color_anchor": "robust"},
    "hand on": {"hand_on": "latents"},
    "chunk length": {"chunk_frames": 41},
    "context": {"context_frames": 5},
    "models": {"models": "y"},
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_changed_setting_makes_every_chunk_again(inputs, kind):
    files.voice(inputs / "voice.wav", 4)  # two chunks
    assert same_chunks(plan(inputs), plan(inputs, **CHANGES[kind])) == 0


def test_other_names_and_times_of_files_change_nothing(inputs):
    before = plan(inputs)
    moved = inputs.parent / "moved"
    shutil.copytree(inputs, moved)
    for path in moved.iterdir():
        os.utime(path, (1e9, 1e9))
    assert plan(moved) == before


def test_another_picture_makes_every_chunk_again(inputs):
    before = plan(inputs)
    files.picture(inputs / "portrait.png", (90, 80))
    assert same_chunks(before, plan(inputs)) == 0


def test_another_ending_makes_only_the_end_of_a_long_voice_again(inputs):
    files.voice(inputs / "voice.wav", 100)
    before = plan(inputs)
    files.voice(inputs / "voice.wav", 101)
    after = plan(inputs)
    # 81 frames and 72 more each: chunk 27 is the first to reach beyond 80 s.
    assert same_chunks(before, after) == 27 and after.sound_key != before.sound_key


def test_a_clip_that_ends_early_is_made_of_the_chunks_of_the_whole_one(inputs):
    files.voice(inputs / "voice.wav", 100)
    whole, early = plan(inputs), plan(inputs, stop_at_seconds=50)
    assert early.keys == whole.keys and early.kept_frames == whole.kept_frames
    assert early.frames == 1250 and len(early.shown_frames) == 18
    assert early.clip_key != whole.clip_key


def test_a_folder_that_may_only_be_read_is_refused(inputs, tmp_path):
    for folder in (tmp_path, *tmp_path.parents[:2], inputs):
        folder.chmod(0o755)  # for nobody to look into

    def work():
        if os.getuid() == 0:
            os.setuid(65534)
        return job_talk.talk(inputs, tmp_path / "jobs")

    assert stubs.forked(work) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inputs"]
