"""The journal: nothing that was finished is made again, and nothing is overwritten."""

import json

import files
import job_stubs as stubs
import pytest
import torch
from safetensors.torch import load_file, save_file

from endless_talk.errors import InputError
from endless_talk.video import journal
from endless_talk.video.job_folder import JobFolder, JobPlan, JobState
from endless_talk.video.job_names import check_job_name
from endless_talk.video.journal import JobSink, Keep, finished_clip
from endless_talk.video.mux import count_frames
from endless_talk.video.sound import Sound


def render(root, clip=None, **more):
    """The clip and the chunks that were made for it."""
    denoiser = stubs.Denoiser()
    return (clip or stubs.Clip()).render(root, denoiser, **more), denoiser.made


def status(root, name="talk"):
    return json.loads((root / name / "status.json").read_text())


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def sound(seconds=1.64):
    samples = 0.1 * torch.sin(torch.arange(round(seconds * 16000)) / 5)[None]
    return Sound(samples=samples, rate_hz=16000)


def sound_seconds(path):
    import av

    with av.open(str(path)) as source:
        (stream,) = source.streams.audio
        return float(stream.duration * stream.time_base)


def test_a_clip_has_every_frame_its_sound_and_a_number(tmp_path):
    path, made = render(tmp_path, sound=sound(), metadata={"workflow": "{}"})
    assert path == tmp_path / "talk" / "talk_00001_.mp4"
    assert made == [0, 1, 2, 3]
    assert count_frames(path) == 41
    assert sound_seconds(path) == pytest.approx(1.64, abs=0.05)
    assert names(tmp_path / "talk") == [".job", "status.json", "talk_00001_.mp4"]
    assert stubs.leftovers(tmp_path) == []


def test_the_frames_are_those_of_one_go(tmp_path):
    from endless_talk.video.sink import VideoSink

    clip = stubs.Clip(crf=0)
    with VideoSink(tmp_path / "plain.mp4", stubs.SIZE, crf=0) as sink:
        clip.stream(sink)
        plain = sink.finish()
    path, _ = render(tmp_path, clip)
    assert (files.frames_of(path) == files.frames_of(plain)).all()


def test_a_finished_clip_is_not_made_again(tmp_path):
    first, _ = render(tmp_path)
    before = stubs.content(tmp_path / "talk")
    again, made = render(tmp_path)
    assert (again, made) == (first, [])
    assert stubs.content(tmp_path / "talk") == before
    assert status(tmp_path)["state"] == "finished"


def test_a_stopped_clip_goes_on_with_the_frames_of_an_uninterrupted_one(tmp_path):
    render(tmp_path / "whole", sound=sound())
    for index in (1, 2, 3):
        path, made = render(tmp_path / "bits", stop=stubs.stop_at(index), sound=sound())
        assert path is None and made == [index - 1]
    render(tmp_path / "bits", sound=sound())
    assert stubs.content(tmp_path / "bits/talk") == stubs.content(tmp_path / "whole/talk")


def test_what_is_there_is_joined_with_sound_when_it_stops(tmp_path):
    render(tmp_path, stop=stubs.stop_at(2), sound=sound())
    part = tmp_path / "talk" / "talk_part.mp4"
    assert count_frames(part) == 25
    assert sound_seconds(part) == pytest.approx(1.0, abs=0.05)
    render(tmp_path, sound=sound())
    assert not part.exists()


def test_the_status_says_how_the_job_stands(tmp_path):
    def look(chunk):
        seen.append(status(tmp_path))
        return chunk.index == 2

    seen = []
    render(tmp_path, stop=look)
    assert [(each["state"], each["chunks_done"]) for each in seen] == [
        ("running", 0),
        ("running", 1),
        ("running", 2),
    ]
    stopped = status(tmp_path)
    heartbeat = stopped.pop("heartbeat")
    assert heartbeat >= seen[0]["heartbeat"] > 1.7e9
    assert stopped == {
        "schema": 1,
        "state": "stopped",
        "chunks_done": 2,
        "chunks": 4,
        "seconds_done": 1.0,
        "seconds": 1.64,
        "clip": "talk_part.mp4",
        "message": "stopped before the clip was complete",
    }
    render(tmp_path)
    finished = status(tmp_path)
    assert (finished["state"], finished["chunks_done"], finished["clip"], finished["message"]) == (
        "finished",
        4,
        "talk_00001_.mp4",
        "",
    )


