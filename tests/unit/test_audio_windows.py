"""Audio windows centre on their frame, clamp at both ends and read no more than they need."""

import pytest
import torch

from endless_talk.audio.windows import audio_window_indices, audio_windows, mirror_tail


def numbered(frames):
    """Features that say which frame they are of, ``[frames, 2, 3]``."""
    return torch.arange(frames, dtype=torch.float32)[:, None, None].expand(frames, 2, 3)


class Recorder:
    """A feature source that remembers the spans it was asked for."""

    def __init__(self, frames):
        self.frames = frames
        self.spans = []

    def features(self, start_frame, stop_frame):
        self.spans.append((start_frame, stop_frame))
        return numbered(self.frames)[start_frame:stop_frame]


def test_a_window_is_its_frame_and_two_neighbours_on_each_side():
    assert audio_window_indices(10, 1, 40).tolist() == [[8, 9, 10, 11, 12]]


def test_windows_clamp_at_both_ends():
    indices = audio_window_indices(0, 10, 10)
    assert indices[0].tolist() == [0, 0, 0, 1, 2]
    assert indices[1].tolist() == [0, 0, 1, 2, 3]
    assert indices[-1].tolist() == [7, 8, 9, 9, 9]


def test_a_chunk_past_the_end_repeats_the_last_frame():
    assert audio_windows(numbered(5), 20, 3)[..., 0, 0].unique().tolist() == [4.0]


@pytest.mark.parametrize(
    ("start_frame", "frames", "span"),
    [(72, 81, (70, 155)), (0, 81, (0, 83)), (190, 81, (188, 200)), (300, 5, (199, 200))],
)
def test_only_the_needed_span_is_read_and_only_once(start_frame, frames, span):
    source = Recorder(200)
    windows = audio_windows(source, start_frame, frames)
    assert windows.shape == (1, frames, 5, 2, 3)
    assert source.spans == [span]
    assert torch.equal(windows, audio_windows(numbered(200), start_frame, frames))


def test_windows_of_neighbouring_chunks_agree_on_shared_frames():
    features = torch.randn(100, 2, 3)
    first, second = audio_windows(features, 0, 81), audio_windows(features, 72, 20)
    assert torch.equal(first[:, 72:], second[:, :9])


def test_the_mirrored_tail_is_the_end_backwards_and_three_frames_longer_than_needed():
    lengthened = mirror_tail(numbered(10), 12)
    assert lengthened[:, 0, 0].tolist() == [*range(10), 9, 8, 7, 6, 5]


def test_a_track_longer_than_the_chunk_is_not_mirrored():
    assert mirror_tail(numbered(10), 9).shape[0] == 10


def test_no_more_than_the_whole_track_is_mirrored():
    assert mirror_tail(numbered(10), 100).shape[0] == 20
