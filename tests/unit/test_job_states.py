"""What is kept between the steps of a clip: the last state whole, whatever happens in between."""

import json

import job_stubs as stubs
import pytest
import torch
from job_stubs import forked, leftovers

from endless_talk.errors import InputError
from endless_talk.samplers.pieces import slide_clip
from endless_talk.samplers.plan import plan_chunks
from endless_talk.samplers.sliding import LATENTS, sample_windows
from endless_talk.samplers.windows import plan_windows
from endless_talk.video import files
from endless_talk.video.job_folder import JobFolder, JobPlan
from endless_talk.video.job_keys import digest
from endless_talk.video.job_states import OURS, JobStates, step_keys
from endless_talk.video.jobs import prune_job, summarize, verify_job
from endless_talk.video.journal import JobSink, Keep

STEPS, TOTAL = 4, 57
SIGMAS = torch.linspace(1, 0, STEPS + 1)


class Counts:
    """A denoiser whose steps are easily told apart, and whose machine dies when told."""

    one_go = ""

    def __init__(self, dies_in=None):
        self.made, self.dies_in = [], dies_in

    def denoise_windows(self, sweeper, latents, sigmas, *, begun, callback=None):
        self.made.append(round(float(sigmas[0]) * STEPS))
        if len(self.made) == self.dies_in:
            raise KeyboardInterrupt
        if callback:
            callback(1, 1, latents)
        return 0.5 * latents + 0.01 * len(sigmas) + sigmas[0] / 7


class Windows:
    plan = plan_windows(TOTAL, 17, 2)
    remembers, previous = False, None


class Pixels:
    """Latents are pixels; a latent frame is its pixel frames."""

    def decode(self, latents):
        yield latents[:, :1]
        yield from latents[:, 1:].repeat_interleave(4, dim=1).split(4, dim=1)


class Clip:
    """A planned clip that is denoised as a whole and decoded in pieces of 17 frames."""

    def __init__(self, seed=0, crf=12):
        self.seed, self.pieces = seed, plan_chunks(TOTAL, 17, 5)
        key = digest("latents", seed)
        kept = tuple(chunk.kept_frames for chunk in self.pieces)
        keys = tuple(digest(key, chunk.index, crf) for chunk in self.pieces)
        self.job = JobPlan(keys, kept, stubs.SIZE, crf, states=step_keys(key, STEPS))

    def noise(self):
        generator = torch.Generator().manual_seed(self.seed)
        return torch.rand(3, Windows.plan.latents, *stubs.SIZE, generator=generator) - 0.5

    def render(self, root, denoiser, name="talk", stop=None, **sink):
        folder = JobFolder(root, name)
        states = JobStates(folder, self.job.states)
        with JobSink(folder, self.job, **sink) as journal:
            if not journal.missing:
                return journal.finish()
            complete = slide_clip(
                self.pieces,
                latents=lambda: sample_windows(
                    Windows(), denoiser, self.noise, SIGMAS, states=states, stop=stop
                ),
                codec=Pixels(),
                sink=journal,
                stop=stop,
            )
            return journal.finish() if complete else None


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    clip = Clip().render(root, Counts())
    return stubs.content(root / "talk"), clip.read_bytes()


def states_in(folder, clip):
    states = JobStates(JobFolder(folder.parent, folder.name), clip.job.states)
    return [step for step in range(1, STEPS + 1) if states.path(step).exists()]


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_job_that_died_in_any_step_goes_on_there(step, tmp_path, whole):
    with pytest.raises(KeyboardInterrupt):
        Clip().render(tmp_path, Counts(dies_in=step))
    assert states_in(tmp_path / "talk", Clip()) == ([step - 1] if step > 1 else [])
    again = Counts()
    Clip().render(tmp_path, again)
    assert again.made == [4, 3, 2, 1][step - 1 :]
    assert stubs.content(tmp_path / "talk") == whole[0]


