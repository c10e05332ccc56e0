"""Whole graphs in a real server, down to the mp4."""

import json
from collections import Counter

import av
import files
import host_graphs as graphs
import numpy as np
import pytest
from host_files import PAIR_SIZE, SECOND_VOICE_SECONDS, SIZE, VOICE_SECONDS


def clip_of(server, outcome, node="sampler"):
    """The one finished clip that a sampler put into the history."""
    clips = [file for file in outcome.files(node) if file["filename"].endswith(".mp4")]
    assert len(clips) == 1, outcome.outputs
    return server.path(clips[0])


def probe(path):
    """What a player sees."""
    with av.open(str(path)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        return {
            "size": (video.height, video.width),
            "rate": float(video.average_rate),
            "video_seconds": float(video.duration * video.time_base),
            "sound_seconds": float(sound.duration * sound.time_base),
            "frames": sum(1 for _ in container.decode(video=0)),
        }


def difference(first, second):
    """Largest difference between two clips, in levels of 255."""
    return np.abs(files.frames_of(first).astype(int) - files.frames_of(second).astype(int)).max()


@pytest.fixture(scope="module")
def plain(server, known):
    """The simplest clip, made once."""
    missing = {node["class_type"] for node in graphs.one_speaker().values()} - set(known)
    if missing:
        pytest.skip(f"waits for {', '.join(sorted(missing))}")
    outcome = server.run(graphs.one_speaker(job_name="plain"))
    assert outcome.status == "success", f"{outcome.message}\n{outcome.detail}"
    return outcome


def test_a_portrait_and_a_voice_become_a_clip(server, plain):
    facts = probe(clip_of(server, plain))
    assert facts["frames"] == graphs.CLIP_FRAMES
    assert facts["video_seconds"] == pytest.approx(graphs.CLIP_FRAMES / 25, abs=1e-3)
    assert facts["sound_seconds"] == pytest.approx(VOICE_SECONDS, abs=0.05)
    assert facts["size"] == SIZE and facts["rate"] == 25


def test_a_clip_is_not_one_picture(server, plain):
    frames = files.frames_of(clip_of(server, plain)).astype(int)
    assert np.abs(frames[1:] - frames[0]).max() > 2
    assert frames.std() > 2, "the clip is one colour"


def test_the_same_prompt_again_executes_nothing(server, plain):
    with server.listen() as events:
        again = server.run(graphs.one_speaker(job_name="plain"))
    assert again.status == "success"
    assert again.outputs == plain.outputs
    assert events.executed() == []


def test_progress_never_goes_back(server, rendered):
    with server.listen() as events:
        rendered(graphs.one_speaker(job_name="progress", seed=7))
    bars = [data for kind, data in events.messages if kind == "progress"]
    values = [bar["value"] / bar["max"] for bar in bars if bar["node"] == "sampler"]
    assert values and values == sorted(values) and values[-1] == 1.0
    assert any(node == "sampler" and "chunk" in text for node, text in events.texts)
    assert len(events.previews) >= graphs.CHUNKS


@pytest.mark.parametrize(
    "change",
    [
        ("voice", "TestSound", {"content": "tone", "seconds": VOICE_SECONDS, "hertz": 330.0}),
        ("picture", "LoadImage", {"image": "two_people.png"}),
        ("positive", "TestText", {"text": "somebody else sings"}),
        ("clip_vision", "TestClipVision", None),
    ],
    ids=["voice", "picture", "prompt", "no CLIP vision"],
)
def test_what_goes_in_changes_what_comes_out(server, plain, rendered, change):
    name, kind, inputs = change
    graph = graphs.one_speaker(job_name="changed")
    if inputs is None:
        graph = graphs.with_inputs(graph, "reference", clip_vision=None)
    else:
        graph = graphs.with_node(graph, name, kind, **inputs)
    assert difference(clip_of(server, plain), clip_of(server, rendered(graph))) > 2


@pytest.mark.parametrize("sampler", [{"seed": 43}, {"steps": 3}, {"context_frames": 5}], ids=str)
def test_settings_change_the_clip(server, plain, rendered, sampler):
    changed = rendered(graphs.one_speaker(job_name="changed", **sampler))
    assert difference(clip_of(server, plain), clip_of(server, changed)) > 2


@pytest.mark.parametrize(
    ("picked", "size"),
    [
        ({"size": "custom", "width": 80, "height": 112}, (112, 80)),
        ({"size": "480p bucket"}, (704, 576)),
    ],
    ids=["odd exact size", "published bucket"],
)
def test_sizes_reach_the_file(server, rendered, picked, size):
    graph = graphs.one_speaker(job_name="sizes", stop_at=0.2, chunk_frames=5, context_frames=1)
    clip = clip_of(server, rendered(graphs.with_inputs(graph, "reference", **picked)))
    assert probe(clip)["size"] == size and probe(clip)["frames"] == 5


def test_stop_at_ends_early(server, plain, rendered):
    early = clip_of(server, rendered(graphs.one_speaker(job_name="early", stop_at=0.48)))
    facts = probe(early)
    assert facts["frames"] == 12
    assert facts["sound_seconds"] == pytest.approx(0.48, abs=0.05)
    whole = files.frames_of(clip_of(server, plain))[:12].astype(int)
    assert np.abs(files.frames_of(early).astype(int) - whole).mean() < 1.0


def test_plan_only_loads_nothing(server, play, known):
    graph = graphs.one_speaker(job_name="planned", action="plan only")
    graph["model"]["inputs"]["base_model"] = "tiny_i2v_bf16.safetensors"
    with server.listen() as events:
        outcome = play(graph)
    assert outcome.status == "success", outcome.message
    assert not {"model", "vae", "positive"} & set(events.executed()), events.executed()


@pytest.mark.parametrize(("text", "audio"), [(5.0, 4.0), (1.0, 2.0)], ids=["5/4", "1/2"])
def test_guidance_changes_the_clip(server, plain, rendered, text, audio):
    graph = graphs.with_guidance(graphs.one_speaker(job_name="guided"), text, audio)
    guided = clip_of(server, rendered(graph))
    assert probe(guided)["frames"] == graphs.CLIP_FRAMES
    assert difference(clip_of(server, plain), guided) > 2


def test_guidance_of_one_is_none(server, plain, rendered):
    graph = graphs.with_guidance(graphs.one_speaker(job_name="one"), 1.0, 1.0)
    assert difference(clip_of(server, plain), clip_of(server, rendered(graph))) <= 2


@pytest.fixture(scope="module")
def pair(server, plain):
    """Two people, made once."""
    outcome = server.run(graphs.two_speakers())
    assert outcome.status == "success", f"{outcome.message}\n{outcome.detail}"
    return outcome


def test_two_people_talk(server, pair):
    facts = probe(clip_of(server, pair))
    assert facts["frames"] == round(max(VOICE_SECONDS, 0.4 + SECOND_VOICE_SECONDS) * 25)
    assert facts["size"] == PAIR_SIZE


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("second", {"face": 1}),
        ("second", {"start": 0.0}),
        ("second", {"strength": 0.0}),
        ("faces", {"find": "connected", "boxes": "0 0 40 96\n70 0 128 96"}),
    ],
    ids=["swapped", "starts at once", "not heard", "other places"],
)
def test_place_and_time_of_the_second_voice_matter(server, pair, rendered, name, inputs):
    graph = graphs.with_inputs(graphs.two_speakers(job_name="changed"), name, **inputs)
    if inputs == {"face": 1}:
        graph = graphs.with_inputs(graph, "speaker", face=2)
    assert difference(clip_of(server, pair), clip_of(server, rendered(graph))) > 2


