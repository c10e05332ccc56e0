"""What a user can get wrong in a graph: one clear sentence each, and a server that goes on."""

from dataclasses import dataclass

import host_graphs as graphs
import pytest
from host_files import SINGLE, VAE, WAV2VEC

from endless_talk.models.recipes import BUILT_IN

OURS = ("InputError", "FileNotFoundError")
"""Errors that are meant for the user; anything else that comes from our nodes slipped through."""


@dataclass(frozen=True)
class Wrong:
    """A wrong graph and what must be said about it.

    Attributes:
        graph: The graph.
        says: Words in the message.
        node: Id of the node that says it.
        early: Whether it has to be said before model, VAE and prompts are loaded.
    """

    graph: dict
    says: tuple[str, ...]
    node: str
    early: bool = False


HEALTHY = graphs.saving({"sound": graphs.node("TestSound")}, ["sound", 0], "healthy")
ONE, TWO = graphs.one_speaker(), graphs.two_speakers()
DEMO = graphs.built_in()


def changed(node, says, /, *, of=ONE, at=None, early=False, **inputs) -> Wrong:
    """A good graph with some inputs of one node replaced; ``at`` names the node that complains."""
    return Wrong(graphs.with_inputs(of, node, **inputs), words(says), at or node, early)


def replaced(node, kind, says, /, *, at, of=ONE, early=False, **inputs) -> Wrong:
    """A good graph with one node replaced by another kind."""
    return Wrong(graphs.with_node(of, node, kind, **inputs), words(says), at, early)


def words(says) -> tuple[str, ...]:
    return (says,) if isinstance(says, str) else tuple(says)


def sound(says, *, at="speaker", **inputs) -> Wrong:
    """A voice that no file carries, or that a broken node made."""
    return replaced("voice", "TestSound", says, at=at, **inputs)


def masked(first, second, says, at="sampler") -> Wrong:
    """Two speakers whose places are masks."""
    graph = TWO
    for name, mask, inputs in (("speaker", "left", first), ("second", "right", second)):
        graph = graphs.with_node(graph, mask, "TestMask", **inputs)
        graph = graphs.with_inputs(graph, name, faces=None, face=None, mask=[mask, 0])
    return Wrong(graph, words(says), at, early=at == "sampler")


def without_places() -> dict:
    graph = graphs.with_inputs(TWO, "speaker", faces=None, face=None)
    return graphs.with_inputs(graph, "second", faces=None, face=None)


def bare_model() -> dict:
    """The base straight from the host's loader into our sampler."""
    graph = graphs.with_node(ONE, "model", "UNETLoader", unet_name="tiny_i2v_fp32.safetensors")
    return graphs.with_inputs(graph, "model", weight_dtype="default")


def text_to_video() -> dict:
    graph = graphs.with_inputs(ONE, "model", base_model="tiny_t2v_fp32.safetensors")
    return graphs.with_applied_adapter(graph)


def with_sampler(name: str) -> dict:
    graph = graphs.with_node(ONE, "kind", "KSamplerSelect", sampler_name=name)
    return graphs.with_inputs(graph, "sampler", sampler=["kind", 0])


def without_negative() -> dict:
    guided = graphs.with_guidance(ONE, 5.0, 4.0)
    return graphs.with_inputs(guided, "sampler", negative=None)


def with_faces(says, *, at="faces", **inputs) -> Wrong:
    return changed("faces", says, of=TWO, at=at, **inputs)


def two_problems() -> dict:
    return graphs.with_inputs(without_negative(), "sampler", chunk_frames=18)


def silent_video() -> dict:
    graph = graphs.with_node(ONE, "voice", "LoadVideo", file="silent.mp4")
    return graphs.with_inputs(graph, "speaker", audio=["voice", 0])


LOADERS = {
    "adapter as base": changed("model", "adapter", base_model=SINGLE),
    "text-to-video base": changed("model", "text-to-video", base_model="tiny_t2v_fp32.safetensors"),
    "base of 0 bytes": changed("model", "empty.safetensors", base_model="empty.safetensors"),
    "half a base": changed("model", "truncated.safetensors", base_model="truncated.safetensors"),
    "base that is gone": changed("model", "gone.safetensors", base_model="gone.safetensors"),
    "base as adapter": changed("model", "base model", adapter="tiny_i2v_fp32.safetensors"),
    "adapter of another width": changed(
        "model", ("192", "96"), adapter="wrong_width_adapter.safetensors"
    ),
    "adapter of another depth": changed(
        "model", ("1 block", "2 blocks"), adapter="incomplete_adapter.safetensors"
    ),
    "adapter for other features": changed(
        "model",
        ("9216", "144"),
        at="sampler",
        adapter="other_features_adapter.safetensors",
    ),
    "not a VAE": changed("vae", "not_a_vae.safetensors", vae="not_a_vae.safetensors"),
    "large wav2vec2": changed("wav2vec", "1024", wav2vec="wav2vec2_large.safetensors"),
    "not a wav2vec2": changed("wav2vec", "wav2vec2", wav2vec="not_wav2vec.safetensors"),
    "wav2vec2 of another depth": changed(
        "wav2vec", ("144", "96"), at="sampler", wav2vec="two_layers.safetensors"
    ),
    "input of wav2vec2 for an adapter that reads none": changed(
        "wav2vec", ("144", "192", "'layers'", "'outputs'"), at="sampler", layers="input and outputs"
    ),
    "adapter on a text-to-video model": Wrong(text_to_video(), ("image-to-video",), "model"),
    "no adapter on the model": Wrong(bare_model(), ("Apply Audio Adapter",), "sampler"),
    "prompt of another text encoder": changed("positive", ("16", "32"), at="sampler", width=16),
    "CLIP vision of another width": changed(
        "clip_vision", ("640", "1280"), at="reference", hidden_size=640
    ),
}

