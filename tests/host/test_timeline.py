"""The Timeline node in a server: what is refused before it runs, and what it hands on."""

import host_graphs as graphs
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

LAUGHS, WAVES = "she laughs, (loudly:1.2)", "she waves"
PROMPTS = f'0:00.4 prompt "{LAUGHS}"\n0:00.7 prompt "{WAVES}"\n#2 prompt "{LAUGHS}"'
"""Two prompts, one of them twice."""


def timed(lines, name, **links):
    """A timeline on its own, saved to a file."""
    sources = {
        "clip": graphs.node("TestClip"),
        "images": graphs.node("LoadImage", image="portrait.png"),
    }
    inputs = {socket: [socket, 0] for socket, connected in links.items() if connected}
    graph = {
        **{socket: source for socket, source in sources.items() if links.get(socket)},
        "timeline": graphs.node("EndlessTalkTimeline", lines=lines, **inputs),
    }
    return graphs.saving(graph, ["timeline", 0], name)


@pytest.fixture
def carried(server, rendered):
    """Tensors of what a timeline hands on."""

    def run(graph):
        [file] = rendered(graph).files(list(graph)[-1])
        return load_file(server.path(file))

    return run


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("0:41 seed 7\n\n1:05 promt 'hi'", ("line 3", "did you mean prompt?")),
        ("41 seed 7", ("line 1", "write 0:41, or #41 for a chunk")),
        ("0:10 seed 1\n0:20 audio loud\n0:30 keep rest", ("line 2", "0.7", "line 3", "seed 7")),
        ('// a note\n0:10 prompt "she laughs"', ("line 2", "connect clip")),
        ("0:10 image 1", ("line 1", "connect images")),
    ],
    ids=["a word", "a time", "two lines", "a prompt without CLIP", "an image without images"],
)
def test_a_line_that_cannot_be_is_refused_when_the_graph_is_queued(play, lines, says):
    outcome = play(timed(lines, "refused"))
    assert outcome.status == "refused" and outcome.node == "timeline"
    assert all(word in outcome.message for word in says), outcome.message


def test_an_image_that_is_not_in_the_batch_is_refused_with_its_line(play):
    outcome = play(timed("0:10 seed 1\n0:20 image 2", "refused", images=True))
    assert outcome.status == "failed" and outcome.node == "timeline"
    assert "line 2" in outcome.message and "write image 1" in outcome.message


def test_prompts_are_encoded_as_the_host_encodes_them_and_each_once(carried):
    found = carried(timed(PROMPTS, "prompts", clip=True))
    assert {name.split(".")[2] for name in found} == {"0", "1"}
    for index, text in enumerate((LAUGHS, WAVES)):
        graph = {
            "clip": graphs.node("TestClip"),
            "text": graphs.node("CLIPTextEncode", clip=["clip", 0], text=text),
        }
        expected = carried(graphs.saving(graph, ["text", 0], f"host_{index}"))
        begin = f"value.prompts.{index}."
        ours = {name.removeprefix(begin): value for name, value in found.items() if begin in name}
        hosts = {name.removeprefix("value."): value for name, value in expected.items()}
        assert ours.keys() == hosts.keys() and "0.0" in ours
        assert all(torch.equal(ours[name], hosts[name]) for name in hosts)
    assert not torch.equal(found["value.prompts.0.0.0"], found["value.prompts.1.0.0"])


def test_images_are_the_pictures_as_they_came(server, carried):
    found = carried(timed("0:10 image 1\n0:20 image 0", "images", images=True))
    with Image.open(server.base / "input" / "portrait.png") as picture:
        expected = np.asarray(picture.convert("RGB"))
    assert list(found) == ["value.images.0"]
    assert np.array_equal(found["value.images.0"].numpy(), expected)


def test_a_text_encoder_is_not_loaded_for_lines_without_a_prompt(server, play):
    server.forget()
    lines = "0:10 seed 7\n#2 audio 0.5, seed 8"
    with server.listen() as events:
        play(timed(lines, "nothing", clip=True, images=True))
    assert "timeline" in events.executed() and "clip" not in events.executed()
    with server.listen() as events:
        play(timed(PROMPTS, "something", clip=True))
    assert "clip" in events.executed()
