"""A video dubbed in a real server: its frames, shots, trim window, strength and kept part."""

import drawn
import files
import host_graphs as graphs
import numpy as np
import pytest
import videos
from host_files import SIZE
from safetensors.torch import load_file

HEIGHT, WIDTH = SIZE
SHOT_FRAMES = (20, 25)


def faces(seed, frames):
    """A drawn face that talks, as the built-in demo knows them, uint8."""
    return [*drawn.talking(seed, frames=frames, size=HEIGHT).pixels]


def source_frames():
    return faces(1, SHOT_FRAMES[0]) + faces(4, SHOT_FRAMES[1])


@pytest.fixture(scope="module")
def source(server):
    """Two faces for 0.8 s and 1 s at 50 pictures per second, every picture twice."""
    pictures = [picture for picture in source_frames() for _ in range(2)]
    lossless = {"crf": "4"}
    videos.write(server.base / "input" / "two_shots.mp4", pictures, rate=50, options=lossless)
    return "two_shots.mp4"


def dubbing(source, *, sampler=None, **reference):
    """The simplest clip with a video in the picture's place."""
    graph = graphs.one_speaker(**{"job_name": "dub", **(sampler or {})})
    graph["video"] = graphs.node("LoadVideo", file=source)
    graph["reference"] = graphs.node(
        "EndlessTalkReferenceVideo",
        video=["video", 0],
        size="custom",
        width=WIDTH,
        height=HEIGHT,
        **reference,
    )
    return graph


def demo(source, job_name, **reference):
    """The same with the built-in demo, which can show a face."""
    graph = graphs.built_in(job_name=job_name)
    other = dubbing(source, **reference)
    return graph | {name: other[name] for name in ("video", "reference")}


def alone(graph):
    """The node without a sampler behind it."""
    return {name: graph[name] for name in ("video", "reference")}


def fitted(server, name="saved"):
    (image,) = load_file(server.base / "output" / f"{name}.safetensors").values()
    return (image[0].numpy() * 255).round().astype(int)


def said(events):
    return next(text for name, text in events.texts if name == "reference")


def clip_of(server, outcome):
    (clip,) = [f for f in outcome.files("sampler") if f["filename"].endswith(".mp4")]
    return files.frames_of(server.path(clip)).astype(int)


def test_the_node_tells_size_rate_length_and_shots(server, source, rendered):
    with server.listen() as events:
        rendered(graphs.saving(alone(dubbing(source)), ["reference", 1]))
    size = f"{WIDTH}x{HEIGHT}"
    assert said(events) == (
        f"{size} to {size}, 50 fps to 25, 1.80 s, 2 shots\ncuts at {SHOT_FRAMES[0] / 25:.2f} s"
    )
    assert np.abs(fitted(server) - source_frames()[0]).mean() < 8


def test_a_trim_window_of_the_host_is_honoured(server, source, rendered):
    graph = alone(dubbing(source))
    graph["trim"] = graphs.node(
        "Video Slice", video=["video", 0], start_time=0.9, duration=0.5, strict_duration=False
    )
    graph = graphs.with_inputs(graph, "reference", video=["trim", 0])
    with server.listen() as events:
        rendered(graphs.saving(graph, ["reference", 1], "trimmed"))
    assert "0.52 s, 1 shot" in said(events) or "0.48 s, 1 shot" in said(events)
    assert np.abs(fitted(server, "trimmed") - source_frames()[22]).mean() < 8


def test_pictures_in_memory_are_a_video_too(server, source, rendered):
    graph = alone(dubbing(source))
    graph["parts"] = graphs.node("GetVideoComponents", video=["video", 0])
    graph["made"] = graphs.node("CreateVideo", images=["parts", 0], fps=30.0)
    with server.listen() as events:
        graph = graphs.with_inputs(graph, "reference", video=["made", 0])
        rendered(graphs.saving(graph, ["reference", 1], "in_memory"))
    assert "30 fps to 25, 3.00 s, 2 shots\ncuts at 1.36 s" in said(events)


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ({"cuts": "soon"}, "cuts has 'soon'; expected auto, none, or seconds"),
        ({"cuts": "0.5, 9"}, "cuts has 9 s, but the video ends at 1.80 s"),
        ({"keyframe": "sharp"}, "keyframe has 'sharp'; expected chunk start, nearest sharp"),
        ({"width": 100}, "100"),
    ],
)
def test_wrong_widgets_are_a_sentence(source, reference, sentence, play):
    graph = dubbing(source)
    graph["reference"]["inputs"] |= reference
    outcome = play(graph)
    assert outcome.status != "success" and sentence in f"{outcome.message}{outcome.detail}"


