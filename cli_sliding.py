"""``endless-talk talk --sampler sliding``: its arguments, its jobs, and its progress.

Knows parsed arguments and the journal. The work itself is done in ``talk_sliding``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cli_jobs import missing_chunks, run_job
from .errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from .models.hybrid_networks import HybridNetworks
    from .models.networks import Networks, WeightPaths
    from .samplers.windows import DenoisingWindow, WindowPlan
    from .talk import TalkJob
    from .talk_sliding import WindowSettings
    from .video.job_budget import TimeBudget
    from .video.journal import JobSink

STREAMING, SLIDING = "streaming", "sliding"
BLENDS = ("paper", "linear", "linear, open ends", "cosine", "average")
FIRST_FRAMES = (
    "reference in every window",
    "anchor slot",
    "first window only",
    "previous estimate",
)
LAST_WINDOWS = ("pad", "shift", "even")
"""As ``samplers`` has them, which is not imported to read arguments."""

WINDOWED = ("window_frames", "overlap", "blend", "first_frame", "last_window")
STREAMED = ("hand_on", "motion", "video", "timeline")
"""Arguments that only one of the two samplers has."""

LATENT_FRAMES = 4
"""Frames of the clip in a latent frame, as ``frames.TEMPORAL_STRIDE``."""


def add_sampler(group: argparse._ArgumentGroup) -> None:
    """Arguments that choose a sampler, and those of the sliding one."""
    group.add_argument(
        "--sampler",
        choices=(STREAMING, SLIDING),
        default=STREAMING,
        help="'streaming' makes chunk after chunk, each from the last frames of the one before; "
        "'sliding' the whole clip at once, in windows that are blended at every step: no seams, "
        "one picture; default streaming",
    )
    group.add_argument(
        "--window-frames",
        type=int,
        metavar="N",
        help="frames denoised at once, 4n+1; memory goes by it; default what the weights were "
        "trained on, 81 for Wan, 129 for HunyuanVideo",
    )
    group.add_argument(
        "--overlap",
        type=int,
        metavar="N",
        help="frames that neighbouring windows share, a multiple of 4, at most half a window; "
        "more is smoother and takes longer; default a quarter of a window",
    )
    group.add_argument(
        "--blend", choices=BLENDS, help="how a window takes over from the one before; default paper"
    )
    group.add_argument(
        "--first-frame",
        choices=FIRST_FRAMES,
        help="what later windows find in their first frame; default reference in every window",
    )
    group.add_argument(
        "--last-window",
        choices=LAST_WINDOWS,
        help="it runs past the end and is cut, is moved back, or all are moved a little; "
        "default pad",
    )


def read_windows(options: argparse.Namespace, paths: WeightPaths | None) -> WindowSettings | None:
    """The windows of the clip; None for the streaming sampler.

    Args:
        options: Arguments of ``talk``.
        paths: The networks' files; None are random ones.

    Raises:
        InputError: An argument of the other sampler, or weights that only this one can sample.
    """
    others, wanted = (WINDOWED, SLIDING) if options.sampler == STREAMING else (STREAMED, STREAMING)
    for name in others:
        if getattr(options, name) is not None:
            flag = f"--{name.replace('_', '-')}"
            raise InputError(f"{flag} is for --sampler {wanted}; drop it, or choose that sampler.")

    from .models.configs import WAN
    from .models.hybrid_networks import weights_family
    from .samplers.blend import Blend
    from .samplers.sliding import FirstFrame
    from .samplers.windows import LastWindow
    from .talk_sliding import WindowSettings

    family = WAN if paths is None else weights_family(paths)
    if options.sampler == STREAMING:
        if paths is not None and family is not WAN:
            raise InputError(
                f"{paths.base.name} is a HunyuanVideo base, which the command line samples in "
                f"windows only: add --sampler {SLIDING}."
            )
        return None
    overlap = options.overlap
    if overlap is not None and (overlap <= 0 or overlap % LATENT_FRAMES):
        raise InputError(
            f"--overlap is {overlap}; give a multiple of {LATENT_FRAMES} frames, such as 20, or "
            "leave it out for a quarter of a window."
        )
    return WindowSettings(
        window_frames=options.window_frames or 0,
        overlap=None if overlap is None else overlap // LATENT_FRAMES,
        blend=Blend(options.blend or BLENDS[0]),
        first_frame=FirstFrame(options.first_frame or FIRST_FRAMES[0]),
        last=LastWindow(options.last_window or LAST_WINDOWS[0]),
        family=family,
    )


def describe_windows(job: TalkJob, settings: WindowSettings) -> str:
    """``4 windows of 81 frames that share 20``."""
    from .frames import pixel_frames
    from .talk_sliding import window_plan

    plan = window_plan(job, settings)
    first, *others = plan.windows
    frames = pixel_frames(first.latents)
    if not others:
        return f"1 window of {frames} frames"
    shared = LATENT_FRAMES * (min(window.covered for window in others) - plan.anchored)
    return f"{len(plan.windows)} windows of {frames} frames that share {shared}"


def slide_to(
    out: Path, job: TalkJob, networks: Networks | HybridNetworks, settings: WindowSettings
) -> Path:
    """Render a clip in one go."""
    from .talk import CRF
    from .talk_sliding import slide_talk, window_plan
    from .video.sink import VideoSink

    with (
        VideoSink(out, job.size, crf=CRF, total=job.frames) as sink,
        WindowProgress(window_plan(job, settings), job.steps) as shown,
    ):
        slide_talk(job, networks, sink, settings, callback=shown, look=shown.look)
        return sink.finish(job.sound)


def slide_in_job(
    job: TalkJob,
    models: Any,
    networks: Callable[[], Networks | HybridNetworks],
    settings: WindowSettings,
    options: argparse.Namespace,
) -> tuple[int, Path | None]:
    """Render what a job does not hold yet; it is kept after every step.

    Args:
        job: The clip.
        models: What identifies the networks.
        networks: Loads them; not called when nothing is missing.
        settings: The windows.
        options: Arguments of ``talk``.

    Returns:
        The exit code, and the clip if it is finished.
    """
    from .talk_keys import window_journal_plan
    from .talk_sliding import slide_talk, window_plan
    from .video.job_states import JobStates

    plan, windows = window_journal_plan(job, settings, models), window_plan(job, settings)

    def make(sink: JobSink, budget: TimeBudget) -> bool:
        states = JobStates(sink.folder, plan.states)
        if states.done:
            print(f"job {sink.folder.name}: {states.done} of {job.steps} steps are there already")
        with WindowProgress(windows, job.steps, states.done, sink) as shown:
            return slide_talk(
                job,
                networks(),
                sink,
                settings,
                states=states,
                callback=shown,
                look=shown.look,
                stop=budget,
            )

    return run_job(plan, job.sound, make, options)


def pieces_to_make(
    job: TalkJob, models: Any, settings: WindowSettings, options: argparse.Namespace
) -> str:
    """``job talk: 3 of 4 steps and 2 of 2 pieces to make``: what a run would do."""
    from .talk_keys import window_journal_plan
    from .video.job_folder import JobFolder
    from .video.job_states import JobStates

    folder = JobFolder(options.folder, options.job)
    plan = window_journal_plan(job, settings, models)
    missing = missing_chunks(folder, plan)
    if not missing:
        return f"job {folder.name}: nothing to make"
    steps = job.steps - JobStates(folder, plan.states).done
    pieces = f"{len(missing)} of {len(plan.keys)} pieces to make"
    return f"job {folder.name}: {steps} of {job.steps} steps and {pieces}"


class WindowProgress:
    """A bar over the windows of all steps: ``step 2/4 · window 3/7``, and the time left.

    On a terminal a bar; elsewhere one line per step.

    Args:
        plan: The windows.
        steps: Denoising steps.
        done: Steps that were made in earlier runs.
        sink: A job, which shows a sign of life.
    """

    def __init__(self, plan: WindowPlan, steps: int, done: int = 0, sink: JobSink | None = None):
        from tqdm import tqdm

        self.windows, self.steps, self.step, self.sink = len(plan.windows), steps, done, sink
        self.bar = tqdm(
            initial=done * self.windows,
            total=steps * self.windows,
            bar_format="{desc} {bar} {percentage:3.0f}% · {remaining} left",
            disable=None,
        )

    def look(self, window: DenoisingWindow) -> None:
        """Show that a window is done."""
        text = f"step {self.step + 1}/{self.steps} · window {window.index + 1}/{self.windows}"
        self.bar.set_description_str(text)
        self.bar.update()
        if self.sink is not None:
            self.sink.doing = text
            self.sink.beat()

    def __call__(self, step: int, steps: int, estimate: Tensor) -> None:
        """Show that a step is done."""
        self.step = step
        if self.bar.disable:
            print(f"step {step}/{steps}, {self.windows} windows", flush=True)

    def __enter__(self) -> WindowProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
