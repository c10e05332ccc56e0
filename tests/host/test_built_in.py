"""The model that comes with the pack, in a real server: no files, no text, no CLIP vision."""

import files
import host_graphs as graphs
import numpy as np
import pytest
from host_files import SIZE
from host_graphs import CLIP_FRAMES

from endless_talk.cli import main
from endless_talk.models.recipes import BUILT_IN
from endless_talk.nodes.examples import ASSETS, EXAMPLES


def frames(server, outcome):
    """Frames of the clip of a graph's sampler."""
    return files.frames_of(server.path(outcome.files("sampler")[0])).astype(int)


def told(events, node):
    """What was said under a node."""
    return "\n".join(text for name, text in events.texts if name == node)


def options(known, kind, name):
    """Entries and default of a list."""
    spec = {**known[kind]["input"].get("required", {}), **known[kind]["input"].get("optional", {})}
    return spec[name][1]["options"], spec[name][1].get("default")


@pytest.mark.parametrize(
    ("kind", "name", "default"),
    [
        ("EndlessTalkLoadVAE", "vae", "auto"),
        ("EndlessTalkLoadWav2Vec", "wav2vec", "auto"),
        ("EndlessTalkLoadModel", "base_model", "wan2.1_i2v_480p_14B_fp8_scaled.safetensors"),
    ],
)
def test_it_is_the_first_entry_and_not_the_default_of_who_has_weights(known, kind, name, default):
    entries, chosen = options(known, kind, name)
    assert entries[0] == BUILT_IN and chosen == default


def test_it_is_no_model_of_the_host(known):
    for kind, name in (("UNETLoader", "unet_name"), ("VAELoader", "vae_name")):
        listed = known[kind]["input"]["required"][name]
        listed = listed[1]["options"] if listed[0] == "COMBO" else listed[0]
        assert listed and not {"base.safetensors", "vae.safetensors", BUILT_IN} & set(listed)
    assert BUILT_IN not in options(known, "EndlessTalkApplyAdapter", "adapter")[0]


def test_the_examples_are_offered_and_what_is_there_stays(server, known):
    portrait, speech = (server.base / "input" / name for name in EXAMPLES)
    assert portrait.read_bytes() == (ASSETS / "portrait.png").read_bytes()
    assert speech.read_bytes() != (ASSETS / "speech.flac").read_bytes()


@pytest.fixture(scope="module")
def plain(server, known):
    """The simplest clip, made once."""
    with server.listen() as events:
        outcome = server.run(graphs.built_in(), timeout=300)
    assert outcome.status == "success", f"{outcome.message}\n{outcome.detail}"
    return outcome, events


def test_it_speaks_without_a_word_of_warning(server, plain):
    outcome, events = plain
    made = frames(server, outcome)
    assert made.shape == (CLIP_FRAMES, *SIZE, 3)
    assert "warning" not in told(events, "sampler")
    assert told(events, "model").startswith(f"{BUILT_IN}: {SIZE[1]}x{SIZE[0]} per speaker")


def test_the_same_again_executes_nothing(server, plain):
    with server.listen() as events:
        assert server.run(graphs.built_in()).status == "success"
    assert events.executed() == []


def test_it_comes_back_after_the_models_were_unloaded(server, plain, rendered):
    server.forget()
    again = rendered(graphs.built_in(job_name="reloaded"))
    assert np.array_equal(frames(server, again), frames(server, plain[0]))


def test_the_command_line_makes_the_same_clip(server, rendered, tmp_path):
    graph = graphs.built_in(job_name="alike", chunk_frames=81, context_frames=9, stop_at=0.6)
    there = frames(server, rendered(graph, timeout=300))
    folder, out = server.base / "input", tmp_path / "clip.mp4"
    arguments = ["--image", folder / "portrait.png", "--audio", folder / "voice.wav"]
    arguments += ["--out", out, "--stop-at", "0.6", "--device", "cpu"]
    assert main(["talk", *map(str, arguments)]) == 0
    here = files.frames_of(out).astype(int)
    assert here.shape == there.shape
    assert np.abs(here - there).mean() < 0.5


@pytest.mark.parametrize(
    ("node", "inputs", "says"),
    [
        ("reference", {"width": 80}, f"choose {SIZE[1]}x{SIZE[0]}"),
        ("sampler", {"steps": 2}, "set steps to"),
        ("sampler", {"shift": 1.0}, "shift to 0"),
    ],
    ids=["size", "steps", "shift"],
)
def test_what_it_was_not_made_for_is_warned_of(server, rendered, node, inputs, says):
    graph = graphs.built_in(job_name="warned", stop_at=0.2, chunk_frames=5, context_frames=1)
    with server.listen() as events:
        rendered(graphs.with_inputs(graph, node, **inputs))
    assert says in told(events, "sampler")


def test_its_shift_is_chosen_before_it_is_loaded(server, rendered):
    """`plan only` loads nothing, and knows the schedule all the same."""
    with server.listen() as events:
        rendered(graphs.built_in(job_name="planned", action="plan only"))
    assert "warning" not in told(events, "sampler")
    assert not {"model", "vae"} & set(events.executed())


def test_two_speakers_stand_side_by_side(server, rendered):
    graph = graphs.two_speakers(job_name="pair", steps=4)
    demo = graphs.built_in()
    graph |= {name: demo[name] for name in ("model", "vae", "wav2vec")}
    height, width = SIZE
    picked = {"clip_vision": None, "height": height, "width": 2 * width}
    graph = graphs.with_inputs(graph, "reference", **picked)
    graph = graphs.with_inputs(graph, "sampler", positive=None)
    with server.listen() as events:
        made = frames(server, rendered(graph, timeout=300))
    assert made.shape[1:] == (height, 2 * width, 3)
    assert "warning" not in told(events, "sampler")
