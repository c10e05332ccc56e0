"""Folds: which directions guidance has at which noise level, what they weigh, what they cost."""

import math
from dataclasses import replace

import pytest
import torch

from endless_talk.errors import InputError
from endless_talk.samplers.denoise import EulerDenoiser
from endless_talk.samplers.folds import (
    FoldedScales,
    Folds,
    describe_calls,
    printed_three_fold,
    three_fold,
    two_fold,
    weights,
)
from endless_talk.samplers.guidance import (
    BRANCHES,
    AdaptiveProjectedGuidance,
    TalkGuidance,
    calls_per_step,
    describe_rule,
)
from endless_talk.samplers.schedule import even_sigmas

SCALES = [(0.0, 2.0), (1.0, 1.0), (1.0, 2.0), (2.5, 2.5), (5.0, 4.0), (5.0, 1.0)]
RULES = (TalkGuidance, AdaptiveProjectedGuidance)


@pytest.fixture
def predictions():
    generator = torch.Generator().manual_seed(3)
    return {name: torch.randn(16, 3, 4, 4, generator=generator) for name in BRANCHES}


def near(one, other):
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("text", "audio"), SCALES)
@pytest.mark.parametrize("folds", Folds)
def test_the_weights_of_every_fold_add_up_to_one(folds, text, audio):
    for sigma in (1.0, 0.75, 0.74, 0.01):
        at = weights(FoldedScales(text, audio, folds).directions(sigma))
        assert sum(at.values()) == pytest.approx(1.0)
        assert all(at.values()), "a prediction of weight 0 is asked for"


def test_the_printed_three_fold_adds_up_to_two_and_one_less_text_only_repairs_it():
    for text, audio in SCALES:
        printed = printed_three_fold(text, audio)
        assert sum(printed.values()) == pytest.approx(2.0)
        repaired = {**printed, "text_only": printed["text_only"] - 1}
        ours = weights(three_fold(text, audio))
        assert {name: ours.get(name, 0.0) for name in repaired} == pytest.approx(repaired)


def test_a_sampler_arrives_with_these_weights_and_never_with_the_printed_ones():
    """The network is told nothing that matters to it: all its predictions point at one picture."""
    target, noise = torch.full((16, 3, 4, 4), 0.5), torch.randn(16, 3, 4, 4)

    class Towards:
        def begin_chunk(self):
            pass

        def predict(self, latents, sigma, branch, conditions):
            return (latents - target) / sigma

    class Printed(TalkGuidance):
        def combine(self, predictions, sigma):
            weight = printed_three_fold(self.text_scale, self.audio_scale)
            return sum(predictions[name] * weight[name] for name in weight)

    def error(kind):
        rule = kind(5.0, 4.0, Folds.THREE)
        out = EulerDenoiser(Towards(), rule).denoise(
            noise, None, even_sigmas(4, 5.0), held=noise[:, :0]
        )
        return float((out - target).abs().max())

    assert error(TalkGuidance) < 1e-4
    assert error(Printed) > 0.5


@pytest.mark.parametrize(("text", "audio"), SCALES)
def test_folds_are_the_formulas_of_the_paper(text, audio, predictions):
    full, silent, neither = (predictions[n] for n in ("full", "text_only", "unconditional"))
    omega_audio, omega_text = audio - 1, text - 1
    rule = TalkGuidance(text, audio, Folds.BY_NOISE)
    near(rule.combine(predictions, 0.75), (1 + omega_audio) * full - omega_audio * neither)
    three = full + omega_audio * (full - silent) + omega_text * (silent - neither)
    near(rule.combine(predictions, 0.7499), three)


def test_the_two_orders_drop_the_conditions_the_other_way_round(predictions):
    swapped = {
        **predictions,
        "audio_only": predictions["text_only"],
        "text_only": predictions["audio_only"],
    }
    mirrored = TalkGuidance(4.0, 5.0, Folds.ONE_RULE).combine(swapped, 0.5)
    near(TalkGuidance(5.0, 4.0, Folds.THREE).combine(predictions, 0.5), mirrored)


