"""What a graph tells of a value before it is made."""

import pytest

from endless_talk.nodes.upstream import constant_ahead, made_from

ASKED = {"kind": "Loader", "widget": "file"}


def loader(name):
    return {"class_type": "Loader", "inputs": {"file": name}}


def through(*links, **more):
    inputs = {f"in_{number}": [link, 0] for number, link in enumerate(links)}
    return {"class_type": "Other", "inputs": {**inputs, **more}}


def sampler(**inputs):
    return {"class_type": "Sampler", "inputs": inputs}


def ask(**graph):
    return constant_ahead(graph, "me", "model", **ASKED)


def test_a_loader_is_found_right_ahead_and_behind_other_nodes():
    me = sampler(model=["a", 0], steps=4)
    assert ask(me=me, a=loader("x")) == "x"
    assert ask(me=me, a=through("b"), b=through("c", strength=1.0), c=loader("x")) == "x"


def test_only_the_asked_socket_counts():
    me = sampler(model=["a", 0], vae=["b", 0])
    assert ask(me=me, a=through(), b=loader("x")) is None


def test_what_the_graph_does_not_decide_is_not_guessed():
    me = sampler(model=["a", 0])
    assert ask(me=me, a=through("b", "c"), b=loader("x"), c=loader("y")) is None
    assert ask(me=me, a=loader(["b", 0]), b=through()) is None
    assert ask(me=me, a={"class_type": "Loader", "inputs": {}}) is None


def test_several_loaders_that_agree_decide():
    me = sampler(model=["a", 0])
    assert ask(me=me, a=through("b", "c"), b=loader("x"), c=loader("x")) == "x"


@pytest.mark.parametrize("graph", [{}, {"me": sampler()}, {"me": sampler(model=["gone", 0])}])
def test_a_graph_without_the_answer_gives_none(graph):
    assert constant_ahead(graph, "me", "model", **ASKED) is None
    assert constant_ahead(None, None, "model", **ASKED) is None


def test_a_ring_ends():
    assert ask(me=sampler(model=["a", 0]), a=through("b"), b=through("a")) is None


def plain(kind, name, value):
    return value


GRAPH = {
    "me": sampler(model=["lora", 0], vae=["vae", 0], steps=4),
    "lora": {"class_type": "Lora", "inputs": {"model": ["base", 0], "file": "l", "strength": 1.0}},
    "base": loader("x"),
    "vae": loader("y"),
}


def changed(node, **inputs):
    return {**GRAPH, node: {**GRAPH[node], "inputs": {**GRAPH[node]["inputs"], **inputs}}}


def test_what_a_model_is_made_from_does_not_depend_on_numbers_titles_and_other_nodes():
    whole = made_from(GRAPH, "me", "model", plain)
    renamed = {"1": sampler(model=["22", 0]), "22": {**GRAPH["lora"]}, "3": GRAPH["base"]}
    renamed["22"] = {
        "class_type": "Lora",
        "_meta": {"title": "mine"},
        "inputs": {"strength": 1, "file": "l", "model": ["3", 0]},
    }
    assert made_from(renamed, "1", "model", plain) == whole
    assert made_from(changed("me", steps=9), "me", "model", plain) == whole
    assert made_from(changed("vae", file="z"), "me", "model", plain) == whole


@pytest.mark.parametrize(
    "graph",
    [
        changed("lora", strength=0.9),
        changed("lora", file="m"),
        changed("base", file="z"),
        changed("lora", model=["base", 1]),
        {**GRAPH, "base": {**GRAPH["base"], "class_type": "OtherLoader"}},
        changed("me", model=["base", 0]),
    ],
)
def test_every_node_constant_and_link_ahead_counts(graph):
    assert made_from(graph, "me", "model", plain) != made_from(GRAPH, "me", "model", plain)


def test_a_file_counts_as_what_is_in_it():
    def looked_at(kind, name, value):
        return {"name": "base", "bytes": 7} if name == "file" and value in ("x", "sub/x") else value

    whole = made_from(GRAPH, "me", "model", looked_at)
    assert made_from(changed("base", file="sub/x"), "me", "model", looked_at) == whole
    assert made_from(changed("base", file="z"), "me", "model", looked_at) != whole