SOCKETS = {
    "no model": changed("sampler", "model", model=None),
    "no VAE": changed("sampler", "vae", vae=None),
    "no speech": changed("sampler", "speech", speech=None),
    "no reference": changed("sampler", "reference", reference=None),
    "no voice": changed("speaker", "audio", audio=None),
    "no wav2vec2": changed("speaker", "wav2vec", wav2vec=None),
    "no picture": changed("reference", "image", image=None),
    "reference into speech": changed("sampler", "speech", speech=["reference", 0]),
    "picture into reference": changed("sampler", "reference", reference=["picture", 0]),
    "speaker after itself": changed("speaker", "", others=["speaker", 0]),
    "guidance without a negative": Wrong(without_negative(), ("negative",), "sampler", True),
}

NUMBERS = {
    "no steps": changed("sampler", "steps", steps=0),
    "a million steps": changed("sampler", "steps", steps=1_000_000),
    "negative shift": changed("sampler", "shift", shift=-3.0),
    "negative end": changed("sampler", "stop_at", stop_at=-1.0),
    "18 frames per chunk": changed("sampler", ("18", "17"), early=True, chunk_frames=18),
    "10 context frames": changed("sampler", ("10", "9"), early=True, context_frames=10),
    "nothing but context": changed(
        "sampler", "context", early=True, chunk_frames=17, context_frames=17
    ),
    "text for steps": changed("sampler", "steps", steps="many"),
    "an action there is not": changed("sampler", "action", action="dance"),
    "job outside the output folder": changed("sampler", "job_name", job_name="../../elsewhere"),
    "job without a name": changed("sampler", "job_name", job_name=""),
    "width of 100": changed("reference", ("100", "16"), width=100),
    "width of 8": changed("reference", "width", width=8),
    "a size there is not": changed("reference", "size", size="8k"),
    "picture of one pixel": changed("picture", "1x1", at="reference", image="one_pixel.png"),
    "negative start": changed("speaker", "start", start=-1.0),
    "absurd strength": changed("speaker", "strength", strength=1e9),
    "dpm_adaptive": Wrong(with_sampler("dpm_adaptive"), ("dpm_adaptive",), "sampler"),
    "VAE of pictures": Wrong(
        graphs.with_node(graphs.one_speaker(), "vae", "VAELoader", vae_name="pixel_space"),
        ("picture VAE", "16", "wan_2.1_vae"),
        "sampler",
    ),
}

SOUNDS = {
    "no samples": sound("0 samples", content="tone", seconds=0.0),
    "three channels": sound("3 channels", content="tone", channels=3),
    "no channel": sound("0 channels", content="tone", channels=0),
    "a batch of two": sound("2", content="tone", batch=2),
    "NaN": sound("NaN", content="nan"),
    "infinite": sound("infinity", content="inf"),
    "no rate": sound("0 Hz", content="tone", rate=0),
    "a video without sound": Wrong(silent_video(), ("sound",), "speaker"),
}

HALF = {"height": 96, "width": 128}
PLACES = {
    "two speakers without places": Wrong(without_places(), ("face",), "sampler", True),
    "one of two without a place": Wrong(
        graphs.with_inputs(TWO, "second", faces=None, face=None), ("speaker 2",), "sampler", True
    ),
    "a face there is not": changed("second", ("5", "2"), of=TWO, face=5),
    "a face without faces": changed("second", "faces", of=TWO, faces=None),
    "masks of other sizes": masked(
        {"height": 64, "width": 64, "box": "0 0 .4 1"}, {**HALF, "box": ".6 0 1 1"}, "64"
    ),
    "an empty mask": masked(
        {**HALF, "box": "0 0 0 0"}, {**HALF, "box": ".6 0 1 1"}, "mask", "speaker"
    ),
    "boxes that are words": with_faces("boxes", find="connected", boxes="left and right"),
    "a box of three numbers": with_faces("boxes", find="connected", boxes="0 0 40"),
    "a box inside out": with_faces("left < right", find="connected", boxes="40 0 10 96"),
    "a box outside the picture": with_faces(("500", "128"), find="connected", boxes="500 0 600 96"),
    "nothing to find faces in": with_faces("boxes", find="connected"),
    "an even split of nothing": with_faces("picture", picture=None),
}


