"""The training set: drawn faces that say what espeak-ng and synthetic voices say.

Voices are drawn as tracks of ten seconds, encoded whole like a user's, and cut into clips, each
with a face of its own. Clips come in shapes (frames x faces), stored as memory-mapped arrays so
that both processes read the same pages.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..audio.track import SAMPLE_RATE_HZ
from ..frames import FPS
from .faces.boxes import eye_box, mouth_box
from .faces.identity import draw_identity
from .faces.motion import Motion, draw_motion
from .faces.scene import render
from .loop import Run, barrier, progress
from .sizes import CHUNK_FRAMES, CONTEXT_FRAMES, SHORT_FRAMES, SIZE

TRACK_FRAMES = 254
"""Of one voice: three long or six short clips, with neighbours for every audio window."""

MARGIN_FRAMES = 4
SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // FPS


@dataclass(frozen=True)
class Shape:
    """Clips of one shape.

    Attributes:
        name: For files.
        clips: How many.
        frames: Pixel frames of each.
        faces: Faces side by side.
    """

    name: str
    clips: int
    frames: int
    faces: int

    @property
    def per_track(self) -> int:
        """Clips cut from one track."""
        return (TRACK_FRAMES - 2 * MARGIN_FRAMES) // self.frames

    @property
    def tracks(self) -> int:
        """Groups of tracks, one track per face each."""
        return -(-self.clips // self.per_track)


SHAPES = (
    Shape("long", 540, CHUNK_FRAMES, 1),
    Shape("short", 720, SHORT_FRAMES, 1),
    Shape("pair", 240, SHORT_FRAMES, 2),
    Shape("trio", 66, SHORT_FRAMES, 3),
)

SPEAKING_ALONE = 0.6
"""Share of scenes with several faces in which one speaks at a time."""


class Clips:
    """Clips of one shape on disk.

    Attributes:
        shape: Their shape.
        frames: uint8 ``[N, F, S, S * faces, 3]``.
        references: uint8 ``[N, S, S * faces, 3]``: a picture of the same faces, see ``draw_clip``.
        continues: bool ``[N]``: the clip continues another, its head is context; else the reference
            is its own first frame.
        samples: int16 ``[tracks, faces, n]``.
        mouths: float32 ``[tracks, faces, TRACK_FRAMES, 2]``: opening and width.
        boxes: int64 ``[N, faces, 3, 4]``: mouth and both eyes.
    """

    def __init__(self, folder: Path, shape: Shape, mode: str = "r"):
        n, faces, width = shape.clips, shape.faces, SIZE * shape.faces
        self.shape, self.folder = shape, folder
        arrays = {
            "frames": (np.uint8, (n, shape.frames, SIZE, width, 3)),
            "references": (np.uint8, (n, SIZE, width, 3)),
            "continues": (np.bool_, (n,)),
            "samples": (np.int16, (shape.tracks, faces, TRACK_FRAMES * SAMPLES_PER_FRAME)),
            "mouths": (np.float32, (shape.tracks, faces, TRACK_FRAMES, 2)),
            "boxes": (np.int64, (n, faces, 3, 4)),
        }
        for name, (dtype, size) in arrays.items():
            path = folder / f"{shape.name}-{name}.npy"
            if mode == "r":
                array = np.load(path, mmap_mode="r")
            elif path.exists():
                array = np.load(path, mmap_mode="r+")
            else:
                array = np.lib.format.open_memmap(path, mode, dtype, size)
            setattr(self, name, array)

    frames: np.ndarray
    references: np.ndarray
    continues: np.ndarray
    samples: np.ndarray
    mouths: np.ndarray
    boxes: np.ndarray

    def span(self, clip: int) -> tuple[int, slice]:
        """The track of a clip and its frames within."""
        track, place = divmod(clip, self.shape.per_track)
        first = MARGIN_FRAMES + place * self.shape.frames
        return track, slice(first, first + self.shape.frames)

    def random_spans(
        self, rng: np.random.Generator, count: int, frames: int
    ) -> tuple[Tensor, np.ndarray]:
        """Spans of frames ``[count, 3, frames, H, W]`` in [-1, 1] and their clips."""
        clips = rng.integers(self.shape.clips, size=count)
        firsts = rng.integers(self.shape.frames - frames + 1, size=count)
        spans = [self.frames[c, f : f + frames] for c, f in zip(clips, firsts, strict=True)]
        return to_tensor(np.stack(spans)), clips

    def feature_weight(self, weight: float) -> Tensor:
        """Weights ``[N, 1, 1, H, W]`` with mean 1: ``weight`` at mouths and eyes, 1 elsewhere."""
        masks = torch.ones(self.shape.clips, 1, 1, SIZE, SIZE * self.shape.faces)
        for mask, boxes in zip(masks, self.boxes.reshape(len(masks), -1, 4), strict=True):
            for top, left, bottom, right in boxes:
                mask[..., top:bottom, left:right] = weight
        return masks / masks.mean(dim=(-1, -2), keepdim=True)


def to_tensor(frames: np.ndarray) -> Tensor:
    """uint8 ``[..., F, H, W, 3]`` to float ``[..., 3, F, H, W]`` in [-1, 1]."""
    tensor = torch.from_numpy(np.ascontiguousarray(frames)).float() / 127.5 - 1
    return tensor.movedim(-1, -4)


def make_data(run: Run, shapes: Sequence[Shape] | None = None) -> dict[str, Clips]:
    """Draw a whole set, each process its share of the tracks; continues where it stopped.

    Args:
        run: The run.
        shapes: What it consists of; ``SHAPES`` by default.
    """
    shapes = SHAPES if shapes is None else shapes
    folder = run.folder / "data"
    folder.mkdir(parents=True, exist_ok=True)
    if run.rank == 0:
        for shape in shapes:
            Clips(folder, shape, "w+")
    barrier()
    for shape in shapes:
        done_file = folder / f"{shape.name}-{run.rank}.json"
        done = json.loads(done_file.read_text()) if done_file.exists() else 0
        clips = Clips(folder, shape, "r+")
        mine = run.share(shape.tracks)
        for index in progress(run, f"data {shape.name}", done, len(mine)):
            draw_track(run, clips, mine[index])
            done_file.write_text(json.dumps(index + 1))
    barrier()
    return {shape.name: Clips(folder, shape) for shape in shapes}


def draw_track(run: Run, clips: Clips, track: int) -> None:
    """Draw the voices of one group of tracks, and the clips that are cut from it."""
    from .speech.mix import draw_utterance

    shape = clips.shape
    rng = np.random.default_rng([run.seed, shape.faces, shape.frames, track])
    voices = [draw_utterance(rng, TRACK_FRAMES) for _ in range(shape.faces)]
    gates = draw_gates(rng, shape.faces)
    for face, (voice, gate) in enumerate(zip(voices, gates, strict=True)):
        samples = voice.samples * np.repeat(gate, SAMPLES_PER_FRAME)[: len(voice.samples)]
        clips.samples[track, face] = np.clip(samples, -1, 1) * 32767
        mouth = np.stack([voice.mouth_open * gate, voice.mouth_width * (gate > 0.5)], axis=1)
        clips.mouths[track, face] = mouth
    stop = min((track + 1) * shape.per_track, shape.clips)
    for clip in range(track * shape.per_track, stop):
        draw_clip(rng, clips, clip)


def draw_gates(rng: np.random.Generator, faces: int) -> np.ndarray:
    """When each face of a scene speaks, ``[faces, TRACK_FRAMES]`` from 0 to 1 with short ramps."""
    gates = np.ones((faces, TRACK_FRAMES), np.float32)
    if faces == 1 or rng.random() > SPEAKING_ALONE:
        return gates
    frame, speaker = 0, int(rng.integers(faces))
    gates[:] = 0
    while frame < TRACK_FRAMES:
        length = int(rng.integers(18, 70))
        gates[speaker, frame : frame + length] = 1
        frame, speaker = frame + length, (speaker + 1 + int(rng.integers(faces - 1))) % faces
    ramp = np.array([0.25, 0.5, 0.25], np.float32)
    return np.stack([np.convolve(gate, ramp, mode="same") for gate in gates])


def draw_clip(rng: np.random.Generator, clips: Clips, clip: int) -> None:
    """Draw one clip and its reference.

    Half of the clips begin with their reference, as a first chunk does. The others continue: their
    reference is the resting face with its mouth closed, as a portrait is, or a frame at most a
    second away (InfiniteTalk's M3).
    """
    shape = clips.shape
    track, span = clips.span(clip)
    identities = [draw_identity(rng) for _ in range(shape.faces)]
    motions = []
    for face in range(shape.faces):
        opening, width = clips.mouths[track, face, span].T
        before = clips.mouths[track, face, max(0, span.start - FPS) : span.start]
        opening = np.concatenate([before[:, 0], opening])
        motions.append(draw_motion(rng, opening, np.concatenate([before[:, 1], width])))
    lead = len(motions[0]) - shape.frames
    wanted = [motion.between(lead, lead + shape.frames) for motion in motions]
    clips.frames[clip] = render(identities, wanted, SIZE)
    continues = bool(rng.random() < 0.55)
    if not continues:
        clips.references[clip] = clips.frames[clip, 0]
    elif rng.random() < 0.5:
        clips.references[clip] = render(identities, [at_rest()] * shape.faces, SIZE)[0]
    else:
        near = int(rng.integers(lead + min(shape.frames, CONTEXT_FRAMES + FPS)))
        clips.references[clip] = render(
            identities, [motion.between(near, near + 1) for motion in motions], SIZE
        )[0]
    clips.continues[clip] = continues
    for face, identity in enumerate(identities):
        top, left, bottom, right = eye_box(identity, SIZE, face)
        middle = (left + right) // 2
        clips.boxes[clip, face] = (
            mouth_box(identity, SIZE, face),
            (top, left, bottom, middle),
            (top, middle, bottom, right),
        )


def at_rest() -> Motion:
    """A single frame of a resting face, its mouth closed."""
    return Motion(*(np.zeros(1, np.float32) for _ in fields(Motion)))
