"""Keys: equal for what is equal, and new for exactly what a change reaches."""

import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from endless_talk.audio.features import FeatureTrack, PieceLayout
from endless_talk.audio.spans import heard_frames
from endless_talk.audio.windows import audio_windows
from endless_talk.samplers.plan import Chunk, plan_chunks
from endless_talk.video.job_keys import (
    chunk_keys,
    chunk_places,
    content_identity,
    digest,
    file_identity,
    sound_digests,
)


def changed(before, after):
    return [k for k, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]


DIFFERENT = [
    None,
    True,
    False,
    0,
    1,
    -1,
    1.5,
    float("inf"),
    2**70,
    "",
    "1",
    "None",
    b"1",
    [],
    [1],
    [[1]],
    [1, []],
    ["1", "2"],
    ["12"],
    {},
    {"a": 1},
    {"a": 1, "b": None},
    {"a": {"b": None}},
    torch.zeros(2),
    torch.zeros(2, dtype=torch.float64),
    torch.zeros(2, dtype=torch.bfloat16),
    torch.zeros(2, dtype=torch.float16),
    torch.zeros(1, 2),
    torch.zeros(0, 2),
    torch.zeros(2, 0),
    torch.tensor(1.0),
    torch.tensor(1),
]


def test_values_that_differ_have_different_digests():
    digests = [digest(value) for value in DIFFERENT]
    assert len(set(digests)) == len(DIFFERENT)
    assert digest("a", "b") != digest("ab") != digest(["a", "b"])


def test_values_that_are_equal_have_one_digest():
    assert digest(7) == digest(7.0) == digest(np.float64(7.0).item())
    assert digest(0.0) == digest(-0.0)
    assert digest((1, "a")) == digest([1, "a"])
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    ones = torch.ones(3, 4)
    assert digest(ones) == digest(np.ones((3, 4), np.float32))
    assert digest(ones) == digest(torch.ones(4, 3).t()), (
        "how it lies in memory is nobody's business"
    )
    assert digest(np.arange(3)) == digest(np.arange(3).astype(">i8"))


def test_every_bit_of_a_tensor_counts():
    tensor = torch.zeros(1000, dtype=torch.bfloat16)
    other = tensor.clone()
    other[999] = 1e-30
    assert digest(tensor) != digest(other)


def test_digests_are_the_same_in_every_process():
    code = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("pack", sys.argv[1] + "/__init__.py",
                                              submodule_search_locations=[sys.argv[1]])
