"""HunyuanVideo with a MagicInfinite adapter through sliding windows, over HTTP."""

from dataclasses import replace

import files
import host_graphs as graphs
import numpy as np
import pytest
import tiny
from host_files import write
from host_graphs import CLIP_FRAMES, sliding

from endless_talk.models.hybrid_detect import describe_adapter
from endless_talk.models.networks import RANDOM_WAV2VEC

INPUT_TOO = "input and outputs"
CONCAT, REPLACE = "tiny_hunyuan_concat.safetensors", "tiny_hunyuan_replace.safetensors"
ADAPTER = "tiny_magicinfinite_adapter.safetensors"
STACKED = "tiny_magicinfinite_adapter_that_reads_the_input.safetensors"


@pytest.fixture(scope="module")
def networks(server, known):
    """Tiny checkpoints beside those of Wan."""
    folder = server.base / "models" / "diffusion_models"
    features = RANDOM_WAV2VEC.layers * RANDOM_WAV2VEC.hidden
    config = replace(tiny.HYBRID_ADAPTER, feature_size=features)
    paths = [folder / CONCAT, folder / REPLACE, folder / ADAPTER, folder / STACKED]
    write(paths[0], tiny.hybrid().state_dict())
    write(paths[1], tiny.hybrid(replace(tiny.HYBRID, in_channels=16)).state_dict())
    write(paths[2], tiny.hybrid_adapter(config).state_dict(), describe_adapter(config))
    stacked = replace(config, feature_size=features + RANDOM_WAV2VEC.hidden)
    write(paths[3], tiny.hybrid_adapter(stacked).state_dict(), describe_adapter(stacked))
    yield
    for path in paths:
        path.unlink()


def hunyuan(base=CONCAT, of=None, **sampler):
    """A sliding graph with this model, which reads neither CLIP vision nor Wan's text."""
    graph = sliding(of, **{"job_name": "hunyuan", **sampler})
    graph = graphs.with_inputs(graph, "sampler", positive=None)
    graph = graphs.with_inputs(graph, "reference", clip_vision=None)
    graph["model"] = graphs.node("EndlessTalkLoadModel", base_model=base, adapter=ADAPTER)
    return {name: one for name, one in graph.items() if name not in ("positive", "clip_vision")}


def clip(server, outcome):
    return files.frames_of(server.path(outcome.files("sampler")[0]))


def report(events):
    return [text for node, text in events.texts if node == "sampler"][-1]


@pytest.mark.usefixtures("networks")
@pytest.mark.parametrize("base", [CONCAT, REPLACE])
def test_a_clip_through_windows(server, rendered, base):
    name = base.split(".")[0]
    with server.listen() as events:
        frames = clip(server, rendered(hunyuan(base, job_name=name)))
    assert frames.shape[0] == CLIP_FRAMES and frames.std() > 1
    assert "3 windows of 17 frames" in report(events)
    other = hunyuan(base, job_name=f"{name}_loud")
    louder = clip(server, rendered(graphs.with_inputs(other, "speaker", strength=3.0)))
    assert not np.array_equal(louder, frames), "the voice is heard"


@pytest.mark.usefixtures("networks")
def test_a_window_is_129_frames_and_is_known_before_the_model_is_loaded(server, rendered):
    server.forget()
    graph = hunyuan(window_frames=0, overlap=0, action="plan only")
    with server.listen() as events:
        rendered(graphs.with_inputs(graph, "speaker", start=8.0))
    assert "windows of 129 frames" in report(events) and "share 32" in report(events)
    assert "model" not in events.executed()


@pytest.mark.usefixtures("networks")
def test_two_faces_are_heard_through_gates(server, rendered):
    pair = graphs.two_speakers()
    faces = clip(server, rendered(hunyuan(of=pair, job_name="hunyuan_two")))
    everywhere = hunyuan(of=pair, job_name="hunyuan_all", audio_region="whole picture")
    assert not np.array_equal(clip(server, rendered(everywhere)), faces)


@pytest.mark.usefixtures("networks")
def test_a_model_that_holds_no_frame_may_go_without_the_picture(server, rendered, play):
    frames = clip(server, rendered(hunyuan(job_name="tiny_hunyuan_concat")))
    bare = hunyuan(job_name="hunyuan_bare", first_frame="first window only")
    assert not np.array_equal(clip(server, rendered(bare)), frames)
    refused = play(hunyuan(REPLACE, job_name="hunyuan_held", first_frame="first window only"))
    assert refused.status == "failed" and "clean picture" in refused.message


@pytest.mark.usefixtures("networks")
def test_the_unconditional_prediction_goes_without_the_picture_where_it_can(server, rendered):
    def guided(base, reference, **sampler):
        graph = graphs.with_guidance(hunyuan(base, **sampler), 5.0, 4.0)
        graph = graphs.with_inputs(graph, "guidance", reference=reference)
        return graphs.with_inputs(graph, "negative", width=24, pooled=768)

    kept, dropped = "in every prediction", "not in the unconditional one"
    made, told = {}, {}
    for number, (base, reference) in enumerate(
        [(CONCAT, kept), (CONCAT, dropped), (REPLACE, dropped)]
    ):
        with server.listen() as events:
            outcome = rendered(guided(base, reference, job_name="hunyuan_blind"))
        made[number], told[number] = clip(server, outcome), report(events)
    assert not np.array_equal(made[0], made[1]), "in one job, another setting is made anew"
    assert "sees no reference picture" in told[1] and "sees no" not in told[0]
    assert told[2].count("'reference' of Talk Guidance is not used") == 1


@pytest.mark.usefixtures("networks")
def test_an_adapter_that_reads_the_encoders_input_says_so_and_gets_it(server, rendered, play):
    graph = graphs.with_inputs(hunyuan(job_name="hunyuan_stacked"), "model", adapter=STACKED)
    refused = play(graph)
    sizes = "expects 192 audio features per frame, the wav2vec2 of speaker 1 gives 3 x 48 = 144"
    assert refused.status == "failed" and sizes in refused.message
    assert "set 'layers' of Load Wav2Vec2 to 'input and outputs'" in refused.message
    with server.listen() as events:
        frames = clip(server, rendered(graphs.with_inputs(graph, "wav2vec", layers=INPUT_TOO)))
    assert frames.shape[0] == CLIP_FRAMES and frames.std() > 1
    (told,) = {text for node, text in events.texts if node == "wav2vec"}
    assert told.endswith("4 x 48 features per frame")


@pytest.mark.usefixtures("networks")
def test_routing_is_wans(play):
    outcome = play(hunyuan(of=graphs.two_speakers(), audio_region="routing"))
    assert outcome.status == "failed" and "Wan's attention" in outcome.message