def test_a_dubbed_clip_is_as_long_as_the_video_and_begins_every_shot_anew(server, source, rendered):
    with server.listen() as events:
        outcome = rendered(demo(source, "dub_whole"), timeout=500)
    clip = clip_of(server, outcome)
    assert len(clip) == sum(SHOT_FRAMES)
    assert any("2 shots, from 0.00 s, 0.80 s" in text for _, text in events.texts)
    steps = np.abs(clip[1:] - clip[:-1]).mean(axis=(1, 2, 3))
    assert steps.argmax() == SHOT_FRAMES[0] - 1, "the clip cuts elsewhere than the video"
    expected = np.stack(source_frames()).astype(int)
    for first in (0, SHOT_FRAMES[0]):
        assert np.abs(clip[first] - expected[first]).mean() < 12


def test_a_dubbed_clip_may_be_as_long_as_the_voice(server, source, rendered):
    graph = dubbing(source, sampler={"job_name": "dub_voice"}, length="audio", cuts="none")
    assert len(clip_of(server, rendered(graph))) == graphs.CLIP_FRAMES


def test_what_is_kept_is_the_videos_and_the_rest_is_made(server, rendered):
    """Something lies in the picture for some frames that no reference frame shows."""
    pictures = np.stack(source_frames())
    pictures[5:13, 40:60, 4:20] = (20, 220, 40)
    path = server.base / "input" / "visitor.mp4"
    videos.write(path, [*pictures], options={"crf": "4"})
    graph = demo(path.name, "dub_keep", cuts="0.8")
    graph["all"] = graphs.node("SolidMask", value=0.0, width=WIDTH, height=HEIGHT)
    graph["left"] = graphs.node("SolidMask", value=1.0, width=WIDTH // 2, height=HEIGHT)
    graph["keep"] = graphs.node(
        "MaskComposite", destination=["all", 0], source=["left", 0], x=0, y=0, operation="add"
    )
    graph = graphs.with_inputs(graph, "reference", keep=["keep", 0])
    made = clip_of(server, rendered(graph, timeout=500))
    free = clip_of(server, rendered(demo(path.name, "dub_free", cuts="0.8"), timeout=500))
    visitor = np.s_[6:12, 44:56, 8:16]
    far_off = [np.abs(clip - pictures)[visitor].mean() for clip in (made, free)]
    assert far_off[0] < 0.5 * far_off[1]
    assert np.abs(made - free)[:, :, WIDTH // 2 :].max() > 2, "the other half was not made anew"


def test_source_strength_takes_fewer_steps_and_changes_the_clip(server, source, rendered):
    few = dubbing(source, sampler={"job_name": "dub_strong", "steps": 4}, cuts="none")
    strong = graphs.with_inputs(few, "reference", source_strength=0.5)
    bars = []
    for graph in (few, strong):
        with server.listen() as events:
            clip = clip_of(server, rendered(graph))
        bars.append(
            (
                clip,
                next(
                    data["max"]
                    for kind, data in events.messages
                    if kind == "progress" and data["node"] == "sampler"
                ),
            )
        )
    assert bars[1][1] < bars[0][1]
    assert np.abs(bars[1][0] - bars[0][0]).max() > 2


def test_a_picture_under_a_slow_camera_is_a_reference_too(server, rendered):
    """A pan begins closer than the still picture, and its views have image tokens of their own."""
    graph = graphs.one_speaker(job_name="pan")
    graph = graphs.with_inputs(graph, "reference", motion="slow pan")
    clip = clip_of(server, rendered(graphs.saving(graph, ["reference", 1], "pan")))
    assert len(clip) == graphs.CLIP_FRAMES
    still = graphs.with_inputs(graph, "reference", motion="still")
    still = {name: still[name] for name in ("picture", "clip_vision", "reference")}
    rendered(graphs.saving(still, ["reference", 1], "still"))
    assert np.abs(fitted(server, "pan") - fitted(server, "still")).max() > 2
