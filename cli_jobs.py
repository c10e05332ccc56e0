"""Jobs on the command line: ``talk --job`` renders in one, ``endless-talk jobs`` looks after them.

Knows parsed arguments and the journal. It does not know networks; it is handed what loads them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError

if TYPE_CHECKING:
    from .cli_talk import Progress
    from .models.networks import Networks
    from .samplers.plan import Chunk
    from .talk import TalkJob
    from .video.job_budget import TimeBudget
    from .video.job_folder import JobFolder, JobPlan
    from .video.jobs import JobSummary
    from .video.journal import JobSink
    from .video.sound import Sound

EXIT_UNFINISHED = 3
EXIT_INTERRUPTED = 130

FOLDER = Path("output/endless_talk")
"""Where jobs are unless ``--folder`` says otherwise; the same as in ComfyUI."""

KEEP = ("all chunks", "clip only")

NAMED_CHUNKS = 8
"""That a plan names; the others are counted."""


def add_job(group: argparse._ArgumentGroup) -> None:
    """Arguments of ``talk`` for clips that take long."""
    group.add_argument(
        "--job",
        metavar="NAME",
        help="render in a job: stopped, it goes on where it was; changed, it makes again only "
        "what the change reaches",
    )
    group.add_argument(
        "--folder", type=Path, default=FOLDER, help=f"where jobs are; default {FOLDER}"
    )
    group.add_argument(
        "--time-budget",
        type=float,
        default=0.0,
        metavar="MIN",
        help="stop before the chunk that would take longer than this many minutes in all; exit "
        f"code {EXIT_UNFINISHED}",
    )
    group.add_argument(
        "--keep",
        choices=KEEP,
        default=KEEP[0],
        help="what stays when the clip is finished: its chunks, to make some of them again, or "
        "nothing but the clip; default all chunks",
    )


def add_jobs(jobs: argparse.ArgumentParser) -> None:
    """Arguments of ``jobs``."""
    commands = jobs.add_subparsers(required=True, metavar="command")
    runs = {
        "list": (run_list, "state, length and size of every job"),
        "prune": (run_prune, "remove the chunks of finished jobs; clips stay"),
        "export": (run_export, "write what is there of a job as a clip"),
        "verify": (run_verify, "read every chunk and say what is damaged"),
    }
    parsers = {}
    for name, (run, words) in runs.items():
        parsers[name] = parser = commands.add_parser(name, help=words)
        parser.set_defaults(run=run)
        parser.add_argument(
            "--folder", type=Path, default=FOLDER, help=f"where jobs are; default {FOLDER}"
        )
    for name in ("prune", "verify"):
        parsers[name].add_argument("name", nargs="*", help="which jobs; default every one")
    prune = parsers["prune"].add_mutually_exclusive_group()
    prune.add_argument("--all", action="store_true", help="also of jobs that are not finished")
    prune.add_argument(
        "--unused", action="store_true", help="only chunks of earlier settings, of any job"
    )
    parsers["export"].add_argument("name", help="the job")
    parsers["export"].add_argument("--out", type=Path, required=True, help="the clip, an .mp4")
    parsers["export"].add_argument(
        "--audio", type=Path, help="what is heard; default: the file that was rendered with"
    )


def check_job(options: argparse.Namespace) -> None:
    """Refuse what makes no sense for a job, or without one."""
    from .video.job_budget import TimeBudget
    from .video.job_names import check_job_name

    TimeBudget(options.time_budget)
    if options.job is not None:
        check_job_name(options.job, "--job")
        if options.overwrite:
            raise InputError("--overwrite is for --out; clips of a job are numbered and stay.")
    elif options.time_budget:
        raise InputError("--time-budget needs a --job that can go on later.")


def render_in_job(
    job: TalkJob,
    models: Any,
    networks: Callable[[], Networks],
    progress: Callable[[int], Progress],
    options: argparse.Namespace,
) -> tuple[int, Path | None]:
    """Render what a job does not hold yet.

    Args:
        job: The clip.
        models: What identifies the networks.
        networks: Loads them; not called when nothing is missing.
        progress: Makes the progress bar, from the number of chunks that are done.
        options: Arguments of ``talk``.

    Returns:
        The exit code, and the clip if it is finished.
    """
    from .talk import stream_talk
    from .talk_keys import journal_plan, keys_before
    from .video.job_folder import JobFolder

    folder, plan = JobFolder(options.folder, options.job), journal_plan(job, models)
    before = keys_before(job, models)
    check_takes(folder, plan, before)

    def make(sink: JobSink, budget: TimeBudget) -> bool:
        done = len(job.plan) - len(sink.missing)
        if done:
            print(f"job {folder.name}: {done} of {len(job.plan)} chunks are there already")
        loaded = networks()
        takes = {k: sink.state_of(before[k]) or {} for k in sink.missing if k in before}
        with progress(done) as shown:
            return stream_talk(job, loaded, sink, beating(shown, sink), budget, takes)

    return run_job(plan, job.sound, make, options)


def run_job(
    plan: JobPlan,
    sound: Sound,
    make: Callable[[JobSink, TimeBudget], bool],
    options: argparse.Namespace,
) -> tuple[int, Path | None]:
    """Open a job, make what is missing, and say what is there if that is not all.

    Args:
        plan: What its chunks are.
        sound: What is heard.
        make: Makes those that are missing; whether the clip is complete then.
        options: Arguments of ``talk``.

    Returns:
        The exit code, and the clip if it is finished.
    """
    from .video.job_budget import TimeBudget
    from .video.job_folder import JobFolder
    from .video.journal import JobSink, Keep

    budget, folder = TimeBudget(options.time_budget), JobFolder(options.folder, options.job)
    sink = JobSink(folder, plan, sound=sound, keep=Keep(options.keep))
    try:
        with sink:
            if sink.missing and not make(sink, budget):
                sink.message = budget.message
            if not sink.missing:
                return 0, sink.finish()
    except KeyboardInterrupt:
        print(f"endless-talk: stopped. {what_is_kept(sink)}", file=sys.stderr)
        return EXIT_INTERRUPTED, None
    except (InputError, OSError):
        print(f"endless-talk: {what_is_kept(sink)}", file=sys.stderr)
        raise
    print(f"{budget.message}. {what_is_kept(sink)}")
    return EXIT_UNFINISHED, None


def missing_chunks(folder: JobFolder, plan: JobPlan) -> list[int]:
    """Chunks of a clip that a job does not hold; reads, and writes nothing."""
    from .video.job_segments import Segments
    from .video.journal import finished_clip

    if finished_clip(folder, plan) is not None:
        return []
    segments, keys = Segments(folder), plan.keys[: len(plan.shown_frames)]
    return [index for index, key in enumerate(keys) if not segments.holds(key)]


def check_takes(folder: JobFolder, plan: JobPlan, before: Mapping[int, str]) -> None:
    """Refuse to keep the rest of a clip that is not there, before anything is rendered.

    Raises:
        InputError: The take that a chunk has to end in was never made, or is gone.
    """
    from .video.job_segments import Segments

    segments = Segments(folder)
    for index in missing_chunks(folder, plan):
        if index in before and not segments.holds(before[index]):
            raise InputError(
                f"keep rest makes #{index} again in the clip as it was, and the job {folder.name} "
                "does not have that clip: render it without this line first, with nothing else "
                "changed."
            )


def chunks_to_make(job: TalkJob, models: Any, options: argparse.Namespace) -> str:
    """``job talk: 2 of 7 chunks to make, #3, #4``: what a run would do."""
    from .talk_keys import journal_plan, keys_before
    from .video.job_folder import JobFolder

    folder, plan = JobFolder(options.folder, options.job), journal_plan(job, models)
    check_takes(folder, plan, keys_before(job, models))
    missing = missing_chunks(folder, plan)
    if not missing:
        return f"job {folder.name}: nothing to make"
    named = ", ".join(job.plan[index].label for index in missing[:NAMED_CHUNKS])
    more = len(missing) - NAMED_CHUNKS
    tail = f" and {more} more" if more > 0 else ""
    return f"job {folder.name}: {len(missing)} of {len(job.plan)} chunks to make, {named}{tail}"


