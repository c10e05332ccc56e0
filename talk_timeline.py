"""The timeline of a clip on the command line: a text file, and pictures for its ``image`` lines.

Knows files, and that there is no text encoder here; what a line means is decided in ``samplers``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import InputError
from .reference.pictures import open_picture
from .samplers.timeline import ChunkChange, ClipTimeline, Timeline, parse_timeline
from .video.job_keys import digest

NO_TEXT = (
    "the command line has no text encoder, and the built-in demo knows no text; leave the prompt "
    "out (seed, image and audio can change), or render this in ComfyUI with the node Timeline."
)

NO_JOB = (
    "keep rest makes one chunk of a rendered clip again, and only a job keeps chunks; name it with "
    "--job, or leave keep rest out."
)


def read_timeline(path: Path, images: Sequence[Path] = (), *, in_job: bool = True) -> ClipTimeline:
    """A timeline with its pictures.

    Args:
        path: A text file, one change per line.
        images: Picture files for ``image 1``, ``image 2`` and so on.
        in_job: Whether there are chunks of an earlier run.

    Raises:
        InputError: Every line that cannot be, or a file that is none of what it should be.
        FileNotFoundError: No such file.
    """
    timeline = parse_timeline(read_text(path))
    problems = [
        *problems_of(timeline, lambda line: "prompt" in line.values, NO_TEXT),
        *problems_of(timeline, lambda line: line.keep_rest and not in_job, NO_JOB),
    ]
    try:
        timeline.check_images(len(images), "give them with --timeline-image")
    except InputError as error:
        problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))
    return ClipTimeline(timeline, images=tuple(open_picture(image) for image in images))


def read_text(path: Path) -> str:
    """The text of a timeline.

    Raises:
        InputError: A folder, or no text.
        FileNotFoundError: No such file.
    """
    if path.is_dir():
        raise InputError(f"--timeline {path} is a folder; name a text file, one change per line.")
    if not path.is_file():
        raise FileNotFoundError(f"no timeline {path.name} in the folder {path.absolute().parent}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(
            f"{path.name} is no text in UTF-8; save the timeline as plain text in UTF-8."
        ) from None


def problems_of(timeline: Timeline, applies: Callable[[Any], bool], words: str) -> list[str]:
    """A sentence about every line that something applies to."""
    return [line.problem(words) for line in timeline.lines if applies(line)]


def identities(
    changes: Sequence[ChunkChange], timeline: ClipTimeline | None, seed: int
) -> list[dict[str, Any]]:
    """What changes bring, as parts of keys, whatever their number among the timeline's images.

    Args:
        changes: One per chunk.
        timeline: Where they come from; one that changes nothing is none.
        seed: The clip's own.
    """
    images = () if timeline is None else timeline.images
    pictures: Mapping[int | None, str | None] = {
        None: None,
        **{index: digest(image) for index, image in enumerate(images)},
    }
    return [
        {
            "seed": seed if change.seed is None else change.seed,
            "image": pictures[change.image],
            "audio": change.audio,
        }
        for change in changes
    ]
