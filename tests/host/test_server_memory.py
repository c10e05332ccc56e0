"""What a long clip costs a server in memory: nothing per chunk.

A server of its own, so that nothing else is in its memory. Its process is looked at from outside,
whenever the status of the job says that a chunk more is there.
"""

import json
import sys
from dataclasses import replace

import files
import host_files
import host_graphs as graphs
import numpy as np
import pytest
import tiny
from host_server import beside
from memory import anonymous_bytes, needs_proc, share_per_chunk

from endless_talk.models.networks import RANDOM_VAE
from endless_talk.models.wan_vae import WanVAE

pytestmark = needs_proc

SIDE, FRAMES, CONTEXT = 96, 17, 9
CHUNK_BYTES = FRAMES * SIDE * SIDE * 3
"""One chunk's frames as uint8."""

MAX_SHARE = 0.05
"""Growth per chunk, in frames of a chunk: 0.004 to 0.005 recorded."""


THIN_VAE = "thin/wan_layout.safetensors"
"""Wan's layout at the smallest width that ComfyUI loads; the VAE takes nearly all of the time."""

FREED_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""What is freed goes back to the system, so that what is resident is in use."""


@pytest.fixture(scope="module")
def alone(server, tmp_path_factory):
    thin = tiny.randomized(WanVAE(replace(RANDOM_VAE, width=2)), seed=14).state_dict()
    host_files.write(server.base / "models" / "vae" / THIN_VAE, thin)
    with beside(server, tmp_path_factory.mktemp("alone"), environment=FREED_AT_ONCE) as other:
        yield other


def long_clip(server, chunks, job):
    """A clip of so many chunks, of one step each."""
    seconds = (FRAMES + (chunks - 1) * (FRAMES - CONTEXT)) / 25
    voice = files.voice(server.base / "input" / f"{job}.wav", seconds)
    graph = graphs.one_speaker(
        job_name=job, steps=1, chunk_frames=FRAMES, context_frames=CONTEXT, keep="clip only"
    )
    graph = graphs.with_inputs(graph, "voice", audio=voice.name)
    graph = graphs.with_inputs(graph, "vae", vae=THIN_VAE)
    return graphs.with_inputs(graph, "reference", width=SIDE, height=SIDE)


def memory_after_chunks(server, chunks, job):
    """Least anonymous memory of the server after each chunk of a job, until the next is there.

    The most would be that of a network at work.
    """
    status = server.base / "output" / "endless_talk" / job / "status.json"
    prompt = server.submit(long_clip(server, chunks, job))
    seen: dict[int, int] = {}

    def look():
        done = json.loads(status.read_text())["chunks_done"] if status.exists() else 0
        seen[done] = min(anonymous_bytes(server.pid), seen.get(done, sys.maxsize))

    outcome = server.result(prompt, timeout=500, meanwhile=look)
    seen.pop(0, None)
    assert outcome.status == "success", f"{outcome.message}\n{outcome.detail}"
    assert len(seen) > 0.9 * chunks, "chunks went by unseen"
    return np.array([seen[chunk] for chunk in sorted(seen)])


def share(memory):
    """Slope over chunks, in frames of a chunk per chunk.

    Of the least in every five: a preview on its way holds some more for a moment.
    """
    floor = memory[: len(memory) // 5 * 5].reshape(-1, 5).min(axis=1)
    return share_per_chunk(floor, CHUNK_BYTES) / 5


def test_memory_does_not_grow_with_the_clip(alone):
    memory = memory_after_chunks(alone, 64, "memory")
    grown = share(memory[20:60])
    print(f"{grown:+.4f} of a chunk's frames per chunk, {memory[-1] / 1e6:.0f} MB at the end")
    assert grown <= MAX_SHARE


def test_keeping_frames_would_be_noticed(alone):
    assert alone.run({"hoard": graphs.node("TestHoard")}).status == "success"
    memory = memory_after_chunks(alone, 27, "hoard")
    assert share(memory[5:25]) > 5 * MAX_SHARE, "of 17 frames of a chunk 8 are new, so 0.47"
