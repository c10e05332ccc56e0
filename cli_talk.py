"""``endless-talk talk``: what the arguments mean, the networks, and progress on the terminal.

Knows parsed arguments. The work itself is done in ``talk``.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cli_content import read_changes, read_source
from .cli_jobs import check_job, chunks_to_make, render_in_job
from .cli_sliding import (
    describe_windows,
    pieces_to_make,
    read_windows,
    slide_in_job,
    slide_to,
)
from .crop import size_text
from .errors import InputError
from .frames import FPS

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from .models.hybrid_networks import HybridNetworks
    from .models.networks import Networks, WeightPaths
    from .models.recipes import Recipe
    from .samplers.plan import Chunk
    from .talk import TalkJob, TalkSettings
    from .talk_sliding import WindowSettings

SMALL_NETWORK_PARAMETERS = 100_000_000
"""Below this a second thread costs more than it brings."""

ROLES = ("base", "adapter", "vae", "wav2vec")

STEPS = 8
SIZE = "480p"
"""What is taken when neither the user nor the weights say how to sample."""

COLOR_ANCHORS = ("reference", "none", "robust")
HAND_ON = ("frames", "latents")
"""As ``video`` and ``samplers`` have them, which are not imported to read arguments."""

RANDOM_NOTICE = (
    "--random-weights: the networks were never trained. The clip shows that every part runs; "
    "there is no talking face in it."
)


def run_talk(options: argparse.Namespace) -> int:
    """Make a clip, in one go or in a job."""
    check_target(options)
    check_weights(options)
    check_sheet(options.check, options.mouth)
    source, timeline = read_source(options), read_changes(options)
    paths = None if options.random_weights else choose_weights(options)
    recipe = None if paths is None else read_recipe(paths)
    windows, settings = read_windows(options, paths), read_settings(options, recipe)

    from .talk import plan_talk, render_talk

    job = plan_talk(source, options.audio, settings, timeline)
    if windows is not None:
        from .talk_sliding import in_windows

        job = in_windows(job, windows)
    if options.plan:
        return show_plan(job, recipe, options, paths, windows)
    given = options, paths, recipe
    started, code = time.monotonic(), 0
    if options.job is not None:
        print_plan(job, recipe, windows)
        models = identify_networks(options, paths)
        if windows is not None:
            load = partial(open_either_networks, *given)
            code, clip = slide_in_job(job, models, load, windows, options)
        else:
            load, progress = partial(open_networks, *given), partial(Progress, job)
            code, clip = render_in_job(job, models, load, progress, options)
    elif windows is not None:
        loaded = open_either_networks(*given)
        print_plan(job, recipe, windows)
        clip = slide_to(options.out, job, loaded, windows)
    else:
        loaded = open_networks(*given)
        print_plan(job, recipe)
        with Progress(job) as progress:
            clip = render_talk(job, loaded, options.out, progress)
    if clip is None:
        return code
    seconds = time.monotonic() - started
    print(f"{clip}: {length_of(job)}, made in {seconds:.1f} s")
    if options.random_weights:
        print(RANDOM_NOTICE)
    if options.check is not None:
        show_check(job, clip, options)
    return code


def check_target(options: argparse.Namespace) -> None:
    """Refuse to guess where the clip belongs."""
    if options.plan and options.out is None and options.job is None:
        return
    if (options.out is None) == (options.job is None):
        raise InputError(
            "name either --out, a clip made in one go, or --job, which can be stopped and resumed."
        )
    if options.out is not None:
        check_out(options.out, options.overwrite)
    check_job(options)


def identify_networks(options: argparse.Namespace, paths: WeightPaths | None) -> list[Any]:
    """What tells these networks from others, wherever their files lie."""
    if paths is None:
        return ["random weights", options.seed]
    from .video.job_keys import file_identity

    return [file_identity(getattr(paths, role)) for role in ROLES]


def print_plan(job: TalkJob, recipe: Recipe | None, windows: WindowSettings | None = None) -> None:
    """Say what is about to be made."""
    from .samplers.timed import notes_of

    notes = notes_of(job.timeline, job.whole)
    print(
        "\n".join([describe(job, recipe, windows), *notes, *recipe_warnings(job, recipe)]),
        flush=True,
    )


def show_plan(
    job: TalkJob,
    recipe: Recipe | None,
    options: argparse.Namespace,
    paths: WeightPaths | None,
    windows: WindowSettings | None,
) -> int:
    """Say what would be made, and make nothing."""
    print_plan(job, recipe, windows)
    if options.job is not None:
        models = identify_networks(options, paths)
        if windows is not None:
            print(pieces_to_make(job, models, windows, options))
        else:
            print(chunks_to_make(job, models, options))
    return 0


def show_check(job: TalkJob, clip: Path, options: argparse.Namespace) -> None:
    """Measure a clip that was just made, print the figures, and write some of its frames."""
    from .check import check_clip, frame_sheet, parse_box, write_picture

    mouth = None if options.mouth is None else parse_box(options.mouth)
    measured = check_clip(clip, options.audio, image=options.image, mouth=mouth, plan=job.plan)
    print(measured.report())
    write_picture(frame_sheet(clip, job.plan), options.check)
    print(f"{options.check}: frames of the first, the middle and the last chunk, not selected")


def check_sheet(sheet: Path | None, mouth: str | None) -> None:
    """Refuse what ``--check`` could not do, before anything is rendered."""
    if mouth is not None:
        from .check import parse_box

        parse_box(mouth)
    if sheet is None:
        return
    if sheet.suffix.lower() != ".png":
        raise InputError(f"--check is {sheet.name}; the frames are a PNG: use {sheet.stem}.png.")
    if not sheet.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {sheet.parent} to put {sheet.name} into.")


def check_out(out: Path, overwrite: bool) -> None:
    """Refuse a target that cannot or should not be written, before anything is rendered."""
    if out.suffix.lower() != ".mp4":
        raise InputError(f"--out is {out.name}; clips are mp4: use {out.stem}.mp4.")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {out.parent} to put {out.name} into.")
    if out.is_dir():
        raise InputError(f"--out {out} is a folder; name a file in it, such as {out}/clip.mp4.")
    if not os.access(out.parent, os.W_OK):
        raise InputError(f"the folder {out.parent} cannot be written to; choose another for --out.")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists; choose another name, or replace it with --overwrite.")


def check_weights(options: argparse.Namespace) -> None:
    """Refuse to guess which networks were meant."""
    named = [role for role in ROLES if getattr(options, role) is not None]
    if options.random_weights and (options.weights or named):
        raise InputError("--random-weights and weight files exclude each other; drop one of them.")


def choose_weights(options: argparse.Namespace) -> WeightPaths:
    """The files the user named, those of a folder, or those of the built-in demo."""
    from .models.networks import built_in_weights, find_weights

    chosen = {role: getattr(options, role) for role in ROLES}
    if options.weights is None:
        return built_in_weights(chosen)
    return find_weights(options.weights, chosen)


def read_recipe(paths: WeightPaths) -> Recipe | None:
    """How the chosen base wants to be sampled, if its file says so."""
    from .models.recipes import recipe_of
    from .models.weights import open_weights

    return recipe_of(open_weights(paths.base))


def recipe_warnings(job: TalkJob, recipe: Recipe | None) -> list[str]:
    """What is allowed and not what the weights were trained for."""
    if recipe is None:
        return []
    from .samplers.schedule import same_schedule, spaced_sigmas

    warnings = [recipe.size_warning(job.size)]
    trained = spaced_sigmas(recipe.steps, recipe.shift, even=recipe.even)
    if not same_schedule(job.sigmas, trained):
        warnings.append(recipe.schedule_warning)
    return [f"warning: {warning}" for warning in warnings if warning]


def read_settings(options: argparse.Namespace, recipe: Recipe | None) -> TalkSettings:
    """Settings of the clip from the arguments; what they leave out, the weights decide."""
    from .talk import TalkSettings

    if not 0 <= options.seed < 2**63:
        raise InputError(f"--seed is {options.seed}; give a number from 0 to {2**63 - 1}.")
    size = options.size or (SIZE if recipe is None else size_text(recipe.size))
    steps = STEPS if recipe is None else recipe.steps
    width_height = re.fullmatch(r"([0-9]+)x([0-9]+)", size)
    return TalkSettings(
        seed=options.seed,
        steps=steps if options.steps is None else options.steps,
        shift=options.shift or (0.0 if recipe is None else recipe.shift),
        audio_scale=options.audio_scale,
        size="custom" if width_height else size,
        even_steps=recipe is not None and recipe.even,
        custom_size=(int(width_height[2]), int(width_height[1])) if width_height else None,
        stop_at_seconds=options.stop_at,
        color_strength=options.color_strength,
        color_anchor=options.color_anchor,
        hand_on=options.hand_on or HAND_ON[0],
    )


def open_networks(
    options: argparse.Namespace, paths: WeightPaths | None, recipe: Recipe | None
) -> Networks:
    """Load the networks of Wan's system that the user chose, or make random ones."""
    from .models.networks import load_networks, random_networks

    device = choose_device(options.device)
    if paths is None:
        networks = random_networks(options.seed, device)
    else:
        networks = load_networks(paths, device, float_type(device, recipe))
    spare_threads(networks.base)
    return networks


