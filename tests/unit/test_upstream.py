"""What a graph tells of a value before it is made."""

import pytest

from endless_talk.nodes.upstream import constant_ahead

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
