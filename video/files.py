"""Files that appear whole or not at all: a hidden unfinished name beside the target, then a rename.

It knows names, folders and what must reach the disk. It does not know what the files hold.
"""

from __future__ import annotations

import errno
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


UNFINISHED = ".*.part"
"""What unfinished names look like."""


def unfinished(path: Path) -> Path:
    """A free hidden name in the folder of ``path``, so that the final rename stays on one disk."""
    return path.with_name(f".{secrets.token_hex(8)}.part")


def publish(part: Path, path: Path) -> None:
    """Give a closed ``part`` its final name, once its bytes are on the disk; replaces ``path``."""
    sync_file(part)
    part.replace(path)
    sync_folder(path.parent)


def publish_new(part: Path, path: Path) -> None:
    """Give a closed ``part`` its final name, which must be free.

    Raises:
        FileExistsError: Something has the name; it and ``part`` are left as they are.
    """
    sync_file(part)
    try:
        # Only a link refuses a name that is taken, without a moment between looking and taking.
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # exFAT and some network disks have no links
        if path.exists():
            raise FileExistsError(errno.EEXIST, "the name is taken", str(path)) from None
        part.replace(path)
    sync_folder(path.parent)
    part.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes, folder: Path | None = None) -> None:
    """Write a small file so that its name always stands for the whole old or the whole new one.

    Args:
        path: The file; replaced.
        data: What it holds.
        folder: Where the unfinished file is, on the same disk; None is the folder of ``path``.
    """
    part = unfinished(path if folder is None else folder / path.name)
    try:
        part.write_bytes(data)
        publish(part, path)
    finally:
        part.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Wait until the bytes of a file are on the disk."""
    # Windows flushes only handles that may write.
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where that can be asked for."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