def open_either_networks(
    options: argparse.Namespace, paths: WeightPaths | None, recipe: Recipe | None
) -> Networks | HybridNetworks:
    """The same of either system, for the sliding window."""
    from .models.configs import WAN
    from .models.hybrid_networks import load_hybrid_networks, weights_family

    if paths is None or weights_family(paths) is WAN:
        return open_networks(options, paths, recipe)
    device = choose_device(options.device)
    networks = load_hybrid_networks(paths, device, float_type(device, recipe))
    spare_threads(networks.base)
    return networks


def float_type(device: torch.device, recipe: Recipe | None) -> torch.dtype:
    """What transformer and adapter run in; a set is small, and runs as it was trained."""
    import torch

    return torch.bfloat16 if recipe is None and device.type == "cuda" else torch.float32


def spare_threads(base: nn.Module) -> None:
    """Run a small network on one thread, unless the user decided."""
    import torch

    parameters = sum(parameter.numel() for parameter in base.parameters())
    if parameters < SMALL_NETWORK_PARAMETERS and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def choose_device(name: str | None) -> torch.device:
    """The device the user named, or CUDA where there is one."""
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"--device is {name}; choose cpu or cuda.") from error
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"--device is {name}; choose cpu or cuda.")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"--device is {name}, but torch finds no CUDA device; use cpu.")
    return device


