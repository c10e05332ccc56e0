"""What the embedded model can do with faces and voices it has never seen, and the controls.

Faces are drawn from seeds, voices and texts from lists that training does not touch.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..audio.envelope import voice_envelope
from ..models.networks import Networks
from ..video.measure import measure_clip
from ..video.measurement import ClipMeasurement
from ..video.regions import FaceBoxes
from .faces.boxes import eye_box, face_box, mouth_box
from .faces.identity import Identity, draw_identity
from .faces.motion import draw_motion
from .faces.scene import render
from .latents import decode, encode
from .sizes import CHUNK_FRAMES, CONTEXT_FRAMES, SIZE
from .speech.noise import noise_utterance, silence_utterance
from .speech.spoken import espeak_utterance
from .speech.utterance import Utterance
from .trial import Setting, Trial, render_trial

UNSEEN = 1_000_000
"""Seeds from here on are never used in training."""

CLIPS, CHUNKS, CONTROL_CHUNKS = 3, 30, 10
"""Long clips measured, their chunks (87 s), and those of their controls (29 s)."""


def boxes_of(face: Identity, tile: int = 0) -> FaceBoxes:
    """The boxes of a drawn face for measurements."""

    def box(place: Callable[..., tuple[int, int, int, int]]) -> tuple[int, int, int, int]:
        top, left, bottom, right = place(face, SIZE, tile)
        return left, top, right, bottom

    return FaceBoxes(box(mouth_box), box(eye_box), box(face_box), "drawn")


def measure_trial(
    trial: Trial, faces: Sequence[Identity], voices: Sequence[Utterance], **options: object
) -> ClipMeasurement:
    """Measure a trial against its voices, portrait and plan."""
    return measure_clip(
        trial.blocks(),
        [voice_envelope(voice.samples) for voice in voices],
        boxes=[boxes_of(face, tile) for tile, face in enumerate(faces)],
        plan=trial.plan,
        reference=as_blocks(trial.portrait[None])[0][:, 0],
        **options,  # pyright: ignore[reportArgumentType]
    )


def as_blocks(frames: np.ndarray) -> list[Tensor]:
    """uint8 ``[F, H, W, 3]`` as one block ``[3, F, H, W]`` in [-1, 1]."""
    return [torch.from_numpy(np.array(frames)).permute(3, 0, 1, 2).float() / 127.5 - 1]


def cast(index: int, frames: int) -> tuple[Identity, Utterance]:
    """An unseen face and an unseen voice."""
    rng = np.random.default_rng(UNSEEN + index)
    return draw_identity(rng), espeak_utterance(rng, frames, "eval")


def drawn_truth(face: Identity, voice: Utterance, trial: Trial, index: int) -> Trial:
    """The clip as the renderer would have drawn it: the ceiling of every figure."""
    rng = np.random.default_rng(2 * UNSEEN + index)
    motion = draw_motion(rng, voice.mouth_open, voice.mouth_width)
    return replace(trial, frames=render([face], [motion], SIZE))


@torch.inference_mode()
def round_trip(networks: Networks, trial: Trial) -> Trial:
    """A trial's frames through the VAE, chunk by chunk as a clip is made."""
    out = []
    for chunk in trial.plan:
        frames = trial.frames[chunk.start_frame : chunk.start_frame + chunk.frames]
        missing = chunk.frames - len(frames)
        frames = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
        block = torch.from_numpy(frames).permute(3, 0, 1, 2).float()[None] / 127.5 - 1
        decoded = decode(networks.vae, encode(networks.vae, block))[0]
        kept = decoded[:, chunk.context_frames :][:, : chunk.kept_frames]
        out.append(kept.add(1).mul(127.5).round().byte().permute(1, 2, 3, 0).numpy())
    return replace(trial, frames=np.concatenate(out))


