"""The picture and the voice of the first workflow, put where the host's loaders look for files.

So that a newcomer opens it and presses Run, on a remote machine too.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from ..video.files import publish, unfinished

ASSETS = Path(__file__).parents[1] / "assets"
EXAMPLES = {
    "endless_talk_portrait.png": "portrait.png",
    "endless_talk_speech.flac": "speech.flac",
}
"""Name in the host's input folder, and in our assets."""

_log = logging.getLogger(__name__)


def offer_examples(folder: Path) -> None:
    """Copy what is not there; files that are there stay as they are, whoever made them.

    A folder that cannot be written to is no reason not to load: the workflow then asks for files.

    Args:
        folder: The host's input folder.
    """
    for name, asset in EXAMPLES.items():
        if not (folder / name).exists():
            try:
                copy_whole(ASSETS / asset, folder / name)
            except OSError as error:
                _log.info("the example %s was not put into %s: %s", name, folder, error)


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file that appears whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = unfinished(target)
    try:
        shutil.copyfile(source, part)
        publish(part, target)
    finally:
        part.unlink(missing_ok=True)
