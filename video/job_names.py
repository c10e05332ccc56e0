"""What a job may be called: its name is a folder below the output and the beginning of its clips.

Knows strings; it touches no disk.
"""

from __future__ import annotations

import re

from ..errors import InputError

JOB_NAME = re.compile(r"\w(?:[\w .-]{0,78}[\w-])?")
RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices."""


def check_job_name(name: str, label: str = "job_name") -> None:
    """A job name is one plain folder name.

    Args:
        name: The name.
        label: How the message calls it.

    Raises:
        InputError: It could leave the folder, or is no name on some system.
    """
    if not JOB_NAME.fullmatch(name) or ".." in name or RESERVED.fullmatch(name):
        raise InputError(
            f"{label} is {name!r}; use up to 80 letters, digits, spaces, dots, dashes and "
            "underscores, with a letter or digit at both ends: it names a folder under output."
        )
