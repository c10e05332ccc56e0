"""Jobs over HTTP: what is there is not made again, and nothing that was made is lost."""

import json
import time

import files
import host_graphs as graphs
import numpy as np
import pytest
from host_graphs import CHUNKS, CLIP_FRAMES


def clip(server, outcome):
    return files.frames_of(server.path(outcome.files("sampler")[0]))


def folder(server, job):
    return server.base / "output" / "endless_talk" / job


def status(server, job):
    return json.loads((folder(server, job) / "status.json").read_text())


def segments(server, job):
    """Chunks on the disk with the time they were written."""
    found = (folder(server, job) / ".job").glob("*.mp4")
    return {path.stem: path.stat().st_mtime_ns for path in found}


def report(events):
    return [text for node, text in events.texts if node == "sampler"][-1]


@pytest.fixture(scope="module")
def whole(server, known):
    """A clip made in one go."""
    outcome = server.run(graphs.one_speaker(job_name="whole"), timeout=300)
    assert outcome.status == "success", f"{outcome.message}\n{outcome.detail}"
    return clip(server, outcome)


def test_a_time_budget_returns_what_is_there_and_the_same_prompt_goes_on(server, rendered, whole):
    graph = graphs.one_speaker(job_name="budget", time_budget=0.001)
    seen = []
    for run in range(CHUNKS):
        made = clip(server, rendered(graph))
        seen.append(len(made))
        done = status(server, "budget")
        assert done["chunks_done"] == run + 1 and done["chunks"] == CHUNKS
        assert done["state"] == ("finished" if run == CHUNKS - 1 else "stopped")
    assert seen == [17, 25, CLIP_FRAMES]
    assert np.array_equal(made, whole)
    assert not list(folder(server, "budget").glob("*_part.mp4"))
    with server.listen() as events:
        rendered(graph)
    assert events.executed() == [], "a finished job is cached like any other node"


def test_a_finished_job_loads_nothing(server, rendered, whole):
    server.request("/free", {"unload_models": True, "free_memory": True})
    renamed = {"1" + name: one for name, one in graphs.one_speaker(job_name="whole").items()}
    for one in renamed.values():
        for name, value in one["inputs"].items():
            if isinstance(value, list):
                one["inputs"][name] = ["1" + value[0], value[1]]
    renamed["1sampler"]["_meta"] = {"title": "Another title"}
    before = segments(server, "whole")
    with server.listen() as events:
        outcome = rendered(renamed)
    assert not {"1model", "1vae", "1positive"} & set(events.executed())
    assert np.array_equal(files.frames_of(server.path(outcome.files("1sampler")[0])), whole)
    assert segments(server, "whole") == before


def test_a_first_try_of_some_seconds_is_not_made_again(server, rendered, whole):
    short = clip(server, rendered(graphs.one_speaker(job_name="try", stop_at=0.9)))
    assert np.array_equal(short, whole[:23]), "a chunk that is not shown to its end is made to it"
    assert status(server, "try")["chunks_done"] == status(server, "try")["chunks"] == 2
    first = segments(server, "try")
    made = clip(server, rendered(graphs.one_speaker(job_name="try")))
    assert np.array_equal(made, whole)
    assert len(first) == 2 and first.items() <= segments(server, "try").items()
    again = rendered(graphs.one_speaker(job_name="try", stop_at=0.9))
    assert again.files("sampler")[0]["filename"] == "try_00001_.mp4"
    assert len(list(folder(server, "try").glob("try_*_.mp4"))) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda graph: graphs.with_inputs(graph, "sampler", seed=43),
        lambda graph: graphs.with_inputs(graph, "sampler", color_strength=0.5),
        lambda graph: graphs.with_inputs(graph, "positive", text="a person sings"),
        lambda graph: graphs.with_inputs(graph, "speaker", strength=0.5),
        lambda graph: graphs.with_lora(graph, strength=0.8),
    ],
    ids=["seed", "colour", "prompt", "strength", "lora"],
)
def test_what_all_chunks_depend_on_makes_all_of_them_again(server, rendered, change, request):
    job = f"changed {request.node.callspec.id}"
    graph = graphs.one_speaker(job_name=job)
    rendered(graph)
    before = segments(server, job)
    rendered(change(graph))
    new = segments(server, job).keys() - before.keys()
    assert len(before) == len(new) == CHUNKS
    assert len(list(folder(server, job).glob(f"{job}_*_.mp4"))) == 2


