"""Jobs without networks: the real streaming loop and journal, and frames that are cheap to make."""

import os
import signal
import traceback
from pathlib import Path

import torch

from endless_talk.samplers.plan import plan_chunks
from endless_talk.samplers.streaming import Sampling, stream_clip
from endless_talk.video.job_folder import JobFolder, JobPlan
from endless_talk.video.job_keys import chunk_keys, chunk_places
from endless_talk.video.journal import JobSink

SIZE = (16, 16)


class Codec:
    """Frames are their own latents."""

    def encode(self, frames):
        return frames

    def decode(self, latents):
        yield from latents.split(4, dim=1)


class Denoiser:
    """Frames that hang on the number of the chunk and on its context; counts its calls.

    The noise of a chunk is its parts as a number, so that a changed part shows in the frames.
    """

    def __init__(self, heard=lambda chunk: None):
        self.made, self.heard = [], heard

    def denoise(self, noise, conditions, sigmas, *, held, callback=None, **_):
        chunk = conditions
        self.heard(chunk)
        self.made.append(chunk.index)
        frames = noise.clone()
        frames[:, : held.shape[1]] = held
        # Whatever the context was, it goes on in the whole chunk.
        frames[:, held.shape[1] :] += 0.1 * held.mean()
        if callback:
            callback(1, 1, frames)
        return frames


class Conditions:
    def conditions(self, chunk, reference):
        return chunk


class Still:
    def frame(self, start_frame):
        return torch.full((3, *SIZE), 0.25)


class Clip:
    """A planned clip.

    Args:
        total: Frames.
        seeds: Per chunk, by index; the others have seed 0.
        old: The same for chunks whose followers shall not notice.
        plan: More of the ``JobPlan``, such as ``stop_frame``.
    """

    def __init__(self, total=41, seeds=None, old=None, **plan):
        self.plan = plan_chunks(total, 17, 9)
        self.seeds = [(seeds or {}).get(chunk.index, 0) for chunk in self.plan]
        places = chunk_places(self.plan)
        parts = list(zip(places, self.seeds, strict=True))
        links = [(place, (old or {}).get(place["index"], seed)) for place, seed in parts]
        keys = chunk_keys(parts, links, common="stub")
        kept = tuple(chunk.kept_frames for chunk in self.plan)
        self.job = JobPlan(tuple(keys), kept, SIZE, **plan)

    def sampling(self, chunk):
        generator = torch.Generator().manual_seed(1000 * self.seeds[chunk.index] + chunk.index)
        shape = (3, chunk.frames, *SIZE)
        return Sampling(torch.rand(shape, generator=generator) - 0.5, torch.tensor([1.0, 0.0]))

    def stream(self, sink, denoiser=None, **more):
        needed = len(self.job.shown_frames)
        return stream_clip(
            self.plan[:needed],
            then=self.plan[needed] if needed < len(self.plan) else None,
            reference=Still(),
            conditioner=Conditions(),
            denoiser=denoiser or Denoiser(),
            codec=Codec(),
            sink=sink,
            sampling=self.sampling,
            **more,
        )

    def render(self, root: Path, denoiser=None, stop=None, name="talk", **sink):
        """Render in a job as the command line does; the clip, or None when it was stopped."""
        with JobSink(JobFolder(root, name), self.job, **sink) as journal:
            if journal.missing:
                self.stream(journal, denoiser, stop=stop)
            return None if journal.missing else journal.finish()


def stop_at(index):
    return lambda chunk: chunk.index >= index


def content(folder: Path, *, clips=True):
    """Bytes of all segments and states, and of the clips, by name."""
    paths = [*folder.glob(".job/*.mp4"), *folder.glob(".job/*.safetensors")]
    paths += folder.glob("*_.mp4") if clips else ()
    return {path.name: path.read_bytes() for path in sorted(paths)}


def leftovers(folder: Path):
    return [path.name for path in folder.rglob(".*.part")]


def forked(work):
    """Run ``work`` in a forked process; its exit code, negative if a signal ended it."""
    process = start(work)
    return ended(process)


def start(work):
    process = os.fork()
    if process:
        return process
    code = 99
    try:
        code = work() or 0
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code if isinstance(code, int) else 98)


def kill(process):
    os.kill(process, signal.SIGKILL)


def ended(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