def beating(shown: Progress, sink: JobSink) -> Callable[[Chunk, int, int, Any], None]:
    """Progress that also tells other processes that this one is alive."""

    def step_done(chunk: Chunk, step: int, steps: int, denoised: Any) -> None:
        shown(chunk, step, steps, denoised)
        sink.beat()

    return step_done


def what_is_kept(sink: JobSink) -> str:
    """What a job that was left early holds."""
    chunks = len(sink.plan.shown_frames)
    done = f"{chunks - len(sink.missing)} of {chunks} chunks"
    if sink.plan.states:
        from .video.job_states import JobStates

        steps = JobStates(sink.folder, sink.plan.states).done
        done = f"{steps} of {len(sink.plan.states)} steps and {done}"
    kept = f"{done} are kept in {sink.folder.path}"
    part = "" if sink.part is None else f", joined as {sink.part.name}"
    return f"{kept}{part}; the same command goes on."


def run_list(options: argparse.Namespace) -> int:
    """One line per job."""
    from .video.jobs import list_jobs

    jobs = list_jobs(options.folder)
    if not jobs:
        print(f"no jobs in {options.folder}")
    width = max((len(job.name) for job in jobs), default=0)
    for job in jobs:
        print(summary_line(job, width))
    return 0


def summary_line(job: JobSummary, width: int) -> str:
    """``talk  stopped  12/63 chunks  34.6 of 180.0 s  812 MB (790 MB chunks)  talk_part.mp4``."""
    line = f"{job.name:<{width}}  {job.state:<11}"
    if job.status is not None:
        done = f"{job.status.chunks_done}/{job.status.chunks} chunks"
        line += f"  {done:>15}  {job.status.seconds_done:7.1f} of {job.status.seconds:.1f} s"
    line += f"  {megabytes(job.bytes)} ({megabytes(job.chunk_bytes)} chunks)"
    notes = [job.trouble] if job.status is None else [job.status.clip, job.status.message]
    return "  ".join([line, *(note for note in notes if note)])


