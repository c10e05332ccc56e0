"""All jobs of a folder: list, prune, export, verify."""

import files
import job_stubs as stubs
import pytest
import torch

from endless_talk.cli import main
from endless_talk.errors import InputError
from endless_talk.video.job_folder import JobFolder
from endless_talk.video.job_segments import Segments
from endless_talk.video.jobs import export_job, list_jobs, prune_job, verify_job
from endless_talk.video.journal import JobSink
from endless_talk.video.mux import count_frames
from endless_talk.video.sound import Sound


@pytest.fixture
def root(tmp_path):
    """A finished job, a stopped one, and what is no job."""
    root = tmp_path / "jobs"
    stubs.Clip().render(root, name="done")
    stubs.Clip().render(root, name="half", stop=stubs.stop_at(2))
    (root / "pictures").mkdir()
    (root / "note.txt").write_text("mine")
    return root


def jobs(root, *arguments):
    command, *rest = (str(argument) for argument in arguments)
    return main(["jobs", command, "--folder", str(root), *rest])


def chunks(root, name):
    return sorted(path.stem for path in (root / name / ".job").glob("*.mp4"))


def test_every_job_is_listed_with_what_it_is_and_takes(root, capsys):
    assert jobs(root, "list") == 0
    done, half = capsys.readouterr().out.splitlines()
    assert done.split()[:3] == ["done", "finished", "4/4"] and "done_00001_.mp4" in done
    assert half.split()[:3] == ["half", "stopped", "2/4"] and "half_part.mp4" in half
    assert "1.0 of 1.6 s" in half
    summary = list_jobs(root)[0]
    everything = [path for path in (root / "done").rglob("*") if path.is_file()]
    assert summary.bytes == sum(path.stat().st_size for path in everything) > summary.chunk_bytes


def test_a_job_that_was_killed_is_listed_as_interrupted(root, capsys):
    def die():
        with JobSink(JobFolder(root, "dead"), stubs.Clip().job):
            stubs.os._exit(0)

    stubs.forked(die)
    jobs(root, "list")
    assert "interrupted" in capsys.readouterr().out.splitlines()[0]


def test_a_job_that_cannot_be_read_is_listed_with_the_reason(root, capsys):
    (root / "half" / "status.json").write_text("{")
    assert jobs(root, "list") == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert "unreadable" in line and "status.json is damaged" in line


def test_a_folder_without_jobs_says_so(tmp_path, capsys):
    assert jobs(tmp_path, "list") == 0
    assert "no jobs" in capsys.readouterr().out
    assert jobs(tmp_path / "nowhere", "list") == 2
    assert "nowhere" in capsys.readouterr().err


def test_pruning_removes_the_chunks_of_finished_jobs_alone(root, capsys):
    clip = root / "done" / "done_00001_.mp4"
    data = clip.read_bytes()
    assert jobs(root, "prune") == 0
    assert "half: left as it is" in capsys.readouterr().out
    assert chunks(root, "done") == [] and len(chunks(root, "half")) == 2
    assert clip.read_bytes() == data
    assert stubs.Clip().render(root, name="done") == clip, "it is still known to be finished"


def test_pruning_an_unfinished_job_has_to_be_meant(root, capsys):
    assert jobs(root, "prune", "half") == 2
    assert "--all" in capsys.readouterr().err
    assert len(chunks(root, "half")) == 2
    assert jobs(root, "prune", "half", "--all") == 0
    assert chunks(root, "half") == []


def test_chunks_of_earlier_settings_can_be_removed_from_any_job(root):
    stubs.Clip(seeds={1: 7}).render(root, name="half", stop=stubs.stop_at(2))
    assert len(chunks(root, "half")) == 3
    assert jobs(root, "prune", "--unused") == 0
    assert len(chunks(root, "half")) == 2 and len(chunks(root, "done")) == 4
    denoiser = stubs.Denoiser()
    stubs.Clip(seeds={1: 7}).render(root, denoiser, name="half")
    assert denoiser.made == [2, 3]


