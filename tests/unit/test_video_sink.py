"""The frame sink: exact frames, true colours, and all or nothing on disk."""

import weakref

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import ColorRange, Colorspace

from endless_talk.errors import InputError
from endless_talk.video.h264 import FrameEncoder, pixel_levels
from endless_talk.video.mux import write_clip
from endless_talk.video.sink import VideoSink
from endless_talk.video.sound import Sound

SIZE = (48, 64)


def moving(frames, size=SIZE, seed=0):
    """Smooth pictures that change from frame to frame, ``[3, F, H, W]``."""
    height, width = size
    phase = torch.arange(3)[:, None, None, None] + seed
    time = torch.arange(frames)[None, :, None, None] / 5
    rows, columns = torch.arange(height)[:, None] / 9, torch.arange(width) / 7
    return torch.sin(phase + time + rows + columns) * 0.9


def decoded(path):
    with av.open(str(path)) as source:
        return [frame.to_ndarray(format="yuv420p").copy() for frame in source.decode(video=0)]


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("count", [1, 2, 25, 81])
def test_every_frame_is_there_and_time_begins_at_0(tmp_path, count):
    with VideoSink(tmp_path / "a.mp4", SIZE) as sink:
        sink.append(moving(count))
        assert sink.frames == count
        path = sink.finish()
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        assert (stream.frames, stream.average_rate, stream.start_time) == (count, 25, 0)
        assert stream.duration * stream.time_base * 25 == count
        assert source.duration * 25 == count * av.time_base
        times = [frame.pts * frame.time_base * 25 for frame in source.decode(stream)]
    assert times == list(range(count))
    assert names(tmp_path) == ["a.mp4"]


def test_the_file_says_what_it_is(tmp_path):
    with VideoSink(tmp_path / "a.mp4", SIZE, metadata={"workflow": '{"seed": "ä"}'}) as sink:
        sink.append(moving(3))
        path = sink.finish()
    with av.open(str(path)) as source:
        context = source.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.height, context.width) == SIZE
        assert (context.colorspace, context.color_range) == (Colorspace.ITU709, ColorRange.MPEG)
        assert (context.color_primaries, context.color_trc) == (1, 1)
        assert source.metadata["workflow"] == '{"seed": "ä"}'
    data = path.read_bytes()
    assert data.find(b"colrnclx\0\1\0\1\0\1") > 0
    assert 0 < data.find(b"moov") < data.find(b"mdat"), "the index is not at the head"


def test_a_colour_chart_comes_back_when_decoded_as_tagged(tmp_path):
    chart = [
        [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255)],
        [(0, 0, 0), (51, 51, 51), (102, 102, 102), (153, 153, 153), (204, 204, 204), (255,) * 3],
        [
            (255, 224, 196),
            (241, 194, 125),
            (224, 172, 105),
            (198, 134, 66),
            (141, 85, 36),
            (60, 40, 30),
        ],
    ]
    patches = torch.tensor(chart).movedim(-1, 0).repeat_interleave(16, 1).repeat_interleave(16, 2)
    with VideoSink(tmp_path / "a.mp4", (48, 96)) as sink:
        sink.append((patches / 127.5 - 1)[:, None].expand(3, 5, 48, 96))
        path = sink.finish()
    with av.open(str(path)) as source:
        for frame in source.decode(video=0):
            assert (frame.colorspace, frame.color_range) == (Colorspace.ITU709, ColorRange.MPEG)
            pixels = frame.reformat(
                format="rgb24",
                src_colorspace=frame.colorspace,
                src_color_range=frame.color_range,
                dst_color_range=ColorRange.JPEG,
            ).to_ndarray()
            found = pixels.reshape(3, 16, 6, 16, 3).mean((1, 3))
            assert np.abs(found - np.array(chart)).max() <= 3


def test_levels_are_the_nearest_and_values_outside_are_clamped():
    exact = torch.arange(256.0)
    values = torch.stack([exact, exact + 0.49, exact - 0.49]) / 127.5 - 1
    levels = pixel_levels(values[:, None, None])
    assert torch.equal(levels[:, 0, 0], exact.to(torch.uint8).expand(3, 256))
    assert pixel_levels(torch.tensor([-9.0, 9.0]).expand(3, 1, 1, 2))[0, 0, 0].tolist() == [0, 255]


def test_blocks_of_any_length_and_layout_give_the_same_file(tmp_path):
    frames = moving(21)
    with VideoSink(tmp_path / "one.mp4", SIZE) as sink:
        sink.append(frames)
        one = sink.finish()
    with VideoSink(tmp_path / "many.mp4", SIZE) as sink:
        for block in frames.split([1, 2, 3, 4, 5, 1, 5], dim=1):
            sink.append(block.permute(1, 0, 2, 3).contiguous().permute(1, 0, 2, 3))
            sink.commit({})
        many = sink.finish()
    assert many.read_bytes() == one.read_bytes()


def test_half_precision_is_taken_as_it_is(tmp_path):
    with VideoSink(tmp_path / "a.mp4", SIZE) as sink:
        sink.append(moving(2).to(torch.bfloat16))
        sink.append(moving(2).to(torch.float16).requires_grad_())
        assert len(decoded(sink.finish())) == 4


