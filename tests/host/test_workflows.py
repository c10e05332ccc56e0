"""The shipped workflows in a real server, with tiny files under the published names.

``host_workflows`` says what is overridden to make them run on a small machine.
"""

import json

import av
import files
import host_files
import numpy as np
import pytest
from host_files import SIZE, VOICE_SECONDS
from host_graphs import CLIP_FRAMES, node
from host_schema import frozen
from host_workflows import ENCODERS, FIRST, HUNYUAN_TEXT, SIZES, clip_of, sampler_of, tiny

from workflows import graphs, known_nodes, problems, prompt_of, read_json, twin

each_graph = pytest.mark.parametrize("path", graphs(), ids=lambda path: path.stem)


@pytest.mark.parametrize("path", graphs()[1:], ids=lambda path: path.stem)
def test_a_workflow_is_valid_as_shipped(server, path):
    """Everything is accepted and runs, up to the encoders of the prompt, empty files here."""
    prompt = read_json(twin(path))
    outcome = server.run(prompt)
    assert outcome.status == "failed", outcome.message
    assert prompt[outcome.node]["class_type"] in ENCODERS, outcome.message


def test_the_first_workflow_runs_as_shipped(server, rendered):
    """Nothing is chosen, nothing was downloaded; the voice alone is a shorter one."""
    (path,) = (path for path in graphs() if path.stem == FIRST)
    with server.listen() as events:
        outcome = rendered(read_json(twin(path)), timeout=600)
    with av.open(str(clip_of(server, outcome))) as container:
        assert sum(1 for _ in container.decode(video=0)) == CLIP_FRAMES
    assert not [text for _, text in events.texts if "warning" in text]


@each_graph
def test_a_workflow_can_be_planned_as_shipped(rendered, path):
    """At its own size and with its own numbers; nothing of it needs a model."""
    prompt = read_json(twin(path))
    sampler_of(prompt)[1]["action"] = "plan only"
    (report,) = (shown["text"] for shown in rendered(prompt).outputs.values() if "text" in shown)
    assert report[0].startswith(f"{CLIP_FRAMES} frames") and "warning" not in report[0], report


@each_graph
def test_a_workflow_fits_the_nodes_of_this_server(known, path):
    running = {name: frozen(known[name]) for name in known_nodes()}
    assert problems(read_json(twin(path)), running) == []


@each_graph
@pytest.mark.parametrize("source", ["graph", "api twin"])
def test_a_workflow_becomes_a_clip(server, rendered, path, source):
    graph = read_json(path)
    prompt = prompt_of(graph, known_nodes()) if source == "graph" else read_json(twin(path))
    seed = 1 if source == "graph" else 2  # or the second run would be the cached first
    extra = {"extra_pnginfo": {"workflow": graph}}
    outcome = rendered(tiny(prompt, SIZES[path.stem], seed=seed), extra=extra)
    with av.open(str(clip_of(server, outcome))) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        assert (video.height, video.width) == SIZES[path.stem]
        assert float(video.average_rate) == 25
        assert sum(1 for _ in container.decode(video=0)) == CLIP_FRAMES
        length = float(sound.duration * sound.time_base)
        assert length == pytest.approx(VOICE_SECONDS, abs=0.05)
        assert json.loads(container.metadata["workflow"]) == graph
        assert json.loads(container.metadata["prompt"]).keys() == tiny(prompt, SIZE).keys()


@each_graph
def test_the_first_run_of_the_note_is_short(server, rendered, path):
    """``stop_at``, as the note advises it; here 0.2 s."""
    prompt = tiny(read_json(twin(path)), SIZES[path.stem], stop_at=0.2, job_name="first_run")
    with av.open(str(clip_of(server, rendered(prompt)))) as container:
        assert sum(1 for _ in container.decode(video=0)) == 5


@each_graph
def test_the_templates_list_a_workflow_with_its_picture(server, path):
    assert path.stem in server.request("/workflow_templates")["endless-talk"]
    place = f"/api/workflow_templates/endless-talk/{path.stem.replace(' ', '%20')}"
    assert server.request(f"{place}.json") == read_json(path)
    assert server.raw(f"{place}.jpg") == path.with_suffix(".jpg").read_bytes()


@pytest.fixture
def magicinfinite():
    """The one workflow with HunyuanVideo, small; a change of a node is one argument away."""
    (path,) = (path for path in graphs() if path.stem.endswith("HunyuanVideo"))

    def prompt(changes, **sampler):
        small = tiny(read_json(twin(path)), SIZE, **sampler)
        for each in small.values():
            each["inputs"].update(changes.get(each["class_type"], {}))
        return small

    return prompt


@pytest.mark.parametrize(
    ("base", "guidance", "calls"),
    [
        (host_files.HUNYUAN, {"text": 5.0, "audio": 4.0, "folds": "by noise level"}, 114),
        (host_files.HUNYUAN_V2, {"audio": 3.0, "folds": "audio only"}, 100),
    ],
    ids=["33 channels", "first frame replaced"],
)
def test_weights_that_are_not_distilled_are_sampled_as_the_note_says(
    server, rendered, magicinfinite, base, guidance, calls
):
    changes = {
        "EndlessTalkLoadModel": {"base_model": base},
        "EndlessTalkSigmas": {"preset": "custom", "steps": 50, "shift": 7.0, "spacing": "even"},
    }
    prompt = magicinfinite(changes, job_name=f"not_distilled_{calls}", stop_at=0.8)
    guided = {"guidance": ["guidance", 0], "negative": ["negative", 0]}
    sampler_of(prompt)[1].update(guided)
    prompt["guidance"] = node("EndlessTalkGuidance", **guidance)
    prompt["negative"] = node("TestText", text="blurred", **HUNYUAN_TEXT)
    with server.listen() as events:
        outcome = rendered(prompt, timeout=600)
    frames = files.frames_of(clip_of(server, outcome))
    assert len(frames) == 20 and frames.std() > 1
    report = next(text for _, text in reversed(events.texts) if "in all" in text)
    assert f": {2 * calls} in all" in report and "2 windows" in report
    assert "warning" not in report, report


def test_the_voice_is_heard_in_the_box_that_is_typed(server, rendered, magicinfinite):
    clips = [
        files.frames_of(clip_of(server, rendered(magicinfinite(changes, job_name=f"box_{name}"))))
        for name, changes in {
            "face": {},
            "beside": {"EndlessTalkFaceMasks": {"boxes": "0.75 0.75 1 1"}},
            "loud": {"EndlessTalkSpeaker": {"strength": 3.0}},
        }.items()
    ]
    assert not any(np.array_equal(clips[0], other) for other in clips[1:])


def test_api_prompts_are_no_templates(server):
    listed = server.request("/workflow_templates")["endless-talk"]
    assert sorted(listed) == [path.stem for path in graphs()]
