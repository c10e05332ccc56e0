"""The hybrid model in training: windows, gates, losses and steps, at a fraction of its sizes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from endless_talk.frames import latent_frames
from endless_talk.models.detect import Kind, identify
from endless_talk.models.hybrid_codec import HybridCodec, to_hybrid, to_wan
from endless_talk.models.weights import open_weights
from endless_talk.samplers.conditioning import latent_windows
from endless_talk.samplers.guidance import TalkGuidance
from endless_talk.samplers.windows import plan_windows
from endless_talk.training import voice
from endless_talk.training.data import Shape, make_data
from endless_talk.training.faces.identity import draw_identity
from endless_talk.training.hybrid import fewsteps, sizes, transformer
from endless_talk.training.hybrid.evaluate import PrintedGuidance, length
from endless_talk.training.hybrid.export import export, load_hybrid
from endless_talk.training.hybrid.networks import new_hybrid
from endless_talk.training.hybrid.transformer import loss_of, portrait_channels, predict, silence
from endless_talk.training.hybrid.trial import (
    HybridSetting,
    as_hybrid,
    face_gates,
    late_windows,
    render_hybrid,
)
from endless_talk.training.hybrid.windows import WINDOWS, draw_gates, encode_windows
from endless_talk.training.loop import Run
from endless_talk.training.networks import new_encoder, new_vae
from endless_talk.training.speech.synthetic import synthetic_utterance

SHAPES = (Shape("short", 3, 61, 1), Shape("pair", 2, 61, 2))


@pytest.fixture(scope="module")
def small_set(tmp_path_factory):
    """Five clips with synthetic voices, encoded."""
    patch = pytest.MonkeyPatch()
    patch.setattr("endless_talk.training.speech.mix.draw_utterance", synthetic_utterance)
    run = Run(tmp_path_factory.mktemp("hybrid"), seed=1, rank=0, workers=1)
    torch.manual_seed(0)
    clips = make_data(run, SHAPES)
    encoder, vae = new_encoder().eval(), new_vae().eval()
    voice.encode_tracks(run, clips, encoder)
    yield run, encode_windows(run, clips, vae), encoder, vae
    patch.undo()


@pytest.fixture
def sets(small_set):
    return small_set[1]


def batch_of(sets, name="short", count=2):
    return sets[name].batch(np.random.default_rng(0), count)


def trained_a_little(sets, steps=25, seed=0):
    """A model after some steps on one batch, with the losses."""
    torch.manual_seed(seed)
    model = new_hybrid()
    windows = batch_of(sets)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        loss, _ = loss_of(model, windows, np.random.default_rng(3), hears=True)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model, losses


def test_steps_lower_the_loss(sets):
    model, losses = trained_a_little(sets)
    assert losses[-1] < 0.8 * losses[0]
    for attention in model["adapter"].double_blocks.values():
        assert attention.audio_attn.proj.weight.abs().max() > 0


def test_the_loss_starts_at_the_variance_of_the_velocity_and_reaches_base_and_adapter(sets):
    torch.manual_seed(0)
    model = new_hybrid()
    torch.nn.init.normal_(model["base"].final_layer.linear.weight, std=0.02)
    loss, figures = loss_of(model, batch_of(sets, "pair"), np.random.default_rng(1), hears=True)
    assert figures["base"] < loss.item()
    loss.backward()
    for name in ("img_in.proj", "final_layer.linear", "single_blocks.4.linear2"):
        assert model["base"].get_parameter(f"{name}.weight").grad.abs().max() > 0
    for attention in model["adapter"].single_blocks.values():
        assert attention.audio_attn.proj.weight.grad.abs().max() > 0


def test_mouths_and_eyes_count_more(sets):
    windows = batch_of(sets)
    inside, outside = torch.zeros_like(windows.latents), torch.zeros_like(windows.latents)
    row, column = np.argwhere(windows.weight[0, 0, 0].numpy() == 1)[0]
    empty_row, empty_column = np.argwhere(windows.weight[0, 0, 0].numpy() == 0)[0]
    inside[0, :, :, row, column] = 1
    outside[0, :, :, empty_row, empty_column] = 1
    counted, base = transformer.weighted_error(inside, windows.weight)
    plain, same = transformer.weighted_error(outside, windows.weight)
    assert base["base"] == pytest.approx(same["base"])
    assert plain.item() == pytest.approx(same["base"])
    assert counted.item() > 2 * plain.item()


def test_the_second_stage_starts_where_the_first_ended(sets):
    """The adapter's last layers begin at zero: with voices the base says what it says without."""
    torch.manual_seed(0)
    model, windows = new_hybrid(), batch_of(sets, "pair")
    torch.nn.init.normal_(model["base"].final_layer.linear.weight)
    concat = portrait_channels(windows, torch.zeros(2, dtype=torch.bool))
    sigma, gates = torch.tensor([0.9, 0.4]), draw_gates(np.random.default_rng(0), windows)
    with torch.no_grad():
        mute = predict(model, windows.latents, sigma, concat, None, None)
        heard = predict(model, windows.latents, sigma, concat, windows.voices, gates)
        assert mute.abs().max() > 0.1
        torch.testing.assert_close(heard, mute, rtol=0, atol=1e-6)
        for attention in model["adapter"].single_blocks.values():
            torch.nn.init.normal_(attention.audio_attn.proj.weight, std=0.2)
        assert (predict(model, windows.latents, sigma, concat, windows.voices, gates) - mute).any()


