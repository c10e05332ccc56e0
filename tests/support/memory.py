"""What a process holds in memory, and whether it grows with the chunks it has made."""

import os
from pathlib import Path

import numpy as np
import pytest

needs_proc = pytest.mark.skipif(
    not os.path.exists("/proc/self/status"), reason="needs /proc to see the memory of a process"
)


def anonymous_bytes(process="self"):
    """Anonymous memory of a process that is resident: what it made, and no file it reads."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    (line,) = (each for each in lines if each.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def share_per_chunk(memory, chunk_bytes):
    """Slope of the memory after each chunk, in frames of a chunk per chunk.

    Args:
        memory: Bytes after each chunk.
        chunk_bytes: One chunk's frames as uint8.
    """
    return np.polyfit(np.arange(len(memory)), memory, 1)[0] / chunk_bytes
