"""The reference HunyuanVideo and its audio adapter, on their own."""

from dataclasses import replace

import pytest
import tiny
import torch

from endless_talk.audio.windows import audio_windows
from endless_talk.models.configs import HUNYUAN_CONCAT, HUNYUAN_REPLACE
from endless_talk.models.hybrid_adapter import (
    HybridAudioAdapter,
    HybridAudioPass,
    group_frames,
)

LATENTS, SIDE = 3, 8
FRAME = SIDE * SIDE // 4


def inputs(rows=1):
    return (
        tiny.normal(rows, 16, LATENTS, SIDE, SIDE, seed=1),
        torch.full((rows,), 600.0),
        tiny.normal(rows, 5, 24, seed=2),
        tiny.normal(rows, 768, seed=3),
    )


def concat(rows=1):
    return tiny.normal(rows, 17, LATENTS, SIDE, SIDE, seed=4)


def grouped(seed=5, speakers=1, latents=LATENTS):
    windows = tiny.normal(speakers, 4 * latents - 3, 5, 3, 8, seed=seed)
    return group_frames(windows)


def heard(adapter, windows=None, **options):
    return HybridAudioPass(
        adapter, adapter.project(grouped() if windows is None else windows), **options
    )


def test_the_family_follows_from_the_input_channels():
    assert tiny.HYBRID.family is HUNYUAN_CONCAT
    assert replace(tiny.HYBRID, in_channels=16).family is HUNYUAN_REPLACE


def test_a_new_adapter_changes_nothing():
    model = tiny.hybrid()
    plain = model(*inputs(), concat=concat())
    adapter = HybridAudioAdapter(tiny.HYBRID_ADAPTER)
    assert torch.equal(model(*inputs(), concat=concat(), audio=heard(adapter)), plain)
    trained = heard(tiny.hybrid_adapter())
    assert (model(*inputs(), concat=concat(), audio=trained) - plain).abs().max() > 1e-2


def test_a_clean_first_frame_has_a_time_of_its_own():
    model = tiny.hybrid(replace(tiny.HYBRID, in_channels=16))
    latents, time, text, pooled = inputs()
    clean = model(latents, time, text, pooled, first_is_clean=True)
    assert (clean - model(latents, time, text, pooled)).abs().max() > 1e-2
    at_zero = torch.zeros(1)
    torch.testing.assert_close(
        model(latents, at_zero, text, pooled, first_is_clean=True),
        model(latents, at_zero, text, pooled),
    )


def test_every_condition_reaches_the_prediction():
    model = tiny.hybrid(replace(tiny.HYBRID, guidance_embed=True))
    latents, time, text, pooled = inputs()
    plain = model(latents, time, text, pooled, concat=concat())
    others = {
        "text": model(latents, time, text + 0.5, pooled, concat=concat()),
        "pooled": model(latents, time, text, pooled + 0.5, concat=concat()),
        "concat": model(latents, time, text, pooled, concat=concat() + 0.5),
        "time": model(latents, time / 2, text, pooled, concat=concat()),
        "guidance": model(latents, time, text, pooled, concat=concat(), guidance=1.0),
    }
    for name, other in others.items():
        assert (other - plain).abs().max() > 1e-3, name


def test_rows_of_a_batch_do_not_mix():
    model, adapter = tiny.hybrid(), tiny.hybrid_adapter()
    latents, time, text, pooled = inputs(2)
    tokens = torch.cat([adapter.project(grouped(seed)) for seed in (5, 6)])
    both = model(
        latents, time, text, pooled, concat=concat(2), audio=HybridAudioPass(adapter, tokens)
    )
    for row in range(2):
        one = slice(row, row + 1)
        alone = model(
            latents[one],
            time[one],
            text[one],
            pooled[one],
            concat=concat(2)[one],
            audio=HybridAudioPass(adapter, tokens[one]),
        )
        torch.testing.assert_close(both[one], alone, atol=1e-5, rtol=1e-5)