def test_training_continues_as_if_it_had_not_been_stopped(small_set, tmp_path, monkeypatch):
    run, sets, _, _ = small_set
    monkeypatch.setattr(transformer, "shape_of", lambda run, step: "short")
    monkeypatch.setattr(transformer, "BATCHES", {"short": 1})
    recipe = replace(transformer.SPEECH, stage="toy", steps=202, warmup=2)
    losses = {}
    for kind, stops in (("whole", (None,)), ("stopped", (200, None))):
        (tmp_path / kind).mkdir()
        here = replace(run, folder=tmp_path / kind)
        for stop in stops:
            torch.manual_seed(0)
            model = torch.nn.ModuleDict({"base": torch.nn.Linear(16, 16)})
            monkeypatch.setattr(transformer, "loss_of", linear_loss(stop))
            try:
                transformer.train_on(here, recipe, sets, model, hears=True)
            except KeyboardInterrupt:
                continue
        losses[kind] = model["base"].weight
    torch.testing.assert_close(losses["stopped"], losses["whole"], rtol=0, atol=0)


def linear_loss(stop):
    """A loss of a batch for a single layer, which is interrupted after some steps."""
    count = iter(range(10_000))

    def loss_of(model, windows, rng, *, hears):
        if next(count) == stop:
            raise KeyboardInterrupt
        data = windows.latents[:, :, 0].movedim(1, -1)
        noise = torch.from_numpy(rng.standard_normal(data.shape, dtype=np.float32))
        return (model["base"](data + noise) - data).square().mean(), {}

    return loss_of


def test_a_window_hears_the_four_frames_of_each_of_its_latents(sets):
    clips = sets["short"]
    whole = clips.features[0, 0]
    for start in (0, 3):
        heard = clips.batch_of(np.array([1]), np.array([start])).voices[0, 0]
        assert len(heard) == 4 * WINDOWS["short"]
        first = clips.clips.span(1)[1].start + 4 * start
        for latent in range(WINDOWS["short"]):
            for part in range(4):
                frame = max(clips.clips.span(1)[1].start, first + 4 * latent - 3 + part)
                middle = heard[4 * latent + part, 2].numpy()
                np.testing.assert_array_equal(middle, whole[frame].astype(np.float32))


def test_windows_begin_anywhere_in_their_clips(sets):
    clips = sets["short"]
    assert clips.starts == 6
    windows = clips.batch_of(np.array([2]), np.array([5]))
    stored = torch.from_numpy(clips.latents[2, :, 5:16].astype(np.float32))
    torch.testing.assert_close(windows.latents[0], stored)


