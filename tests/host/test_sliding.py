"""Clips through sliding windows over HTTP: made, resumed, cancelled, and refused when wrong."""

import json
import time

import files
import host_graphs as graphs
import numpy as np
import pytest
from host_graphs import CLIP_FRAMES, sliding

WINDOWS, STEPS = 3, 4
"""The 31 frames of ``voice.wav`` are 9 latents, in windows of 5 that share 2."""

OURS = ("InputError", "FileNotFoundError")
MODELS = {"model", "vae", "positive", "negative"}


def clip(server, outcome):
    return files.frames_of(server.path(outcome.files("sampler")[0]))


def folder(server, job):
    return server.base / "output" / "endless_talk" / job


def status(server, job):
    return json.loads((folder(server, job) / "status.json").read_text())


def states(server, job):
    """Steps of a job that are on the disk, by name; a piece has a video beside its state."""
    paths = (folder(server, job) / ".job").glob("*.safetensors")
    return [path for path in paths if not path.with_suffix(".mp4").exists()]


def pieces(server, job):
    found = (folder(server, job) / ".job").glob("*.mp4")
    return {path.stem: path.stat().st_mtime_ns for path in found}


def report(events):
    return [text for node, text in events.texts if node == "sampler"][-1]


@pytest.fixture(scope="module")
def whole(server, known):
    """A clip made in one go, and what was said of it."""
    with server.listen() as events:
        outcome = server.run(sliding(job_name="slid"), timeout=300)
    assert outcome.status == "success", f"{outcome.message}\n{outcome.detail}"
    return clip(server, outcome), events


def test_a_clip_through_three_windows_has_every_frame(server, whole):
    frames, events = whole
    assert frames.shape[0] == CLIP_FRAMES and frames.std() > 1
    said = report(events)
    assert "3 windows of 17 frames" in said and "share 8" in said, said
    assert f"{STEPS} steps per window, 1 network call per step: {STEPS * WINDOWS} in all" in said
    assert status(server, "slid")["state"] == "finished"
    assert len(states(server, "slid")) == 1, "the latents stay with the chunks"


def test_progress_tells_steps_and_windows(whole):
    lines = [text for node, text in whole[1].texts if node == "sampler"]
    assert any(line.startswith("step 2/4, window 3/3 · ") for line in lines), lines
    assert whole[1].previews


def test_a_finished_clip_loads_nothing(server, rendered, whole):
    server.request("/free", {"unload_models": True, "free_memory": True})
    time.sleep(1.2)  # the worker looks at the request once a second
    with server.listen() as events:
        again = rendered(sliding(job_name="slid"))
    assert not MODELS & set(events.executed())
    assert np.array_equal(clip(server, again), whole[0])


def test_it_depends_on_windows_voice_and_seed(server, rendered, whole):
    changes = {
        "one": {"window_frames": 0},
        "shared": {"overlap": 4},
        "average": {"blend": "average"},
        "previous": {"first_frame": "previous estimate"},
        "seed": {"seed": 43},
    }
    for name, change in changes.items():
        other = clip(server, rendered(sliding(job_name=f"slid_{name}", **change)))
        assert other.shape == whole[0].shape
        assert not np.array_equal(other, whole[0]), name


def test_a_clip_that_fits_one_window_is_the_streaming_samplers(server, rendered):
    settings = {"steps": STEPS, "quality": "lossless", "color_anchor": "none"}
    streamed = graphs.one_speaker(
        job_name="streamed", chunk_frames=81, context_frames=9, **settings
    )
    one = sliding(job_name="one_window", window_frames=81, overlap=0, **settings)
    with server.listen() as events:
        got = clip(server, rendered(one))
    assert "one window" in report(events)
    assert np.array_equal(got, clip(server, rendered(streamed)))


def test_a_time_budget_stops_between_steps_and_the_same_prompt_goes_on(server, rendered, whole):
    graph, seen = sliding(job_name="slid_budget", time_budget=0.001), []
    for run in range(STEPS + 3):
        with server.listen() as events:
            outcome = rendered(graph)
        done = status(server, "slid_budget")
        if done["state"] == "finished":
            break
        seen.append(report(events))
        assert done["state"] == "stopped" and "time budget" in done["message"]
        assert f"{min(run + 1, STEPS)} of {STEPS} steps are kept" in done["message"], done
        assert len(states(server, "slid_budget")) == 1
    assert 3 <= len(seen) <= STEPS, "a step a run; the last may also decode"
    assert "no frame is decoded yet" in seen[0] and "not complete" in seen[0]
    assert np.array_equal(clip(server, outcome), whole[0])


