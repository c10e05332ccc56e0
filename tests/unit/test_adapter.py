"""The audio adapter: windows per latent frame, routing of speakers, and what routing costs."""

import pytest
import tiny
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from endless_talk.models import routing
from endless_talk.models.adapter import AudioPass, group_audio_windows
from endless_talk.models.routing import (
    BACKGROUND_POSITION,
    KEY_POSITIONS,
    SpeakerRouting,
    reference_attention_map,
    rotate_by_position,
    speaker_positions,
)

LENGTH, TOKENS, HEADS, DIM = 72, 24, 3, 16


@pytest.fixture
def masks():
    masks = torch.zeros(3, TOKENS)
    masks[0, :8] = 1
    masks[1, 12:20] = 1
    masks[2] = 1 - masks[:2].sum(0)
    return masks


@pytest.fixture
def attended(masks):
    q, k = tiny.normal(1, LENGTH, HEADS, DIM), tiny.normal(1, TOKENS, HEADS, DIM, seed=1)
    return q, k, reference_attention_map(q, k, masks)


def test_a_latent_frame_hears_eight_consecutive_audio_frames():
    frames = torch.arange(17)
    windows = (frames[:, None] + torch.arange(-2, 3)).float().view(1, 17, 5, 1, 1)
    first, later = group_audio_windows(windows)
    assert first.flatten().tolist() == [-2, -1, 0, 1, 2]
    for latent in range(1, 5):
        heard = later[0, latent - 1].flatten().tolist()
        assert heard == list(range(4 * latent - 5, 4 * latent + 3))


def test_the_map_equals_its_definition(attended, masks):
    q, k, got = attended
    weights = torch.einsum("blhd,bnhd->bhln", q, k).div(DIM**0.5).softmax(-1)
    expected = torch.einsum("bhln,cn->bhcl", weights, masks).mean(1) / masks.sum(1)[None, :, None]
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)


def test_permuting_speakers_permutes_the_routing(attended, masks):
    q, k, _ = attended
    swapped = reference_attention_map(q, k, masks[[1, 0, 2]])
    original = reference_attention_map(q, k, masks)
    torch.testing.assert_close(swapped, original[:, [1, 0, 2]])
    owner, exchanged = original.argmax(1), swapped.argmax(1)
    assert torch.equal(exchanged, torch.tensor([1, 0, 2])[owner])
    here, there = speaker_positions(original), speaker_positions(swapped)
    for speaker, (low, high) in enumerate(routing.RANGES[:2]):
        assert ((here >= low) & (here <= high))[owner == speaker].all()
        other_low = routing.RANGES[1 - speaker][0]
        moved = there[owner == speaker] - other_low
        torch.testing.assert_close(here[owner == speaker] - low, moved, atol=1e-4, rtol=0)
    assert (here[owner == 2] == BACKGROUND_POSITION).all()


def test_a_speaker_without_tokens_gets_no_token_instead_of_nan(attended):
    q, k, _ = attended
    masks = torch.zeros(3, TOKENS)
    masks[0, :8] = 1
    masks[2] = 1 - masks[0]
    attention_map = reference_attention_map(q, k, masks)
    assert torch.isfinite(attention_map).all()
    assert not (attention_map.argmax(1) == 1).any()


def test_speakers_sit_in_the_middle_of_their_ranges():
    assert KEY_POSITIONS[:2] == (2.0, 22.0)
    assert len(set(KEY_POSITIONS)) == len(routing.RANGES)


def test_rotation_keeps_lengths_and_depends_on_differences():
    q, k = tiny.normal(1, 5, 1, DIM), tiny.normal(1, 5, 1, DIM, seed=1)
    at, moved = torch.rand(1, 5) * 24, 3.5
    rotated = rotate_by_position(q, at)
    torch.testing.assert_close(rotated.norm(dim=-1), q.norm(dim=-1))
    product = (rotated * rotate_by_position(k, at + 1)).sum(-1)
    again = (rotate_by_position(q, at + moved) * rotate_by_position(k, at + moved + 1)).sum(-1)
    torch.testing.assert_close(product, again, atol=1e-4, rtol=1e-4)


