"""Nothing of one run is left for another: not in the MODEL, not in the pack, not between nodes."""

import files
import host_graphs as graphs
import numpy as np
import pytest
from host_files import BASE, SINGLE
from safetensors.torch import load_file


def plain_sampling(model: list, name: str) -> dict:
    """The host's own image-to-video sampling on a MODEL, latents saved under ``name``."""
    graph = {
        "picture": graphs.node("LoadImage", image="portrait.png"),
        "vae": graphs.node("VAELoader", vae_name="wan_2.1_vae.safetensors"),
        "text": graphs.node("TestText", text="a person"),
        "bare": graphs.node("UNETLoader", unet_name=BASE, weight_dtype="default"),
        "talking": graphs.node("EndlessTalkLoadModel", base_model=BASE, adapter=SINGLE),
        "video": graphs.node(
            "WanImageToVideo",
            positive=["text", 0],
            negative=["text", 0],
            vae=["vae", 0],
            start_image=["picture", 0],
            width=96,
            height=96,
            length=9,
            batch_size=1,
        ),
        "latents": graphs.node(
            "KSampler",
            model=model,
            positive=["video", 0],
            negative=["video", 1],
            latent_image=["video", 2],
            seed=3,
            steps=2,
            cfg=1.0,
            sampler_name="euler",
            scheduler="simple",
            denoise=1.0,
        ),
    }
    return graphs.saving(graph, ["latents", 0], name)


def saved(server, name):
    return load_file(server.base / "output" / f"{name}.safetensors")["value.samples"]


def test_a_plain_sampler_does_not_notice_the_adapter(server, rendered):
    rendered(plain_sampling(["bare", 0], "bare"))
    rendered(plain_sampling(["talking", 0], "before"))
    rendered(graphs.one_speaker(job_name="between", seed=11))
    again = graphs.with_inputs(plain_sampling(["talking", 0], "after"), "latents", seed=4)
    rendered(again)
    rendered(graphs.with_inputs(again, "latents", seed=3))
    expected = saved(server, "bare")
    assert expected.abs().max() > 0.1
    assert np.array_equal(saved(server, "before"), expected)
    assert np.array_equal(saved(server, "after"), expected)


def frames(server, outcome, node="sampler"):
    """Frames of the clip in the history entry of a node."""
    return files.frames_of(server.path(outcome.files(node)[0]))


@pytest.fixture(scope="module")
def alone(server, known):
    """Two different clips, each made on its own after everything was forgotten."""
    if "EndlessTalkStreamingSampler" not in known:
        pytest.skip("waits for EndlessTalkStreamingSampler")
    made = []
    for graph in (first(), second()):
        server.forget()
        outcome = server.run(graph)
        assert outcome.status == "success", outcome.message
        made.append(frames(server, outcome))
    return made


def first():
    return graphs.one_speaker(job_name="first", seed=21)


def second():
    graph = graphs.with_guidance(graphs.one_speaker(job_name="second", seed=22), 5.0, 4.0)
    return graphs.with_node(graph, "voice", "TestSound", seconds=0.9, hertz=300.0)


def test_the_two_clips_differ(alone):
    assert alone[0].shape != alone[1].shape


def test_one_clip_after_the_other_is_as_if_made_alone(server, rendered, alone):
    for graph, expected in ((second(), alone[1]), (first(), alone[0])):
        graph = graphs.with_inputs(graph, "sampler", job_name="after_another")
        assert np.array_equal(frames(server, rendered(graph)), expected)


def test_two_samplers_in_one_graph_do_not_mix(server, rendered, alone):
    both = graphs.with_inputs(first(), "sampler", job_name="both_first")
    other = graphs.with_inputs(second(), "sampler", job_name="both_second")
    for name in ("voice", "speaker", "guidance", "negative", "sampler"):
        both[f"other_{name}"] = other[name]
    both = graphs.with_inputs(both, "other_speaker", audio=["other_voice", 0])
    links = {name: [f"other_{name}", 0] for name in ("guidance", "negative")}
    both = graphs.with_inputs(both, "other_sampler", speech=["other_speaker", 0], **links)
    outcome = rendered(both)
    assert np.array_equal(frames(server, outcome), alone[0])
    assert np.array_equal(frames(server, outcome, "other_sampler"), alone[1])


def test_the_clip_is_the_same_after_the_models_were_unloaded(server, rendered, alone):
    server.forget()
    graph = graphs.with_inputs(first(), "sampler", job_name="reloaded")
    assert np.array_equal(frames(server, rendered(graph)), alone[0])
