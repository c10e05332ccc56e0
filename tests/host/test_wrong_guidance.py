"""What a user can get wrong about guidance and noise levels, and what is said of it."""

from dataclasses import dataclass

import host_graphs as graphs
import pytest
from files import frames_of

OURS = "InputError"
ONE = graphs.one_speaker(job_name="folds", steps=2)
FOLDED = graphs.with_inputs(graphs.with_guidance(ONE, 5.0, 4.0), "guidance", folds="by noise level")


@dataclass(frozen=True)
class Wrong:
    """A wrong graph, words of the answer, who gives it, and whether before a model is loaded."""

    graph: dict
    says: tuple[str, ...]
    node: str
    early: bool = False


def guided(*says, at="guidance", **inputs) -> Wrong:
    """A folded graph with other inputs of Talk Guidance."""
    return Wrong(graphs.with_inputs(FOLDED, "guidance", **inputs), says, at)


def no_negative(**inputs) -> Wrong:
    graph = graphs.with_inputs(FOLDED, "sampler", negative=None)
    graph = graphs.with_inputs(graph, "guidance", **inputs)
    says = ("no negative prompt is connected", "folds to 'audio only'")
    return Wrong(graph, says, "sampler", early=True)


def linked(node: str, widget: str, value: float, *says: str) -> Wrong:
    """A number that comes through a link, where the host checks no bounds."""
    graph = with_sigmas(FOLDED, preset="custom")
    graph = graphs.with_node(graph, "number", "PrimitiveFloat", value=value)
    return Wrong(graphs.with_inputs(graph, node, **{widget: ["number", 0]}), says, node)


def with_sigmas(graph: dict, kind: str = "EndlessTalkSigmas", **inputs) -> dict:
    graph = graphs.with_node(graph, "sigmas", kind, **inputs)
    return graphs.with_inputs(graph, "sampler", sigmas=["sigmas", 0])


def rising() -> dict:
    graph = graphs.with_node(with_sigmas(FOLDED), "rising", "FlipSigmas", sigmas=["sigmas", 0])
    return graphs.with_inputs(graph, "sampler", sigmas=["rising", 0])


def for_the_demo(**inputs) -> dict:
    graph = graphs.with_node(graphs.built_in(), "guidance", "EndlessTalkGuidance", **inputs)
    return graphs.with_inputs(graph, "sampler", guidance=["guidance", 0])


TABLE = {
    "a switch above pure noise": guided("switch", switch=1.5),
    "a switch below the picture": guided("switch", switch=-0.1),
    "a linked switch above pure noise": linked("guidance", "switch", 1.5, "1.5", "0.75"),
    "a linked jitter below none": linked("guidance", "jitter", -1.0, "jitter", "-1.0"),
    "more jitter than guidance": guided("jitter", jitter=3.0),
    "folds there are not": guided("folds", folds="four-fold"),
    "words for a weight": guided("text", text="much"),
    "folds without a negative prompt": no_negative(),
    "two folds without a negative prompt": no_negative(folds="two-fold", text=1.0),
    "folds along the text for the built-in demo": Wrong(
        for_the_demo(text=1.0, audio=2.0, folds="by noise level"),
        ("was trained without", "folds to 'audio only'"),
        "sampler",
        early=True,
    ),
    "guidance of another kind": Wrong(
        graphs.with_inputs(FOLDED, "sampler", guidance=["positive", 0]), ("guidance",), "sampler"
    ),
    "a preset there is not": Wrong(with_sigmas(FOLDED, preset="5 steps"), ("preset",), "sigmas"),
    "a spacing there is not": Wrong(
        with_sigmas(FOLDED, preset="custom", spacing="odd"), ("spacing",), "sigmas"
    ),
    "a linked shift below 0": linked("sigmas", "shift", -1.0, "shift is -1"),
    "a linked start above pure noise": linked("sigmas", "start", 2.0, "start is 2"),
    "noise levels that rise": Wrong(rising(), ("SIGMAS", "fall"), "sampler", early=True),
}


