"""The shipped workflows on paper: structure, links, files, layout, and their API twins."""

import json
import re
from itertools import combinations
from urllib.parse import urlparse

import pytest
from host_schema import is_file
from PIL import Image

from endless_talk.models.recipes import BUILT_IN
from workflows import (
    NOTES,
    SAMPLERS,
    UNPUBLISHED,
    app_inputs,
    graphs,
    known_nodes,
    problems,
    prompt_of,
    prompts,
    read_json,
    texts,
    twin,
    widgets_of,
)

KNOWN = known_nodes()
FOLDERS = {"diffusion_models", "loras", "vae", "text_encoders", "clip_vision", "audio_encoders"}
"""Model folders that ComfyUI itself has, so that its download button knows where to."""

APP = {
    "00 Try it now (no downloads)": "image audio seed stop_at",
    "01 Talking portrait": "image audio text size steps seed stop_at",
    "02 Two people": "image audio audio text size steps seed stop_at",
    "03 Dub a video": "file audio text size steps seed stop_at",
    "04 Long form, resumable": "image audio text size steps seed stop_at",
    "05 Sliding window": "image audio text size steps seed stop_at",
    "06 MagicInfinite on HunyuanVideo": "image audio boxes prompt size preset seed stop_at",
}
each_graph = pytest.mark.parametrize("path", graphs(), ids=lambda path: path.stem)


def real(graph):
    """Nodes that the server knows of."""
    return [node for node in graph["nodes"] if node["type"] not in NOTES]


def test_these_are_the_workflows():
    assert [path.stem for path in graphs()] == list(APP)
    assert prompts() == [twin(path) for path in graphs()]


def test_the_first_workflow_has_eight_nodes_and_the_simplest_real_one_eleven():
    assert [len(real(read_json(path))) for path in graphs()[:2]] == [8, 11]


def test_the_first_workflow_needs_no_file_but_the_examples_of_the_pack():
    graph = read_json(graphs()[0])
    files = {value for node in real(graph) for value in widgets_of(node, KNOWN).values()}
    examples = {"endless_talk_portrait.png", "endless_talk_speech.flac"}
    assert {value for value in files if is_file(value)} == examples
    loaders = [node for node in real(graph) if node["type"].startswith("EndlessTalkLoad")]
    assert len(loaders) == 3
    assert all(node["widgets_values"][0] == BUILT_IN for node in loaders)


@each_graph
def test_a_graph_is_saved_in_the_format_of_the_templates(path):
    graph = read_json(path)
    assert graph["version"] == 0.4 and graph["revision"] == 0
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", graph["id"])
    ids = [node["id"] for node in graph["nodes"]]
    assert len(set(ids)) == len(ids) and graph["last_node_id"] == max(ids)
    assert graph["last_link_id"] == max(link[0] for link in graph["links"])


@each_graph
def test_links_are_told_alike_at_both_ends(path):
    graph = read_json(path)
    nodes = {node["id"]: node for node in graph["nodes"]}
    for link, source, out, target, into, kind in graph["links"]:
        socket, output = nodes[target]["inputs"][into], nodes[source]["outputs"][out]
        assert socket["link"] == link and link in output["links"]
        assert kind == output["type"] and kind in socket["type"].split(",")
    told = [link for node in graph["nodes"] for o in node["outputs"] for link in o["links"] or []]
    taken = [i["link"] for node in graph["nodes"] for i in node["inputs"] if i.get("link")]
    assert sorted(told) == sorted(taken) == sorted(link[0] for link in graph["links"])


@each_graph
def test_a_graph_would_be_accepted(path):
    assert problems(prompt_of(read_json(path), KNOWN), KNOWN) == []


@each_graph
def test_the_api_twin_is_the_graph(path):
    graph, prompt = read_json(path), read_json(twin(path))
    plain = {
        name: {key: value for key, value in node.items() if key != "_meta"}
        for name, node in prompt.items()
    }
    assert plain == prompt_of(graph, KNOWN)
    titles = {str(n["id"]): n.get("title", KNOWN[n["type"]]["display_name"]) for n in real(graph)}
    assert {name: node["_meta"]["title"] for name, node in prompt.items()} == titles


@each_graph
def test_a_node_says_where_it_comes_from(path):
    for node in real(read_json(path)):
        properties, ours = node["properties"], node["type"].startswith("EndlessTalk")
        assert properties["Node name for S&R"] == node["type"]
        assert properties["cnr_id"] == ("endless-talk" if ours else "comfy-core")
        assert re.fullmatch(r"\d+\.\d+\.\d+", properties["ver"])


