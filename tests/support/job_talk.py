"""``endless-talk talk --job`` with tiny random networks and chunks that are short."""

from dataclasses import replace
from pathlib import Path

import files

from endless_talk import cli_talk
from endless_talk.cli import main

CHUNK_FRAMES, CONTEXT_FRAMES = 17, 9
SECONDS = 1.64
CHUNKS = 4
"""41 frames: 17, 8, 8, 8."""


def shorten_chunks(monkeypatch, frames=CHUNK_FRAMES) -> None:
    """Short chunks; the command line has no argument for what is fixed by the weights."""
    read_settings = cli_talk.read_settings

    def read_short(*arguments):
        settings = read_settings(*arguments)
        return replace(settings, chunk_frames=frames, context_frames=CONTEXT_FRAMES)

    monkeypatch.setattr(cli_talk, "read_settings", read_short)


def inputs(folder: Path, seconds=SECONDS) -> Path:
    """A picture and a voice."""
    folder.mkdir(parents=True, exist_ok=True)
    files.picture(folder / "portrait.png")
    files.voice(folder / "voice.wav", seconds)
    return folder


def run(image: Path, audio: Path, *more, networks=("--random-weights",)) -> int:
    """The exit code of ``talk``."""
    arguments = ["--image", image, "--audio", audio, "--size", "64x64", "--steps", "1"]
    return main(["talk", *(str(argument) for argument in (*arguments, *networks, *more))])


def talk(given: Path, root: Path, *more, **networks) -> int:
    """The exit code of ``talk --job talk`` with the inputs of a folder."""
    target = ("--job", "talk", "--folder", root)
    return run(given / "portrait.png", given / "voice.wav", *target, *more, **networks)
