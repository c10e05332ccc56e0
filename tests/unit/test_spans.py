"""What a chunk can hear: the whole of a short voice, a piece and its margins of a long one."""

import pytest

from endless_talk.audio.features import PieceLayout
from endless_talk.audio.spans import heard_frames

LAYOUT = PieceLayout(whole_frames=60, piece_frames=40, margin_frames=10)


@pytest.mark.parametrize("start", [0, 30, 59])
def test_a_track_up_to_a_minute_is_heard_as_a_whole(start):
    assert heard_frames(start, 17, 60, LAYOUT) == range(60)
    assert heard_frames(start, 17, 1500) == range(1500)
    assert len(heard_frames(0, 17, 1501)) < 1501


@pytest.mark.parametrize(
    ("start", "frames", "heard"),
    [
        (0, 17, range(50)),
        (10, 28, range(50)),  # frame 37 looks two frames ahead, at 39
        (10, 29, range(90)),  # frame 38 looks at 40, in the next piece
        (42, 17, range(30, 90)),
        (41, 17, range(90)),  # frame 41 looks two frames back, at 39
        (72, 17, range(30, 130)),
    ],
)
def test_a_chunk_hears_the_pieces_of_its_windows_and_their_margins(start, frames, heard):
    assert heard_frames(start, frames, 1000, LAYOUT) == heard


def test_a_chunk_behind_the_track_hears_its_end():
    assert heard_frames(500, 17, 110, LAYOUT) == range(70, 110)


def test_consecutive_chunks_hear_every_frame():
    spans = [heard_frames(start, 17, 400, LAYOUT) for start in range(0, 400, 8)]
    assert set().union(*spans) == set(range(400))
    assert [span.start for span in spans] == sorted(span.start for span in spans)
