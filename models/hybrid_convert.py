"""Convert a HunyuanVideo base: original names to ComfyUI's, and 33 input channels if asked.

    python -m endless_talk.models.hybrid_convert IN.safetensors OUT.safetensors --concat

ComfyUI loads original names by itself; converting is for widening a text-to-video base, which is
where training of a MagicInfinite base begins, and for our own reference network.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save_file

from ..errors import InputError
from .detect import Kind, require
from .hybrid_detect import hybrid_config
from .hybrid_keys import CONCAT_CHANNELS, to_comfy, widen_input
from .weights import open_weights


def convert(source: Path, target: Path, *, concat: bool = False) -> Path:
    """Write a base under ComfyUI's names.

    Args:
        source: A base in either naming; read as it is stored, so fp8 with scales becomes float32.
        target: Where it goes; not a file that is there.
        concat: Give it 33 input channels.

    Raises:
        InputError: The source is no HunyuanVideo base, or the target is there already.
    """
    file = require(open_weights(source), Kind.HYBRID)
    hybrid_config(file)
    if target.exists():
        raise InputError(f"there is a file {target} already: choose another name, or move it.")
    state = to_comfy(file.read(dtype=None))
    if concat:
        state = widen_input(state, CONCAT_CHANNELS)
    contiguous = {key: value.contiguous() for key, value in state.items()}
    save_file(contiguous, target, dict(file.metadata))
    return target


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("source", type=Path, help="a HunyuanVideo base, safetensors")
    parser.add_argument("target", type=Path, help="the file to write")
    parser.add_argument("--concat", action="store_true", help="widen the input to 33 channels")
    given = parser.parse_args(arguments)
    try:
        convert(given.source, given.target, concat=given.concat)
    except (InputError, FileNotFoundError) as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