def figures_of(clip: ClipMeasurement) -> dict[str, float]:
    """The figures of a clip with one face by name."""
    sync = clip.mouths[0].sync
    assert sync is not None
    drifts = {"skin": clip.skin, "background": clip.background}
    found = {
        "correlation": sync.correlation,
        "lag_frames": sync.lag_frames,
        "shuffled": sync.shuffled_mean_abs,
        "seam_to_group": float("nan") if clip.seams is None else clip.seams.ratio,
        "eyes_last_to_first": clip.eyes,
        "outline_last_to_first": clip.outline,
        "identity_first": clip.identity_first,
        "identity_last": clip.identity_last,
    }
    for name, drift in drifts.items():
        if drift is not None:
            found[f"{name}_first"], found[f"{name}_last"] = drift.first, drift.last
            found[f"{name}_moved"] = drift.moved
            found[f"{name}_per_minute"] = drift.slope_per_minute
    return found


def evaluate(
    networks: Networks, clips: int = CLIPS, chunks: int = CHUNKS, controls: int = CONTROL_CHUNKS
) -> dict[str, object]:
    """Long clips with their controls, and what silence, noise and another voice do."""
    rows: dict[str, list[dict[str, float]]] = {}
    for index in range(clips):
        for kind, found in evaluate_clip(networks, index, length(chunks), length(controls)).items():
            rows.setdefault(kind, []).append(found)
    return {
        "clips": clips,
        "frames": length(chunks),
        "frames_of_controls": length(controls),
        **{kind: summary(found) for kind, found in rows.items()},
    }


def length(chunks: int) -> int:
    """Frames of a clip of so many whole chunks."""
    return CHUNK_FRAMES + (chunks - 1) * (CHUNK_FRAMES - CONTEXT_FRAMES)


def evaluate_clip(
    networks: Networks, index: int, frames: int, control: int
) -> dict[str, dict[str, float]]:
    """Figures of one long clip and of its shorter controls, by what the clip is."""
    face, voice = cast(index, frames)
    setting = Setting(seed=index)
    started = time.perf_counter()
    trial = render_trial(networks, [face], [voice.samples], frames, setting)
    seconds = time.perf_counter() - started
    measured = measure_trial(trial, [face], [voice])
    found = {"generated": {**figures_of(measured), "seconds_per_frame": seconds / frames}}

    short = cast(index, control)[1]
    base = render_trial(networks, [face], [short.samples], control, setting)
    alone = replace(setting, continues=False)
    loose = render_trial(networks, [face], [short.samples], control, alone)
    truth = drawn_truth(face, short, base, index)
    clips = {
        "generated, as long as the controls": base,
        "chunks without context": loose,
        "VAE round trip": round_trip(networks, truth),
        "drawn truth": truth,
    }
    for kind, clip in clips.items():
        found[kind] = figures_of(measure_trial(clip, [face], [short]))

    other = cast(index + 100, control)[1]
    swapped = render_trial(networks, [face], [other.samples], control, setting)
    found["another voice"] = figures_of(measure_trial(swapped, [face], [other]))
    found["another voice"]["correlation_with_the_first"] = figures_of(
        measure_trial(swapped, [face], [short])
    )["correlation"]

    scale = measured.mouths[0].curve.scale
    rng = np.random.default_rng(3 * UNSEEN + index)
    for kind, sound in (
        ("silence", silence_utterance(control)),
        ("noise", noise_utterance(rng, control)),
    ):
        closed = render_trial(networks, [face], [sound.samples], control, setting)
        curve = measure_trial(closed, [face], [sound], scales=[scale]).mouths[0].curve
        found[kind] = {
            "opening_mean": float(curve.opening.mean()),
            "opening_95_percentile": float(np.percentile(curve.opening, 95)),
        }
    return found


def summary(rows: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Mean, smallest and largest of every figure."""
    return {name: mean_and_worst([row[name] for row in rows if name in row]) for name in rows[0]}


def mean_and_worst(values: Iterable[float]) -> dict[str, float]:
    """Mean, smallest and largest."""
    array = np.array(list(values))
    return {
        "mean": float(np.nanmean(array)),
        "min": float(np.nanmin(array)),
        "max": float(np.nanmax(array)),
    }


def write_figures(folder: Path, figures: dict[str, object]) -> None:
    """``figures.json`` in a folder."""
    (folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
