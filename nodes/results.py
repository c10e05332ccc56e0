"""Which clips were made of which inputs, so that a deleted one is made again, once.

The host caches a node by its inputs and does not look at files; a number that grows when a file is
gone makes it look. Lives as long as the server, and holds nothing but names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_generations: dict[str, int] = {}
_clips: dict[str, Path] = {}


def inputs_key(inputs: Mapping[str, Any]) -> str:
    """The widgets of a node as one string; what comes through sockets is the host's business."""
    plain = {name: value for name, value in inputs.items() if isinstance(value, (str, int, float))}
    return json.dumps(plain, sort_keys=True)


def finished(key: str, path: Path) -> None:
    """A clip was made of these inputs."""
    _clips[key] = path


def generation(key: str) -> int:
    """How often a clip of these inputs has vanished."""
    path = _clips.get(key)
    if path is not None and not path.exists():
        del _clips[key]
        _generations[key] = _generations.get(key, 0) + 1
    return _generations.get(key, 0)
