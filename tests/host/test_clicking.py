"""Timeline and Reference Video as a user meets them: found by search, connected and filled in.

In the real frontend with mouse and keyboard, on the canvas of the simplest workflow with the
built-in demo. ``test_frontend`` opens the shipped graphs.
"""

import browser
import drawn
import pytest
import videos

from workflows import graphs, read_json

pytestmark = pytest.mark.browser

SAMPLER = "EndlessTalkStreamingSampler"
JOB_NAME, CHUNK_FRAMES = 5, 7
"""Places of the sampler's widgets in a saved graph."""

VIDEO = "a_face.mp4"
"""The first in the list, so that Load Video begins with it."""

FRAMES = 25


@pytest.fixture(scope="module")
def frontend(request):
    """One page, with a video to dub in the list."""
    reason = browser.why_not()
    if reason:
        pytest.skip(reason)
    server = request.getfixturevalue("server")
    pictures = [*drawn.talking(1, frames=FRAMES).pixels]
    videos.write(server.base / "input" / VIDEO, pictures, rate=25, options={"crf": "4"})
    with browser.Frontend(server, size=(2000, 1200)) as opened:
        yield opened


def open_simplest(frontend, job):
    """The simplest workflow without its notes, below an empty strip; the sampler's id."""
    graph = read_json(graphs()[0])
    graph["nodes"] = [node for node in graph["nodes"] if "Note" not in node["type"]]
    graph["groups"] = []
    (sampler,) = (node for node in graph["nodes"] if node["type"] == SAMPLER)
    sampler["widgets_values"][JOB_NAME], sampler["widgets_values"][CHUNK_FRAMES] = job, 17
    frontend.load(graph)
    frontend.look(0.8, 100, 430)
    return sampler["id"]


def inputs(frontend, node):
    return frontend.exported()[str(node)]["inputs"]


def test_a_timeline_is_found_connected_and_written(frontend):
    sampler = open_simplest(frontend, "clicked_timeline")
    timeline = frontend.add("Timeline", (900, 150))
    frontend.connect(timeline, "timeline", sampler, "timeline")
    assert inputs(frontend, sampler)["timeline"] == [str(timeline), 0]

    frontend.write(timeline, "lines", "#1 seed 7\n0:00.5 promt 'hi'")
    frontend.run()
    sentence = frontend.complaint()
    assert "timeline line 2, 0:00.5 promt 'hi': there is no promt" in sentence
    assert "did you mean prompt?" in sentence
    assert frontend.shown(timeline)["red"] and not frontend.shown(sampler)["red"]

    frontend.write(timeline, "lines", "#1 seed 7")
    frontend.run()
    shown = frontend.result(sampler)
    assert shown["files"] == ["clicked_timeline_00001_.mp4"]
    assert "#1 → from #1" in shown["text"] and "seed 7" in shown["text"]
    assert frontend.shown(timeline)["text"] == "1 change"
    assert not frontend.shown(timeline)["red"]


def test_a_video_to_dub_takes_the_place_of_the_picture(frontend):
    sampler = open_simplest(frontend, "clicked_video")
    video = frontend.add("Load Video", (300, 150))
    reference = frontend.add("Reference Video", (900, 120))
    frontend.connect(video, "VIDEO", reference, "video")
    frontend.connect(reference, "reference", sampler, "reference")
    assert inputs(frontend, sampler)["reference"] == [str(reference), 0]
    assert inputs(frontend, video)["file"] == VIDEO

    frontend.choose(reference, "size", "custom")
    frontend.enter(reference, "width", "64")
    frontend.enter(reference, "height", "64")
    chosen = inputs(frontend, reference)
    assert (chosen["size"], chosen["width"], chosen["height"]) == ("custom", 64, 64)

    frontend.run()
    shown = frontend.result(sampler)
    assert shown["files"] == ["clicked_video_00001_.mp4"]
    assert shown["text"].startswith(f"{FRAMES} frames")
    assert frontend.shown(reference)["text"].startswith("64x64 to 64x64, 25 fps to 25, 1.00 s")
