"""Two servers on one disk: a job belongs to one of them at a time, and to all when done."""

import json
import time

import files
import host_graphs as graphs
import numpy as np
import pytest
from host_server import beside

JOB, CHANGING = "shared", ("status.json", "lock")


@pytest.fixture(scope="module")
def second(server, tmp_path_factory):
    with beside(server, tmp_path_factory.mktemp("second")) as other:
        yield other


def job(server):
    return server.base / "output" / "endless_talk" / JOB


def content(server):
    """What is in the job's folder but how far it is and whose it was last."""
    found = (path for path in job(server).rglob("*") if path.is_file())
    return {path.name: path.read_bytes() for path in found if path.name not in CHANGING}


def wait_for_chunks(server, count):
    """Until so many chunks are there."""
    status, end = job(server) / "status.json", time.monotonic() + 120
    while time.monotonic() < end:
        if status.exists() and json.loads(status.read_text())["chunks_done"] >= count:
            return
        time.sleep(0.02)
    raise TimeoutError(f"no {count} chunks\n{server.log_tail()}")


def test_a_job_that_is_running_is_refused_elsewhere_and_left_alone(server, second, known):
    voice = files.voice(server.base / "input" / "shared.wav", 4.0)
    graph = graphs.with_inputs(graphs.one_speaker(job_name=JOB), "voice", audio=voice.name)
    other = graphs.with_inputs(graph, "sampler", seed=7)
    prompt = server.submit(graph)
    wait_for_chunks(server, 1)
    before = content(server)
    for each in (graph, other):
        with second.listen() as events:
            outcome = second.run(each)
        assert outcome.status == "failed" and outcome.node == "sampler", outcome
        assert "another process is rendering the job 'shared' (chunk " in outcome.message
        assert "choose another job name" in outcome.message
        assert not {"positive", "model", "vae"} & set(events.executed()), (
            "nothing was loaded for it"
        )
    status = json.loads((job(server) / "status.json").read_text())
    assert status["state"] == "running", "it was over before the other server asked"
    after = content(server)
    done = [name for name in before if not name.startswith(".")]
    assert done and all(after[name] == before[name] for name in done)
    assert server.result(prompt, timeout=300).status == "success"


def test_what_one_server_made_the_other_finds(server, second, known):
    graph = graphs.with_inputs(graphs.one_speaker(job_name=JOB), "voice", audio="shared.wav")
    mine = server.run(graph, timeout=300)
    before = content(server)
    theirs = second.run(graph, timeout=300)
    assert theirs.status == "success", f"{theirs.message}\n{theirs.detail}"
    clips = [each.path(run.files("sampler")[0]) for each, run in ((server, mine), (second, theirs))]
    assert clips[0].resolve() == clips[1].resolve()
    assert np.array_equal(*map(files.frames_of, clips))
    assert content(server) == before, "another server made something again"