def with_node_of(graph, name, kind, /, socket, *, at="sampler", **inputs):
    """A graph with one node more, connected to a socket of another."""
    return graphs.with_inputs(
        graphs.with_node(graph, name, kind, **inputs), at, **{socket: [name, 0]}
    )


WITH_PROMPT = with_node_of(DEMO, "positive", "TestText", "positive", width=4096)
WITH_CLIP = with_node_of(DEMO, "clip_vision", "TestClipVision", "clip_vision", at="reference")
WITH_GUIDANCE = with_node_of(DEMO, "guidance", "EndlessTalkGuidance", "guidance", text=5.0)

SETS = {
    "CLIP vision for the built-in demo": Wrong(
        WITH_CLIP, ("CLIP vision (on Reference Image)", "disconnect"), "sampler", True
    ),
    "prompt for the built-in demo": Wrong(
        WITH_PROMPT, ("positive prompt", "disconnect"), "sampler", True
    ),
    "text guidance for the built-in demo": Wrong(
        WITH_GUIDANCE, ("text scale to 1",), "sampler", True
    ),
    "foreign adapter for the built-in demo": changed(
        "model", ("adapter of its own", "auto"), of=DEMO, adapter=SINGLE
    ),
    "published VAE for the built-in demo": changed(
        "vae", "Choose built-in demo for the VAE", of=DEMO, at="sampler", early=True, vae=VAE
    ),
    "published wav2vec2 for the built-in demo": changed(
        "wav2vec", "built-in demo", of=DEMO, at="sampler", early=True, wav2vec=WAV2VEC
    ),
    "built-in VAE for a published base": changed(
        "vae", "the published VAE", at="sampler", early=True, vae=BUILT_IN
    ),
    "built-in wav2vec2 for a published base": changed(
        "wav2vec", "the published wav2vec2", at="sampler", early=True, wav2vec=BUILT_IN
    ),
    "VAE of the host's loader for the built-in demo": Wrong(
        graphs.with_node(DEMO, "vae", "VAELoader", vae_name=VAE),
        ("Choose built-in demo for the VAE",),
        "sampler",
    ),
}

WARNED = {
    "voice after the end": changed(
        "second", ("100", "0.8"), of=graphs.two_speakers(stop_at=0.8), at="sampler", start=100.0
    ),
    "two speakers with the single adapter": changed(
        "model", ("Single", "Multi"), of=TWO, at="sampler", adapter=SINGLE
    ),
}
"""What is allowed and probably not meant."""

TABLE = {**LOADERS, **SOCKETS, **NUMBERS, **SOUNDS, **PLACES, **SETS}


OPEN: dict[str, str] = {}
"""Entries that are not answered as they should be, and why; taken out when they are."""


def entries(names=TABLE):
    """The table for pytest; an open entry that starts to pass fails until it is taken out."""
    return [
        pytest.param(name, marks=pytest.mark.xfail(reason=OPEN[name], strict=True))
        if name in OPEN
        else name
        for name in names
    ]


def test_the_table_is_long_enough():
    assert len(TABLE) >= 25


def test_two_problems_are_told_at_once(play):
    message = play(two_problems()).message
    assert "negative" in message and "18" in message and "\n" in message


@pytest.mark.parametrize("name", entries())
def test_a_wrong_graph_is_answered_in_one_sentence(server, play, name):
    wrong = TABLE[name]
    outcome = play(wrong.graph)
    assert outcome.status in ("refused", "failed"), outcome.status
    for word in wrong.says:
        assert word in outcome.message, outcome.message
    assert outcome.node == wrong.node
    assert outcome.message.count("\n") == 0 and len(outcome.message) < 400, outcome.message
    if outcome.status == "failed":
        assert outcome.detail.endswith(OURS), outcome.detail
    assert server.run(HEALTHY).status == "success"


@pytest.mark.parametrize("name", entries([name for name, wrong in TABLE.items() if wrong.early]))
def test_what_needs_no_model_is_said_before_one_is_loaded(server, play, name):
    server.forget()
    with server.listen() as events:
        outcome = play(TABLE[name].graph)
    assert outcome.status != "success"
    assert not {"model", "vae", "positive", "negative"} & set(events.executed())


@pytest.mark.parametrize("name", WARNED)
def test_what_is_probably_not_meant_is_said_under_the_node(server, rendered, name):
    odd = WARNED[name]
    with server.listen() as events:
        rendered(odd.graph)
    said = " ".join(text for node, text in events.texts if node == odd.node)
    assert all(word in said for word in odd.says), said


def test_the_server_still_makes_clips(rendered):
    """Last in this file: whatever the graphs above left behind, a good one works."""
    rendered(graphs.one_speaker(job_name="afterwards", seed=5))


def test_the_good_graphs_of_the_table_are_good(rendered):
    """Otherwise an entry could be refused for another reason than its own."""
    rendered(graphs.one_speaker(job_name="good"))
    rendered(graphs.two_speakers(job_name="good_two"))