def test_masks_may_stand_for_faces(server, pair, rendered):
    graph = graphs.two_speakers(job_name="changed")
    for name, mask, box in (("speaker", "left", "0 0 .4 1"), ("second", "right", ".6 0 1 1")):
        graph = graphs.with_node(graph, mask, "TestMask", height=96, width=128, box=box)
        graph = graphs.with_inputs(graph, name, faces=None, face=None, mask=[mask, 0])
    assert difference(clip_of(server, pair), clip_of(server, rendered(graph))) > 2


def test_the_adapter_goes_on_a_model_from_any_loader(server, plain, rendered):
    graph = graphs.with_applied_adapter(graphs.one_speaker(job_name="applied"))
    assert difference(clip_of(server, plain), clip_of(server, rendered(graph))) <= 2


def test_a_lora_reaches_the_base(server, plain, rendered):
    graph = graphs.with_lora(graphs.one_speaker(job_name="lora"))
    assert difference(clip_of(server, plain), clip_of(server, rendered(graph))) > 2


@pytest.mark.parametrize("name", ["fp16", "bf16", "fp8_e4m3fn", "fp8_e4m3fn_scaled"])
def test_base_models_of_every_precision_run(server, plain, rendered, name):
    graph = graphs.one_speaker(job_name=name)
    graph["model"]["inputs"]["base_model"] = f"tiny_i2v_{name}.safetensors"
    clip = clip_of(server, rendered(graph))
    assert probe(clip)["frames"] == graphs.CLIP_FRAMES
    frames, exact = (files.frames_of(c).astype(int) for c in (clip, clip_of(server, plain)))
    assert np.abs(frames - exact).mean() < 12, "far from the same weights in float32"


