"""Drawn faces that talk: clips whose mouth, voice, boxes and colours are known exactly."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from endless_talk.audio.envelope import voice_envelope
from endless_talk.training.faces.boxes import eye_box, face_box, mouth_box
from endless_talk.training.faces.identity import draw_identity
from endless_talk.training.faces.motion import Motion, draw_motion
from endless_talk.training.faces.scene import render
from endless_talk.training.speech.noise import silence_utterance
from endless_talk.training.speech.synthetic import synthetic_utterance
from endless_talk.video.regions import FaceBoxes

SIZE = 64


@dataclass(frozen=True, eq=False)
class Drawn:
    """A clip and the truth about it."""

    pixels: np.ndarray  # [F, H, W, 3] uint8
    boxes: tuple[FaceBoxes, ...]
    motions: tuple
    voices: tuple  # [F] loudness
    samples: tuple = ()  # [F * 640] at 16 kHz

    @property
    def opening(self):
        return self.motions[0].mouth_open

    @property
    def blocks(self):
        return blocks_of(self.pixels)


def blocks_of(pixels, frames=8):
    """uint8 frames ``[F, H, W, 3]`` as blocks ``[3, f, H, W]`` in [-1, 1]."""
    tensor = torch.from_numpy(np.ascontiguousarray(pixels)).permute(3, 0, 1, 2)
    return list((tensor.float() / 127.5 - 1).split(frames, dim=1))


def boxes_of(face, tile=0, size=SIZE):
    """The drawing's boxes, top first, as the package's, left first."""
    parts = (mouth_box, eye_box, face_box)
    drawn = [part(face, size, tile) for part in parts]
    return FaceBoxes(*((left, top, right, bottom) for top, left, bottom, right in drawn))


@lru_cache(maxsize=16)
def talking(*seeds, frames=200, quiet=False, size=SIZE):
    """One face per seed, side by side, each with a voice of its own; quiet ones never speak."""
    people, motions, sounds, boxes = [], [], [], []
    for tile, seed in enumerate(seeds):
        rng = np.random.default_rng(seed)
        person = draw_identity(rng)
        said = synthetic_utterance(rng, frames)
        if quiet:
            said = silence_utterance(frames)
        people.append(person)
        motions.append(draw_motion(rng, said.mouth_open, said.mouth_width))
        sounds.append(said.samples)
        boxes.append(boxes_of(person, tile, size))
    pixels = render(people, motions, size)
    voices = tuple(voice_envelope(sound) for sound in sounds)
    return Drawn(pixels, tuple(boxes), tuple(motions), voices, tuple(sounds))


def resting(seed, size=SIZE):
    """The face of a seed with closed mouth in the middle of its tile, ``[3, H, W]`` in [-1, 1]."""
    person = draw_identity(np.random.default_rng(seed))
    closed = np.zeros(1, np.float32)
    still = Motion(*[closed] * 9)
    return blocks_of(render([person], [still], size))[0][:, 0]