@pytest.mark.parametrize(
    ("folds", "text", "audio", "above", "below"),
    [
        (Folds.BY_NOISE, 5, 4, "full unconditional", "full text_only unconditional"),
        (Folds.BY_NOISE, 1, 4, "full unconditional", "full text_only"),
        (Folds.BY_NOISE, 3, 3, "full unconditional", "full unconditional"),
        (Folds.BY_NOISE, 5, 1, "full", "full text_only unconditional"),
        (Folds.BY_NOISE, 1, 1, "full", "full"),
        (Folds.TWO, 5, 4, "full unconditional", "full unconditional"),
        (Folds.THREE, 5, 4, "full text_only unconditional", "full text_only unconditional"),
        (Folds.AUDIO, 5, 4, "full text_only", "full text_only"),
        (Folds.ONE_RULE, 5, 4, "full audio_only unconditional", "full audio_only unconditional"),
    ],
)
def test_only_what_does_not_cancel_is_evaluated(folds, text, audio, above, below):
    rule = TalkGuidance(text, audio, folds)
    assert " ".join(rule.branches(0.75)) == above, "the switch belongs to the two-fold side"
    assert " ".join(rule.branches(0.74)) == below


@pytest.mark.parametrize(
    ("shift", "above", "evaluations"),
    [(1, 13, 137), (3, 26, 124), (5, 32, 118), (7, 36, 114), (17, 43, 107)],
)
def test_fifty_steps_by_noise_level_cost_what_their_shift_says(shift, above, evaluations):
    sigmas = even_sigmas(50, shift)
    calls = calls_per_step(TalkGuidance(5.0, 4.0, Folds.BY_NOISE), sigmas)
    assert calls == [2] * above + [3] * (50 - above)
    assert sum(calls) == evaluations


def test_the_switch_can_be_moved_and_its_ends_are_the_pure_folds():
    sigmas = even_sigmas(8, 5.0)
    for switch, count in ((0.0, 2), (1.0, 3)):
        calls = calls_per_step(TalkGuidance(5, 4, Folds.BY_NOISE, switch), sigmas)
        assert calls[1:] == [count] * 7
    halves = calls_per_step(TalkGuidance(5, 4, Folds.BY_NOISE, 0.5), sigmas)
    assert halves == [2 if sigma >= 0.5 else 3 for sigma in sigmas[:-1].tolist()]
    assert len(set(halves)) == 2


def test_calls_are_told_step_by_step_only_where_they_differ():
    sigmas = even_sigmas(4, 5.0).tolist()[:-1]
    assert describe_calls([2, 2, 2, 3], sigmas) == (
        "4 steps per chunk: 2 network calls per step down to noise level 0.833 (3 steps), then 3 "
        "(1 step), 9 per chunk"
    )
    assert describe_calls([3] * 4, sigmas) == "4 steps per chunk, 3 network calls per step"
    assert describe_calls([1], [1.0], "window") == "1 step per window, 1 network call per step"


@pytest.mark.parametrize(("text", "audio"), SCALES)
@pytest.mark.parametrize("jitter", [0.0, 0.5])
@pytest.mark.parametrize("kind", RULES)
def test_a_rule_needs_no_prediction_but_those_it_asks_for(kind, jitter, text, audio, predictions):
    for folds in Folds:
        rule = kind(text, audio, folds, jitter=jitter)
        for sigma in (0.9, 0.3):
            asked = {name: predictions[name] for name in rule.branches(sigma)}
            assert torch.isfinite(rule.combine(asked, sigma)).all()


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (TalkGuidance(), ["1 network call per step (full)"]),
        (TalkGuidance(1, 2), ["2 network calls per step (full, text_only)"]),
        (
            TalkGuidance(5, 4, Folds.BY_NOISE),
            [
                "2 network calls per step (full, unconditional) from noise level 0.75 up, 3 below "
                "(full, text_only, unconditional)",
                "reads the negative prompt: connect one to the sampler",
            ],
        ),
        (
            AdaptiveProjectedGuidance(5, 4, Folds.AUDIO),
            [
                "2 network calls per step (full, text_only)",
                "the text scale is not used by 'audio only'",
            ],
        ),
        (
            TalkGuidance(1, 3, Folds.TWO, drop_reference=True),
            [
                "2 network calls per step (full, unconditional)",
                "reads the negative prompt: connect one to the sampler",
                "unconditional sees no reference picture (HunyuanVideo of 33 channels)",
            ],
        ),
        (
            TalkGuidance(1, 2, drop_reference=True),
            [
                "2 network calls per step (full, text_only)",
                "unconditional is not made: reference is not used",
            ],
        ),
    ],
)
def test_a_rule_says_what_it_asks_for(rule, says):
    assert describe_rule(rule) == says


def test_projected_guidance_without_limits_is_the_plain_sum_of_its_directions(predictions):
    """With everything parallel kept, no momentum and no limit there is nothing left of APG."""
    for folds in Folds:
        plain = TalkGuidance(5.0, 4.0, folds)
        loose = AdaptiveProjectedGuidance(
            5.0, 4.0, folds, momentum=0.0, norm_threshold=0.0, eta=1.0
        )
        for sigma in (0.9, 0.3):
            wanted = {name: predictions[name] for name in loose.branches(sigma)}
            near(loose.combine(wanted, sigma), plain.combine(predictions, sigma))