def test_auto_finds_the_published_names(server, plain, rendered):
    graph = graphs.one_speaker(job_name="auto")
    for name, key in (("model", "adapter"), ("vae", "vae"), ("wav2vec", "wav2vec")):
        graph = graphs.with_inputs(graph, name, **{key: "auto"})
    assert difference(clip_of(server, plain), clip_of(server, rendered(graph))) <= 2


def test_an_interrupt_stops_and_the_server_goes_on(server, play, rendered):
    graph = graphs.one_speaker(job_name="stopped", steps=200)
    missing = play(graphs.one_speaker(job_name="stopped", action="plan only"))
    assert missing.status == "success", missing.message
    with server.listen() as events:
        prompt = server.submit(graph)
        wait_for(lambda: any(kind == "progress" for kind, _ in events.messages))
        server.interrupt()
        assert server.result(prompt, timeout=30).status == "interrupted"
    rendered(graphs.one_speaker(job_name="after", seed=1))


def wait_for(condition, seconds=60):
    """Wait until something has happened."""
    import time

    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not happen in {seconds} s"
        time.sleep(0.05)


def test_every_test_clip_has_its_own_job(server, plain):
    """Results of one test never come from another one's files."""
    jobs = [folder.name for folder in (server.base / "output" / "endless_talk").iterdir()]
    assert Counter(jobs)["plain"] == 1


def test_the_clip_carries_its_graph(server, rendered):
    graph = graphs.one_speaker(job_name="tags", stop_at=0.2)
    with av.open(str(clip_of(server, rendered(graph)))) as container:
        stored = json.loads(container.metadata["prompt"])
    assert stored["sampler"]["inputs"]["job_name"] == "tags"


def test_a_deleted_clip_is_made_again_once(server, rendered):
    graph = graphs.one_speaker(job_name="deleted", stop_at=0.2)
    clip = clip_of(server, rendered(graph))
    clip.unlink()
    assert clip_of(server, rendered(graph)).exists()
    again = rendered(graph)
    assert "sampler" in again.cached


def test_the_published_schedule_reaches_the_network(server, rendered):
    """Talk Sigmas at 7, the published shift for 480p, is what the sampler takes by itself."""
    short = {"stop_at": 0.2, "chunk_frames": 5, "context_frames": 1, "steps": 4}
    by_itself = rendered(graphs.one_speaker(job_name="schedule", **short))
    graph = graphs.one_speaker(job_name="schedule", sigmas=["sigmas", 0], **short)
    graph["sigmas"] = graphs.node("EndlessTalkSigmas", preset="custom", steps=4, shift=7.0)
    given = rendered(graph)
    first, second = (files.frames_of(clip_of(server, run)) for run in (by_itself, given))
    assert np.array_equal(first, second)
    graph["sigmas"]["inputs"]["shift"] = 3.0
    other = files.frames_of(clip_of(server, rendered(graph)))
    assert not np.array_equal(first, other)
