"""New networks, losses and the set they are trained on, at a fraction of their sizes."""

import numpy as np
import pytest
import torch

from endless_talk.models.wan_vae import LATENT_MEAN, LATENT_STD
from endless_talk.training import data, sizes, transformer, voice
from endless_talk.training.contexts import make_own_contexts
from endless_talk.training.data import Shape, draw_gates, make_data, to_tensor
from endless_talk.training.latents import OWN, decode, encode, encode_clips
from endless_talk.training.loop import Run
from endless_talk.training.networks import new_encoder, new_transformer, new_vae
from endless_talk.training.speech.synthetic import synthetic_utterance
from endless_talk.training.transformer import hold_heads, loss_of, routing_of, worn_context
from endless_talk.training.vae import standardize_latents

SHAPES = (Shape("long", 2, 81, 1), Shape("short", 4, 41, 1), Shape("pair", 2, 41, 2))


@pytest.fixture(scope="module")
def small_set(tmp_path_factory):
    """A set of eight clips with synthetic voices, encoded."""
    patch = pytest.MonkeyPatch()
    patch.setattr(data, "SHAPES", SHAPES)
    patch.setattr("endless_talk.training.speech.mix.draw_utterance", synthetic_utterance)
    run = Run(tmp_path_factory.mktemp("training"), seed=1, rank=0, workers=1)
    torch.manual_seed(0)
    clips = make_data(run)
    voice.encode_tracks(run, clips, new_encoder().eval())
    vae = new_vae().eval()
    standardize_latents(vae, clips["long"])
    yield run, clips, vae, encode_clips(run, clips, vae)
    patch.undo()


def test_a_new_vae_already_passes_colours_through(small_set):
    _, clips, _, _ = small_set
    frames, _ = clips["long"].random_spans(np.random.default_rng(0), 4, 1)
    vae = new_vae().eval()
    with torch.no_grad():
        mean = vae.conv1(vae.encoder(frames, {}), {}).chunk(2, dim=1)[0]
    means = frames.mean(dim=(2, 3, 4))
    assert mean.std() > 0.1
    features = torch.cat([mean.mean(dim=(2, 3, 4)), torch.ones(4, 1)], dim=1)
    assert torch.linalg.matrix_rank(features) == 4  # four pictures are told apart
    assert means.std() > 0


def test_standardized_latents_have_the_published_statistics_and_the_same_pictures(small_set):
    _, clips, _, _ = small_set
    torch.manual_seed(3)
    vae = new_vae().eval()
    frames, _ = clips["long"].random_spans(np.random.default_rng(1), 1, 9)
    with torch.no_grad():
        raw = vae.conv1(vae.encoder(frames[:, :, :1], {}), {}).chunk(2, dim=1)[0]
        before = vae.decoder(vae.conv2(raw, {}), {})
        standardize_latents(vae, clips["long"])
        folded = vae.conv1(vae.encoder(frames[:, :, :1], {}), {}).chunk(2, dim=1)[0]
        after = vae.decoder(vae.conv2(folded, {}), {})
        torch.testing.assert_close(after, before, atol=2e-4, rtol=1e-3)
        many, _ = clips["long"].random_spans(np.random.default_rng(0), 96, 9)
        latents_ = encode(vae, many)
    assert latents_.mean(dim=(0, 2, 3, 4)).abs().max() < 1e-3
    assert (latents_.std(dim=(0, 2, 3, 4)) - 1).abs().max() < 1e-2
    assert len(LATENT_MEAN) == len(LATENT_STD) == latents_.shape[1]


def test_a_batch_of_clips_encodes_like_one_clip(small_set):
    _, clips, vae, sets = small_set
    frames = to_tensor(clips["short"].frames[1])
    stored = torch.from_numpy(sets["short"].latents[1].astype(np.float32))
    torch.testing.assert_close(vae.encode(frames), stored, atol=5e-3, rtol=5e-3)


def test_clips_that_do_not_continue_begin_with_their_reference(small_set):
    _, clips, _, _ = small_set
    for shape in clips.values():
        for clip in np.flatnonzero(~shape.continues):
            np.testing.assert_array_equal(shape.references[clip], shape.frames[clip, 0])


