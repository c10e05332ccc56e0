"""``endless-talk talk``: what talks, and what changes in the course of the clip.

Adds the arguments for a picture, a video to dub and a timeline, and turns them into what ``talk``
takes. An argument that has no effect with the others is refused.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InputError

if TYPE_CHECKING:
    from .samplers.timeline import ClipTimeline
    from .talk_sources import PictureFile, VideoFile

MOTIONS = ("still", "slow zoom", "slow pan")
LENGTHS = ("video", "audio")
WHEN_SHORT = ("hold", "loop", "bounce")
"""As ``reference`` has them, which is not imported to read arguments."""

DUBBING = ("length", "when_short", "cuts", "source_strength", "keyframe", "keep_mask")
"""Arguments that need a video."""


def add_sources(talk: argparse.ArgumentParser) -> None:
    """Arguments for what talks, but the two files."""
    picture = talk.add_argument_group("a picture")
    picture.add_argument(
        "--motion",
        choices=MOTIONS,
        help="what a camera does over it; a slow zoom or pan, there and back in 48 s, keeps long "
        "clips from freezing; default still",
    )
    video = talk.add_argument_group("a video to dub")
    video.add_argument(
        "--length",
        choices=LENGTHS,
        help="whose length the clip has; where nobody speaks it is silent; default video",
    )
    video.add_argument(
        "--when-short",
        choices=WHEN_SHORT,
        help="what follows when the clip is longer than the video: its last frame, the video once "
        "more, or backwards and forwards; default hold",
    )
    video.add_argument(
        "--cuts",
        metavar="CUTS",
        help="'auto' finds hard cuts, 'none' is one shot, or seconds where a shot begins, such as "
        "'12.4, 31.0'; every shot starts afresh; default auto",
    )
    video.add_argument(
        "--source-strength",
        type=float,
        metavar="S",
        help="how much of the video every chunk begins with: 0 is noise alone, 0.1 to 0.4 keep the "
        "camera's motion; skips as much of the steps; default 0",
    )
    video.add_argument(
        "--keyframe",
        metavar="WHICH",
        help="which frame of the video a chunk sees: 'chunk start', 'nearest sharp', or seconds "
        "such as '0, 4.5'; default chunk start",
    )
    video.add_argument(
        "--keep-mask",
        type=Path,
        metavar="FILE",
        help="a picture, white where the video stays and black where it is made; leave the whole "
        "head black",
    )


def add_timeline(group: argparse._ArgumentGroup) -> None:
    """Arguments for what changes."""
    group.add_argument(
        "--timeline",
        type=Path,
        metavar="FILE",
        help="one change per line: '0:41 seed 7', '1:05-1:20 audio 0.7', '2:00 image 1', or in a "
        "--job '#14 seed 7, keep rest'; // begins a note",
    )
    group.add_argument(
        "--timeline-image",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="the picture of image 1; again for image 2, and so on",
    )


def read_source(options: argparse.Namespace) -> PictureFile | VideoFile:
    """What talks.

    Raises:
        InputError: Not exactly one of the two, or arguments that belong to the other.
    """
    if (options.image is None) == (options.video is None):
        raise InputError("name either --image, the portrait, or --video, a video to dub.")

    from .talk_sources import PictureFile, VideoFile

    if options.video is None:
        for name in DUBBING:
            if getattr(options, name) is not None:
                flag = f"--{name.replace('_', '-')}"
                raise InputError(f"{flag} is for a --video to dub; drop it, or name one.")
        from .reference.motion import Motion

        return PictureFile(options.image, Motion(options.motion or MOTIONS[0]))
    if options.motion is not None:
        raise InputError("--motion is for an --image; a video has the motion of its own camera.")
    chosen = {name: getattr(options, name) for name in DUBBING}
    keep = chosen.pop("keep_mask")
    given = {name: value for name, value in chosen.items() if value is not None}
    return VideoFile(options.video, keep=keep, **given)


def read_changes(options: argparse.Namespace) -> ClipTimeline | None:
    """What changes in the course of the clip.

    Raises:
        InputError: Every line that cannot be, or pictures without lines.
    """
    if options.timeline is None:
        if options.timeline_image:
            raise InputError(
                "--timeline-image is for a --timeline with a line such as 0:30 image 1; name one."
            )
        return None
    from .talk_timeline import read_timeline

    in_job = options.job is not None or options.plan
    return read_timeline(options.timeline, options.timeline_image, in_job=in_job)
