"""Features on demand are those of the whole track, whatever is asked for and in which order."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from voices import TINY, made_up_voice, tiny_encoder

from endless_talk.audio.features import (
    FeatureTrack,
    PieceLayout,
    pad_for_clip,
    published_frame_count,
)
from endless_talk.errors import InputError
from endless_talk.frames import clip_frames

SHORT = PieceLayout(whole_frames=50, piece_frames=40, margin_frames=20)


def published(encoder, samples, frames):
    with torch.no_grad():
        return encoder(torch.from_numpy(samples)[None], frames)[0]


@pytest.mark.parametrize("seconds", [0.04, 0.1, 1.0, 13.3])
@pytest.mark.parametrize("normalize", [False, True])
def test_a_short_track_is_encoded_the_published_way(seconds, normalize):
    encoder = tiny_encoder(replace(TINY, normalize_waveform=normalize))
    samples = made_up_voice(seconds)
    track = FeatureTrack(encoder, samples)
    expected = published(encoder, samples, track.frames)
    torch.testing.assert_close(track.features(0, track.frames), expected, atol=1e-5, rtol=0)


def test_convolution_features_in_pieces_are_those_of_the_whole_track():
    encoder, samples = tiny_encoder(), made_up_voice(30.0)
    samples += 0.2  # an offset makes the variance of the group norm a difference of large numbers
    track = FeatureTrack(encoder, samples, layout=SHORT)
    with torch.no_grad():
        convolved = encoder.feature_extractor(torch.from_numpy(samples)[None])
    whole = torch.nn.functional.interpolate(
        convolved, size=track.frames, mode="linear", align_corners=True
    )[0].T
    starts = range(0, track.frames, 130)
    pieces = [track.convolution_features(i, min(i + 130, track.frames)) for i in starts]
    torch.testing.assert_close(torch.cat(pieces), whole, atol=1e-5, rtol=0)


def test_pieces_that_see_the_whole_track_equal_the_whole_track():
    encoder, samples = tiny_encoder(), made_up_voice(8.1)
    layout = replace(SHORT, margin_frames=1_000)
    track = FeatureTrack(encoder, samples, layout=layout)
    expected = published(encoder, samples, track.frames)
    torch.testing.assert_close(track.features(0, track.frames), expected, atol=1e-5, rtol=0)


def test_a_long_track_deviates_from_the_whole_by_little_and_only_by_the_transformer():
    encoder, samples = tiny_encoder(), made_up_voice(70.0)
    track = FeatureTrack(encoder, samples)
    difference = track.features(0, track.frames) - published(encoder, samples, track.frames)
    assert 0 < difference.abs().max() < 0.02
    assert difference.square().mean().sqrt() < 0.003


def test_results_do_not_depend_on_the_order_of_requests():
    encoder, samples = tiny_encoder(), made_up_voice(10.0)
    forward = FeatureTrack(encoder, samples, layout=SHORT)
    backward = FeatureTrack(encoder, samples, layout=SHORT)
    starts = range(0, forward.frames, 17)
    first = {i: forward.features(i, min(i + 17, forward.frames)) for i in starts}
    second = {i: backward.features(i, min(i + 17, forward.frames)) for i in reversed(starts)}
    assert all(torch.equal(first[start], second[start]) for start in starts)
    joined = torch.cat([first[start] for start in starts])
    assert torch.equal(joined, backward.features(0, backward.frames))


def test_never_more_than_two_pieces_are_stored_and_chunks_in_order_encode_each_once():
    class Counting:
        """The tiny encoder, counting transformer runs and pieces stored while they happen."""

        def __init__(self):
            self.inner = tiny_encoder()
            self.runs, self.stored = 0, []

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def encode(self, features):
            self.runs += 1
            self.stored.append(track.stored_pieces)
            return self.inner.encode(features)

    encoder = Counting()
    track = FeatureTrack(encoder, made_up_voice(20.0), layout=SHORT)
    for start in range(0, track.frames - 30, 20):
        track.features(start, start + 30)
    assert encoder.runs == math.ceil(track.frames / SHORT.piece_frames)
    assert max(encoder.stored) == 1  # one kept while the next is made
    assert track.stored_pieces == 2


def test_stored_pieces_do_not_keep_their_margins_in_memory():
    track = FeatureTrack(tiny_encoder(), made_up_voice(10.0), layout=SHORT)
    track.features(45, 50)
    (piece,) = track._pieces.values()
    assert piece.untyped_storage().nbytes() == 40 * TINY.layers * TINY.hidden * 4


def test_writing_into_the_result_changes_no_later_result():
    track = FeatureTrack(tiny_encoder(), made_up_voice(1.0))
    kept = track.features(0, 5).clone()
    track.features(0, 5).zero_()
    assert torch.equal(track.features(0, 5), kept)


@pytest.mark.parametrize("samples", [16_000, 18_559, 18_560, 44_444])
def test_a_padded_clip_has_features_for_every_frame_and_one_second_more(samples):
    frames = clip_frames(samples / 16_000)
    padded = pad_for_clip(np.ones(samples, np.float32), frames)
    assert padded.size == (frames + 25) * 640
    assert not padded[samples:].any()
    assert FeatureTrack(tiny_encoder(), padded).frames == frames + 25


def test_a_voice_longer_than_its_clip_is_not_cut():
    voice = made_up_voice(4.0)
    assert pad_for_clip(voice, clip_frames=10) is voice


def test_integer_counting_loses_no_frame_where_the_published_float_does():
    assert published_frame_count(29 * 640) == 28
    assert FeatureTrack(tiny_encoder(), np.zeros(29 * 640, np.float32)).frames == 29


def test_silence_gives_finite_features():
    track = FeatureTrack(tiny_encoder(), np.zeros(16_000, np.float32))
    assert torch.isfinite(track.features(0, 25)).all()


def test_less_than_one_frame_of_sound_is_refused():
    with pytest.raises(InputError, match=r"expected at least 0\.04 s of audio"):
        FeatureTrack(tiny_encoder(), np.zeros(300, np.float32))


@pytest.mark.parametrize("span", [(-1, 5), (5, 5), (0, 26)])
def test_spans_outside_the_track_are_refused(span):
    track = FeatureTrack(tiny_encoder(), np.zeros(16_000, np.float32))
    with pytest.raises(ValueError, match=r"frames 0\.\.25"):
        track.features(*span)