def test_frames_are_not_kept(tmp_path):
    with VideoSink(tmp_path / "a.mp4", SIZE) as sink:
        frames = moving(9)
        kept = weakref.ref(frames), weakref.ref(frames.untyped_storage())
        sink.append(frames)
        del frames
        assert kept[0]() is None and kept[1]() is None
        # Encoded at once: all but a few frames are in the file or its write buffer already.
        assert sink._encoder._stream.codec_context.delay == 0


def test_discarding_leaves_no_file(tmp_path):
    sink = VideoSink(tmp_path / "a.mp4", SIZE)
    sink.append(moving(3))
    (part,) = names(tmp_path)
    assert part.startswith(".") and part.endswith(".part")
    sink.discard()
    sink.discard()
    assert names(tmp_path) == []
    with pytest.raises(RuntimeError, match="finished"):
        sink.append(moving(1))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_on_the_way_leaves_no_file(tmp_path, error):
    with pytest.raises(error), VideoSink(tmp_path / "a.mp4", SIZE) as sink:
        sink.append(moving(3))
        raise error
    assert names(tmp_path) == []


def test_an_existing_clip_is_replaced_only_at_the_end(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_text("old")
    with VideoSink(path, SIZE) as sink:
        sink.append(moving(3))
        assert path.read_text() == "old"
        sink.finish()
    assert len(decoded(path)) == 3


def test_a_failed_finish_leaves_the_old_clip_and_can_be_repeated(tmp_path):
    path, voice = tmp_path / "a.mp4", tmp_path / "voice.mp4"
    path.write_text("old")
    sound = Sound(samples=torch.zeros(1, 8000), rate_hz=8000)
    with VideoSink(voice, SIZE) as sink:
        sink.append(moving(1))
        sink.finish(sound)
    lost = Sound(voice)
    voice.unlink()
    with VideoSink(path, SIZE) as sink:
        sink.append(moving(3))
        with pytest.raises(FileNotFoundError):
            sink.finish(lost)
        assert path.read_text() == "old"
        sink.finish(sound)
    assert names(tmp_path) == ["a.mp4"]
    assert len(decoded(path)) == 3


def test_segments_encoded_separately_join_without_a_seam(tmp_path):
    frames, parts = moving(12), []
    for index, block in enumerate(frames.split([5, 1, 6], dim=1)):
        parts.append(tmp_path / f"{index}.mp4")
        encoder = FrameEncoder(parts[-1], SIZE)
        encoder.append(block)
        encoder.close()
    write_clip(tmp_path / "all.mp4", parts, None)
    alone = [picture for part in parts for picture in decoded(part)]
    assert np.array_equal(decoded(tmp_path / "all.mp4"), alone)
    with av.open(str(tmp_path / "all.mp4")) as source:
        assert [frame.pts * frame.time_base * 25 for frame in source.decode(video=0)] == list(
            range(12)
        )


@pytest.mark.parametrize("size", [(47, 64), (48, 63), (0, 64)])
def test_odd_sizes_are_refused_with_an_even_one(tmp_path, size):
    with pytest.raises(InputError, match=r"even numbers; use \d+x\d+"):
        VideoSink(tmp_path / "a.mp4", size)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (torch.zeros(3, 2, 64, 48), r"expected \[3, frames, 48, 64\]"),
        (torch.zeros(2, 3, 48, 64), r"expected \[3, frames, 48, 64\]"),
        (torch.zeros(3, 48, 64), r"expected \[3, frames, 48, 64\]"),
        (torch.zeros(3, 2, 48, 64, dtype=torch.uint8), "uint8, expected floats"),
        (torch.full((3, 2, 48, 64), float("nan")), "not finite"),
    ],
)
def test_unusable_frames_are_refused(tmp_path, frames, words):
    with VideoSink(tmp_path / "a.mp4", SIZE) as sink, pytest.raises(InputError, match=words):
        sink.append(frames)


def test_unusable_targets_are_refused_before_the_work(tmp_path):
    with pytest.raises(InputError, match=r"rename it to a\.mp4"):
        VideoSink(tmp_path / "a.mkv", SIZE)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        VideoSink(tmp_path / "nowhere" / "a.mp4", SIZE)
    with pytest.raises(InputError, match="crf is 60"):
        VideoSink(tmp_path / "a.mp4", SIZE, crf=60)


def test_a_clip_without_frames_is_not_finished(tmp_path):
    with (
        VideoSink(tmp_path / "a.mp4", SIZE) as sink,
        pytest.raises(RuntimeError, match="no frames"),
    ):
        sink.finish()
    assert names(tmp_path) == []


def test_crf_0_is_lossless(tmp_path):
    grey = torch.randint(0, 256, (1, 2, *SIZE), generator=torch.Generator().manual_seed(0))
    frames = (grey / 127.5 - 1).expand(3, 2, *SIZE)
    with VideoSink(tmp_path / "a.mp4", SIZE, crf=0) as sink:
        sink.append(frames)
        light = np.stack(decoded(sink.finish()))[:, : SIZE[0]]
    # Limited range has 219 steps for 255 levels; the encoder itself adds nothing.
    assert np.abs(light - (16 + grey[0].numpy() * 219 / 255)).max() <= 1
