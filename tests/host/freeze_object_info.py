"""Freeze what workflows depend on: the pack's nodes and the host nodes they are used with.

    .venv-host/bin/python tests/host/freeze_object_info.py

Only run it to change the interface on purpose: ids are permanent, and widgets are only appended,
with a default and ``optional=True``. The difference belongs into the changelog.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).absolute().parents[1]))
sys.path.insert(0, str(Path(__file__).absolute().parents[1] / "support"))

import conftest  # noqa: F401  (registers the package)
from host_files import write_media, write_models
from host_schema import CORE, CORE_NODES, OURS, frozen, ours, write
from host_server import Server
from host_tree import find_tree


def main() -> int:
    """Start a server, ask it, write both files."""
    tree = find_tree()
    if tree is None:
        print("There is no ComfyUI tree: set COMFYUI_PATH.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as base:
        write_models(Path(base) / "models")  # lists of files have to have files
        write_media(Path(base) / "input")
        with Server(tree, base) as server:
            known = server.request("/object_info")
    write(OURS, {name: frozen(info) for name, info in ours(known).items()})
    write(CORE, {name: frozen(known[name]) for name in CORE_NODES})
    print(f"{len(ours(known))} nodes of the pack, {len(CORE_NODES)} of the host")
    return 0


if __name__ == "__main__":
    sys.exit(main())
