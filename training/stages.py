"""The stages in their order, each from the files of the one before to files of its own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn

from .data import make_data
from .loop import WORKERS, Run, barrier
from .networks import new_encoder, new_transformer, new_vae

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def work(
    rank: int,
    family: str,
    rendezvous: Path,
    folder: Path,
    seed: int,
    scale: float,
    until: str,
    out: Path | None,
) -> None:
    """One of the processes; ``family`` says which model, ``wan`` or ``hybrid``."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{rendezvous}", rank=rank, world_size=WORKERS)
    run = Run(folder, seed, rank, WORKERS, scale)
    if family == "hybrid":
        from .hybrid.stages import run_stages as run_hybrid_stages

        run_hybrid_stages(run, until, out)
    else:
        run_stages(run, until, out)
    dist.destroy_process_group()


def run_stages(run: Run, until: str, out: Path | None) -> None:
    """Run every stage whose result is not there yet.

    Args:
        run: The run.
        until: Name of the last stage; empty runs all.
        out: Where the four files go.
    """
    data = make_data(run)
    if until == "data":
        return
    from .voice import encode_tracks, train_encoder

    encoder = stage(run, "wav2vec", new_encoder, lambda module: train_encoder(run, data, module))
    if until == "wav2vec":
        return
    from .vae import train_clips, train_decoder, train_images

    still = stage(run, "vae-images", new_vae, lambda module: train_images(run, data, module))
    vae = stage(run, "vae", lambda: still, lambda module: train_clips(run, data, module))
    if until == "vae":
        return
    encode_tracks(run, data, encoder)
    from .latents import encode_clips

    sets = encode_clips(run, data, vae)
    from .fewsteps import train_few_steps
    from .transformer import train_motion, train_speech

    mute = stage(run, "motion", new_transformer, lambda m: train_motion(run, sets, m))
    teacher = stage(run, "speech", lambda: mute, lambda m: train_speech(run, sets, m))
    if until == "speech":
        return
    from .contexts import make_own_contexts

    sets = make_own_contexts(run, sets, vae, teacher)
    start = copy.deepcopy(teacher)
    model = stage(run, "few-steps", lambda: start, lambda m: train_few_steps(run, sets, m, teacher))
    polished = copy.deepcopy(vae)
    vae = stage(run, "decoder", lambda: polished, lambda m: train_decoder(run, data, m))
    if run.rank == 0:
        from .export import export
        from .plot import plot_log

        export(out or run.folder / "weights", model, vae, encoder)
        plot_log(run.folder / "log.jsonl", run.folder / "log.png")


def stage(
    run: Run, name: str, new: Callable[[], AnyModule], train: Callable[[AnyModule], None]
) -> AnyModule:
    """The network of a stage: read if it is there, else made, trained and written."""
    path = run.folder / f"{name}.pt"
    torch.manual_seed(run.seed)
    module = new()
    if not path.exists():
        train(module)
        if run.rank == 0:
            torch.save(module.state_dict(), path)
        barrier()
    module.load_state_dict(torch.load(path, weights_only=True))
    return module.eval()
