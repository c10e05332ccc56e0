"""Check Lip Sync on videos whose mouth and voice are known."""

import drawn
import files
import pytest
import torch
from host_files import WAV2VEC
from host_graphs import node, saving, with_inputs, with_node
from safetensors.torch import load_file

from endless_talk.video.sink import VideoSink
from endless_talk.video.sound import Sound


@pytest.fixture(scope="module")
def clip(server):
    """A drawn face that talks, with its sound, in the server's input folder."""
    talk = drawn.talking(1, frames=125)
    with VideoSink(server.base / "input" / "drawn_talk.mp4", (64, 64)) as sink:
        for block in talk.blocks:
            sink.append(block)
        sink.finish(Sound(samples=torch.from_numpy(talk.samples[0])[None], rate_hz=16000))
    return "drawn_talk.mp4"


def checking(name, **speaker):
    """A video file against its own sound."""
    return {
        "video": node("LoadVideo", file=name),
        "wav2vec": node("EndlessTalkLoadWav2Vec", wav2vec=WAV2VEC),
        "speaker": node(
            "EndlessTalkSpeaker", audio=["video", 0], wav2vec=["wav2vec", 0], **speaker
        ),
        "check": node("EndlessTalkMeasure", video=["video", 0], speech=["speaker", 0]),
    }


def said(events):
    """The text under the node."""
    return next(text for name, text in events.texts if name == "check")


def test_a_talking_video_is_measured(server, clip, rendered):
    with server.listen() as events:
        outcome = rendered(saving(checking(clip), ["check", 1], "plot"))
    assert "The mouth follows the voice" in said(events) and "(motion)" in said(events)
    assert outcome.files("check")[0]["filename"].endswith(".png")
    (plot,) = load_file(server.base / "output" / "plot.safetensors").values()
    assert plot.ndim == 4 and plot.shape[0] == 1 and plot.shape[2:] == (960, 3)


def test_a_voice_that_starts_late_is_expected_late(server, clip, rendered):
    with server.listen() as events:
        rendered(checking(clip, start=0.2))
    assert "before the voice" in said(events)


def test_faces_tell_where_to_look(server, clip, rendered):
    graph = with_node(checking(clip), "faces", "EndlessTalkFaceMasks", boxes="0.1 0.1 0.9 1")
    graph["parts"] = node("GetVideoComponents", video=["video", 0])
    graph["first"] = node("ImageFromBatch", image=["parts", 0], batch_index=0, length=1)
    graph = with_inputs(graph, "faces", picture=["first", 0])
    graph = with_inputs(graph, "check", faces=["faces", 0])
    with server.listen() as events:
        rendered(graph)
    assert "The mouth follows the voice" in said(events)


def test_pictures_in_memory_are_a_video_too(server, clip, rendered):
    graph = checking(clip)
    graph["parts"] = node("GetVideoComponents", video=["video", 0])
    graph["made"] = node("CreateVideo", images=["parts", 0], fps=25.0)
    with server.listen() as events:
        rendered(with_inputs(graph, "check", video=["made", 0]))
    assert "The mouth follows the voice" in said(events)


def test_a_video_in_which_nothing_moves_is_a_sentence(server, clip, play):
    files.silent_video(server.base / "input" / "still.mp4")
    graph = with_node(checking(clip), "still", "LoadVideo", file="still.mp4")
    outcome = play(with_inputs(graph, "check", video=["still", 0]))
    assert outcome.status == "failed"
    assert "Nothing moves like a mouth in face 1 of 1" in outcome.message