@pytest.mark.parametrize(
    ("error", "state", "words"),
    [
        (KeyboardInterrupt(), "stopped", "the user"),
        (RuntimeError("the GPU is lost"), "failed", "the GPU is lost"),
        (MemoryError(), "failed", "MemoryError"),
    ],
)
def test_an_error_keeps_the_finished_chunks_and_is_told(tmp_path, error, state, words):
    def stop(chunk):
        if chunk.index == 2:
            raise error

    with pytest.raises(type(error)):
        render(tmp_path, stop=stop)
    told = status(tmp_path)
    assert (told["state"], told["clip"]) == (state, "talk_part.mp4") and words in told["message"]
    assert stubs.leftovers(tmp_path) == []
    assert render(tmp_path)[1] == [2, 3]


def test_an_error_within_a_chunk_loses_that_chunk_alone(tmp_path):
    clip = stubs.Clip()
    folder = JobFolder(tmp_path, "talk")
    with pytest.raises(KeyboardInterrupt), JobSink(folder, clip.job) as sink:
        clip.stream(sink, stop=stubs.stop_at(2))
        assert sink.recall(clip.plan[2]) is None
        sink.append(torch.zeros(3, 4, *stubs.SIZE))
        raise KeyboardInterrupt
    assert stubs.leftovers(tmp_path) == []
    assert render(tmp_path)[1] == [2, 3]


def test_a_changed_chunk_makes_it_and_those_after_again(tmp_path):
    first, _ = render(tmp_path)
    changed, made = render(tmp_path, stubs.Clip(seeds={2: 7}))
    assert made == [2, 3]
    assert changed.name == "talk_00002_.mp4" and first.exists()
    back, made = render(tmp_path)
    assert (back, made) == (first, []), "the chunks of both are kept"


def test_one_chunk_is_made_again_while_the_rest_is_kept(tmp_path):
    render(tmp_path)
    before = stubs.content(tmp_path / "talk")
    _, made = render(tmp_path, stubs.Clip(seeds={1: 7}, old={1: 0}))
    assert made == [1]
    after = stubs.content(tmp_path / "talk")
    assert before.items() <= after.items() and len(after) == len(before) + 3


def test_the_state_of_an_old_take_can_be_asked_for(tmp_path):
    render(tmp_path)
    old = stubs.Clip().job.keys[1]
    with JobSink(JobFolder(tmp_path, "talk"), stubs.Clip(seeds={1: 7}, old={1: 0}).job) as sink:
        assert sink.missing == [1]
        assert sink.state_of(old)["context_frames"].shape == (3, 9, *stubs.SIZE)
        assert sink.state_of("0" * 32) is None


def test_a_short_try_gives_the_long_clip_its_beginning(tmp_path):
    render(tmp_path, stubs.Clip(25))
    path, made = render(tmp_path, stubs.Clip(41))
    assert made == [1, 2, 3]  # the last chunk of the try handed nothing on
    assert path.name == "talk_00002_.mp4"


def test_another_sound_is_another_clip_of_the_same_chunks(tmp_path):
    first, _ = render(tmp_path, stubs.Clip(sound_key="a"), sound=sound())
    other, made = render(tmp_path, stubs.Clip(sound_key="b"), sound=sound(0.5))
    assert made == [] and other != first
    assert sound_seconds(first) != sound_seconds(other)


def test_a_deleted_clip_is_joined_again_without_making_chunks(tmp_path):
    path, _ = render(tmp_path)
    data = path.read_bytes()
    path.unlink()
    again, made = render(tmp_path)
    assert (again, made) == (path, []) and again.read_bytes() == data


def test_clips_of_others_with_a_number_are_not_touched(tmp_path):
    (tmp_path / "talk").mkdir()
    for number in ("00001", "7"):
        (tmp_path / "talk" / f"talk_{number}_.mp4").write_text("mine")
    path, _ = render(tmp_path)
    assert path.name == "talk_00008_.mp4"
    assert (tmp_path / "talk" / "talk_00001_.mp4").read_text() == "mine"


def test_a_name_taken_at_the_last_moment_is_left_alone(tmp_path, monkeypatch):
    once = iter([True])
    publish_new = journal.publish_new

    def late(part, path):
        if next(once, False):
            path.write_text("mine")
        publish_new(part, path)

    monkeypatch.setattr(journal, "publish_new", late)
    path, _ = render(tmp_path)
    assert path.name == "talk_00002_.mp4" and count_frames(path) == 41
    assert (tmp_path / "talk" / "talk_00001_.mp4").read_text() == "mine"
    assert finished_clip(JobFolder(tmp_path, "talk"), stubs.Clip().job) == path


