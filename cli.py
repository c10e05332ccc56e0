"""The command line: ``endless-talk talk`` makes a clip from a picture or a video, and a voice.

Reads arguments and turns errors into sentences and exit codes: 0 done, 2 something the user can
correct, 3 the time budget is used up and the same command goes on, 130 stopped with Ctrl+C. The
work is done in ``cli_talk``, ``cli_content``, ``cli_jobs``, ``cli_sliding`` and ``check``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__
from .cli_content import add_sources, add_timeline
from .cli_jobs import EXIT_INTERRUPTED, add_job, add_jobs
from .cli_sliding import add_sampler
from .cli_talk import COLOR_ANCHORS, HAND_ON, ROLES, SIZE, STEPS, run_talk
from .errors import InputError

EXIT_USER_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = build_parser().parse_args(arguments)
    try:
        return options.run(options)
    except (InputError, OSError) as error:
        print(f"endless-talk: {sentence(error)}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("endless-talk: stopped; nothing was written.", file=sys.stderr)
        return EXIT_INTERRUPTED


def sentence(error: Exception) -> str:
    """An error as a user reads it; the system's own errors name the file first if they know it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'writing the clip'}: {error.strerror}"
    return str(error)


def build_parser() -> argparse.ArgumentParser:
    """Arguments of all commands."""
    parser = argparse.ArgumentParser(
        prog="endless-talk", description="Talking video of any length from a picture and a voice."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="command")
    add_talk(commands.add_parser("talk", help="make a clip from a picture and a voice"))
    add_check(commands.add_parser("check", help="measure lip sync and drift of a clip"))
    add_jobs(commands.add_parser("jobs", help="list, prune, export and verify jobs"))
    return parser


def add_check(check: argparse.ArgumentParser) -> None:
    """Arguments of ``check``."""
    check.set_defaults(run=run_check)
    check.add_argument("clip", type=Path, help="a video")
    check.add_argument("--audio", type=Path, help="the voice; default: the clip's own sound")
    check.add_argument("--image", type=Path, help="the picture it was made from")
    check.add_argument(
        "--mouth", metavar="L,T,R,B", help="box of the mouth in pixels; default: found by motion"
    )


def add_talk(talk: argparse.ArgumentParser) -> None:
    """Arguments of ``talk``."""
    talk.set_defaults(run=run_talk)
    needed = talk.add_argument_group("what to make")
    needed.add_argument("--image", type=Path, help="the portrait")
    needed.add_argument("--video", type=Path, help="or a video to dub, of any frame rate")
    needed.add_argument(
        "--audio", type=Path, required=True, help="the voice: any audio file, or a video with sound"
    )
    needed.add_argument("--out", type=Path, help="the clip, an .mp4; or name a --job")
    needed.add_argument("--overwrite", action="store_true", help="replace an existing clip")
    needed.add_argument(
        "--check",
        type=Path,
        metavar="PNG",
        help="measure the finished clip, and put frames of its first, middle and last chunk here",
    )
    needed.add_argument("--mouth", metavar="L,T,R,B", help="box of the mouth for --check")
    needed.add_argument(
        "--plan",
        action="store_true",
        help="say what would be made and where changes begin, and make nothing",
    )
    add_sources(talk)
    add_timeline(talk.add_argument_group("what changes in the course of the clip"))
    add_job(talk.add_argument_group("long clips"))
    weights = talk.add_argument_group("networks")
    weights.add_argument(
        "--weights",
        type=Path,
        metavar="DIR",
        help="folder with the four safetensors files; default: the built-in demo",
    )
    for role in ROLES:
        weights.add_argument(
            f"--{role}", type=Path, metavar="FILE", help=f"the {role} file, instead of DIR's"
        )
    weights.add_argument(
        "--random-weights",
        action="store_true",
        help="tiny untrained networks, to try the pipeline without weights",
    )
    weights.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    add_sampling(talk.add_argument_group("sampling"))
    add_sampler(talk.add_argument_group("the whole clip at once, or chunk by chunk"))


def add_sampling(group: argparse._ArgumentGroup) -> None:
    """Arguments that shape the clip."""
    group.add_argument("--seed", type=int, default=42, help="default 42")
    group.add_argument(
        "--steps", type=int, help=f"per chunk; default {STEPS}, the built-in demo's own with it"
    )
    group.add_argument(
        "--shift",
        type=float,
        default=0.0,
        help="of the schedule; default 7 up to 0.5 megapixels, 11 above, or the built-in demo's",
    )
    group.add_argument(
        "--audio-scale",
        type=float,
        default=1.0,
        help="audio guidance; default 1, which is none; 3 to 5 cost a second evaluation per step",
    )
    group.add_argument(
        "--size",
        help="480p, 720p, '480p bucket', '720p bucket', or WIDTHxHEIGHT; "
        f"default {SIZE}, the built-in demo's own with it",
    )
    group.add_argument(
        "--stop-at", type=float, default=0.0, metavar="S", help="end the clip after S seconds"
    )
    group.add_argument(
        "--color-strength",
        type=float,
        default=1.0,
        help="match colours to the picture, 0 to 1; default 1",
    )
    group.add_argument(
        "--color-anchor",
        choices=COLOR_ANCHORS,
        default=COLOR_ANCHORS[0],
        help="how: 'reference' as published, 'robust' by what stays the same, so that no mouth or "
        "blink counts, 'none' not at all; default reference",
    )
    group.add_argument(
        "--hand-on",
        choices=HAND_ON,
        help="as what the context goes from chunk to chunk: 'frames' decoded and encoded again, as "
        "published, or 'latents' as they were sampled; default frames",
    )


def run_check(options: argparse.Namespace) -> int:
    """Measure a clip that exists."""
    from .check import check_clip, parse_box

    mouth = None if options.mouth is None else parse_box(options.mouth)
    audio = options.clip if options.audio is None else options.audio
    print(check_clip(options.clip, audio, image=options.image, mouth=mouth).report())
    return 0


if __name__ == "__main__":
    sys.exit(main())