def test_the_table_is_long_enough():
    assert len(TABLE) >= 5


@pytest.mark.parametrize("name", TABLE)
def test_a_wrong_graph_is_answered_in_one_sentence(play, name):
    wrong = TABLE[name]
    outcome = play(wrong.graph)
    assert outcome.status in ("refused", "failed"), outcome.status
    for word in wrong.says:
        assert word in outcome.message, outcome.message
    assert outcome.node == wrong.node
    assert outcome.message.count("\n") == 0 and len(outcome.message) < 400, outcome.message
    if outcome.status == "failed":
        assert outcome.detail.endswith(OURS), outcome.detail


@pytest.mark.parametrize("name", [name for name, wrong in TABLE.items() if wrong.early])
def test_what_needs_no_model_is_said_before_one_is_loaded(server, play, name):
    server.forget()
    with server.listen() as events:
        outcome = play(TABLE[name].graph)
    assert outcome.status != "success"
    assert not {"model", "vae", "positive", "negative"} & set(events.executed())


def said(server, run, graph, node):
    """Everything that stood under a node while a graph ran."""
    with server.listen() as events:
        run(graph)
    return " ".join(text for name, text in events.texts if name == node)


def test_the_plan_says_how_often_the_network_is_called(server, rendered):
    four = with_sigmas(FOLDED, preset="MagicInfinite, 4 steps")
    planned = graphs.with_inputs(four, "sampler", action="plan only")
    report = said(server, rendered, planned, "sampler")
    assert (
        "4 steps per chunk: 2 network calls per step down to noise level 0.833 (3 steps), then 3 "
        f"(1 step), 9 per chunk: {9 * graphs.CHUNKS} in all" in report
    )
    assert "9 network calls per chunk instead of 4" in report, "no warning"
    assert "0.938 0.833 0.625 0.000" in said(server, rendered, with_other(four), "sigmas")


def with_other(graph: dict) -> dict:
    """The same plan with an input that makes Talk Sigmas run again."""
    return graphs.with_inputs(
        graphs.with_inputs(graph, "sampler", action="plan only"), "sigmas", steps=7
    )


def test_the_node_says_what_its_folds_ask_for(server, rendered):
    planned = graphs.with_inputs(FOLDED, "sampler", action="plan only")
    text = said(server, rendered, graphs.with_inputs(planned, "guidance", switch=0.6), "guidance")
    assert "2 network calls per step (full, unconditional) from noise level 0.6 up" in text
    assert "connect one to the sampler" in text


def frames_made(server, outcome):
    """The frames of the clip that the sampler saved."""
    (clip,) = (file for file in outcome.files("sampler") if file["filename"].endswith(".mp4"))
    return frames_of(server.path(clip))


def test_folds_change_the_clip(server, rendered):
    """By noise level with the switch at 0 is two-fold all the way, and the rest are others."""
    made = {}
    for name, inputs in {
        "one rule": {},
        "by noise level": {"folds": "by noise level"},
        "switched at 0": {"folds": "by noise level", "switch": 0.0},
        "two-fold": {"folds": "two-fold"},
        "three-fold": {"folds": "three-fold"},
        "audio only": {"folds": "audio only"},
    }.items():
        graph = with_sigmas(graphs.with_guidance(ONE, 5.0, 4.0), preset="lightx2v, 4 steps")
        graph = graphs.with_inputs(graph, "guidance", **inputs)
        graph = graphs.with_inputs(graph, "sampler", job_name=name, stop_at=0.5)
        made[name] = frames_made(server, rendered(graph))
    assert (made["switched at 0"] == made["two-fold"]).all()
    names = [name for name in made if name != "switched at 0"]
    for number, one in enumerate(names):
        for other in names[number + 1 :]:
            assert (made[one] != made[other]).any(), f"{one} is {other}"
