"""One ComfyUI server for all of these tests; without a tree or its packages they are skipped."""

import signal
import sys
from importlib.util import find_spec

import pytest
from host_server import Server
from host_tree import find_tree


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A running server with tiny checkpoints; everything it writes is in a temporary folder."""
    tree = find_tree()
    if tree is None:
        pytest.skip("there is no ComfyUI tree: set COMFYUI_PATH")
    if find_spec("aiohttp") is None or find_spec("comfy_kitchen") is None:
        pytest.skip(f"{sys.executable} lacks what ComfyUI needs: run ./test")
    from host_files import write_media, write_models

    base = tmp_path_factory.mktemp("comfyui")
    write_models(base / "models")
    write_media(base / "input")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a time limit stops the server too
    with Server(tree, base) as running:
        yield running


@pytest.fixture(scope="session")
def known(server):
    """What the server says of every node."""
    return server.request("/object_info")


@pytest.fixture
def play(server, known):
    """Run a graph; a graph with a node that does not exist yet skips, and says which."""

    def run(graph, **options):
        types = {node["class_type"] for node in graph.values()}
        waiting = sorted(name for name in types - set(known) if name.startswith("EndlessTalk"))
        if waiting:
            pytest.skip(f"waits for {', '.join(waiting)}")
        return server.run(graph, **options)

    return run


@pytest.fixture
def rendered(play):
    """Run a graph that has to succeed."""

    def run(graph, **options):
        outcome = play(graph, **options)
        assert outcome.status == "success", f"{outcome.message}\n{outcome.detail}"
        return outcome

    return run
