"""The built-in demo of MagicInfinite in a real server: a HunyuanVideo base with the demo's VAE.

The host scales latents as it does for every HunyuanVideo; a mouth that follows its voice there
shows that the model was trained on the same.
"""

import shutil
from pathlib import Path

import files
import host_files
import host_graphs as graphs
import numpy as np
import pytest
import torch
from PIL import Image

from endless_talk.audio.decoding import decode_track
from endless_talk.audio.envelope import voice_envelope
from endless_talk.cli import main
from endless_talk.models.recipes import BUILT_IN, BUILT_IN_FOLDER, HYBRID_BUILT_IN, HYBRID_FOLDER
from endless_talk.training.evaluate import UNSEEN, boxes_of
from endless_talk.training.faces.identity import draw_identity
from endless_talk.training.trial import portrait_of
from endless_talk.video.measure import measure_clip

VOICE = Path(__file__).parents[1] / "end_to_end" / "voice.ogg"
SECONDS, RATE_HZ = 9.0, 16_000

MIN_CORRELATION = 0.8
"""0.864 recorded."""


@pytest.fixture(scope="module")
def graph(server, known):
    """An unseen face and voice through windows of the length it was trained on."""
    shutil.copyfile(VOICE, server.base / "input" / "unseen.ogg")
    face = draw_identity(np.random.default_rng(UNSEEN + 500))
    Image.fromarray(portrait_of([face])).save(server.base / "input" / "unseen.png")
    made = graphs.sliding(graphs.built_in(), window_frames=0, overlap=0, stop_at=SECONDS)
    made["model"] = graphs.node("EndlessTalkLoadModel", base_model=HYBRID_BUILT_IN)
    made["picture"] = graphs.node("LoadImage", image="unseen.png")
    made["voice"] = graphs.node("LoadAudio", audio="unseen.ogg")
    return graphs.with_inputs(made, "sampler", job_name="hybrid_demo", seed=5)


def told(events, node="sampler"):
    """What was said under a node."""
    return "\n".join(text for name, text in events.texts if name == node)


def test_it_is_planned_in_its_windows_before_it_is_loaded(server, graph, rendered):
    with server.listen() as events:
        rendered(graphs.with_inputs(graph, "sampler", action="plan only"))
    assert not {"model", "vae"} & set(events.executed())
    assert "4 windows of 81 frames" in told(events) and "warning" not in told(events)


def test_its_mouth_follows_the_voice_through_the_windows(server, graph, rendered):
    with server.listen() as events:
        made = files.frames_of(server.path(rendered(graph, timeout=300).files("sampler")[0]))
    assert "windows of 81 frames" in told(events) and "warning" not in told(events)
    assert told(events, "model").endswith("64x64 per speaker, 4 steps, shift 5")
    face = draw_identity(np.random.default_rng(UNSEEN + 500))
    pixels = torch.from_numpy(np.array(made)).permute(3, 0, 1, 2).float() / 127.5 - 1
    samples = decode_track(VOICE).samples[: round(SECONDS * RATE_HZ)]
    clip = measure_clip([pixels], [voice_envelope(samples)], boxes=[boxes_of(face)])
    assert clip.mouths[0].sync.correlation >= MIN_CORRELATION
    assert clip.background.moved < 0.02


def test_the_command_line_makes_the_same_clip(server, graph, rendered, tmp_path):
    """Networks, latents, schedule and windows of the host, on the reference networks."""
    seconds = {"stop_at": 4.0, "job_name": "hybrid_alike"}
    outcome = rendered(graphs.with_inputs(graph, "sampler", **seconds), timeout=300)
    there = files.frames_of(server.path(outcome.files("sampler")[0])).astype(int)
    out = tmp_path / "clip.mp4"
    arguments = ["--image", server.base / "input" / "unseen.png", "--audio", VOICE, "--out", out]
    arguments += ["--stop-at", "4", "--seed", "5", "--sampler", "sliding", "--device", "cpu"]
    arguments += ["--weights", HYBRID_FOLDER]
    for role in ("vae", "wav2vec"):
        arguments += [f"--{role}", BUILT_IN_FOLDER / f"{role}.safetensors"]
    assert main(["talk", *map(str, arguments)]) == 0
    here = files.frames_of(out).astype(int)
    assert here.shape == there.shape and len(here) == 100
    assert np.abs(here - there).mean() < 0.5  # of 255; 0.25 recorded, the encoder's


def test_it_is_not_loaded_for_a_sampler_that_cannot_use_it(server, graph, play):
    for action in ("plan only", "render"):
        streamed = graphs.built_in(job_name="hybrid_demo_streamed", action=action)
        streamed["model"] = graph["model"]
        with server.listen() as events:
            outcome = play(streamed)
        assert "use Talk Sampler (Sliding Window)" in outcome.message
        assert not {"model", "vae"} & set(events.executed())


def test_what_it_was_not_made_for_is_refused_in_words(graph, play):
    prompted = graphs.with_inputs(graph, "sampler", positive=["text", 0], action="plan only")
    prompted["text"] = graphs.node("TestText", text="a person speaks")
    other = graphs.with_inputs(graph, "model", adapter=BUILT_IN)
    foreign = graphs.with_inputs(graph, "model", adapter=host_files.SINGLE)
    for wrong, words in (
        (prompted, "trained without text"),
        (other, "adapter"),
        (foreign, "adapter of its own"),
    ):
        outcome = play(wrong)
        assert outcome.status in ("failed", "refused") and words in outcome.message
