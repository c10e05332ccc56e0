"""The server takes the pack as it is, and the pack says what its nodes are."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from host_schema import CORE, CORE_NODES, OURS, broken, frozen, ours, read, silent

ROOT = Path(__file__).resolve().parents[2]
NODES = sorted(read(OURS)) if OURS.exists() else []


def test_the_pack_is_imported_without_failure(server, known):
    log = server.log_text()
    assert "IMPORT FAILED" not in log
    loading = log.split("Import times for custom nodes")[0]
    assert "Traceback" not in loading, loading
    assert ours(known), "the server has no node of the pack"


def test_what_only_the_command_line_needs_is_not_here(server):
    """So everything below runs on the path without them."""
    assert [name for name in ("librosa", "accelerate", "soxr") if find_spec(name)] == []


def test_the_pack_is_imported_in_a_second(server, known):
    times = server.log_text().split("Import times for custom nodes")[1].splitlines()
    line = next(line for line in times if "endless-talk" in line)
    assert float(line.split("seconds")[0].split()[-1]) < 1.0, line


def test_the_interface_is_the_frozen_one(known):
    """A change on purpose: run freeze_object_info.py and say so in the changelog."""
    assert {name: frozen(info) for name, info in ours(known).items()} == read(OURS)


@pytest.mark.parametrize("name", CORE_NODES)
def test_a_host_node_of_the_workflows_still_takes_what_they_send(known, name):
    assert broken(read(CORE)[name], frozen(known[name])) == []


@pytest.mark.parametrize("name", NODES)
def test_every_node_explains_itself(known, name):
    assert silent(known[name]) == []


@pytest.mark.parametrize("name", NODES)
def test_every_node_has_a_help_page(server, name):
    page = ROOT / "web" / "docs" / f"{name}.md"
    served = server.raw(f"/extensions/endless-talk/docs/{name}.md").decode()
    assert served == page.read_text(encoding="utf-8")
    assert len(served.split()) > 30, "a help page says more than the tooltip"


def test_help_pages_are_of_nodes_that_exist():
    pages = {page.stem for page in (ROOT / "web" / "docs").glob("*.md")}
    assert pages == set(NODES)