def test_gates_open_within_their_own_faces(sets):
    for seed in range(8):
        windows = batch_of(sets, "pair", 3)
        gates = draw_gates(np.random.default_rng(seed), windows)
        assert gates.shape == (3, 2, 1, 32)
        grid = gates.view(3, 2, 4, 8)
        assert not grid[:, 0, :, 4:].any() and not grid[:, 1, :, :4].any()
        top, left, bottom, right = windows.boxes[0, 0, 0]  # the mouth is never left out
        assert grid[0, 0, top // 16 : -(-bottom // 16), left // 16 : -(-right // 16)].all()


def test_a_window_sees_its_portrait_in_the_first_latent_or_nothing(sets):
    windows = batch_of(sets)
    concat = portrait_channels(windows, torch.tensor([False, True]))
    torch.testing.assert_close(concat[0, :16, 0], windows.reference[0])
    assert (concat[0, 16, 0] == 1).all()
    assert not concat[0, :, 1:].any() and not concat[1].any()


def test_deaf_windows_hear_zero_features(sets):
    voices = silence(batch_of(sets).voices, torch.tensor([True, False]))
    assert not voices[0].any() and voices[1].any()


def test_latents_come_in_hunyuan_video_scale(small_set):
    vae = small_set[3]
    frames = torch.rand(3, 5, 64, 64) * 2 - 1
    codec = HybridCodec(vae)
    with torch.no_grad():
        latents, wan = codec.encode(frames), vae.encode(frames)
        torch.testing.assert_close(to_wan(latents[None])[0], wan, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(to_hybrid(wan[None])[0], latents)
        shown = torch.cat(list(codec.decode(latents)), dim=1)
        torch.testing.assert_close(shown, torch.cat(list(vae.decode(wan)), dim=1))


def test_distillation_adds_guidance_along_the_audio(sets, monkeypatch):
    """A student equal to its teacher is off by that alone, and by nothing without guidance."""
    model, _ = trained_a_little(sets, steps=4)
    windows = batch_of(sets)
    losses = []
    for scale in (1.0, 3.0):
        monkeypatch.setattr(fewsteps, "AUDIO_SCALE", scale)
        with torch.no_grad():
            loss, _ = fewsteps.guided_loss(model, model, windows, np.random.default_rng(0))
        losses.append(loss.item())
    assert losses[0] != losses[1]


def test_gates_of_a_trial_are_at_the_faces_of_the_speakers():
    faces = [draw_identity(np.random.default_rng(seed)) for seed in range(2)]
    straight, crossed = face_gates(faces, (0, 1)), face_gates(faces, (1, 0))
    assert straight.shape == (1, 2, 1, 32)
    torch.testing.assert_close(straight.flip(1), crossed)
    assert not straight.view(2, 4, 8)[0, :, 4:].any()


def test_a_window_of_the_sampler_hears_what_a_window_of_the_training_hears(sets):
    clips = sets["short"]
    track, first = clips.features[0, 0].astype(np.float32), clips.clips.span(1)[1].start
    window = plan_windows(61, 41, 5).windows[1]

    def read(chunk):
        return late_windows(first)(torch.from_numpy(track), chunk)

    torch.testing.assert_close(latent_windows(read, window.chunk), clips.voices(1, window.start))


def test_a_trial_goes_through_the_windows_and_files_bring_it_back(small_set, tmp_path):
    _, sets, encoder, vae = small_set
    model, _ = trained_a_little(sets, steps=2)
    export(tmp_path, model)
    for name, kind in (("base", Kind.HYBRID), ("adapter", Kind.HYBRID_ADAPTER)):
        assert identify(open_weights(tmp_path / f"{name}.safetensors")) is kind
    config = json.loads(open_weights(tmp_path / "adapter.safetensors").metadata["config"])
    assert config["window"] == sizes.WINDOW_LATENTS and config["base"] == "i2v_concat"

    face, frames = draw_identity(np.random.default_rng(0)), 60
    samples = synthetic_utterance(np.random.default_rng(0), frames).samples
    setting = HybridSetting(seed=1, steps=2, window_latents=7, guidance=TalkGuidance(1.0, 2.0))
    trial = render_hybrid(as_hybrid(model, vae, encoder), [face], [samples], frames, setting)
    assert trial.frames.shape == (frames, 64, 64, 3)
    assert sum(chunk.kept_frames for chunk in trial.plan) == frames and len(trial.plan) > 2
    for name, tensor in load_hybrid(tmp_path).base.state_dict().items():
        torch.testing.assert_close(tensor, model["base"].state_dict()[name], rtol=2e-3, atol=1e-4)


def test_the_printed_rule_goes_twice_as_far():
    guidance = PrintedGuidance(5.0, 4.0)
    for sigma, factor in ((0.5, 2), (0.9, 1)):
        same = {name: torch.ones(2) for name in guidance.branches(sigma)}
        torch.testing.assert_close(guidance.combine(same, sigma), factor * torch.ones(2))


def test_a_clip_of_whole_windows_needs_no_padding():
    for windows in (1, 2, 6):
        plan = plan_windows(length(windows), 81)
        assert len(plan.windows) == windows and plan.latents == latent_frames(length(windows))