def test_gradients_reach_every_weight():
    model = tiny.hybrid(replace(tiny.HYBRID, guidance_embed=True)).requires_grad_(True)
    adapter = tiny.hybrid_adapter().requires_grad_(True)
    audio = heard(adapter, gates=torch.ones(1, 1, 1, FRAME))
    model(*inputs(), concat=concat(), audio=audio).square().mean().backward()
    silent = [
        name
        for module in (model, adapter)
        for name, p in module.named_parameters()
        if p.grad is None or not p.grad.any()
    ]
    assert silent == []


def test_a_latent_frame_hears_its_own_four_pixel_frames():
    frames = torch.arange(13.0).view(1, 13, 1)
    assert group_frames(frames).view(4, 4).tolist() == [
        [0, 0, 0, 0],
        [1, 2, 3, 4],
        [5, 6, 7, 8],
        [9, 10, 11, 12],
    ]
    adapter = tiny.hybrid_adapter()
    windows = grouped()
    moved = windows.clone()
    moved[:, 4:8] += 1
    changed = (adapter.project(moved) - adapter.project(windows)).abs().sum((0, 1, 3, 4)) > 0
    assert changed.tolist() == [False, True, False]


def test_the_tokens_of_a_window_are_a_slice_of_the_clips():
    adapter = tiny.hybrid_adapter()
    features = tiny.normal(40, 3, 8, seed=6)
    whole = group_frames(audio_windows(features, 0, 37))
    clip = adapter.project(whole)
    for start in range(8):
        window = adapter.project(audio_windows(features, 4 * start - 3, 12)) if start else None
        if window is not None:
            torch.testing.assert_close(window, clip[:, :, start : start + 3])


@pytest.mark.parametrize("kind", ["double", "single"])
def test_tokens_of_a_frame_hear_only_their_own_frame(kind):
    adapter = tiny.hybrid_adapter()
    video = tiny.normal(1, LATENTS * FRAME, 128, seed=7)
    windows = grouped()
    moved = windows.clone()
    moved[:, 8:12] += 1
    index = 1
    a = heard(adapter, windows).after_block(kind, index, video)
    b = heard(adapter, moved).after_block(kind, index, video)
    changed = (a - b).unflatten(1, (LATENTS, FRAME)).abs().sum((0, 2, 3)) > 0
    assert changed.tolist() == [False, False, True]


def test_audio_follows_only_the_blocks_it_was_made_for():
    adapter = tiny.hybrid_adapter()
    video = tiny.normal(1, LATENTS * FRAME, 128, seed=7)
    audio = heard(adapter)
    moved = {
        (kind, index)
        for kind, count in (("double", 2), ("single", 4))
        for index in range(count)
        if not torch.equal(audio.after_block(kind, index, video), video)
    }
    assert moved == {("double", 0), ("double", 1), ("single", 1), ("single", 3)}


def test_skipped_silence_is_the_base_without_audio():
    model, adapter = tiny.hybrid(), tiny.hybrid_adapter()
    plain = model(*inputs(), concat=concat())
    silence = heard(adapter, torch.zeros_like(grouped()), strength=torch.zeros(1, 1))
    assert torch.equal(model(*inputs(), concat=concat(), audio=silence), plain)
    zeros = heard(adapter, torch.zeros_like(grouped()))
    assert not torch.equal(model(*inputs(), concat=concat(), audio=zeros), plain)


def test_permuting_speakers_with_their_gates_changes_nothing():
    model, adapter = tiny.hybrid(), tiny.hybrid_adapter()
    windows = grouped(speakers=2)
    gates = torch.zeros(1, 2, 1, FRAME)
    gates[:, 0, :, :7], gates[:, 1, :, 5:12] = 1, 1
    a = model(*inputs(), concat=concat(), audio=heard(adapter, windows, gates=gates))
    b = model(
        *inputs(), concat=concat(), audio=heard(adapter, windows.flip(0), gates=gates.flip(1))
    )
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    swapped = model(*inputs(), concat=concat(), audio=heard(adapter, windows, gates=gates.flip(1)))
    assert (a - swapped).abs().max() > 1e-3