def megabytes(count: int) -> str:
    """``812 MB``; a small number has a digit more."""
    return f"{count / 1e6:.1f} MB" if count < 10_000_000 else f"{count / 1e6:.0f} MB"


def run_prune(options: argparse.Namespace) -> int:
    """Remove chunks; without names, of every job for which it is allowed."""
    from .video.jobs import list_jobs, prune_job

    for name in options.name or [job.name for job in list_jobs(options.folder)]:
        try:
            freed = prune_job(
                options.folder, name, unfinished_too=options.all, unused=options.unused
            )
        except InputError as error:
            if options.name:
                raise
            print(f"{name}: left as it is: {error}")
        else:
            print(f"{name}: {megabytes(freed)} freed")
    return 0


def run_export(options: argparse.Namespace) -> int:
    """Write what is there of a job."""
    from .video.jobs import export_job, open_job
    from .video.sound import Sound

    _, record = open_job(options.folder, options.name)
    path = options.audio
    if path is None and record.sound is not None and Path(record.sound).is_file():
        path = Path(record.sound)
    sound = None if path is None else Sound(path=path)
    seconds = export_job(options.folder, options.name, options.out, sound)
    whole = record.plan.seconds
    print(f"{options.out}: {seconds:.2f} of {whole:.2f} s")
    if sound is None:
        print("warning: the sound of this job is not known here; name it with --audio")
    return 0


def run_verify(options: argparse.Namespace) -> int:
    """Read everything.

    Raises:
        InputError: Something is damaged.
    """
    from .video.jobs import list_jobs, verify_job

    damaged = []
    for name in options.name or [job.name for job in list_jobs(options.folder)]:
        whole, problems = verify_job(options.folder, name)
        print(f"{name}: {whole} {'chunk' if whole == 1 else 'chunks'} whole")
        damaged += [f"{name}: {problem}" for problem in problems]
    if damaged:
        raise InputError("\n".join(damaged))
    return 0