def test_a_kill_at_every_operation_on_the_disk_costs_a_step_at_most(tmp_path, monkeypatch, whole):
    """Before and after every flush and rename of the steps; one that is on the disk is not lost."""
    for moment in range(8 * STEPS):
        name = f"kill{moment}"
        left = [moment]

        def count(function, left=left):
            def counted(*args):
                for _ in "before", "after":
                    if left[0] == 0:
                        raise SystemExit(7)
                    left[0] -= 1
                    if _ == "before":
                        out = function(*args)
                return out

            return counted

        def work(name=name, count=count):
            monkeypatch.setattr(files, "sync_file", count(files.sync_file))
            monkeypatch.setattr(files, "sync_folder", count(files.sync_folder))
            Clip().render(tmp_path, Counts(), name=name)

        ended = forked(work)
        folder = tmp_path / name
        there = states_in(folder, Clip()) if folder.exists() else []
        assert len(there) <= 2, "a step, and the one before until that is on the disk"
        again = Counts()
        Clip().render(tmp_path, again, name=name)
        assert again.made == [4, 3, 2, 1][max(there, default=0) :]
        got = {key.replace(name, "talk"): data for key, data in stubs.content(folder).items()}
        assert got == whole[0] and not leftovers(folder), ended
    assert ended == 7, "all moments were tried, the clip included"


def test_only_the_last_state_stays(tmp_path):
    Clip().render(tmp_path, Counts())
    assert states_in(tmp_path / "talk", Clip()) == [STEPS]


def test_another_quality_decodes_again_and_samples_nothing(tmp_path):
    Clip().render(tmp_path, Counts())
    again = Counts()
    assert Clip(crf=20).render(tmp_path, again) and again.made == []
    other = Counts()
    assert Clip(seed=1).render(tmp_path, other) and len(other.made) == STEPS


def test_a_damaged_state_is_made_again(tmp_path, whole):
    with pytest.raises(KeyboardInterrupt):
        Clip().render(tmp_path, Counts(dies_in=3))
    folder = JobFolder(tmp_path, "talk")
    path = JobStates(folder, Clip().job.states).path(2)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert "step 2 is damaged" in verify_job(tmp_path, "talk")[1][0]
    again = Counts()
    Clip().render(tmp_path, again)
    assert len(again.made) == STEPS and stubs.content(tmp_path / "talk") == whole[0]


def test_flipped_bits_are_found(tmp_path):
    Clip().render(tmp_path, Counts())
    path = JobStates(JobFolder(tmp_path, "talk"), Clip().job.states).path(STEPS)
    assert verify_job(tmp_path, "talk") == (len(Clip().pieces), [])
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    assert "step 4 is damaged" in verify_job(tmp_path, "talk")[1][0]


def test_a_state_of_a_newer_version_is_refused_and_left_alone(tmp_path):
    from safetensors.torch import save_file

    states = JobStates(JobFolder(tmp_path, "talk"), Clip().job.states)
    states.path(1).parent.mkdir(parents=True)
    record = {"schema": 99, "state": ""}
    save_file({LATENTS: torch.zeros(1)}, states.path(1), {OURS: json.dumps(record)})
    with pytest.raises(InputError, match="newer"):
        states.latest()
    assert states.path(1).exists()


def test_pruning_what_is_unused_leaves_the_last_step_of_a_stopped_job(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        Clip(seed=1).render(tmp_path, Counts(dies_in=3))
    with pytest.raises(KeyboardInterrupt):
        Clip().render(tmp_path, Counts(dies_in=3))
    folder = tmp_path / "talk"
    assert states_in(folder, Clip(seed=1)) == states_in(folder, Clip()) == [2]
    assert prune_job(tmp_path, "talk", unused=True) > 0
    assert states_in(folder, Clip()) == [2] and not states_in(folder, Clip(seed=1))
    with pytest.raises(InputError, match="not finished"):
        prune_job(tmp_path, "talk")
    assert prune_job(tmp_path, "talk", unfinished_too=True) > 0
    assert not states_in(folder, Clip())


def test_states_count_as_what_a_job_takes(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        Clip().render(tmp_path, Counts(dies_in=2))
    folder = JobFolder(tmp_path, "talk")
    size = JobStates(folder, Clip().job.states).path(1).stat().st_size
    assert summarize(folder).chunk_bytes >= size


def test_a_clip_kept_alone_keeps_no_state(tmp_path):
    Clip().render(tmp_path, Counts(), keep=Keep.CLIP)
    assert not states_in(tmp_path / "talk", Clip())
    assert Clip().render(tmp_path, Counts(dies_in=1)), "it is finished and makes nothing"


def test_keys_of_steps_are_each_their_own():
    keys = step_keys("a", 5)
    assert len(set(keys) | set(step_keys("b", 5))) == 10


def test_the_status_says_what_is_being_done(tmp_path):
    with JobSink(JobFolder(tmp_path, "talk"), Clip().job) as journal:
        journal.doing = "step 2 of 4"
        journal._beat = 0.0  # the last sign of life is long ago
        journal.beat()
        assert JobFolder(tmp_path, "talk").read_status().message == "step 2 of 4"
        journal.discard()
