"""Which clips were made of which inputs, so that an incomplete or deleted one is worked on again.

The host caches a node by its inputs and does not look at files; a number that grows when a file is
gone or was only a part makes it look. Lives as long as the server, and holds nothing but names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_generations: dict[str, int] = {}
_clips: dict[str, set[Path]] = {}


def inputs_key(inputs: Mapping[str, Any]) -> str:
    """A node's constants as one string; what comes through links is the host's business.

    Several nodes may share it: then each of them looks again when a clip of any is gone.
    """
    plain = {name: value for name, value in inputs.items() if isinstance(value, (str, int, float))}
    return json.dumps(plain, sort_keys=True)


def delivered(key: str, path: Path, *, complete: bool) -> None:
    """A clip was made of these inputs; the next run goes on when it is not complete."""
    if complete:
        _clips.setdefault(key, set()).add(path)
    else:
        _generations[key] = _generations.get(key, 0) + 1


def generation(key: str) -> int:
    """How often a clip of these inputs has vanished."""
    gone = {path for path in _clips.get(key, ()) if not path.exists()}
    if gone:
        _clips[key] -= gone
        _generations[key] = _generations.get(key, 0) + 1
    return _generations.get(key, 0)