def test_another_strength_of_a_lora_is_another_clip(server, rendered):
    graph = graphs.one_speaker(job_name="lora")
    rendered(graphs.with_lora(graph, strength=0.8))
    first = segments(server, "lora")
    rendered(graphs.with_lora(graph, strength=0.4))
    assert len(segments(server, "lora")) == 2 * len(first) == 2 * CHUNKS


def test_a_change_in_the_course_of_the_clip_leaves_what_is_before_it(server, rendered):
    graph = graphs.one_speaker(job_name="changing")
    rendered(graph)
    before = segments(server, "changing")
    rendered(with_timeline(graph, "#1 seed 7"))
    new = segments(server, "changing").keys() - before.keys()
    assert len(new) == CHUNKS - 1, "the first chunk is the same, the others go on from another"


def test_a_chunk_made_again_leaves_the_rest_as_it_is(server, play, rendered):
    sizes = {"chunk_frames": 21, "context_frames": 5, "job_name": "again", "quality": "lossless"}
    graph = graphs.one_speaker(**sizes)
    retake = with_timeline(graph, "#0 seed 7, keep rest")
    early = play(
        with_timeline(graphs.one_speaker(**{**sizes, "job_name": "early"}), "#0 seed 7, keep rest")
    )
    assert early.status == "failed" and "render it without this line first" in early.message
    first = clip(server, rendered(graph)).astype(int)
    before = segments(server, "again")
    taken = clip(server, rendered(retake)).astype(int)
    assert len(segments(server, "again").keys() - before.keys()) == 1
    assert np.abs(taken[:10] - first[:10]).mean() > 1, "another seed is another take"
    assert np.array_equal(taken[21:], first[21:]), "what follows was not touched"
    assert np.abs(taken[20] - first[20]).mean() < 1, "it ends as it did before"


def with_timeline(graph, lines):
    """The same with a line in its timeline."""
    changed = graphs.with_inputs(graph, "sampler", timeline=["timeline", 0])
    return graphs.with_node(changed, "timeline", "EndlessTalkTimeline", lines=lines)


def test_the_finished_part_can_be_collected_without_a_model(server, play, rendered, whole):
    graph = graphs.one_speaker(job_name="collect", time_budget=0.001)
    missing = play(graphs.with_inputs(graph, "sampler", action="collect finished part"))
    assert missing.status == "failed" and "no finished chunk" in missing.message
    rendered(graph)
    with server.listen() as events:
        part = rendered(graphs.with_inputs(graph, "sampler", action="collect finished part"))
    assert np.array_equal(clip(server, part), whole[:17])
    assert not {"model", "vae"} & set(events.executed())


def test_a_cancelled_job_keeps_its_chunks(server, rendered, whole):
    graph = graphs.one_speaker(job_name="cancel")
    prompt = server.submit(graph)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not segments(server, "cancel"):
        time.sleep(0.02)
    server.interrupt()
    assert server.result(prompt).status == "interrupted"
    kept = segments(server, "cancel")
    if len(kept) < CHUNKS:
        said = status(server, "cancel")
        assert said["state"] == "stopped" and said["message"] == "stopped by the user"
        assert said["clip"] == "cancel_part.mp4"
    made = clip(server, rendered(graph))
    assert np.array_equal(made, whole)
    after = segments(server, "cancel")
    assert all(after[key] == written for key, written in kept.items())


def test_a_job_of_a_newer_version_is_refused_and_left_alone(server, play, rendered):
    graph = graphs.one_speaker(job_name="newer", stop_at=0.2)
    rendered(graph)
    plan = folder(server, "newer") / ".job" / "plan.json"
    newer = json.loads(plan.read_text())
    newer["schema"] += 1
    plan.write_text(json.dumps(newer))
    outcome = play(graphs.with_inputs(graph, "sampler", seed=1))
    assert outcome.status == "failed" and "newer" in outcome.message
    assert json.loads(plan.read_text()) == newer, "nothing was overwritten"
