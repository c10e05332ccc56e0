"""What talks, from files: a picture, perhaps under a moving camera, or a video to dub.

Opens files and puts them together for ``reference``; ComfyUI's nodes do the same with sockets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from .crop import CropBox
from .errors import InputError
from .masks.keep import kept_latents
from .reference.cuts import AUTO, STAMP_SIZE, cuts_of
from .reference.dubbing import (
    CHUNK_START,
    LENGTHS,
    WHEN_SHORT,
    DubSettings,
    DubSource,
    VideoReference,
)
from .reference.motion import Motion
from .reference.pictures import open_picture
from .reference.sizes import choose_size
from .reference.sources import PictureReference, reference_of
from .reference.video import FileVideo


@dataclass(frozen=True)
class PictureFile:
    """A portrait.

    Attributes:
        path: The file.
        motion: What a camera does over it.
    """

    path: Path
    motion: Motion = Motion.STILL


@dataclass(frozen=True)
class VideoFile:
    """A video to dub.

    Attributes:
        path: The file.
        length: Whose length the clip has, ``video`` or ``audio``.
        when_short: What follows the video's end: ``hold``, ``loop`` or ``bounce``.
        cuts: ``auto``, ``none``, or seconds where shots begin, such as "12.4, 31.0".
        source_strength: How much of the video every chunk begins with, 0 to less than 1.
        keyframe: ``chunk start``, ``nearest sharp``, or seconds of the video.
        keep: Picture file of a mask, white where the video stays; None keeps nothing.
    """

    path: Path
    length: str = LENGTHS[0]
    when_short: str = WHEN_SHORT[0]
    cuts: str = AUTO
    source_strength: float = 0.0
    keyframe: str = CHUNK_START
    keep: Path | None = None


def open_source(
    source: PictureFile | VideoFile, size: str, custom_size: tuple[int, int] | None = None
) -> PictureReference | VideoReference:
    """A picture or a video as reference, at the size of the clip.

    Args:
        source: Which file, and how it is used.
        size: Name of a size, see ``reference.sizes``.
        custom_size: ``(height, width)`` for the size ``custom``.

    Raises:
        InputError, FileNotFoundError: Something the user can correct.
    """
    if isinstance(source, VideoFile):
        return open_video(source, size, custom_size)
    picture = open_picture(source.path)
    fitted = choose_size(size, picture.shape[:2], custom=custom_size)
    return reference_of(picture, fitted, source.motion)


def open_video(
    source: VideoFile, size: str, custom_size: tuple[int, int] | None = None
) -> VideoReference:
    """A video to dub; its file is opened again when a frame of it is asked for."""
    settings = DubSettings(
        source.length,
        source.when_short,
        source_strength=source.source_strength,
        keyframes=source.keyframe.strip(),
    )
    video = FileVideo(source.path)
    try:
        if video.frames == 1:
            raise InputError(
                f"{source.path.name} is a single picture, and a video to dub has several: give it "
                "as the picture that talks."
            )
        fitted = choose_size(size, video.size, custom=custom_size)
        stamps = (video.picture(index, STAMP_SIZE) for index in range(video.frames))
        shots = tuple(cuts_of(source.cuts, video.frames, stamps))
        dubbed = DubSource(video, fitted, replace(settings, cuts=shots))
        keep = None if source.keep is None else open_mask(source.keep, dubbed.box)
        return VideoReference(dubbed, fitted, keep=keep)
    finally:
        video.close()


def open_mask(path: Path, box: CropBox) -> Tensor:
    """A mask from a picture file, at the latents of the clip: ``[1, h / 8, w / 8]`` of 0 and 1.

    Raises:
        InputError: No picture, or one of another size than the video and the clip.
    """
    white = torch.from_numpy(open_picture(path)).float().mean(dim=-1) / 255
    try:
        return kept_latents(white[None], box)
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from None