def test_projected_guidance_keeps_an_average_per_direction_and_begins_anew_at_the_switch(
    predictions,
):
    def rule(folds):
        return AdaptiveProjectedGuidance(5.0, 4.0, folds, norm_threshold=10.0)

    switching, three = rule(Folds.BY_NOISE), rule(Folds.THREE)
    switching.combine(predictions, 0.9)
    below = switching.combine(predictions, 0.7)
    assert torch.equal(below, three.combine(predictions, 0.7)), "the two-fold average leaked"
    assert not torch.equal(switching.combine(predictions, 0.6), below), "no average is kept"


@pytest.mark.parametrize("kind", RULES)
def test_a_jitter_of_none_changes_nothing(kind, predictions):
    plain, same = kind(5.0, 4.0), kind(5.0, 4.0, jitter=0.0)
    for each in (plain, same):
        each.begin_chunk(7)
    assert torch.equal(plain.combine(predictions, 0.9), same.combine(predictions, 0.9))


@pytest.mark.parametrize("folds", Folds)
@pytest.mark.parametrize("kind", RULES)
def test_jitter_depends_on_seed_and_step_and_on_nothing_else(kind, folds, predictions):
    def drawn(seed, sigma):
        rule = kind(5.0, 4.0, folds, jitter=0.2)
        rule.begin_chunk(seed)
        rule.branches(0.1)
        wanted = {name: predictions[name] for name in rule.branches(sigma)}
        return rule.combine(wanted, sigma)

    assert torch.equal(drawn(7, 0.9), drawn(7, 0.9))
    assert not torch.equal(drawn(7, 0.9), drawn(8, 0.9))
    assert not torch.equal(drawn(7, 0.9), drawn(7, 0.8))


def test_jitter_has_the_spread_it_is_given_and_never_turns_a_direction_round():
    def scales(jitter, **given):
        rule = FoldedScales(**{"text_scale": 5.0, "audio_scale": 4.0, **given}, jitter=jitter)
        for step in range(2000):
            rule.begin_chunk(step)
            yield {each.name: each.scale for each in rule.drawn_directions(0.9)}

    audio = torch.tensor([each["audio"] for each in scales(0.1)])
    text = torch.tensor([each["text"] for each in scales(0.1)])
    assert float(audio.mean()) == pytest.approx(4.0, abs=0.05)
    assert float(audio.std()) == pytest.approx(0.3, rel=0.1)
    assert float(text.std()) == pytest.approx(0.4, rel=0.1)
    assert abs(float(torch.corrcoef(torch.stack([audio, text]))[0, 1])) < 0.1
    assert min(each["audio"] for each in scales(1.0)) == 1.0
    assert max(each["audio"] for each in scales(1.0, audio_scale=0.5)) == 1.0
    assert all(each == {"audio": 1.0} for each in scales(1.0, text_scale=1.0, audio_scale=1.0))


def test_a_jitter_asks_for_all_it_may_need():
    """Equal scales cancel a prediction, and two draws of them do not."""
    plain, drawn = TalkGuidance(3, 3, Folds.THREE), TalkGuidance(3, 3, Folds.THREE, jitter=0.1)
    assert plain.branches(0.5) == ("full", "unconditional")
    assert drawn.branches(0.5) == ("full", "text_only", "unconditional")
    assert TalkGuidance(jitter=0.5).branches(0.5) == ("full",)


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"switch": 1.5}, "switch of Talk Guidance is 1.5"),
        ({"switch": -0.1}, "0.75 as published"),
        ({"switch": math.nan}, "switch"),
        ({"jitter": 2.0}, "jitter of Talk Guidance is 2.0"),
        ({"jitter": -0.1}, "jitter"),
        ({"text_scale": math.inf}, "text scale of Talk Guidance is inf"),
        ({"audio_scale": math.nan}, "audio scale"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(kind, wrong, says):
    with pytest.raises(InputError, match=says):
        kind(**wrong)


def test_rules_of_the_same_settings_are_equal_whatever_they_drew():
    one, other = TalkGuidance(5, 4, jitter=0.1), TalkGuidance(5, 4, jitter=0.1)
    one.begin_chunk(9)
    assert one == other
    assert one != replace(other, folds=Folds.TWO)
    assert two_fold(4.0) != three_fold(5.0, 4.0)