sys.modules["pack"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
from pack.video.job_keys import digest
print(digest({"b": [1, None, 0.1], "a": "ä"}, frozenset() or ()))
"""
    from pathlib import Path

    root = str(Path(__file__).resolve().parents[2])
    found = {
        subprocess.run(
            [sys.executable, "-c", code, root],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {digest({"b": [1, None, 0.1], "a": "ä"}, ())}


@pytest.mark.parametrize("value", [object(), {1: 2}, {"a": {3}}, lambda: 0])
def test_what_has_no_value_is_refused(value):
    with pytest.raises(TypeError, match="key"):
        digest(value)


def test_a_changed_chunk_gives_it_and_all_after_it_new_keys():
    before = chunk_keys(["a"] * 6)
    assert len(set(before)) == 6
    assert changed(before, chunk_keys(["a", "a", "b", "a", "a", "a"])) == [2, 3, 4, 5]
    assert changed(before, chunk_keys(["a"] * 6, common="more")) == [0, 1, 2, 3, 4, 5]
    assert chunk_keys(["a"] * 4) == before[:4], "what follows changes nothing"


def test_a_chunk_made_again_while_the_rest_is_kept_gets_a_new_key_alone():
    before = chunk_keys(list("abcdef"))
    once = chunk_keys(list("abXdef"), list("abcdef"))
    assert changed(before, once) == [2]
    assert changed(once, chunk_keys(list("abYdef"), list("abcdef"))) == [2]
    assert changed(before, chunk_keys(list("abXdYf"), list("abcdef"))) == [2, 4]
    assert changed(before, chunk_keys(list("aBXdef"), list("aBcdef"))) == [1, 2, 3, 4, 5]


def test_a_longer_clip_has_the_chunks_of_the_shorter_but_its_last():
    short, long = (chunk_keys(chunk_places(plan_chunks(n, 17, 9))) for n in (30, 60))
    assert changed(short, long[: len(short)]) == [len(short) - 1]


def test_the_last_chunk_hands_nothing_on_and_so_is_another_even_with_the_same_frames():
    plan = plan_chunks(25, 17, 9)
    longer = plan_chunks(33, 17, 9)
    assert longer[: len(plan)] == plan
    assert changed(chunk_keys(chunk_places(plan)), chunk_keys(chunk_places(longer))[:2]) == [1]


def test_a_chunk_before_a_cut_hands_nothing_on():
    cut = [Chunk(0, 0, 17, 0, 17), Chunk(1, 17, 17, 0, 17)]
    assert [place["context_from"] for place in chunk_places(cut)] == [None, None]
    assert [place["context_from"] for place in chunk_places(plan_chunks(25, 17, 9))] == [8, None]


def weights(path, seed=0, **more):
    data = torch.randn(400, 1000, generator=torch.Generator().manual_seed(seed))
    save_file({"a.weight": data, **more}, path)
    return path


def test_a_weight_file_is_known_wherever_it_lies(tmp_path):
    first = file_identity(weights(tmp_path / "a.safetensors"))
    (tmp_path / "elsewhere").mkdir()
    assert file_identity(weights(tmp_path / "elsewhere" / "a.safetensors")) == first
    assert first["name"] == "a.safetensors"
    assert str(tmp_path) not in str(first)


def test_other_weights_are_other_weights(tmp_path):
    path = tmp_path / "a.safetensors"
    first = file_identity(weights(path))
    assert file_identity(weights(path, seed=1)) != first, "trained on: same name, size and header"
    assert file_identity(weights(path, more=torch.zeros(1))) != first
    assert file_identity(weights(tmp_path / "b.safetensors")) != first
    path.write_bytes(b"GGUF" + bytes(100))
    other = file_identity(path)
    path.write_bytes(b"GGUF" + bytes(99) + b"1")
    assert file_identity(path) != other
    path.write_bytes(b"")
    assert file_identity(path)["bytes"] == 0


def test_only_samples_of_large_weights_are_read(tmp_path):
    path = tmp_path / "large.safetensors"
    header = b'{"a":{"dtype":"U8","shape":[40000000000],"data_offsets":[0,40000000000]}}'
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(40_000_000_000)  # sparse
    assert file_identity(path)["bytes"] == 40_000_000_000


def test_media_are_known_by_content_alone(tmp_path):
    one, other = tmp_path / "a.wav", tmp_path / "b.wav"
    one.write_bytes(b"x" * 3_000_000)
    other.write_bytes(b"x" * 3_000_000)
    assert content_identity(one) == content_identity(other)
    other.write_bytes(b"x" * 2_999_999 + b"y")
    assert content_identity(one) != content_identity(other)


def voice(seconds, rate=16000, seed=0):
    generator = np.random.default_rng(seed)
    return generator.standard_normal(round(seconds * rate)).astype(np.float32)


def voice_keys(samples, plan, rate=16000, start_frames=0.0):
    frames = int(samples.shape[-1] * 25 / rate + start_frames) + 25
    spans = [heard_frames(chunk.start_frame, chunk.frames, frames) for chunk in plan]
    return chunk_keys(sound_digests(samples, spans, rate / 25, start_frames=start_frames))


def test_another_ending_of_a_long_voice_makes_only_the_end_again():
    samples = voice(200)
    plan = plan_chunks(200 * 25)
    before = voice_keys(samples, plan)
    samples = samples.copy()
    samples[195 * 16000 :] *= 0.5
    again = changed(before, voice_keys(samples, plan))
    first_second = plan[again[0]].start_frame / 25
    assert again[-1] == len(plan) - 1
    assert 155 <= first_second <= 160, "the last piece begins at 160 s"


def test_a_longer_voice_keeps_its_beginning():
    samples = voice(200)
    plan = plan_chunks(200 * 25)
    before = voice_keys(samples, plan)
    after = voice_keys(np.concatenate([samples, voice(30, seed=1)]), plan_chunks(230 * 25))
    assert min(changed(before, after[: len(before)])) > 50


def test_a_changed_voice_makes_what_hears_it_again_and_all_after():
    samples = voice(200)
    plan = plan_chunks(200 * 25)
    before = voice_keys(samples, plan)
    for second in (3.0, 85.0, 119.99):
        other = samples.copy()
        other[round(second * 16000)] += 1e-3
        first = changed(before, voice_keys(other, plan))[0]
        chunk = plan[first]
        assert chunk.start_frame <= second * 25, f"{second} s is heard by chunk {first}"


def test_a_short_voice_is_heard_as_a_whole():
    samples = voice(50)
    plan = plan_chunks(50 * 25)
    before = voice_keys(samples, plan)
    samples = samples.copy()
    samples[-1] += 0.1
    assert changed(before, voice_keys(samples, plan)) == list(range(len(plan)))


def test_a_voice_that_becomes_long_is_encoded_otherwise_from_its_beginning():
    samples = voice(50)
    before = voice_keys(samples, plan_chunks(50 * 25))
    after = voice_keys(np.concatenate([samples, voice(40, seed=1)]), plan_chunks(90 * 25))
    assert changed(before[:1], after[:1]) == [0]


def test_sound_of_any_rate_and_start_is_cut_where_it_is_heard():
    samples = torch.from_numpy(voice(100, 44100)).reshape(1, -1).repeat(2, 1)
    plan = plan_chunks(130 * 25)
    late = {"rate": 44100, "start_frames": 30 * 25.0}
    before = voice_keys(samples, plan, **late)
    other = samples.clone()
    other[1, 99 * 44100] += 0.1  # 129 s into the clip
    again = changed(before, voice_keys(other, plan, **late))
    assert again and plan[again[0]].start_frame / 25 > 70
    assert voice_keys(samples, plan, rate=44100, start_frames=31 * 25.0) != before


class LocalEncoder:
    """An encoder without statistics of the whole: a frame sees its piece and the margins."""

    hop_samples, field_samples = 320, 400

    def prepare(self, waveform):
        return waveform

    def measure(self, waveform):
        return None

    def convolve(self, waveform, statistics):
        return waveform.unfold(1, 400, 320).mean(2)[..., None]

    def encode(self, features):
        everything = features.mean(dim=1, keepdim=True)
        return (features + everything)[:, :, None]


def test_no_sound_outside_of_what_is_heard_reaches_a_chunk():
    layout = PieceLayout(whole_frames=60, piece_frames=40, margin_frames=10)
    samples = voice(8)
    chunk = Chunk(1, 72, 17, 9, 8)
    span = heard_frames(chunk.start_frame, chunk.frames, 200, layout)
    assert (span.start, span.stop) == (30, 130)

    def windows(changed_samples):
        track = FeatureTrack(LocalEncoder(), changed_samples, layout=layout)
        return audio_windows(track, chunk.start_frame, chunk.frames)

    before = windows(samples)
    outside, inside = samples.copy(), samples.copy()
    outside[: (span.start - 1) * 640] = 0
    outside[(span.stop + 1) * 640 :] = 0
    assert torch.equal(windows(outside), before)
    inside[(span.stop - 2) * 640 :] = 0
    assert not torch.equal(windows(inside), before)
