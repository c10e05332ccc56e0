"""What a slow camera over the portrait does to drift, against a still one.

Run: ``OMP_NUM_THREADS=1 python benchmarks/camera_motion.py [chunks] [clips] [motion ...]`` (42
chunks, two minutes, one clip, every motion by default; about 2 minutes each on one core). Faces,
voices and noise that training never saw come from fixed seeds. Every chunk is measured against the
view its camera had when it began, with boxes that move along, and no colours are matched. Numbers
are fractions of full scale, means over groups of chunks; eyes are in units of the first group's.
"""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import conftest  # noqa: F401  (registers the package)
import numpy as np
import torch

from endless_talk.audio.envelope import voice_envelope
from endless_talk.models.networks import built_in_weights, load_networks
from endless_talk.reference.motion import Motion, MovingReference
from endless_talk.training import trial as trials
from endless_talk.training.evaluate import boxes_of, cast, length
from endless_talk.training.sizes import SIZE
from endless_talk.video.measure import measure_clip

FIRST_CAST = 700
"""As in ``color_anchor.py``."""

CLOSE_UP = 4
"""The camera looks at a drawing so many times larger than the clip, so that coming closer does not
blur it."""

GROUPS = 6
"""Parts of the clip that are printed."""

FIGURES = ("skin", "background", "identity", "eyes", "motion")


def camera(face, motion: Motion) -> MovingReference:
    """What the chunks see; a still picture is the first view of a zoom."""
    moving = Motion.ZOOM if motion is Motion.STILL else motion
    picture = trials.portrait_of([face], CLOSE_UP * SIZE)
    reference = MovingReference(picture, (SIZE, SIZE), moving)
    if motion is Motion.STILL:
        whole = reference.view(0)
        reference.view = lambda _: whole
    return reference


def boxes_in(face, reference: MovingReference, start_frame: int):
    """The boxes of a face in what the camera sees."""
    left, top, right, bottom = reference.view(start_frame)

    def seen(box):
        places = zip(box, (left, top) * 2, (right - left, bottom - top) * 2, strict=True)
        return tuple(round(SIZE * (CLOSE_UP * at - low) / across) for at, low, across in places)

    drawn = boxes_of(face)
    return replace(
        drawn, **{name: seen(getattr(drawn, name)) for name in ("mouth", "eyes", "face")}
    )


def figures(trial, face, voice, reference) -> np.ndarray:
    """Figures of every chunk, ``[chunks, figures]``."""
    envelope, rows = voice_envelope(voice.samples), []
    for chunk in trial.plan:
        span = slice(chunk.first_new_frame, chunk.stop_new_frame)
        clip = measure_clip(
            [block[:, span] for block in trial.blocks()],
            [envelope[span]],
            boxes=[boxes_in(face, reference, chunk.start_frame)],
            reference=reference.frame(chunk.start_frame),
        )
        eyes = clip.mouths[0].face.eyes.mean()
        motion = clip.curves.motion_outside.mean()
        rows.append((clip.skin.first, clip.background.first, clip.identity_first, eyes, motion))
    return np.array(rows)


def table(name: str, rows: np.ndarray, frames: int) -> None:
    """A line per figure: means of the groups, and what a line through all chunks gains a minute."""
    minutes = np.linspace(0, frames / 25 / 60, len(rows))
    for figure, values in zip(FIGURES, rows.T, strict=True):
        values = values / values[: len(rows) // GROUPS].mean() if figure == "eyes" else values
        groups = " ".join(f"{group.mean():8.4f}" for group in np.array_split(values, GROUPS))
        slope = np.polyfit(minutes, values, 1)[0]
        print(f"{name:<12}{figure:<12}{groups}  {slope:+.4f}/min", flush=True)


def main(chunks: int = 42, clips: int = 1, motions: tuple[str, ...] = ()) -> None:
    """Print the figures of every motion and clip."""
    networks = load_networks(built_in_weights({}), torch.device("cpu"), torch.float32)
    frames = length(chunks)
    print(f"{chunks} chunks, {frames} frames, {frames / 25:.0f} s", flush=True)
    for index in range(FIRST_CAST, FIRST_CAST + clips):
        face, voice = cast(index, frames)
        for motion in [Motion(name) for name in motions] or Motion:
            reference, started = camera(face, motion), time.perf_counter()
            setting = trials.Setting(seed=index, color_anchor="none")
            trials.StillPicture = lambda _, moving=reference: moving
            trial = trials.render_trial(networks, [face], [voice.samples], frames, setting)
            table(motion.value, figures(trial, face, voice, reference), frames)
            print(f"clip {index}, {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:3]]
    main(*numbers, motions=tuple(sys.argv[3:]))
