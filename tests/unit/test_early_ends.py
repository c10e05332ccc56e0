"""Clips that end early: whole chunks on the disk, exactly the frames asked for in the clip."""

import json

import files
import job_stubs as stubs
import numpy as np
import pytest
import torch

from endless_talk.cli import main
from endless_talk.errors import InputError
from endless_talk.samplers.plan import ended_at, plan_chunks, plan_shots
from endless_talk.video.h264 import FrameEncoder
from endless_talk.video.job_folder import JobFolder
from endless_talk.video.job_segments import Segments
from endless_talk.video.jobs import export_job, prune_job, summarize, verify_job
from endless_talk.video.mux import count_frames
from endless_talk.video.sink import VideoSink
from endless_talk.video.sound import Sound

WHOLE = 41
"""Frames of the stubs' clip: chunks of 17, 8, 8, 8."""


def render(root, end=None, **more):
    """The clip that ends at a frame, and the chunks that were made for it."""
    denoiser = stubs.Denoiser()
    return stubs.Clip(stop_frame=end).render(root, denoiser, **more), denoiser.made


def sound():
    samples = 0.1 * torch.sin(torch.arange(round(WHOLE / 25 * 16000)) / 5)[None]
    return Sound(samples=samples, rate_hz=16000)


def sound_seconds(path):
    import av

    with av.open(str(path)) as source:
        (stream,) = source.streams.audio
        return float(stream.duration * stream.time_base)


def status(root):
    return json.loads((root / "talk" / "status.json").read_text())


def content(root, **more):
    return stubs.content(root / "talk", **more)


@pytest.mark.parametrize("plan", [plan_chunks(200, 17, 9), plan_shots(90, [30, 31], 17, 5)])
def test_every_end_shows_every_frame_up_to_it_once_in_chunks_of_the_whole_clip(plan):
    total = sum(chunk.kept_frames for chunk in plan)
    for stop in range(1, total + 10):
        shown = ended_at(plan, stop)
        assert sum(chunk.kept_frames for chunk in shown) == min(stop, total)
        assert shown[:-1] == plan[: len(shown) - 1]
        last, sampled = shown[-1], plan[len(shown) - 1]
        assert 0 < last.kept_frames <= sampled.kept_frames
        assert (last.start_frame, last.frames) == (sampled.start_frame, sampled.frames)