def describe(job: TalkJob, recipe: Recipe | None, windows: WindowSettings | None = None) -> str:
    """What is about to be made, in one line."""
    height, width = job.size
    count = len(job.plan)
    chunks = f"{count} {'chunk' if count == 1 else 'chunks'} of {job.steps} steps"
    if windows is not None:
        chunks = f"{describe_windows(job, windows)}, {job.steps} steps"
    return (
        f"{length_of(job)} at {width}x{height}, {chunks}"
        f"{'' if recipe is None else f', {recipe.set_name}'}"
    )


def length_of(job: TalkJob) -> str:
    """``161 frames (6.44 s)``."""
    return f"{job.frames} {'frame' if job.frames == 1 else 'frames'} ({job.frames / FPS:.2f} s)"


class Progress:
    """A bar over the steps of all chunks: ``chunk 2/7 · step 3/8``, and the time left.

    On a terminal a bar; elsewhere one line per chunk.
    """

    def __init__(self, job: TalkJob, chunks_done: int = 0):
        from tqdm import tqdm

        self.job = job
        self.bar = tqdm(
            initial=chunks_done * job.steps,
            total=len(job.plan) * job.steps,
            bar_format="{desc} {bar} {percentage:3.0f}% · {remaining} left",
            disable=None,
        )

    def __call__(self, chunk: Chunk, step: int, steps: int, denoised: Tensor) -> None:
        """Show that a step is done."""
        place = f"chunk {chunk.index + 1}/{len(self.job.plan)}"
        self.bar.set_description_str(f"{place} · step {step}/{steps}")
        self.bar.update()
        if self.bar.disable and step == steps:
            last = min(chunk.stop_frame, self.job.frames) - 1
            print(f"{place}, frames {chunk.start_frame}..{last}", flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