@each_graph
def test_every_file_that_is_chosen_can_be_downloaded(path):
    """The frontend offers a download only for a file that is the value of a widget."""
    for node in real(read_json(path)):
        chosen = {name for name in widgets_of(node, KNOWN).values() if is_model(name)}
        models = node["properties"].get("models", [])
        assert {model["name"] for model in models} == chosen - UNPUBLISHED.keys(), node["type"]
        for model in models:
            url = urlparse(model["url"])
            assert (url.scheme, url.netloc, url.query) == ("https", "huggingface.co", "")
            assert "/resolve/main/" in url.path and url.path.endswith("/" + model["name"])
            assert model["directory"] in FOLDERS


def is_model(value):
    """Whether a value names a file of weights."""
    return is_file(value) and value.endswith(".safetensors")


@each_graph
def test_every_file_is_in_the_note(path):
    graph = read_json(path)
    note = "\n".join(node["widgets_values"][0] for node in graph["nodes"] if node["type"] in NOTES)
    for node in real(graph):
        for model in node["properties"].get("models", []):
            row = next(line for line in note.splitlines() if f"[{model['name']}]" in line)
            assert model["url"] in row and f"`{model['directory']}`" in row and "GB" in row


def test_a_file_that_is_not_published_is_said_to_be_so():
    wanted = set()
    for graph in map(read_json, graphs()):
        files = {value for node in real(graph) for value in widgets_of(node, KNOWN).values()}
        told = "\n".join(texts([node for node in graph["nodes"] if node["type"] in NOTES]))
        for name in UNPUBLISHED.keys() & {value for value in files if isinstance(value, str)}:
            assert f"{name}: not published" in told
            wanted.add(name)
    assert wanted == UNPUBLISHED.keys(), "an exception that no graph needs"


@each_graph
def test_a_graph_holds_nothing_of_somebodys_machine(path):
    for file in (path, twin(path)):
        for text in texts(read_json(file)):
            plain = re.sub(r"https://\S+", "", text)
            assert not re.search(r"(^|[\s\"'(`])(/|~/|[A-Za-z]:[\\/])\w", plain), text
            assert "\\" not in plain, text


@each_graph
def test_the_app_mode_asks_for_what_matters(path):
    graph = read_json(path)
    assert " ".join(name for _, name in app_inputs(graph)) == APP[path.stem]
    nodes = {node["id"]: node for node in graph["nodes"]}
    for number, name in app_inputs(graph):
        assert name in widgets_of(nodes[number], KNOWN), (number, name)
    outputs = [nodes[number]["type"] for number in graph["extra"]["linearData"]["outputs"]]
    assert outputs == [node["type"] for node in real(graph) if node["type"] in SAMPLERS]
    assert len(outputs) == 1


@each_graph
def test_the_layout_is_tidy(path):
    graph = read_json(path)
    titles = [group["title"] for group in graph["groups"]]
    assert titles == ["1 Load", "2 Prepare", "3 Render"]
    places = [(*node["pos"], *node["size"]) for node in graph["nodes"]]
    for first, second in combinations([(x, y - 30, w, h + 30) for x, y, w, h in places], 2):
        assert apart(first, second), (first, second)
    for node in real(graph):
        homes = [g for g in graph["groups"] if inside((*node["pos"], *node["size"]), g["bounding"])]
        assert len(homes) == 1, node["type"]


def apart(first, second):
    """Whether two boxes ``(x, y, width, height)`` do not overlap."""
    (x, y, w, h), (u, v, s, t) = first, second
    return x + w <= u or u + s <= x or y + h <= v or v + t <= y


def inside(inner, outer):
    """Whether one box is in another."""
    (x, y, w, h), (u, v, s, t) = inner, outer
    return u <= x and v <= y and x + w <= u + s and y + h <= v + t


@each_graph
def test_a_screenshot_is_beside_the_graph(path):
    picture = path.with_suffix(".jpg")
    assert picture.stat().st_size < 300_000
    with Image.open(picture) as opened:
        assert opened.format == "JPEG" and opened.width >= 1200


def test_the_checks_find_broken_graphs():
    graph = read_json(graphs()[0])
    sampler = next(n for n in graph["nodes"] if n["type"] == "EndlessTalkStreamingSampler")
    for change in (
        lambda g, s: s["widgets_values"].append(1),
        lambda g, s: s["widgets_values"].__setitem__(2, 0),
        lambda g, s: s.update(type="EndlessTalkNothing"),
        lambda g, s: s["inputs"][0].update(link=None),
    ):
        broken = json.loads(json.dumps(graph))
        change(broken, next(n for n in broken["nodes"] if n["id"] == sampler["id"]))
        try:
            found = problems(prompt_of(broken, KNOWN), KNOWN)
        except ValueError:
            continue
        assert found
