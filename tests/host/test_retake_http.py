"""Chunks made again through a server: exactly those that a line names, whatever was made before."""

from itertools import pairwise

import files
import host_graphs as graphs
import numpy as np
import pytest

SIZES = {"chunk_frames": 21, "context_frames": 5, "quality": "lossless", "job_name": "retake"}
BEGINS = (0, 21, 37, 50)
"""First new frame of every chunk, and the clip's end."""


def segments(server):
    """Chunks on the disk with the time they were written."""
    found = (server.base / "output" / "endless_talk" / "retake" / ".job").glob("*.mp4")
    return {path.stem: path.stat().st_mtime_ns for path in found}


@pytest.fixture
def take(server, rendered):
    """Render with lines in the timeline: the frames, and how many chunks were made for them."""

    voice = files.voice(server.base / "input" / "retake.wav", BEGINS[-1] / 25)

    def run(lines=""):
        graph = graphs.with_inputs(graphs.one_speaker(**SIZES), "voice", audio=voice.name)
        if lines:
            graph = graphs.with_inputs(graph, "sampler", timeline=["timeline", 0])
            graph = graphs.with_node(graph, "timeline", "EndlessTalkTimeline", lines=lines)
        before = segments(server)
        outcome = rendered(graph, timeout=300)
        after = segments(server)
        assert all(after[key] == written for key, written in before.items()), "one was overwritten"
        frames = files.frames_of(server.path(outcome.files("sampler")[0])).astype(int)
        return frames, len(after) - len(before)

    return run


def changed(frames, others):
    """Chunks in which two clips differ visibly."""
    spans = pairwise(BEGINS)
    return [
        index
        for index, (begin, stop) in enumerate(spans)
        if np.abs(frames[begin:stop] - others[begin:stop]).max() > 2
    ]


def test_a_line_makes_one_chunk_again_and_only_that(take):
    whole, made = take()
    assert made == len(BEGINS) - 1 and len(whole) == BEGINS[-1]
    takes = {}
    for line, chunk in (("#1 seed 7, keep rest", 1), ("#2 seed 9, keep rest", 2)):
        takes[chunk], made = take(line)
        assert made == 1 and changed(takes[chunk], whole) == [chunk]
    again, made = take("#1 seed 8, keep rest")
    assert made == 1 and changed(again, takes[1]) == [1], "another seed is another take"
    both, made = take("#1 seed 7, keep rest\n#2 seed 9, keep rest")
    assert made == 0, "both takes are there"
    assert changed(both, takes[1]) == [2] and changed(both, takes[2]) == [1]
    back, made = take()
    assert made == 0 and np.array_equal(back, whole), "the first clip is still there"
