"""Who may know whom, and that importing the package costs nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LEAVES = {"frames", "errors", "crop"}
INNER = LEAVES | {"audio", "masks", "reference", "video", "models", "samplers"}
MAY_IMPORT = {
    "audio": LEAVES,
    "masks": LEAVES,
    "reference": LEAVES,
    "video": LEAVES,
    "models": LEAVES,
    "samplers": LEAVES,
    "standalone": INNER,
    "standalone_hybrid": INNER | {"standalone"},
    "talk": INNER | {"standalone", "talk_device", "talk_sources", "talk_timeline"},
    "talk_device": INNER,
    "talk_sliding": INNER | {"standalone", "standalone_hybrid", "talk", "talk_device"},
    "talk_keys": INNER | {"talk", "talk_sliding", "talk_timeline"},
    "talk_sources": INNER,
    "talk_timeline": INNER,
    "training": INNER | {"standalone", "standalone_hybrid"},
    "check": INNER,
    "cli": {"errors", "check", "cli_talk", "cli_content", "cli_jobs", "cli_sliding"},
    "cli_talk": INNER
    | {"talk", "talk_sliding", "talk_timeline", "check", "cli_content", "cli_jobs", "cli_sliding"},
    "cli_sliding": INNER | {"talk", "talk_keys", "talk_sliding", "cli_jobs"},
    "cli_content": INNER | {"talk_sources", "talk_timeline"},
    "cli_jobs": INNER | {"talk", "talk_keys", "cli_talk"},
    "model_loaders": LEAVES | {"models"},
    "bridge": LEAVES | {"samplers", "models", "bridge_audio"},
    "bridge_audio": LEAVES | {"models"},
    "bridge_hybrid": LEAVES | {"samplers", "models", "bridge"},
    "bridge_windows": LEAVES | {"samplers", "models", "bridge"},
    "nodes": INNER | {"model_loaders", "bridge", "bridge_hybrid", "bridge_windows"},
    "extension": {"nodes", "model_loaders", "errors"},
}
HOST = {"comfy", "comfy_api", "comfy_extras", "comfy_execution", "folder_paths", "nodes", "server"}
MAY_IMPORT_HOST = {
    "nodes",
    "model_loaders",
    "bridge",
    "bridge_audio",
    "bridge_hybrid",
    "bridge_windows",
    "extension",
}


def package_files():
    for name in MAY_IMPORT:
        yield from (ROOT / name).rglob("*.py")
        if (ROOT / f"{name}.py").exists():
            yield ROOT / f"{name}.py"


def owner(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(source: str, depth: int):
    """Top-level names imported relatively from the package, and absolutely."""
    inside, outside = set(), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            outside |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            outside.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.level == depth:
            inside |= {node.module.split(".")[0]} if node.module else {a.name for a in node.names}
    return inside, outside


def violations(path: Path, source: str) -> list[str]:
    name = owner(path)
    inside, outside = imports(source, depth=len(path.relative_to(ROOT).parts))
    wrong = {other for other in inside if other in MAY_IMPORT or other in LEAVES}
    found = [f"{name} imports {other}" for other in wrong - MAY_IMPORT[name] - {name}]
    if name not in MAY_IMPORT_HOST:
        found += [f"{name} imports the host's {other}" for other in outside & HOST]
    return found


@pytest.mark.parametrize("path", sorted(package_files()), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_layer_imports_only_what_it_may_know(path):
    assert not violations(path, path.read_text())


@pytest.mark.parametrize(
    "planted",
    ["from ..models import wan", "from ..samplers.plan import Chunk", "import comfy.utils"],
)
def test_a_planted_import_is_found(planted):
    assert violations(ROOT / "audio" / "planted.py", planted)


def test_importing_the_package_is_fast_and_light():
    code = f"""
import importlib.util, sys, time
start = time.perf_counter()
spec = importlib.util.spec_from_file_location("pack", {str(ROOT / "__init__.py")!r},
                                              submodule_search_locations=[{str(ROOT)!r}])
module = importlib.util.module_from_spec(spec)
sys.modules["pack"] = module
spec.loader.exec_module(module)
import pack.cli
seconds = time.perf_counter() - start
heavy = {{"torch", "transformers", "librosa", "av", "accelerate", "scipy"}} & set(sys.modules)
print(seconds, *heavy)
"""
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert out[1:] == [], f"imported at import: {out[1:]}"
    assert float(out[0]) < 1.0
