"""The package's own metadata: one version, all packages listed, nothing the host must change."""

import re
from pathlib import Path

import endless_talk
from endless_talk.models.recipes import BUILT_IN_FOLDER, HYBRID_FOLDER

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text()


def listed(name):
    block = re.search(rf"^{name} = \[\n(.*?)^\]", PYPROJECT, re.MULTILINE | re.DOTALL)[1]
    return re.findall(r'"([^"]+)"', block)


def test_the_version_is_the_same_everywhere():
    assert re.search(r'^version = "(.*)"$', PYPROJECT, re.MULTILINE)[1] == endless_talk.__version__
    assert f"## {endless_talk.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_every_folder_with_code_is_a_listed_package():
    inner = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    inner -= {"tests", "training"}
    assert set(listed("packages")) == {"endless_talk", *(f"endless_talk.{n}" for n in inner)}


def test_the_built_in_demo_comes_with_the_package():
    """As package data for pip, and not left out of what the registry takes."""
    folders = (BUILT_IN_FOLDER, HYBRID_FOLDER)
    packed = {f"{folder.relative_to(ROOT)}/*.safetensors" for folder in folders}
    assert packed == set(listed("endless_talk"))
    ignored = (ROOT / ".comfyignore").read_text().split()
    # A name without a slash in front would be left out of every folder, assets/demo too.
    assert ignored and all(line.startswith("/") for line in ignored)
    assert not any(line.startswith("/assets") for line in ignored)
    sizes = [path.stat().st_size for folder in folders for path in folder.glob("*.safetensors")]
    assert len(sizes) == 6 and sum(sizes) < 22e6


def test_requirements_have_lower_bounds_only():
    for requirement in listed("dependencies"):
        assert re.fullmatch(r"[a-z]+>=[\d.]+", requirement), requirement
        assert not requirement.startswith(("torch", "comfy", "opencv"))


def test_what_a_host_has_to_install_is_part_of_the_dependencies():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    assert wanted and set(wanted) <= set(listed("dependencies"))


def test_the_host_floor_is_a_full_version():
    assert re.search(r'^requires-comfyui = ">=\d+\.\d+\.\d+"$', PYPROJECT, re.MULTILINE)
