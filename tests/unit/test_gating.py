"""Gates: equal to the dense form, and computed on the gated tokens only."""

import pytest
import tiny
import torch

from endless_talk.models.adapter import AudioPass
from endless_talk.models.gating import open_gates
from endless_talk.models.hybrid_adapter import HybridAudioPass

LATENTS, TOKENS, HEADS = 3, 20, 2
LENGTH = LATENTS * TOKENS


def gates(speakers=2, moving=False, soft=False, rows=1):
    """Two overlapping faces, which walk to the right when they move."""
    latents = LATENTS if moving else 1
    out = torch.zeros(rows, speakers, latents, TOKENS)
    for speaker in range(speakers):
        for latent in range(latents):
            out[:, speaker, latent, 3 + 4 * speaker + latent : 9 + 4 * speaker + latent] = 1
    return out * tiny.normal(*out.shape, seed=7).sigmoid() if soft else out


def hybrid():
    adapter = tiny.hybrid_adapter()
    attention = adapter.attention_after("double", 0)
    tokens = tiny.normal(2, 2, LATENTS, 8, tiny.HYBRID_ADAPTER.token_dim, seed=4)

    def alone(x, speaker):
        return attention(x.unflatten(1, (LATENTS, TOKENS)), tokens[:, speaker]).flatten(1, 2)

    def run(x, **options):
        return HybridAudioPass(adapter, tokens, **options).after_block("double", 0, x)

    x = tiny.normal(2, LENGTH, tiny.HYBRID_ADAPTER.dim, seed=3)
    return x, run, alone, [attention.q, attention.proj]


def wan():
    adapter = tiny.adapter()
    block = adapter.blocks[0]
    tokens = tiny.normal(2, 2, LATENTS, 4, tiny.ADAPTER.token_dim, seed=4)

    def alone(x, speaker):
        one = tokens[:, speaker : speaker + 1]
        return block.audio_cross_attn(block.norm_x(x), one, HEADS, None)

    def run(x, **options):
        return AudioPass(adapter, tokens, HEADS, **options).after_cross_attention(0, x)

    x = tiny.normal(2, LENGTH, tiny.ADAPTER.dim, seed=3)
    return x, run, alone, [block.audio_cross_attn.q_linear, block.audio_cross_attn.proj]


def dense(x, alone, masks, strength=None):
    """MagicInfinite eq. 2 over several speakers, every token computed."""
    out = x.clone()
    total = masks.sum(1).clamp(min=1)
    for speaker in range(masks.shape[1]):
        weight = (masks[:, speaker] / total).expand(-1, LATENTS, -1).flatten(1, 2)[..., None]
        factor = 1 if strength is None else strength[:, speaker, None, None]
        out += alone(x, speaker) * weight * factor
    return out


@pytest.mark.parametrize("kind", [hybrid, wan])
@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("rows", [1, 2])
def test_gathering_equals_the_dense_form(kind, moving, soft, rows):
    x, run, alone, _ = kind()
    masks = gates(moving=moving, soft=soft, rows=rows)
    before = x.clone()
    expected = dense(x, alone, masks)
    torch.testing.assert_close(run(x, gates=masks), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(x, before), "the stream was written to"
    assert (expected - x).abs().max() > 1e-2


@pytest.mark.parametrize("kind", [hybrid, wan])
def test_overlapping_voices_add_up_to_no_more_than_one(kind):
    weights = open_gates(gates()).weights
    assert weights.sum(1).max() == 1
    assert (weights[0, :, 0, 7:9] == 0.5).all(), "the faces do not overlap where they should"
    x, run, alone, _ = kind()
    everywhere = torch.ones(1, 2, 1, TOKENS)
    mean = x + (alone(x, 0) + alone(x, 1)) / 2
    torch.testing.assert_close(run(x, gates=everywhere), mean, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [hybrid, wan])
def test_strengths_of_rows_and_speakers_reach_what_they_should(kind):
    x, run, alone, _ = kind()
    strength = torch.tensor([[0.5, 2.0], [0.0, 0.0]])
    got = run(x, gates=gates(), strength=strength)
    torch.testing.assert_close(got, dense(x, alone, gates(), strength), atol=1e-5, rtol=1e-5)
    assert torch.equal(got[1], x[1])


@pytest.mark.parametrize("kind", [hybrid, wan])
@pytest.mark.parametrize("moving", [False, True])
def test_projections_run_on_gated_tokens_only(kind, moving):
    x, run, _, layers = kind()
    counted = [[], []]
    for layer, seen in zip(layers, counted, strict=True):
        layer.register_forward_pre_hook(
            lambda _, args, seen=seen: seen.append(args[0].numel() // args[0].shape[-1])
        )
    masks = gates(moving=moving)
    run(x, gates=masks)
    used = [(masks[0, speaker] > 0).any(0).sum().item() for speaker in range(2)]
    assert max(used) < TOKENS // 2
    assert counted == [[2 * LATENTS * n for n in used]] * 2


@pytest.mark.parametrize("kind", [hybrid, wan])
def test_a_closed_gate_computes_nothing_and_changes_nothing(kind):
    x, run, _, layers = kind()
    for layer in layers:
        layer.register_forward_pre_hook(lambda *_: pytest.fail("a closed gate was computed"))
    assert torch.equal(run(x, gates=torch.zeros(1, 2, 1, TOKENS)), x)


@pytest.mark.parametrize("kind", [hybrid, wan])
def test_what_is_outside_a_gate_does_not_hear_its_speaker(kind):
    x, run, _, _ = kind()
    masks = gates()
    masks[:, 1] = 0
    moved = (run(x, gates=masks) - x).unflatten(1, (LATENTS, TOKENS)).abs().sum((0, 1, 3)) > 0
    assert torch.equal(moved, masks[0, 0, 0] > 0)


def test_gradients_reach_the_stream_and_the_weights():
    x, run, _, layers = hybrid()
    for layer in layers:
        layer.requires_grad_(True)
    run(x.requires_grad_(True), gates=gates(moving=True)).square().sum().backward()
    assert all(layer.weight.grad.abs().sum() > 0 for layer in layers)
    assert x.grad.abs().min() > 0
