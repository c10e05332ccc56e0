"""What the sliding-window sampler plans and refuses before a model is loaded."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from endless_talk.audio.speech import Speaker, Speech
from endless_talk.audio.track import Track
from endless_talk.errors import InputError
from endless_talk.masks import gates
from endless_talk.models.configs import HUNYUAN_CONCAT, HUNYUAN_REPLACE, WAN
from endless_talk.nodes.checks import check_disk
from endless_talk.nodes.clip_plan import ClipInputs, StreamSettings
from endless_talk.nodes.sliding_plan import SlideSettings, plan_slide
from endless_talk.reference.sources import reference_of
from endless_talk.samplers.guidance import TalkGuidance
from endless_talk.samplers.timeline import ClipTimeline, Timeline
from endless_talk.samplers.timeline_lines import parse_lines

SOURCE = (96, 128)


def speaker(seconds=20.0, region=None):
    return Speaker(
        features=None,
        voice=Track(np.zeros(1, np.float32), seconds),
        encoder=None,
        seconds=seconds,
        start_seconds=0.0,
        strength=1.0,
        region=region,
        waveform=torch.zeros(1, 1),
        rate_hz=16000,
    )


def half(left):
    region = torch.zeros(SOURCE)
    region[:, :64] = float(left)
    region[:, 64:] = float(not left)
    return region


def plan(*speakers, seconds=20.0, family=WAN, lines="", settings=None, **slide):
    timeline = ClipTimeline(Timeline(tuple(parse_lines(lines)))) if lines else None
    inputs = ClipInputs(
        Speech(speakers or (speaker(seconds),)),
        reference_of(np.zeros((*SOURCE, 3), np.uint8), SOURCE),
        TalkGuidance(),
        timeline=timeline,
    )
    return plan_slide(
        StreamSettings(**(settings or {})),
        SlideSettings(**slide),
        inputs,
        folder=Path("/tmp"),
        family=family,
    )


@pytest.mark.parametrize(
    ("family", "latents", "shared"),
    [(WAN, 21, 5), (HUNYUAN_CONCAT, 33, 8), (HUNYUAN_REPLACE, 33, 8)],
)
def test_a_window_is_what_the_family_was_trained_with(family, latents, shared):
    first, second, *_ = plan(family=family).windows.windows
    assert (first.latents, second.covered) == (latents, shared)


def test_evaluations_are_counted_over_windows():
    slide = plan()
    assert len(slide.windows.windows) == len(slide.clip.plan) == 8
    assert slide.clip.frames == slide.pieces.frames == 500
    assert slide.clip.evaluations == 8 * 6


def test_a_clip_that_is_stopped_early_is_planned_as_one_of_its_own():
    slide = plan(settings={"stop_at": 4.0})
    assert slide.clip.frames == slide.pieces.frames == 100
    assert len(slide.windows.windows) == 2 and slide.windows.latents == 37


def test_the_report_says_how_windows_lie():
    assert plan().clip.notes == ["8 windows of 81 frames (3.24 s), neighbours share 20"]
    assert "one window" in plan(seconds=3.0).clip.notes[0]
    anchored = plan(blend="average")
    assert anchored.windows.anchored and "anchor slot" in anchored.clip.notes[1]
    asked = plan(first_frame="anchor slot")
    assert asked.windows.anchored and len(asked.clip.notes) == 1


def test_voices_are_heard_through_gates_where_the_family_wants_them():
    faces = speaker(region=half(True)), speaker(region=half(False))
    chunk = plan().windows.windows[0].chunk
    wan, hybrid = plan(*faces), plan(*faces, family=HUNYUAN_CONCAT)
    assert wan.gates is None and wan.clip.masks is not None, "routing"
    gates = hybrid.gates(chunk)
    assert gates.shape == (1, 2, 1, 48) and hybrid.clip.masks is None
    assert gates[0, 0].sum() and not (gates[0, 0] * gates[0, 1]).any()
    asked = plan(*faces, audio_region="face")
    assert asked.gates is not None and asked.clip.masks is None
    everywhere = plan(*faces, audio_region="whole picture")
    assert everywhere.gates is None and everywhere.clip.masks is None
    assert plan(family=HUNYUAN_CONCAT).gates is None, "nobody has a place"


def test_the_gates_of_a_window_are_made_once(monkeypatch):
    made, asked = gates.speaker_gates, []
    monkeypatch.setattr(gates, "speaker_gates", lambda *a, **k: (asked.append(1), made(*a, **k))[1])
    slide = plan(speaker(region=half(True)), family=HUNYUAN_CONCAT)
    chunks = [window.chunk for window in slide.windows.windows]
    for _step in range(3):
        assert all(slide.gates(chunk).any() for chunk in chunks)
    assert len(asked) == len(chunks) > 1


def test_a_face_that_is_used_is_not_called_unused():
    one = speaker(region=half(True))
    assert any("face is not used" in each for each in plan(one).clip.warnings)
    assert not any("face is not used" in e for e in plan(one, audio_region="face").clip.warnings)


def test_a_line_changes_the_windows_from_its_time_on():
    slide = plan(lines="0:05 audio 0.5")
    factors = [change.audio for change in slide.clip.changes]
    first = factors.index(0.5)
    assert factors == [1.0] * first + [0.5] * (8 - first)
    span = slide.clip.plan[first]
    assert span.first_new_frame <= 125 < span.stop_new_frame
    assert all(change.audio == 1 for change in slide.pieces.changes)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"lines": "#1 seed 7"}, "'seed'"),
        ({"lines": "#1 seed 7, keep rest"}, "'seed' and 'keep rest'"),
        ({"first_frame": "first window only"}, "clean picture"),
        ({"first_frame": "first window only", "family": HUNYUAN_REPLACE}, "clean picture"),
        ({"audio_region": "routing", "family": HUNYUAN_CONCAT}, "Wan's attention"),
        ({"audio_region": "face"}, "no speaker has a face"),
        ({"overlap": 7}, "use 8"),
        ({"window_frames": 80}, "77 or 81"),
        ({"window_frames": 17, "overlap": 12}, "at most half"),
        ({"settings": {"stop_at": -1.0}}, "stop_at"),
    ],
)
def test_what_cannot_be_had_is_refused(wrong, says):
    with pytest.raises(InputError, match=says):
        plan(**wrong)


def test_windows_without_a_picture_are_for_models_that_hold_none():
    assert not plan(first_frame="first window only", family=HUNYUAN_CONCAT).windows.anchored


def test_all_problems_are_said_at_once():
    with pytest.raises(InputError) as refused:
        plan(window_frames=80, audio_region="face", settings={"job_name": "../away"})
    assert str(refused.value).count("\n") == 2


def test_the_disk_is_reckoned_without_frames_that_are_not_handed_on(tmp_path, monkeypatch):
    slide, free = plan(), 10**9
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    missing = range(len(slide.kept))
    check_disk(slide.kept, missing, slide.size, tmp_path, states_bytes=slide.states_bytes)
    assert all(piece.context_frames == 0 for piece in slide.kept)
    assert slide.states_bytes == 2 * 4 * 16 * slide.windows.latents * 12 * 16
    assert plan(first_frame="previous estimate").states_bytes == 2 * slide.states_bytes
    with pytest.raises(InputError, match="may need"):
        check_disk(slide.kept, missing, slide.size, tmp_path, states_bytes=free)
