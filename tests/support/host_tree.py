"""Where a ComfyUI source tree is. Standard library only: ./test asks before anything is installed.

Run as a script it prints the tree; without one it prints the reason on stderr and exits with 3, or
with 2 when COMFYUI_PATH names something that is no tree.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).absolute().parents[2]


def is_tree(folder: Path) -> bool:
    """Whether a folder looks like ComfyUI's sources."""
    return (folder / "main.py").is_file() and (folder / "comfy").is_dir()


def candidates() -> list[Path]:
    """Folders to look at when COMFYUI_PATH says nothing, best first.

    A pack that is linked into ``custom_nodes`` has its tree around the link, not around the target;
    the shell's PWD still knows the link.
    """
    checkouts = [ROOT, Path(os.environ.get("PWD", ROOT))]
    around = [path.parents[1] for path in checkouts if path.parent.name == "custom_nodes"]
    return [*around, Path.home() / "comfy" / "ComfyUI"]


def find_tree() -> Path | None:
    """The tree to run, or None when this machine has none.

    Raises:
        FileNotFoundError: COMFYUI_PATH is set to something else.
    """
    named = os.environ.get("COMFYUI_PATH")
    if named:
        if not is_tree(Path(named)):
            raise FileNotFoundError(f"COMFYUI_PATH is {named}, which is not a ComfyUI source tree")
        return Path(named).resolve()
    return next((path.resolve() for path in candidates() if is_tree(path)), None)


def main() -> int:
    """Print the tree; the exit code says why there is none."""
    try:
        tree = find_tree()
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    if tree is None:
        looked = ", ".join(map(str, candidates()))
        print(f"no ComfyUI tree at {looked}; set COMFYUI_PATH", file=sys.stderr)
        return 3
    print(tree)
    return 0


if __name__ == "__main__":
    sys.exit(main())
