"""Lip sync, seams and drift of a finished clip, and a few of its frames, from the command line.

Opens files and puts them together for ``video.measure``; ComfyUI's node does the same with sockets.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from .audio.decoding import decode_track
from .audio.envelope import voice_envelope
from .errors import InputError
from .frames import FPS
from .reference.pictures import open_picture
from .reference.sources import StillReference
from .samplers.plan import Chunk
from .video.measure import measure_clip
from .video.measurement import ClipMeasurement
from .video.overview import contact_sheet, thumbnail
from .video.reading import VideoFrames
from .video.regions import Box, face_around_mouth

SHEET_COLUMNS = 6
"""Frames shown of the first, the middle and the last chunk; also columns of the sheet."""


def check_clip(
    clip: Path,
    audio: Path,
    *,
    image: Path | None = None,
    mouth: Box | None = None,
    plan: Sequence[Chunk] | None = None,
) -> ClipMeasurement:
    """Measure a clip against its voice.

    Args:
        clip: The video.
        audio: The voice, any sound file, or a video with sound.
        image: The picture it was made from; None compares with the clip's first frame.
        mouth: ``(left, top, right, bottom)`` in pixels of the clip; None finds the mouth.
        plan: Its chunks; None for a video of unknown origin.

    Raises:
        InputError, FileNotFoundError: Something the user can correct.
    """
    voice = decode_track(audio)
    reference = None
    if image is not None:
        first = next(iter(VideoFrames(clip)))
        size = (first.shape[2], first.shape[3])
        reference = StillReference(open_picture(image), size).first
    boxes = None if mouth is None else [face_around_mouth(mouth)]
    envelope = voice_envelope(voice.samples)
    return measure_clip(clip, [envelope], boxes=boxes, plan=plan, reference=reference)


def parse_box(text: str) -> Box:
    """``left,top,right,bottom`` as four numbers.

    Raises:
        InputError: Anything else.
    """
    try:
        left, top, right, bottom = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            f"--mouth is {text!r}; expected left,top,right,bottom in pixels of the clip, such as "
            "20,38,44,56."
        ) from error
    return left, top, right, bottom


def frame_sheet(clip: Path, plan: Sequence[Chunk]) -> Tensor:
    """Frames of the first, the middle and the last chunk, evenly spaced, whatever they show.

    Args:
        clip: The video.
        plan: Its chunks.

    Returns:
        ``[1, H, W, 3]`` float32 in [0, 1], a row per chunk.
    """
    shown = sorted({0, len(plan) // 2, len(plan) - 1})
    wanted = {}
    for index in shown:
        chunk = plan[index]
        spaced = np.linspace(chunk.first_new_frame, chunk.stop_new_frame - 1, SHEET_COLUMNS)
        for frame in sorted(set(spaced.astype(int).tolist())):
            wanted[frame] = f"{chunk.label}  {frame / FPS:.2f} s"
    pictures, at = [], 0
    for block in VideoFrames(clip):
        count = block.shape[1]
        pictures += [thumbnail(block[:, f - at]) for f in wanted if at <= f < at + count]
        at += count
    return contact_sheet(pictures, list(wanted.values())[: len(pictures)])


def write_picture(picture: Tensor, path: Path) -> None:
    """Write ``[1, H, W, 3]`` in [0, 1] as a PNG."""
    from PIL import Image

    pixels = (picture[0] * 255).round().clamp(0, 255).byte().numpy()
    Image.fromarray(pixels).save(path, format="PNG")
