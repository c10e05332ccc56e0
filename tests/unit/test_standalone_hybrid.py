"""Conditions and predictions of the reference HunyuanVideo."""

from dataclasses import replace

import pytest
import tiny
import torch

from endless_talk.audio.windows import TensorFeatures, audio_windows
from endless_talk.samplers.conditioning import latent_windows, padded_reference
from endless_talk.samplers.guidance import BRANCHES, TalkGuidance, blind_branches
from endless_talk.samplers.plan import Chunk
from endless_talk.standalone_hybrid import HybridConditioner, HybridPredictor, HybridPrompt

REPLACE = replace(tiny.HYBRID, in_channels=16)
CLIP = Chunk(0, 0, 37, 0, 37)


@pytest.fixture
def features():
    return tiny.normal(37, 3, 8, seed=6)


def window(start, latents=3):
    return Chunk(1, 4 * start, 4 * latents - 3, 0, 4 * latents - 3)


def test_a_windows_audio_is_a_slice_of_the_clips(features):
    def read(chunk):
        return audio_windows(features, chunk.start_frame, chunk.frames)

    whole = latent_windows(read, CLIP)
    assert whole.shape[1] == 40
    assert torch.equal(whole[:, :4], whole[:, 3:4].expand(-1, 4, -1, -1, -1))
    assert torch.equal(whole[:, 3:], read(CLIP))
    for start in range(8):
        assert torch.equal(latent_windows(read, window(start)), whole[:, 4 * start :][:, :12])


class Codec:
    """A VAE that remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def encode(self, frames):
        self.asked.append(frames.shape)
        return frames.mean().expand(16, 1, 8, 8).clone()


def test_the_reference_is_padded_with_zeros_in_latent_space():
    codec = Codec()
    condition = padded_reference(codec, torch.full((3, 64, 64), 0.5), 13)
    assert codec.asked == [(3, 1, 64, 64)]
    assert condition.shape == (17, 4, 8, 8)
    assert (condition[:16, 0] == 0.5).all() and (condition[16, 0] == 1).all()
    assert (condition[:, 1:] == 0).all()


def side(config=tiny.HYBRID, null_audio="zeros", **options):
    adapter = tiny.hybrid_adapter(replace(tiny.HYBRID_ADAPTER, null_audio=null_audio))
    model = tiny.hybrid(config)
    texts = {
        name: HybridPrompt(tiny.normal(length, 24, seed=length), tiny.normal(768, seed=length))
        for name, length in (("positive", 6), ("negative", 4))
    }
    voices = [TensorFeatures(tiny.normal(37, 3, 8, seed=seed)) for seed in (6, 7)]
    codec = Codec()
    conditioner = HybridConditioner(model, adapter, codec, texts=texts, voices=voices, **options)
    return conditioner, HybridPredictor(model, adapter), codec


def predictions(conditioner, predictor, reference=None):
    reference = torch.full((3, 64, 64), 0.5) if reference is None else reference
    conditions = conditioner.conditions(window(2), reference)
    latents = tiny.normal(16, 3, 8, 8, seed=3)
    return {name: predictor.predict(latents, 0.6, name, conditions) for name in BRANCHES}


@pytest.mark.parametrize("config", [tiny.HYBRID, REPLACE], ids=["concat", "replace"])
def test_every_branch_differs_from_every_other(config):
    made = [*predictions(*side(config)[:2]).values()]
    for index, one in enumerate(made):
        assert one.shape == (16, 3, 8, 8)
        assert all((one - other).abs().max() > 1e-3 for other in made[index + 1 :])


def test_a_branch_that_is_to_go_without_the_picture_sees_another_one_as_the_same():
    pictures = [torch.full((3, 64, 64), level) for level in (0.5, -0.5)]
    conditioner, predictor, _ = side()
    sighted = predictions(conditioner, predictor, pictures[0])
    predictor.blind = blind_branches(TalkGuidance(5, 4, drop_reference=True))
    one, other = (predictions(conditioner, predictor, picture) for picture in pictures)
    assert torch.equal(one["unconditional"], other["unconditional"])
    assert (one["unconditional"] - sighted["unconditional"]).abs().max() > 1e-3
    for name in ("full", "audio_only", "text_only"):
        assert torch.equal(one[name], sighted[name])
        assert (one[name] - other[name]).abs().max() > 1e-3


def test_the_reference_is_encoded_once_and_only_where_it_is_an_input():
    conditioner, _, codec = side()
    first, second = torch.full((3, 64, 64), 0.5), torch.full((3, 64, 64), -0.5)
    for reference in (first, first, second):
        conditioner.conditions(window(2), reference)
    assert len(codec.asked) == 2
    replacing, _, codec = side(REPLACE)
    assert replacing.conditions(window(2), first).concat is None and not codec.asked


def test_guidance_changes_nothing_where_nobody_speaks():
    """Both kinds of branches are closed by the same gates, the voices and the silence."""
    closed = predictions(*side(gates=lambda _chunk: torch.zeros(1, 2, 1, 16))[:2])
    assert torch.equal(closed["full"], closed["text_only"])
    assert torch.equal(closed["audio_only"], closed["unconditional"])
    opened = predictions(*side(gates=lambda _chunk: torch.ones(1, 2, 1, 16))[:2])
    assert (opened["full"] - opened["text_only"]).abs().max() > 1e-3


def test_silence_is_skipped_or_heard_as_the_adapter_says():
    skipped, heard = (predictions(*side(null_audio=kind)[:2]) for kind in ("skip", "zeros"))
    closed = predictions(*side(gates=lambda _chunk: torch.zeros(1, 2, 1, 16))[:2])
    assert torch.equal(skipped["text_only"], closed["text_only"])
    assert (heard["text_only"] - skipped["text_only"]).abs().max() > 1e-3
    assert torch.equal(skipped["full"], heard["full"])