class LargestTensor(TorchDispatchMode):
    """Remembers the largest tensor any operation returned."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and not out._is_view():
            self.numel = max(self.numel, out.numel())
        return out


def test_the_map_never_makes_a_tensor_of_an_eighth_of_its_full_size():
    length, tokens = 5 * 256, 256
    q, k = tiny.normal(1, length, 4, 64), tiny.normal(1, tokens, 4, 64, seed=1)
    masks = torch.zeros(3, tokens)
    masks[0, :100], masks[1, 100:200], masks[2, 200:] = 1, 1, 1
    with LargestTensor() as largest:
        reference_attention_map(q, k, masks)
    assert 0 < largest.numel <= length * tokens // 8


def test_half_precision_maps_are_accumulated_in_float32(masks):
    q, k = tiny.normal(1, LENGTH, 40, DIM), tiny.normal(1, TOKENS, 40, DIM, seed=1)
    exact = reference_attention_map(q, k, masks)
    half = reference_attention_map(q.bfloat16(), k.bfloat16(), masks)
    assert half.dtype == torch.float32
    assert (half - exact).abs().max() < 0.01 * exact.max()


def test_one_speaker_computes_no_map(monkeypatch):
    def forbidden(*_):
        raise AssertionError("an attention map was computed for one speaker")

    monkeypatch.setattr(routing, "reference_attention_map", forbidden)
    adapter = tiny.adapter()
    windows = tiny.normal(1, 9, 5, tiny.LAYERS, tiny.CHANNELS)
    audio = AudioPass(adapter, adapter.project(windows), heads=2)
    audio.after_self_attention(tiny.normal(1, 18, 2, 24), tiny.normal(1, 18, 2, 24))
    assert audio.after_cross_attention(0, tiny.normal(1, 18, 48)).shape == (1, 18, 48)


def test_a_speaker_of_strength_zero_leaves_its_tokens_alone():
    adapter = tiny.adapter()
    tokens = adapter.project(tiny.normal(2, 9, 5, tiny.LAYERS, tiny.CHANNELS))
    half = torch.zeros(3, 6)
    half[0, :3], half[1, 3:] = 1, 1
    q = tiny.normal(1, 18, 2, 24)
    x = tiny.normal(1, 18, 48)
    routing = SpeakerRouting(half)
    plain = AudioPass(adapter, tokens, heads=2, routing=routing)
    muted = AudioPass(
        adapter, tokens, heads=2, routing=routing, strength=torch.tensor([[0.0, 2.0]])
    )
    for audio in (plain, muted):
        audio.after_self_attention(q, q)
    first = plain._positions[0] <= 4
    added = plain.after_cross_attention(0, x) - x
    weighed = muted.after_cross_attention(0, x) - x
    assert first.any() and not first.all()
    assert (weighed[0, first] == 0).all()
    torch.testing.assert_close(weighed[0, ~first], 2 * added[0, ~first], atol=1e-5, rtol=1e-4)


def test_every_row_of_a_batch_has_its_own_strength():
    adapter = tiny.adapter()
    tokens = adapter.project(tiny.normal(1, 9, 5, tiny.LAYERS, tiny.CHANNELS)).expand(
        2, -1, -1, -1, -1
    )
    x = tiny.normal(1, 18, 48).expand(2, -1, -1)
    strength = torch.tensor([[1.0], [0.5]])
    added = AudioPass(adapter, tokens, heads=2, strength=strength).after_cross_attention(0, x) - x
    torch.testing.assert_close(added[1], 0.5 * added[0], atol=1e-5, rtol=1e-4)


def test_tokens_stand_in_the_range_of_the_speaker_they_look_at():
    adapter = tiny.adapter()
    windows = tiny.normal(2, 9, 5, tiny.LAYERS, tiny.CHANNELS)
    half = torch.zeros(3, 6)
    half[0, :3], half[1, 3:] = 1, 1
    q = torch.zeros(1, 18, 2, 24)
    q[:, :, :, 0] = torch.tensor([6.0, 6, 6, -6, -6, -6]).repeat(3)[None, :, None]
    audio = AudioPass(adapter, adapter.project(windows), heads=2, routing=SpeakerRouting(half))
    audio.after_self_attention(q, q)
    positions = audio._positions[0]
    assert (positions[:3] <= 4).all() and (positions[3:6] >= 20).all()
