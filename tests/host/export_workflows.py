"""Write what the frontend makes of the graphs in workflows/: API prompts and screenshots.

    .venv-host/bin/python -m pip install playwright
    .venv-host/bin/python tests/host/export_workflows.py

Needs a Chromium. Run it after every change of a graph.
"""

import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).absolute().parents[1]))
sys.path.insert(0, str(Path(__file__).absolute().parents[1] / "support"))

import conftest  # noqa: F401  (registers the package)
from browser import Frontend, why_not
from host_files import write_media, write_models
from host_schema import write
from host_server import ROOT, Server
from host_tree import find_tree
from PIL import Image, ImageOps

from workflows import graphs, read_json, twin

WINDOW = (2000, 1300)


def main() -> int:
    """Start a server, open every graph in it, write what comes out."""
    tree, reason = find_tree(), why_not()
    if tree is None or reason:
        print(reason or "There is no ComfyUI tree: set COMFYUI_PATH.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as base:
        write_models(Path(base) / "models")
        write_media(Path(base) / "input")
        show_assets(Path(base) / "input")
        with Server(tree, base) as server, Frontend(server, WINDOW) as frontend:
            for path in graphs():
                frontend.load(read_json(path))
                write(twin(path), without_previews(frontend.exported()))
                frontend.picture(path.with_suffix(".jpg"))
                print(path.stem)
    return 0


def without_previews(prompt: dict) -> dict:
    """The prompt without what the browser's own players add to it."""
    for node in prompt.values():
        node["inputs"].pop("video-preview", None)
    return prompt


def show_assets(folder: Path) -> None:
    """Put a face into the pictures, and a voice as long as a real one into the players."""
    shutil.copy(ROOT / "assets" / "portrait.png", folder)
    for name in ("speech", "left_voice", "right_voice", "endless_talk_speech"):
        shutil.copy(ROOT / "assets" / "speech.flac", folder / f"{name}.flac")
    face = Image.open(ROOT / "assets" / "portrait.png").convert("RGB")
    pair = Image.new("RGB", (2 * face.width, face.height))
    pair.paste(face, (0, 0))
    pair.paste(ImageOps.mirror(face), (face.width, 0))
    pair.save(folder / "two_people.png")


if __name__ == "__main__":
    sys.exit(main())
