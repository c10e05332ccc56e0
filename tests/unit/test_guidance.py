"""Guidance: what scales of 1 mean, which branches run, and the published three-call form."""

import pytest
import torch

from endless_talk.samplers.guidance import (
    BRANCHES,
    AdaptiveProjectedGuidance,
    TalkGuidance,
    guidance_weights,
)


@pytest.fixture
def predictions():
    generator = torch.Generator().manual_seed(3)
    return {name: torch.randn(16, 3, 4, 4, generator=generator) for name in BRANCHES}


@pytest.mark.parametrize("rule", [TalkGuidance(), AdaptiveProjectedGuidance(1.0, 1.0)])
def test_scales_of_one_change_nothing_and_cost_one_evaluation(rule, predictions):
    assert rule.branches(0.5) == ("full",)
    assert torch.equal(rule.combine(predictions, 0.5), predictions["full"])


@pytest.mark.parametrize(
    ("text", "audio", "branches"),
    [
        (5.0, 4.0, ("full", "audio_only", "unconditional")),
        (5.0, 1.0, ("full", "audio_only")),
        (1.0, 2.0, ("full", "text_only")),
        (3.0, 3.0, ("full", "unconditional")),
        (0.0, 2.0, ("audio_only", "unconditional")),
    ],
)
def test_a_branch_is_skipped_only_when_it_cancels(text, audio, branches, predictions):
    rule = TalkGuidance(text, audio)
    assert tuple(rule.branches(0.5)) == branches
    full, heard = predictions["full"], predictions["audio_only"]
    silent, neither = predictions["text_only"], predictions["unconditional"]
    if text == 1:
        published = silent + audio * (full - silent)
    else:
        published = neither + text * (full - heard) + audio * (heard - neither)
    torch.testing.assert_close(rule.combine(predictions, 0.5), published, atol=1e-5, rtol=1e-5)


def test_weights_add_up_to_one():
    for text in (0.0, 1.0, 2.5, 5.0):
        for audio in (0.0, 1.0, 2.0, 4.0):
            assert sum(guidance_weights(text, audio).values()) == pytest.approx(1.0)


def test_projected_guidance_forgets_between_chunks(predictions):
    rule = AdaptiveProjectedGuidance(norm_threshold=10.0)
    first = rule.combine(predictions, 0.9)
    second = rule.combine(predictions, 0.8)
    assert not torch.equal(first, second)
    rule.begin_chunk()
    assert torch.equal(rule.combine(predictions, 0.9), first)