def test_a_cancelled_clip_goes_on_after_its_last_step(server, rendered, whole):
    graph = sliding(job_name="slid_cancel")
    prompt = server.submit(graph)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not states(server, "slid_cancel"):
        time.sleep(0.005)
    server.interrupt()
    stopped = server.result(prompt).status
    if stopped == "interrupted":
        said = status(server, "slid_cancel")
        assert said["state"] == "stopped" and said["message"] == "stopped by the user"
    with server.listen() as events:
        made = clip(server, rendered(graph))
    assert np.array_equal(made, whole[0])
    first = next((t for node, t in events.texts if node == "sampler" and t.startswith("step")), "")
    assert stopped != "interrupted" or not first.startswith("step 1/"), first


def test_other_colours_decode_again_and_sample_nothing(server, rendered, whole):
    with server.listen() as events:
        rendered(sliding(job_name="slid", color_strength=0.5))
    lines = [text for node, text in events.texts if node == "sampler"]
    assert not any(line.startswith("step") for line in lines)
    assert any("decoded" in line for line in lines)


def test_clip_only_keeps_no_latents(server, rendered):
    rendered(sliding(job_name="slid_only", keep="clip only"))
    assert not states(server, "slid_only") and not pieces(server, "slid_only")


def test_the_plan_alone_loads_nothing(server, rendered):
    server.forget()
    with server.listen() as events:
        rendered(sliding(job_name="slid_plan", action="plan only"))
    assert "3 windows" in report(events) and not MODELS & set(events.executed())
    assert not folder(server, "slid_plan").exists()


def test_what_is_there_can_be_collected(server, play, rendered):
    graph = sliding(job_name="slid_part", time_budget=0.001)
    rendered(graph)
    outcome = play(graphs.with_inputs(graph, "sampler", action="collect finished part"))
    assert outcome.status == "failed" and "no finished chunk" in outcome.message


def test_a_sampler_with_a_memory_says_that_a_stop_begins_anew(server, rendered):
    graph = graphs.with_node(
        sliding(job_name="slid_memory"), "kind", "KSamplerSelect", sampler_name="dpmpp_2m"
    )
    with server.listen() as events:
        rendered(graphs.with_inputs(graph, "sampler", sampler=["kind", 0]))
    assert "a stop begins the steps anew" in report(events)


def test_previous_estimates_say_when_no_step_is_low_enough_for_them(server, rendered):
    graph = sliding(job_name="slid_high", first_frame="previous estimate", action="plan only")
    high = graphs.with_inputs(graph, "sampler", shift=12.0)
    said = {}
    for name, each in (("low", graph), ("high", high)):
        with server.listen() as events:
            rendered(graphs.with_inputs(each, "sampler", steps=8 if name == "low" else 4))
        said[name] = report(events)
    assert "reference throughout" in said["high"]
    assert "reference throughout" not in said["low"]


def with_context_windows(graph):
    """The host's own context windows between loader and sampler."""
    patched = graphs.with_inputs(graph, "sampler", model=["cut", 0])
    return graphs.with_node(
        patched,
        "cut",
        "WanContextWindowsManual",
        model=["model", 0],
        context_length=9,
        context_overlap=4,
        context_schedule="standard_static",
        context_stride=1,
        closed_loop=False,
        fuse_method="pyramid",
        freenoise=False,
        retain_first_frame=False,
        split_conds_to_windows=False,
    )


def test_the_hosts_context_windows_do_not_cut_ours_again(server, rendered, whole):
    with server.listen() as events:
        got = clip(server, rendered(with_context_windows(sliding(job_name="slid_cut"))))
    assert "context windows of another node are not used" in report(events)
    assert np.array_equal(got, whole[0])


def test_the_hosts_context_windows_cut_a_clip_of_one_window(server, rendered, whole):
    one = sliding(job_name="slid_theirs", window_frames=81, overlap=0)
    with server.listen() as events:
        got = clip(server, rendered(with_context_windows(one)))
    assert "cut the clip" in report(events)
    assert got.shape == whole[0].shape and not np.array_equal(got, whole[0])