@pytest.mark.parametrize("how", [[], ["--all"], ["--unused"]])
def test_a_running_job_is_not_pruned(root, capsys, how):
    clip = stubs.Clip()
    with JobSink(JobFolder(root, "half"), clip.job):
        assert jobs(root, "prune", "half", *how) == 2
        assert "is rendering the job 'half'" in capsys.readouterr().err
        assert jobs(root, "prune", *how) == 0, "the others are"
        assert "half: left as it is: another process" in capsys.readouterr().out
    assert len(chunks(root, "half")) == 2


def test_what_is_there_is_exported(root, tmp_path, capsys):
    out = tmp_path / "out.mp4"
    assert jobs(root, "export", "half", "--out", out) == 0
    said = capsys.readouterr().out
    assert "1.00 of 1.64 s" in said and "--audio" in said
    assert count_frames(out) == 25
    assert export_job(root, "done", out) == 41 / 25
    assert out.read_bytes() == (root / "done" / "done_00001_.mp4").read_bytes()


def test_exports_have_the_sound_that_was_rendered_with_or_another(root, tmp_path):
    import av

    voice = files.voice(tmp_path / "voice.wav", 1.64)
    stubs.Clip().render(root, name="loud", stop=stubs.stop_at(2), sound=Sound(path=voice))
    for more in ([], ["--audio", voice]):
        out = tmp_path / f"{len(more)}.mp4"
        assert jobs(root, "export", "loud", "--out", out, *more) == 0
        with av.open(str(out)) as source:
            assert float(source.streams.audio[0].duration * source.streams.audio[0].time_base) < 1.1


def test_a_running_job_can_be_exported(root, tmp_path):
    with JobSink(JobFolder(root, "half"), stubs.Clip().job):
        assert export_job(root, "half", tmp_path / "out.mp4") == 1.0


def test_exports_that_make_no_sense_are_refused(root, tmp_path, capsys):
    stubs.Clip().render(root, name="empty", stop=stubs.stop_at(0))
    for name, out, words in (
        ("empty", "a.mp4", "no finished chunk"),
        ("nobody", "a.mp4", "no job 'nobody'"),
        ("../jobs/half", "a.mp4", "letters, digits"),
        ("half", "a.avi", "a.mp4"),
        ("half", "nowhere/a.mp4", "nowhere"),
    ):
        assert jobs(root, "export", name, "--out", tmp_path / out) == 2
        assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["jobs"]


def test_whole_jobs_are_found_whole(root, capsys):
    assert jobs(root, "verify") == 0
    assert capsys.readouterr().out.splitlines() == ["done: 4 chunks whole", "half: 2 chunks whole"]


def flip(path):
    """Change one bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("suffix", "damage", "words"),
    [
        (".mp4", flip, "pictures are damaged"),
        (".mp4", lambda path: path.unlink(), "pictures are missing"),
        (".safetensors", flip, "state is damaged"),
        (".safetensors", lambda path: path.write_bytes(b""), "state is damaged"),
        (".safetensors", lambda path: path.unlink(), "never finished"),
    ],
)
def test_a_damaged_chunk_is_found(root, capsys, suffix, damage, words):
    key = stubs.Clip().job.keys[2]
    damage(root / "done" / ".job" / f"{key}{suffix}")
    assert jobs(root, "verify") == 2
    shown = capsys.readouterr()
    assert (
        f"done: chunk 2: its {words}" in shown.err or f"done: chunk 2: it was {words}" in shown.err
    )
    assert "done: 3 chunks whole" in shown.out
    assert verify_job(root, "half") == (2, [])


def test_a_shortened_clip_is_found(root):
    clip = root / "done" / "done_00001_.mp4"
    clip.write_bytes(clip.read_bytes()[:-1])
    assert "done_00001_.mp4" in verify_job(root, "done")[1][0]


def test_a_chunk_of_another_length_than_planned_is_found(root):
    folder = JobFolder(root, "done")
    segments, key = Segments(folder), stubs.Clip().job.keys[0]
    part = folder.hidden / "part"
    part.write_bytes(segments.video(key).read_bytes())
    segments.save(key, part, 16, {"a": torch.zeros(1)})
    assert "16 frames, the plan 17" in verify_job(root, "done")[1][0]


def test_a_name_that_could_leave_the_folder_is_refused_everywhere(root):
    for work in (prune_job, verify_job):
        with pytest.raises(InputError, match="letters, digits"):
            work(root, "../jobs/half")
