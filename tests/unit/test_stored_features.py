"""Features that are kept are those that were encoded, and each of them is encoded once."""

import tempfile

import pytest
import torch
from voices import made_up_voice, tiny_encoder

from endless_talk.audio.features import FeatureTrack, PieceLayout
from endless_talk.audio.stored import StoredFeatures
from endless_talk.audio.windows import TensorFeatures, audio_windows
from endless_talk.errors import InputError

SHORT = PieceLayout(whole_frames=50, piece_frames=40, margin_frames=20)


class Asked(TensorFeatures):
    """Features that say which spans were asked for."""

    def __init__(self, frames):
        super().__init__(torch.randn(frames, 3, 8, generator=torch.Generator().manual_seed(0)))
        self.spans = []

    def features(self, start_frame, stop_frame):
        self.spans.append((start_frame, stop_frame))
        return super().features(start_frame, stop_frame)


def test_they_are_those_of_the_track_to_the_last_bit_in_any_order():
    encoder, samples = tiny_encoder(), made_up_voice(8.1)
    track = FeatureTrack(encoder, samples, layout=SHORT)
    stored = StoredFeatures(FeatureTrack(encoder, samples, layout=SHORT))
    assert stored.frames == track.frames
    for start, frames in ((150, 33), (0, 81), (190, 33), (60, 81)):
        assert torch.equal(
            audio_windows(stored, start, frames), audio_windows(track, start, frames)
        )


def test_every_frame_is_encoded_once_and_none_before_it_is_asked_for():
    source = Asked(2500)
    stored = StoredFeatures(source)
    assert not source.spans
    for _ in range(3):
        for start in range(0, 2400, 100):
            stored.features(start, start + 100)
    assert source.spans == [(0, 1000), (1000, 2000), (2000, 2500)]


def test_writing_into_the_result_changes_no_later_result():
    stored = StoredFeatures(Asked(30))
    before = stored.features(3, 9).clone()
    stored.features(3, 9).zero_()
    assert torch.equal(stored.features(3, 9), before)


@pytest.mark.parametrize("span", [(-1, 3), (4, 4), (20, 31)])
def test_spans_outside_the_track_are_refused(span):
    with pytest.raises(ValueError, match=r"0\.\.30"):
        StoredFeatures(Asked(30)).features(*span)


def test_a_full_disk_is_said(monkeypatch):
    class Full:
        def write(self, _data):
            raise OSError(28, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(InputError, match="make room"):
        StoredFeatures(Asked(30)).features(0, 5)