def test_two_speakers_in_windows(server, rendered):
    got = clip(server, rendered(sliding(graphs.two_speakers(), job_name="slid_two")))
    faces = sliding(graphs.two_speakers(), job_name="slid_faces", audio_region="face")
    other = clip(server, rendered(faces))
    assert got.shape == other.shape and not np.array_equal(got, other)


def test_a_timeline_changes_prompt_and_voice_by_windows(server, rendered, whole):
    graph = with_timeline(sliding(job_name="slid_lines"), "#1 audio 0.3")
    with server.listen() as events:
        got = clip(server, rendered(graph))
    assert "#1" in report(events)
    assert got.shape == whole[0].shape and not np.array_equal(got, whole[0])


def with_timeline(graph, lines):
    changed = graphs.with_inputs(graph, "sampler", timeline=["timeline", 0])
    return graphs.with_node(changed, "timeline", "EndlessTalkTimeline", lines=lines)


def with_video(graph):
    graph = graphs.with_node(graph, "film", "LoadVideo", file="video.mp4")
    height, width = 64, 64
    return graphs.with_node(
        graph,
        "reference",
        "EndlessTalkReferenceVideo",
        video=["film", 0],
        size="custom",
        width=width,
        height=height,
    )


def with_sampler(name):
    graph = graphs.with_node(sliding(), "kind", "KSamplerSelect", sampler_name=name)
    return graphs.with_inputs(graph, "sampler", sampler=["kind", 0])


def without_negative():
    guided = graphs.with_guidance(sliding(), 5.0, 4.0)
    return graphs.with_inputs(guided, "sampler", negative=None)


WRONG = {
    "window of 18 frames": (sliding(window_frames=18), ("18", "17 or 21")),
    "overlap of 6 frames": (sliding(overlap=6), ("6", "8")),
    "overlap of more than half": (sliding(overlap=12), ("12 of 17", "8")),
    "window that adds nothing": (
        sliding(window_frames=5, overlap=4),
        ("window_frames is 5", "at least 9"),
    ),
    "no picture in later windows": (
        sliding(first_frame="first window only"),
        ("first window only", "anchor slot"),
    ),
    "video to dub": (with_video(sliding()), ("Reference Video", "Talk Sampler (Streaming)")),
    "seed in the timeline": (
        with_timeline(sliding(), "#1 seed 7"),
        ("'seed'", "one noise"),
    ),
    "chunk made again": (
        with_timeline(sliding(), "#0 seed 7, keep rest"),
        ("'keep rest'", "Streaming"),
    ),
    "face without a face": (sliding(audio_region="face"), ("audio_region", "Face Masks")),
    "sampler of its own steps": (with_sampler("dpm_adaptive"), ("dpm_adaptive",)),
    "guidance without a negative": (without_negative(), ("negative",)),
    "job name that leaves the folder": (sliding(job_name="../away"), ("job_name",)),
    "end before the beginning": (sliding(stop_at=-1.0), ("stop_at",)),
    "no model": (graphs.with_inputs(sliding(), "sampler", model=None), ("model",)),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_graph_is_answered_in_one_sentence_before_a_model_is_loaded(server, play, name):
    graph, says = WRONG[name]
    server.forget()
    with server.listen() as events:
        outcome = play(graph)
    assert outcome.status in ("refused", "failed"), outcome.status
    for word in says:
        assert word in outcome.message, outcome.message
    assert outcome.message.count("\n") == 0 and len(outcome.message) < 400, outcome.message
    if outcome.status == "failed":
        assert outcome.detail.endswith(OURS) and outcome.node == "sampler", outcome.detail
    assert not MODELS & set(events.executed())


def test_a_model_without_an_adapter_is_refused(play):
    graph = graphs.with_node(
        sliding(),
        "model",
        "UNETLoader",
        unet_name="tiny_i2v_fp32.safetensors",
        weight_dtype="default",
    )
    outcome = play(graph)
    assert outcome.status == "failed" and "Apply Audio Adapter" in outcome.message


def test_two_problems_are_told_at_once(play):
    message = play(sliding(window_frames=18, stop_at=0.0, audio_region="face")).message
    assert "18" in message and "audio_region" in message and "\n" in message
