"""Files that appear whole or not at all: a hidden unfinished name beside the target, then a rename.

It knows names, folders and what must reach the disk. It does not know what the files hold.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from ..errors import InputError


def check_target(path: Path, suffix: str) -> None:
    """Refuse a name that could not be written at the end, before the work begins.

    Raises:
        InputError: The name does not end in ``suffix``.
        FileNotFoundError: The folder does not exist.
    """
    if path.suffix.lower() != suffix:
        raise InputError(f"{path.name} should end in {suffix}; rename it to {path.stem}{suffix}.")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"The folder {path.parent} for {path.name} does not exist; create it first."
        )


def unfinished(path: Path) -> Path:
    """A free hidden name in the folder of ``path``, so that the final rename stays on one disk."""
    return path.with_name(f".{secrets.token_hex(8)}.part")


def publish(part: Path, path: Path) -> None:
    """Give a closed ``part`` its final name, once its bytes are on the disk; replaces ``path``."""
    # Windows flushes only handles that may write.
    with part.open("r+b") as file:
        os.fsync(file.fileno())
    part.replace(path)
    if os.name == "posix":
        # The rename itself is durable only when the folder is.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
