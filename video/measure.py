"""Lip sync, seams, drift, sharpness and frozen motion of a clip, in one pass over its frames.

Puts the meters together. Of every frame some hundred numbers are kept, whatever its size; the
frames themselves come in blocks and go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..crop import size_text
from ..errors import InputError
from ..frames import FPS
from .face import FaceMeter
from .finding import find_mouths
from .measurement import ClipMeasurement, MouthMeasurement
from .motion import Frozen, frozen_stretches, least_moving
from .mouth import MouthScale, mouth_curve
from .reading import VideoFrames
from .regions import FaceBoxes, check_boxes
from .seams import ChunkSpan, measure_seams, seam_frames, shot_frames, stretches
from .stability import StabilityCurves, StabilityMeter, last_to_first, measure_drift
from .sync import correlation_matrix, measure_sync

LENGTH_TOLERANCE_FRAMES = FPS // 2
"""Voice and clip may differ by so much before the reader is told."""


def measure_clip(
    frames: str | Path | Iterable[Tensor],
    voices: Sequence[np.ndarray],
    *,
    boxes: Sequence[FaceBoxes] | None = None,
    plan: Sequence[ChunkSpan] | None = None,
    reference: Tensor | None = None,
    scales: Sequence[MouthScale] | None = None,
    voice_of_face: Sequence[int | None] | None = None,
) -> ClipMeasurement:
    """Measure a clip against its voices, its plan and the picture it was made from.

    Args:
        frames: A video file, or blocks ``[3, f, H, W]`` in [-1, 1] at 25 fps. Without ``boxes``
            they are read twice, so they must be something that can be.
        voices: Loudness of each speaker per frame, ``[F]``, from ``audio.envelope``; longer ones
            are cut, shorter ones are silent to the end.
        boxes: The faces from the left; None finds one mouth by its motion.
        plan: The chunks, ``samplers.plan.Chunk``; None for a video of unknown origin.
        reference: The picture, ``[3, H, W]`` in [-1, 1]; None is the first frame. The boxes belong
            to it.
        scales: How each mouth looks closed and wide, from another clip of the same face, boxes and
            reference; None takes them from this clip. A clip of silence needs them.
        voice_of_face: Index of each face's voice, None for nobody's; without it a single voice is
            everybody's, and several are those of the faces in order.

    Raises:
        InputError: No voice, no frame, faces that are not in the picture, or frames of a changing
            or unexpected shape.
    """
    if not voices:
        raise InputError("There is no voice to compare the mouth with; give at least one.")
    source = VideoFrames(frames) if isinstance(frames, str | Path) else frames
    if boxes is None:
        if iter(source) is source:
            raise InputError(
                "Frames that can be read only once need the box of the mouth; give boxes, or the "
                "path of the video."
            )
        boxes = find_mouths(source)
    owners = _owners(len(boxes), len(voices), voice_of_face)
    faces, meter = _watch(source, boxes, reference)
    curves = meter.curves()
    envelopes, notes = _fitted(voices, curves.motion.size)
    mouths = _mouths(boxes, faces, owners, envelopes, scales)
    compared = "the clip's first frame" if reference is None else "the reference picture"
    return _summary(
        curves, mouths, envelopes, plan, size=meter.size, reference=compared, notes=notes
    )


def _watch(
    source: Iterable[Tensor], boxes: Sequence[FaceBoxes], reference: Tensor | None
) -> tuple[list[FaceMeter], StabilityMeter]:
    """Draw all frames through the meters."""
    faces: list[FaceMeter] = []
    meter: StabilityMeter | None = None
    for block in _shares(source):
        if meter is None:
            size = (block.shape[2], block.shape[3])
            check_boxes(boxes, size)
            still = block[:, 0] if reference is None else _share(reference)
            if still.shape != block[:, 0].shape:
                raise InputError(
                    f"The reference has {size_text((still.shape[-2], still.shape[-1]))} pixels and "
                    f"the clip {size_text(size)}; fit the reference to the clip first."
                )
            meter = StabilityMeter(still, boxes)
            faces = [FaceMeter(still.numpy(), face) for face in boxes]
        meter.append(block)
        pixels = block.numpy()
        for index in range(pixels.shape[1]):
            for face in faces:
                face.append(pixels[:, index])
    if meter is None:
        raise InputError("The clip has no frames; render it first.")
    return faces, meter


def _shares(source: Iterable[Tensor]) -> Iterator[Tensor]:
    """Blocks ``[3, f, H, W]`` in 0..1 on the CPU, checked to be of one size."""
    size = None
    for block in source:
        if block.ndim != 4 or block.shape[0] != 3 or size not in (None, block.shape[2:]):
            before = (
                "" if size is None else f", as before of {size_text((size[0], size[1]))} pixels"
            )
            raise InputError(
                f"A block of frames has the shape {list(block.shape)}; expected "
                f"[3, frames, height, width]{before}."
            )
        size = block.shape[2:]
        if block.shape[1]:
            yield _share(block)


def _share(pixels: Tensor) -> Tensor:
    """Pixels in [-1, 1] as shares of full scale."""
    return pixels.detach().to("cpu", torch.float32).add(1).div(2).clamp_(0, 1)


def _owners(
    faces: int, voices: int, voice_of_face: Sequence[int | None] | None
) -> list[int | None]:
    if voice_of_face is None:
        return [0 if voices == 1 else face if face < voices else None for face in range(faces)]
    if len(voice_of_face) != faces or any(v is not None and v >= voices for v in voice_of_face):
        raise InputError(
            f"voice_of_face is {list(voice_of_face)} for {faces} faces and {voices} voices; give "
            "one index of a voice, or None, for each face."
        )
    return list(voice_of_face)


def _fitted(voices: Sequence[np.ndarray], frames: int) -> tuple[np.ndarray, list[str]]:
    """The voices cut or silent to the end of the clip, ``[voices, F]``."""
    envelopes = np.zeros((len(voices), frames))
    for envelope, voice in zip(envelopes, voices, strict=True):
        envelope[: voice.size] = voice[:frames]
    longest = max(voice.size for voice in voices)
    if abs(longest - frames) <= LENGTH_TOLERANCE_FRAMES:
        return envelopes, []
    what = "only its beginning was compared" if longest > frames else "the rest counts as silent"
    return envelopes, [
        f"The voice lasts {longest / FPS:.1f} s and the clip {frames / FPS:.1f} s; {what}."
    ]


def _mouths(
    boxes: Sequence[FaceBoxes],
    faces: Sequence[FaceMeter],
    owners: Sequence[int | None],
    envelopes: np.ndarray,
    scales: Sequence[MouthScale] | None,
) -> tuple[MouthMeasurement, ...]:
    measured = []
    given = [None] * len(boxes) if scales is None else list(scales)
    for box, face, voice, scale in zip(boxes, faces, owners, given, strict=True):
        curves = face.curves()
        curve = mouth_curve(curves.looks, scale)
        sync = None if voice is None else measure_sync(curve.opening, envelopes[voice])
        measured.append(MouthMeasurement(box, curve, curves, voice, sync))
    return tuple(measured)


def _summary(
    curves: StabilityCurves,
    mouths: tuple[MouthMeasurement, ...],
    envelopes: np.ndarray,
    plan: Sequence[ChunkSpan] | None,
    *,
    size: tuple[int, int],
    reference: str,
    notes: list[str],
) -> ClipMeasurement:
    frames = curves.motion.size
    parts = stretches(frames, plan)
    first, last = parts[0], parts[-1]
    seams = [] if plan is None else [frame for frame in seam_frames(plan) if frame < frames]
    openings = np.stack([mouth.curve.opening for mouth in mouths])
    skin = np.mean([mouth.face.skin for mouth in mouths], axis=0)
    identity = np.mean([mouth.face.identity for mouth in mouths], axis=0)
    return ClipMeasurement(
        frames=frames,
        size=size,
        stretches=tuple(parts),
        mouths=mouths,
        envelopes=envelopes,
        matrix=correlation_matrix(openings, envelopes),
        seam_frames=tuple(seams),
        seams=None if plan is None else measure_seams(curves.motion, plan),
        background=None if curves.background is None else measure_drift(curves.background, parts),
        skin=measure_drift(skin, parts),
        identity_first=float(identity[first.start : first.stop].mean()),
        identity_last=float(identity[last.start : last.stop].mean()),
        eyes=last_to_first(np.mean([mouth.face.eyes for mouth in mouths], axis=0), parts),
        outline=last_to_first(np.mean([mouth.face.outline for mouth in mouths], axis=0), parts),
        frozen=_frozen(curves, mouths, envelopes),
        least_mouth=_least_mouth(mouths, envelopes, parts),
        least_outside=least_moving(curves.motion_outside, parts),
        curves=curves,
        reference=reference,
        shots=len([] if plan is None else [f for f in shot_frames(plan) if f < frames]),
        notes=tuple(notes),
    )


def _frozen(
    curves: StabilityCurves, mouths: Sequence[MouthMeasurement], envelopes: np.ndarray
) -> tuple[Frozen, ...]:
    found = frozen_stretches(curves.motion_outside, envelopes.max(axis=0), what="head")
    for number, (mouth, motion) in enumerate(zip(mouths, curves.motion_mouth, strict=True), 1):
        if mouth.voice is not None:
            found += frozen_stretches(motion, envelopes[mouth.voice], face=number)
    return tuple(found)


def _least_mouth(
    mouths: Sequence[MouthMeasurement], envelopes: np.ndarray, parts: Sequence[range]
) -> float:
    """How far the least moving mouth opens and closes in a stretch with voice, to its median."""
    least = []
    for mouth in mouths:
        if mouth.voice is None:
            continue
        opening, envelope = mouth.curve.opening, envelopes[mouth.voice]
        centred = np.zeros_like(opening)
        heard = [part for part in parts if envelope[part.start : part.stop].std() > 0.1]
        for part in heard:
            here = opening[part.start : part.stop]
            centred[part.start : part.stop] = np.abs(here - here.mean())
        if len(heard) > 1:
            least.append(least_moving(centred, heard))
    return min(least, default=float("nan"))