def test_a_set_is_the_same_for_the_same_seed(small_set, tmp_path):
    _, clips, _, _ = small_set
    again = make_data(Run(tmp_path, seed=1, rank=0, workers=1))
    for name, shape in clips.items():
        np.testing.assert_array_equal(shape.frames, again[name].frames)
        np.testing.assert_array_equal(shape.samples, again[name].samples)


def test_speakers_take_turns():
    gates = np.stack([draw_gates(np.random.default_rng(seed), 2) for seed in range(20)])
    alone = [gate for gate in gates if gate.min() < 0.5]
    assert 6 <= len(alone) <= 18
    for gate in alone:
        np.testing.assert_allclose(gate.sum(0)[1:-1], 1, atol=1e-5)


def batch_of(sets, name, count=2):
    return sets[name].batch(np.random.default_rng(0), count)


@pytest.mark.parametrize("name", ["long", "short", "pair"])
def test_the_loss_starts_at_the_variance_of_the_velocity_and_reaches_every_weight(small_set, name):
    torch.manual_seed(0)
    model = new_transformer()
    batch = batch_of(small_set[3], name)
    loss, figures = loss_of(model, batch, np.random.default_rng(0), hears=True)
    assert figures["base"] == pytest.approx(2.0, rel=0.35)  # variance of data + of noise
    loss.backward()
    assert model["base"].head.head.weight.grad.abs().max() > 0


def test_held_latents_are_clean_and_take_no_part_in_the_loss(small_set):
    batch = batch_of(small_set[3], "short", 4)
    noisy = torch.full_like(batch.latents, 9.0)
    held = hold_heads(noisy, batch.context, batch.held)
    for row, count in enumerate(batch.held.tolist()):
        torch.testing.assert_close(held[row, :, :count], batch.context[row, :, :count])
        assert (held[row, :, count:] == 9.0).all()


def test_only_contexts_of_continuing_clips_are_worn(small_set):
    batch = batch_of(small_set[3], "short", 4)
    worn = worn_context(batch, np.random.default_rng(3))
    for row, count in enumerate(batch.held.tolist()):
        if count == 1:
            torch.testing.assert_close(worn[row], batch.context[row])


def test_routing_masks_divide_the_scene(small_set):
    for seed in range(4):
        routing = routing_of(batch_of(small_set[3], "pair"), np.random.default_rng(seed))
        assert (routing.token_masks.sum(0) == 1).all()
        assert (routing.token_masks[:2].sum(1) > 0).all()
    assert routing_of(batch_of(small_set[3], "long"), np.random.default_rng(0)) is None


def test_shapes_follow_their_shares(tmp_path):
    run = Run(tmp_path, seed=0, rank=0, workers=1)
    drawn = [transformer.shape_of(run, step) for step in range(400)]
    for name, share in transformer.SHAPE_SHARES.items():
        assert drawn.count(name) / 400 == pytest.approx(share, abs=0.08)


def test_sizes_agree_with_each_other():
    assert sizes.ADAPTER.feature_size == sizes.WAV2VEC.hidden * sizes.WAV2VEC.layers
    assert sizes.ADAPTER.dim == sizes.BASE.dim and sizes.ADAPTER.layers == sizes.BASE.layers


def test_contexts_that_the_model_makes_are_close_to_the_clips_own(small_set):
    run, _, vae, sets = small_set
    torch.manual_seed(0)
    own = make_own_contexts(run, sets, vae, new_transformer().eval())
    clips = own["short"]
    rows = np.flatnonzero(clips.clips.continues)
    clean, made = (clips.batch_of(rows, np.full(len(rows), v)).context for v in (-1, OWN))
    error = (made - clean).square().mean(dim=(1, 2, 3, 4))
    assert (error > 0).all()
    assert sets["short"].variants == 1 and clips.variants == 2


def test_frames_of_a_new_vae_do_not_depend_on_their_place_in_a_clip(small_set):
    _, clips, vae, _ = small_set
    frames = to_tensor(clips["long"].frames[:1, :41])
    with torch.no_grad():
        whole = decode(vae, encode(vae, frames))
        later = decode(vae, encode(vae, frames[:, :, 20:]))
    torch.testing.assert_close(later[:, :, 9:], whole[:, :, 29:], atol=1e-5, rtol=1e-4)
