"""The hybrid demonstration model in a real server: a HunyuanVideo base with the demo's VAE.

The host scales latents as it does for every HunyuanVideo; a mouth that follows its voice there
shows that the model was trained on the same.
"""

import shutil
from pathlib import Path

import files
import host_graphs as graphs
import numpy as np
import pytest
import torch
from PIL import Image

from endless_talk.audio.decoding import decode_track
from endless_talk.audio.envelope import voice_envelope
from endless_talk.nodes.examples import ASSETS
from endless_talk.training.evaluate import UNSEEN, boxes_of
from endless_talk.training.faces.identity import draw_identity
from endless_talk.training.trial import portrait_of
from endless_talk.video.measure import measure_clip

VOICE = Path(__file__).parents[1] / "end_to_end" / "voice.ogg"
BASE, ADAPTER = "hybrid_demo.safetensors", "hybrid_demo_adapter.safetensors"
SECONDS, RATE_HZ = 9.0, 16_000

MIN_CORRELATION = 0.8
"""0.862 recorded."""


@pytest.fixture(scope="module")
def graph(server, known):
    """An unseen face and voice through windows of 81 frames."""
    folder = server.base / "models" / "diffusion_models"
    for name, to in (("base", BASE), ("adapter", ADAPTER)):
        shutil.copyfile(ASSETS / "demo-hybrid" / f"{name}.safetensors", folder / to)
    shutil.copyfile(VOICE, server.base / "input" / "unseen.ogg")
    face = draw_identity(np.random.default_rng(UNSEEN + 500))
    Image.fromarray(portrait_of([face])).save(server.base / "input" / "unseen.png")
    made = graphs.sliding(graphs.built_in(), window_frames=81, overlap=0, stop_at=SECONDS)
    made["model"] = graphs.node("EndlessTalkLoadModel", base_model=BASE, adapter=ADAPTER)
    made["picture"] = graphs.node("LoadImage", image="unseen.png")
    made["voice"] = graphs.node("LoadAudio", audio="unseen.ogg")
    yield graphs.with_inputs(made, "sampler", job_name="hybrid_demo", seed=5)
    for name in (BASE, ADAPTER):
        (folder / name).unlink()


def test_its_mouth_follows_the_voice_through_the_windows(server, graph, rendered):
    made = files.frames_of(server.path(rendered(graph, timeout=300).files("sampler")[0]))
    face = draw_identity(np.random.default_rng(UNSEEN + 500))
    pixels = torch.from_numpy(np.array(made)).permute(3, 0, 1, 2).float() / 127.5 - 1
    samples = decode_track(VOICE).samples[: round(SECONDS * RATE_HZ)]
    clip = measure_clip([pixels], [voice_envelope(samples)], boxes=[boxes_of(face)])
    assert clip.mouths[0].sync.correlation >= MIN_CORRELATION
    assert clip.background.moved < 0.02