def test_the_encoder_writes_frames_in_the_order_they_are_shown(tmp_path):
    import av

    path = tmp_path / "a.mp4"
    encoder = FrameEncoder(path, stubs.SIZE)
    encoder.append(torch.rand(3, 120, *stubs.SIZE) * 2 - 1)
    encoder.close()
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        packets = [packet for packet in source.demux(stream) if packet.pts is not None]
    assert len(packets) == 120
    assert all(packet.pts == packet.dts for packet in packets)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A clip made in one go: its folder, and its frames."""
    root = tmp_path_factory.mktemp("whole")
    clip, _ = render(root, sound=sound())
    return root, files.frames_of(clip)


@pytest.mark.parametrize("stop", [1, 2, 16, 17, 18, 24, 25, 40])
def test_a_clip_has_exactly_the_frames_asked_for_and_they_are_those_of_the_whole(
    tmp_path, whole, stop
):
    clip, made = render(tmp_path, stop, sound=sound())
    assert count_frames(clip) == stop
    assert np.array_equal(files.frames_of(clip), whole[1][:stop])
    assert sound_seconds(clip) == pytest.approx(stop / 25, abs=0.05)
    assert made == [k for k, first in enumerate((0, 17, 25, 33)) if first < stop]


@pytest.mark.parametrize("stop", [1, 17, 20, 40])
def test_the_whole_clip_makes_nothing_of_a_try_again(tmp_path, whole, stop):
    _, tried = render(tmp_path, stop, sound=sound())
    segments = content(tmp_path, clips=False)
    clip, made = render(tmp_path, sound=sound())
    assert tried + made == [0, 1, 2, 3]
    assert segments.items() <= content(tmp_path, clips=False).items()
    assert content(tmp_path, clips=False) == content(whole[0], clips=False)
    assert np.array_equal(files.frames_of(clip), whole[1])


def test_an_end_behind_the_clip_is_the_whole_clip(tmp_path):
    first, _ = render(tmp_path)
    for stop in (WHOLE, WHOLE + 100):
        assert render(tmp_path, stop) == (first, [])
    assert status(tmp_path)["message"] == ""


def test_every_end_is_a_clip_of_its_own_that_is_made_once(tmp_path):
    clips = [render(tmp_path, stop)[0] for stop in (10, 20, None)]
    assert [path.name for path in clips] == [f"talk_0000{n}_.mp4" for n in (1, 2, 3)]
    assert [count_frames(path) for path in clips] == [10, 20, WHOLE]
    data = [path.read_bytes() for path in clips]
    for stop, path in zip((10, 20, None), clips, strict=True):
        assert render(tmp_path, stop) == (path, [])
    assert [path.read_bytes() for path in clips] == data


def test_another_end_within_the_same_chunk_is_joined_and_not_made(tmp_path):
    render(tmp_path, 20)
    assert render(tmp_path, 19)[1] == []
    assert status(tmp_path)["clip"] == "talk_00002_.mp4"


def test_the_status_counts_what_is_asked_for(tmp_path):
    seen = []

    def look(chunk):
        seen.append(status(tmp_path))
        return False

    render(tmp_path, 20, stop=look)
    assert [(each["chunks_done"], each["chunks"], each["seconds"]) for each in seen] == [
        (0, 2, 0.8),
        (1, 2, 0.8),
    ]
    said = status(tmp_path)
    assert (said["state"], said["chunks_done"], said["seconds_done"]) == ("finished", 2, 0.8)
    assert said["message"] == "ends early: 0.80 of 1.64 s were asked for"
    render(tmp_path, stop=stubs.stop_at(3))
    said = status(tmp_path)
    assert (said["state"], said["chunks_done"], said["chunks"]) == ("stopped", 3, 4)
    assert (said["seconds_done"], said["seconds"]) == (1.32, 1.64)
    render(tmp_path, 20)
    assert status(tmp_path)["seconds_done"] == 0.8, "what goes past the end is not counted"


def test_the_part_of_a_try_that_was_stopped_has_its_sound(tmp_path):
    render(tmp_path, 23, stop=stubs.stop_at(1), sound=sound())
    part = tmp_path / "talk" / "talk_part.mp4"
    assert count_frames(part) == 17
    assert sound_seconds(part) == pytest.approx(17 / 25, abs=0.05)
    assert status(tmp_path)["seconds_done"] == 17 / 25


def test_jobs_tell_the_truth_about_a_try(tmp_path, capsys):
    render(tmp_path, 20)
    assert main(["jobs", "list", "--folder", str(tmp_path)]) == 0
    line = capsys.readouterr().out
    assert line.split()[:3] == ["talk", "finished", "2/2"]
    assert "0.8 of 0.8 s" in line and "ends early: 0.80 of 1.64 s" in line
    assert verify_job(tmp_path, "talk") == (2, [])
    assert summarize(JobFolder(tmp_path, "talk")).state == "finished"


def test_chunks_of_a_try_are_not_pruned_unless_that_is_meant(tmp_path):
    render(tmp_path, stop=stubs.stop_at(3))
    render(tmp_path, 10)
    with pytest.raises(InputError, match=r"ends early.*--all"):
        prune_job(tmp_path, "talk")
    assert prune_job(tmp_path, "talk", unused=True) == 0
    assert render(tmp_path)[1] == [3], "what lies behind the end of the try is still there"
    render(tmp_path, 10)
    assert prune_job(tmp_path, "talk") > 0, "the whole clip is there as well"


def test_a_damaged_chunk_behind_the_end_is_found(tmp_path):
    render(tmp_path)
    render(tmp_path, 10)
    key = stubs.Clip().job.keys[3]
    Segments(JobFolder(tmp_path, "talk")).video(key).write_bytes(b"")
    whole, problems = verify_job(tmp_path, "talk")
    assert whole == 3 and len(problems) == 1 and "chunk 3" in problems[0]


def test_exports_end_where_the_clip_does(tmp_path):
    out = tmp_path / "out.mp4"
    render(tmp_path / "a", stop=stubs.stop_at(3))
    render(tmp_path / "a", 20)
    assert export_job(tmp_path / "a", "talk", out) == 0.8
    (tmp_path / "a" / "talk" / "talk_00001_.mp4").unlink()
    assert export_job(tmp_path / "a", "talk", out) == 0.8 and count_frames(out) == 20


def test_a_plan_that_does_not_say_where_it_ends_is_a_whole_one(tmp_path):
    first, _ = render(tmp_path)
    path = tmp_path / "talk" / ".job" / "plan.json"
    values = json.loads(path.read_text())
    assert "stop_frame" in values
    del values["stop_frame"]
    path.write_text(json.dumps(values))
    assert verify_job(tmp_path, "talk") == (4, [])
    assert render(tmp_path) == (first, [])


def test_a_sink_in_one_go_ends_where_it_is_told(tmp_path):
    frames = torch.rand(3, 12, *stubs.SIZE) * 2 - 1
    with VideoSink(tmp_path / "a.mp4", stubs.SIZE, total=10) as sink:
        for block in frames.split(4, dim=1):
            sink.append(block)
        sink.append(frames)
        assert count_frames(sink.finish()) == 10