def test_a_disk_without_links_gets_its_clip_as_well(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError(95, "no links here")

    monkeypatch.setattr("os.link", no_links)
    path, _ = render(tmp_path)
    assert count_frames(path) == 41 and stubs.leftovers(tmp_path) == []


def test_clip_only_keeps_the_clip_only_and_is_still_found_finished(tmp_path):
    path, _ = render(tmp_path, keep=Keep.CLIP)
    assert names(tmp_path / "talk" / ".job") == ["lock", "plan.json"]
    assert render(tmp_path, keep=Keep.CLIP) == (path, [])
    assert status(tmp_path)["chunks_done"] == 4


def test_clip_only_keeps_the_chunks_of_an_unfinished_clip(tmp_path):
    render(tmp_path, stop=stubs.stop_at(2), keep=Keep.CLIP)
    assert render(tmp_path, keep=Keep.CLIP)[1] == [2, 3]


def segment(root, index, suffix, clip=None):
    return root / "talk" / ".job" / f"{(clip or stubs.Clip()).job.keys[index]}{suffix}"


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


DAMAGES = {
    "pictures cut": (".mp4", cut),
    "pictures gone": (".mp4", lambda path: path.unlink()),
    "pictures empty": (".mp4", lambda path: path.write_bytes(b"")),
    "state cut": (".safetensors", cut),
    "state gone": (".safetensors", lambda path: path.unlink()),
    "state empty": (".safetensors", lambda path: path.write_bytes(b"")),
    "state of zeros": (".safetensors", lambda path: path.write_bytes(bytes(path.stat().st_size))),
    "state of others": (".safetensors", lambda path: save_file({"a": torch.zeros(1)}, path)),
    "state without a length": (".safetensors", lambda path: path.write_bytes(b"\xff" * 100)),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_chunk_is_made_again_alone_and_as_it_was(tmp_path, kind):
    render(tmp_path, stop=stubs.stop_at(3))
    before = stubs.content(tmp_path / "talk")
    suffix, damage = DAMAGES[kind]
    damage(segment(tmp_path, 1, suffix))
    _, made = render(tmp_path)
    assert made == [1, 3]
    assert before.items() <= stubs.content(tmp_path / "talk").items()


def newer_state(root):
    path = segment(root, 1, ".safetensors")
    record = json.dumps({"schema": 2, "anything": "else"})
    save_file(load_file(path), path, metadata={"endless_talk": record})
    return path


def written(name, data):
    def write(root):
        path = root / "talk" / name
        path.write_bytes(data)
        return path

    return write


STRANGE = {
    "plan cut": (written(".job/plan.json", b'{"schema": 1, "chunks": [{"k'), "damaged"),
    "plan empty": (written(".job/plan.json", b""), "damaged"),
    "plan of others": (written(".job/plan.json", b'{"plan": "world domination"}'), "damaged"),
    "plan of no chunks": (written(".job/plan.json", b'{"schema": 1}'), "damaged"),
    "plan a list": (written(".job/plan.json", b"[]"), "damaged"),
    "plan newer": (written(".job/plan.json", b'{"schema": 2}'), "newer EndlessTalk"),
    "status cut": (written("status.json", b'{"schema": 1, "sta'), "damaged"),
    "status of others": (written("status.json", b'{"status": "ok"}'), "damaged"),
    "status unheard of": (written("status.json", b'{"schema": 1, "state": "lost"}'), "damaged"),
    "status newer": (written("status.json", b'{"schema": 9, "x": 1}'), "newer EndlessTalk"),
    "state newer": (newer_state, "newer EndlessTalk"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_a_journal_that_is_not_understood_is_refused_and_left_as_it_is(tmp_path, kind):
    render(tmp_path, stop=stubs.stop_at(3))
    make, words = STRANGE[kind]
    path = make(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.name != "lock"}
    with pytest.raises(InputError, match=words) as caught:
        render(tmp_path)
    assert path.name in str(caught.value) and "another name than 'talk'" in str(caught.value)
    after = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.name != "lock"}
    assert after == before
    with pytest.raises(InputError, match=words):
        render(tmp_path)  # and not because the first one held the lock


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "talk").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        render(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".job").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        render(tmp_path, name="other")


ESCAPES = ["", ".", "..", "../up", "a/b", "a\\b", "/etc", "a/../../b", "a..b", ".hidden", "C:"]
STRANGE_NAMES = ["con", "NUL.txt", "trailing.", " a", "a\n", "x" * 81, "a\0b"]


@pytest.mark.parametrize("name", [*ESCAPES, *STRANGE_NAMES])
def test_a_name_that_could_leave_the_folder_is_refused(tmp_path, name):
    for refuse in (check_job_name, lambda each: JobFolder(tmp_path, each)):
        with pytest.raises(InputError, match="letters, digits"):
            refuse(name)
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["talk", "a b", "Ünï-1.2_3", "x" * 80, "1"])
def test_a_plain_name_is_taken(tmp_path, name):
    assert JobFolder(tmp_path, name).path.parent == tmp_path


def test_leftovers_of_a_killed_process_are_removed_and_nothing_else(tmp_path):
    render(tmp_path, stop=stubs.stop_at(1))
    hidden = tmp_path / "talk" / ".job"
    (hidden / ".0123456789abcdef.part").write_text("unfinished")
    for kept in (tmp_path / "talk" / ".mine.part", hidden / "mine.part", tmp_path / ".x.part"):
        kept.write_text("mine")
    render(tmp_path)
    assert stubs.leftovers(hidden) == []
    assert all(
        path.exists()
        for path in (tmp_path / "talk" / ".mine.part", hidden / "mine.part", tmp_path / ".x.part")
    )


def test_states_are_kept_bit_for_bit_and_read_when_asked_for(tmp_path):
    clip = stubs.Clip()
    state = {
        "context_frames": torch.randn(3, 9, *stubs.SIZE),
        "context_latents": torch.randn(4, 3, 2, 2).to(torch.bfloat16).transpose(2, 3),
    }
    with JobSink(JobFolder(tmp_path, "talk"), clip.job) as sink:
        sink.recall(clip.plan[0])
        sink.append(torch.zeros(3, 17, *stubs.SIZE))
        sink.commit(state)
    with JobSink(JobFolder(tmp_path, "talk"), clip.job) as sink:
        known = sink.recall(clip.plan[0])
        assert set(known) == set(state) and len(known) == 2 and "other" not in known
        for name, tensor in state.items():
            assert torch.equal(known[name], tensor) and known[name].dtype == tensor.dtype
        with pytest.raises(KeyError):
            known["other"]
        segment(tmp_path, 0, ".safetensors").unlink()
        with pytest.raises(FileNotFoundError):
            known["context_frames"]


def test_wrong_use_is_told_apart_from_wrong_input(tmp_path):
    clip = stubs.Clip()
    with JobSink(JobFolder(tmp_path, "talk"), clip.job) as sink:
        with pytest.raises(RuntimeError, match="recall"):
            sink.append(torch.zeros(3, 1, *stubs.SIZE))
        with pytest.raises(RuntimeError, match="append"):
            sink.commit({})
        sink.recall(clip.plan[0])
        sink.append(torch.zeros(3, 16, *stubs.SIZE))
        with pytest.raises(RuntimeError, match="16 frames, its plan 17"):
            sink.commit({})
        with pytest.raises(RuntimeError, match="not made yet"):
            sink.finish()


def test_a_size_that_cannot_be_encoded_is_refused_before_the_work(tmp_path):
    with pytest.raises(InputError, match="even"):
        JobSink(JobFolder(tmp_path, "talk"), JobPlan(("0" * 32,), (5,), (15, 16)))
    assert names(tmp_path) == []


def test_an_error_after_the_clip_leaves_it_finished(tmp_path):
    render(tmp_path)
    with pytest.raises(ValueError), JobSink(JobFolder(tmp_path, "talk"), stubs.Clip().job) as sink:
        assert sink.missing == []
        raise ValueError
    assert status(tmp_path)["state"] == JobState.FINISHED.value
    assert not (tmp_path / "talk" / "talk_part.mp4").exists()


def test_signs_of_life_are_written_now_and_then(tmp_path, monkeypatch):
    clip = stubs.Clip()
    clock = [100.0]
    monkeypatch.setattr(journal.time, "monotonic", lambda: clock[0])
    writes = []
    with JobSink(JobFolder(tmp_path, "talk"), clip.job) as sink:
        monkeypatch.setattr(sink.folder, "write_status", lambda status: writes.append(clock[0]))
        for second in range(35):
            clock[0] = 100.0 + second
            sink.beat()
    assert writes[:3] == [110.0, 120.0, 130.0]
