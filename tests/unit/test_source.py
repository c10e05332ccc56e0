"""A source video in the sampling: the start, the kept part, and what is asked of the source."""

import pytest
import torch
from torch.nn import functional as F

from endless_talk.errors import InputError
from endless_talk.samplers.plan import plan_chunks
from endless_talk.samplers.schedule import flow_sigmas
from endless_talk.samplers.source import sampling_from_source
from endless_talk.samplers.streaming import Sampling, with_pinned

PLAN = plan_chunks(30, 17, 9)
SIGMAS = flow_sigmas(6, 7.0)


class NumberedSource:
    """Every frame has its number as value."""

    def __init__(self):
        self.asked = []

    def frames(self, start_frame, count):
        self.asked.append((start_frame, count))
        numbers = torch.arange(start_frame, start_frame + count, dtype=torch.float32)
        return numbers.view(1, -1, 1, 1).expand(3, -1, 16, 24)


class EveryFourth:
    """A codec without a network: one frame of every group, as a latent."""

    def encode(self, frames):
        return F.interpolate(frames[:, ::4], scale_factor=1 / 8).repeat(6, 1, 1, 1)[:16]


def plain(chunk):
    noise = torch.full((16, 5, 2, 3), -1.0, dtype=torch.float64)
    return Sampling(noise + chunk.index, SIGMAS)


def test_without_strength_and_mask_nothing_changes_and_nothing_is_asked():
    assert sampling_from_source(plain, None, None) is plain


def test_a_chunk_begins_from_the_source_under_it_at_its_noise_level():
    source = NumberedSource()
    sampling = sampling_from_source(plain, source, EveryFourth(), strength=0.3)(PLAN[1])
    assert source.asked == [(8, 17)]
    assert sampling.start[0, :, 0, 0].tolist() == [8, 12, 16, 20, 24]
    assert sampling.start.dtype == torch.float64 and sampling.pinned is None
    assert sampling.sigmas[0] == pytest.approx(0.7)
    assert sampling.sigmas[1:].tolist() == [s for s in SIGMAS.tolist() if s < 0.7]
    assert torch.equal(sampling.noise, plain(PLAN[1]).noise)


def test_a_mask_keeps_the_source_in_all_latent_frames():
    keep = torch.zeros(1, 2, 3)
    keep[..., 1:] = 1
    sampling = sampling_from_source(plain, NumberedSource(), EveryFourth(), keep=keep)(PLAN[0])
    latents, mask = sampling.pinned
    assert mask.shape == (1, 5, 2, 3) and latents.shape == (16, 5, 2, 3)
    assert torch.equal(mask, keep[:, None].double().expand(1, 5, 2, 3))
    assert latents[0, :, 0, 0].tolist() == [0, 4, 8, 12, 16]
    assert sampling.start is None and torch.equal(sampling.sigmas, SIGMAS)


def test_both_encode_the_source_once():
    source = NumberedSource()
    keep = torch.ones(1, 2, 3)
    sampling = sampling_from_source(plain, source, EveryFourth(), strength=0.5, keep=keep)(PLAN[2])
    assert len(source.asked) == 1
    assert sampling.start is sampling.pinned[0]


def test_a_strength_of_one_leaves_nothing_to_sample():
    with pytest.raises(InputError, match="start is 0"):
        sampling_from_source(plain, NumberedSource(), EveryFourth(), strength=1.0)(PLAN[0])


def test_a_context_keeps_what_is_pinned_in_it():
    held, kept = torch.zeros(16, 3, 2, 3), torch.ones(16, 5, 2, 3)
    mask = torch.zeros(1, 5, 2, 3)
    mask[..., 1:] = 1
    merged = with_pinned(held, (kept, mask))
    assert merged[..., 0].eq(0).all() and merged[..., 1:].eq(1).all() and merged.shape == held.shape
    assert with_pinned(held, None) is held and held.eq(0).all()
