"""The shipped workflows in the real frontend of a real server.

Needs playwright and a Chromium; without them these tests are skipped, and the reason says so.
"""

import json

import browser
import pytest
from host_workflows import FIRST, SIZES, clip_of, tiny

from workflows import UNPUBLISHED, app_inputs, graphs, read_json, twin

pytestmark = pytest.mark.browser
each_graph = pytest.mark.parametrize("path", graphs(), ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def frontend(request):
    """One page for all of these tests."""
    reason = browser.why_not()
    if reason:
        pytest.skip(reason)
    with browser.Frontend(request.getfixturevalue("server")) as opened:
        yield opened


def links(prompt):
    """Nodes and inputs of a prompt without titles, as text that a failing test can show.

    What the browser's own player adds to a video is no input of the server's node.
    """
    for node in prompt.values():
        node["inputs"].pop("video-preview", None)
    return json.dumps(prompt, indent=1, sort_keys=True)


@each_graph
def test_a_workflow_opens_without_trouble(frontend, path):
    frontend.load(read_json(path))
    trouble = frontend.trouble()
    assert not any(trouble.values()), trouble


def test_trouble_is_seen(frontend):
    graph = read_json(graphs()[0])
    graph["nodes"][0]["type"] = "EndlessTalkNothing"
    (picture,) = (node for node in graph["nodes"] if node["type"] == "LoadImage")
    picture["widgets_values"][0] = "nobody.png"
    frontend.load(graph)
    trouble = frontend.trouble()
    assert trouble["unknown"] == ["EndlessTalkNothing"]
    assert trouble["missing_nodes"] and trouble["missing_media"] == ["nobody.png"]


@each_graph
def test_the_exported_prompt_is_the_shipped_twin(frontend, path):
    frontend.load(read_json(path))
    assert links(frontend.exported()) == links(read_json(twin(path)))


@each_graph
def test_the_app_mode_finds_its_inputs(frontend, path):
    graph = read_json(path)
    frontend.load(graph)
    assert [name for _, name in frontend.app_inputs()] == [name for _, name in app_inputs(graph)]


@each_graph
def test_missing_files_can_be_downloaded(frontend, path):
    """With other names nothing is there: each is offered, with its place and its folder."""
    text = path.read_text(encoding="utf-8")
    graph = json.loads(text.replace(".safetensors", "-new.safetensors"))
    frontend.load(graph)
    missing = frontend.trouble()["missing_models"]
    offered = {(each["name"], each["url"], each["directory"]) for each in missing if "url" in each}
    declared = {
        (model["name"], model["url"], model["directory"])
        for node in graph["nodes"]
        for model in node["properties"].get("models", [])
    }
    assert offered == declared and len(declared) == (0 if path.stem == FIRST else 6)
    wanted = {name.replace(".", "-new.") for name in UNPUBLISHED if name in text}
    assert {each["name"] for each in missing if "url" not in each} == wanted


@each_graph
def test_a_clip_dropped_on_the_canvas_brings_its_graph_back(frontend, server, rendered, path):
    graph = read_json(path)
    small = tiny(read_json(twin(path)), SIZES[path.stem], stop_at=0.2, job_name=path.stem[:2])
    outcome = rendered(small, extra={"extra_pnginfo": {"workflow": graph}})
    other = next(file for file in graphs() if file != path)
    frontend.load(read_json(other))
    frontend.drop("clip.mp4", "video/mp4", clip_of(server, outcome).read_bytes())
    assert links(frontend.exported()) == links(read_json(twin(path)))
    saved = frontend.saved()
    assert [group["title"] for group in saved["groups"]] == ["1 Load", "2 Prepare", "3 Render"]
    places = {node["id"]: [round(side) for side in node["pos"]] for node in saved["nodes"]}
    assert places == {node["id"]: node["pos"] for node in graph["nodes"]}
