"""Keys of a sampler's chunks: what counts, chunk by chunk, and how often it is looked at."""

from pathlib import Path
from types import SimpleNamespace

import host_graphs as graphs
import numpy as np
import pytest
import torch
import videos
from host_tree import find_tree

if find_tree() is None:
    pytest.skip("there is no ComfyUI tree: set COMFYUI_PATH", allow_module_level=True)
pytest.importorskip("comfy_on_path")

from endless_talk.audio.speech import Speech, make_speaker
from endless_talk.nodes import identity
from endless_talk.nodes.clip_plan import ClipInputs, StreamSettings
from endless_talk.nodes.jobs import graph_identity, plan_job
from endless_talk.nodes.preflight import plan_clip
from endless_talk.reference.dubbing import DubSettings, DubSource, VideoReference
from endless_talk.reference.video import PicturesVideo
from endless_talk.samplers.guidance import TalkGuidance
from endless_talk.samplers.timeline import ClipTimeline, parse_timeline
from endless_talk.video import job_keys

SECONDS, RATE, SIZE = 6, 16000, videos.SIZE
CHUNKS = 6
ENCODER = SimpleNamespace(name="none", hidden=8, layers=2, field_samples=400, set_name="")


@pytest.fixture(scope="module")
def speech():
    sound = torch.rand(1, SECONDS * RATE, generator=torch.Generator().manual_seed(0)) - 0.5
    return Speech((make_speaker(sound, RATE, ENCODER),))


def dub(**settings):
    pictures = torch.stack([torch.from_numpy(videos.numbered(n)) for n in range(150)])
    video = PicturesVideo(pictures.float() / 255, 25.0)
    return VideoReference(DubSource(video, SIZE, DubSettings(**settings)), SIZE)


def job_of(speech, reference, *, timeline=None, graph=None, soundtrack=None, **settings):
    clip = plan_clip(
        StreamSettings(chunk_frames=33, context_frames=9, **settings),
        ClipInputs(speech, reference, TalkGuidance(), timeline=timeline),
        folder=Path("/nowhere"),
    )
    return plan_job(clip, speech, reference, soundtrack, graph=graph or {}, root=Path("/nowhere"))


def kept(one, other):
    pairs = zip(one.plan.keys, other.plan.keys, strict=False)
    return [a == b for a, b in pairs].count(True)


def test_a_changed_keyframe_makes_what_sees_it_again(speech):
    one, other = (job_of(speech, dub(keyframes=each)) for each in ("0, 2.1", "0, 2.4"))
    assert len(one.plan.keys) == CHUNKS and kept(one, other) == 3
    assert kept(one, job_of(speech, dub(keyframes="0, 2.1, 5.9"))) == CHUNKS


def test_an_added_cut_makes_again_what_lies_behind_it(speech):
    one, other = job_of(speech, dub()), job_of(speech, dub(cuts=(90,)))
    assert 0 < kept(one, other) < CHUNKS


def test_another_strength_of_the_source_makes_all_again(speech):
    jobs = [job_of(speech, dub(source_strength=each)) for each in (0.0, 0.2, 0.3)]
    assert kept(jobs[0], jobs[1]) == kept(jobs[1], jobs[2]) == 0


def test_an_end_changes_no_chunk(speech):
    whole, early = job_of(speech, dub()), job_of(speech, dub(), stop_at=2.0)
    assert early.plan.keys == whole.plan.keys
    assert (early.plan.frames, len(early.missing), len(whole.missing)) == (50, 2, CHUNKS)


def vision(name, *, linked=True):
    """A graph whose reference has image tokens."""
    seeing = {"clip_vision": ["vision", 0]} if linked else {}
    return {
        "vision": {"class_type": "CLIPVisionLoader", "inputs": {"clip_name": name}},
        "video": {"class_type": "EndlessTalkReferenceVideo", "inputs": {"size": "480p", **seeing}},
        "switch": {"class_type": "Reroute", "inputs": {"": ["video", 0]}},
        "sampler": {"class_type": "EndlessTalkStreamingSampler", "inputs": {}},
    }


def test_the_encoder_of_image_tokens_counts_through_other_nodes(speech):
    jobs = []
    for prompt in (vision("a.safetensors"), vision("b.safetensors"), vision("a", linked=False)):
        prompt["sampler"]["inputs"]["reference"] = ["switch", 0]
        jobs.append(job_of(speech, dub(), graph=graph_identity(prompt, "sampler")))
    assert kept(jobs[0], jobs[1]) == kept(jobs[0], jobs[2]) == 0


@pytest.mark.parametrize(
    ("node", "widget", "values"),
    [
        ("wav2vec", "layers", ("outputs", "input and outputs")),
        ("guidance", "reference", ("in every prediction", "not in the unconditional one")),
    ],
)
def test_what_the_adapter_reads_and_what_guidance_leaves_out_count(speech, node, widget, values):
    keys = []
    for value in values:
        prompt = graphs.with_guidance(graphs.one_speaker(), 5.0, 4.0)
        prompt = graphs.with_inputs(prompt, node, **{widget: value})
        keys.append(job_of(speech, dub(), graph=graph_identity(prompt, "sampler")).plan.keys)
    assert not set(keys[0]) & set(keys[1])


@pytest.fixture
def digested(monkeypatch):
    """Bytes of every array that goes into a digest."""
    sizes, raw = [], job_keys._raw

    def counted(array):
        sizes.append(array.nbytes)
        return raw(array)

    monkeypatch.setattr(job_keys, "_raw", counted)
    return sizes


def test_sound_is_digested_once_in_all_that_a_run_asks(speech, digested):
    sound = torch.rand(1, 1, SECONDS * RATE)
    heard = {"waveform": sound, "sample_rate": RATE}
    speakers = [speaker.waveform.nbytes for speaker in speech.speakers]
    for _ in range(3):
        job_of(speech, dub())
        job_of(speech, dub(), soundtrack=heard)
    assert sum(size for size in digested if size > 1000) <= sum(speakers) + sound.nbytes


def test_a_picture_of_a_timeline_is_digested_once_per_plan(speech, digested):
    picture = np.full((64, 96, 3), 90, np.uint8)
    timeline = ClipTimeline(parse_timeline("0:00 image 1"), images=(picture,))
    job_of(speech, dub(), timeline=timeline)
    assert digested.count(picture.nbytes) == 1


def test_auto_counts_the_adapter_of_either_family(tmp_path, monkeypatch):
    """Which one it means is known when the base is; the files are there before."""
    files = {role: tmp_path / f"{role}.safetensors" for role in ("adapter", "hybrid_adapter")}
    monkeypatch.setattr(identity, "find_file", lambda role, name: files[role])

    def counted():
        return identity.identify_constant("EndlessTalkLoadModel", "adapter", "auto")

    files["adapter"].write_bytes(b"one")
    files["hybrid_adapter"].write_bytes(b"two")
    before = counted()
    files["hybrid_adapter"].write_bytes(b"too")
    assert counted() != before
    files["hybrid_adapter"] = files["adapter"]
    named = identity.identify_constant("EndlessTalkLoadModel", "adapter", "a.safetensors")
    assert named == identity.file_identity(files["adapter"]), "an entry is one file"
