"""Which frame of a source a chunk sees, and what lies under it: numbered videos, known cuts."""

import pytest
import torch
import videos

from endless_talk.errors import InputError
from endless_talk.reference.dubbing import DubSettings, DubSource, VideoReference, sharpness
from endless_talk.reference.sources import reference_of
from endless_talk.reference.video import FileVideo, PicturesVideo
from endless_talk.samplers.plan import plan_shots

SIZE = videos.SIZE


class Numbered(PicturesVideo):
    """A video in memory that counts what is asked of it."""

    def __init__(self, count):
        pictures = torch.stack([torch.from_numpy(videos.numbered(n)) for n in range(count)])
        super().__init__(pictures.float() / 255, 25.0)
        self.asked = []

    def picture(self, index, size=None):
        self.asked.append(index)
        return super().picture(index, size)


def number(frame):
    return videos.number_of(((frame.permute(1, 2, 0) + 1) * 127.5).round().byte().numpy())


def source(count=50, size=SIZE, **settings):
    return DubSource(Numbered(count), size, DubSettings(**settings))


def numbers(source, start, count):
    return [number(frame) for frame in source.frames(start, count).unbind(1)]


def test_a_chunk_sees_the_source_at_its_start_and_holds_the_end():
    dub = source()
    assert [number(dub.frame(start)) for start in (0, 7, 49, 50, 300)] == [0, 7, 49, 49, 49]
    assert dub.frame(7) is dub.frame(7) and dub.frame(0) is dub.first
    with pytest.raises(IndexError):
        dub.frame(-1)


def test_the_first_frame_stays_known_while_others_are_asked_for():
    """Tokens of a frame are told from those of the first; that must not rewind the file."""
    dub = source()
    dub.frame(0), dub.frame(40)
    dub.video.asked.clear()
    later = dub.frame(40)
    assert dub.first is not later and dub.frame(40) is later
    assert dub.video.asked == []


@pytest.mark.parametrize(
    ("when_short", "expected"),
    [
        ("hold", [8, 9, 9, 9, 9, 9]),
        ("loop", [8, 9, 0, 1, 2, 3]),
        ("bounce", [8, 9, 8, 7, 6, 5]),
    ],
)
def test_a_short_source_goes_on_as_chosen(when_short, expected):
    dub = source(10, when_short=when_short)
    assert [number(dub.frame(start)) for start in range(8, 14)] == expected
    long = [dub.source_frame(frame) for frame in range(500)]
    assert set(long) == set(range(10))
    assert source(1, when_short=when_short).source_frame(70) == 0


def test_frames_under_a_chunk_hold_the_last_of_their_shot():
    dub = source(50, cuts=(20, 30))
    assert numbers(dub, 0, 5) == [0, 1, 2, 3, 4]
    assert numbers(dub, 16, 9) == [16, 17, 18, 19, 19, 19, 19, 19, 19]
    assert numbers(dub, 19, 5) == [19] * 5
    assert numbers(dub, 20, 13) == [*range(20, 30), 29, 29, 29]
    assert numbers(dub, 48, 5) == [48, 49, 49, 49, 49]
    assert dub.frames(3, 9).shape == (3, 9, *SIZE)


def test_frames_of_a_video_that_bounces_run_backwards():
    dub = source(10, when_short="bounce")
    assert numbers(dub, 7, 9) == [7, 8, 9, 8, 7, 6, 5, 4, 3]
    dub.video.asked.clear()
    dub._recent.clear()
    dub.frames(7, 9)
    assert dub.video.asked == sorted(dub.video.asked), "a file would be rewound"


def test_pictures_of_two_chunks_are_read_once():
    dub = source()
    dub.frames(0, 33), dub.frames(24, 17), dub.frame(24)
    assert len(dub.video.asked) == len(set(dub.video.asked)) == 41


def test_named_keyframes_are_used_from_their_second_on():
    dub = source(100, keyframes="0.4, 2", cuts=(75,))
    seen = [number(dub.frame(start)) for start in (0, 9, 10, 49, 50, 74, 75, 99)]
    assert seen == [0, 0, 10, 10, 50, 50, 75, 75], "nothing of one shot is seen in another"
    with pytest.raises(InputError, match=r"keyframe has 'soon'"):
        source(keyframes="soon")
    with pytest.raises(InputError, match=r"ends at 2\.00 s"):
        source(keyframes="7")


def test_nearest_sharp_leaves_a_blurred_frame_within_its_shot():
    generator = torch.Generator().manual_seed(3)
    detail = torch.rand(1, *SIZE, 3, generator=generator)
    images = torch.full((60, *SIZE, 3), 0.5)
    for index in (5, 18, 33, 40):
        images[index] = detail
    images[40] = images[40] * 0.8 + 0.1  # less of it
    dub = DubSource(PicturesVideo(images, 25.0), SIZE, DubSettings(keyframes="nearest sharp"))
    assert [dub.keyframe(start) for start in (10, 12, 20, 36)] == [5, 18, 18, 33]
    assert dub.keyframe(55) == 55, "of equal ones the nearest"
    shot = DubSettings(keyframes="nearest sharp", cuts=(19,))
    cut = DubSource(PicturesVideo(images, 25.0), SIZE, shot)
    assert [cut.keyframe(start) for start in (20, 15)] == [20, 18]


def test_sharpness_falls_with_blur():
    sharp = torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(1)) * 255
    blurred = torch.nn.functional.avg_pool2d(sharp.permute(2, 0, 1), 3, 1, 1).permute(1, 2, 0)
    assert sharpness(sharp.numpy()) > 5 * sharpness(blurred.numpy()) > 0


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"length": "both"}, "length is 'both'"),
        ({"when_short": "stop"}, "when_short is 'stop'"),
        ({"source_strength": 1.0}, "source_strength is 1;"),
        ({"source_strength": float("nan")}, "source_strength is nan"),
    ],
)
def test_wrong_settings_are_refused(settings, match):
    with pytest.raises(InputError, match=match):
        DubSettings(**settings)


def test_the_length_is_the_videos_or_the_voices():
    assert VideoReference(source(), SIZE).clip_frames(80) == 50
    assert VideoReference(source(length="audio"), SIZE).clip_frames(80) == 80


def test_cuts_are_the_clips():
    reference = VideoReference(source(50, cuts=(20, 30)), SIZE)
    assert reference.cuts(50) == [20, 30]
    assert reference.cuts(25) == [20]
    assert reference.cuts(200) == [20, 30], "a held frame is no new shot"
    loop = VideoReference(source(50, cuts=(20,), when_short="loop", length="audio"), SIZE)
    assert loop.cuts(130) == [20, 50, 70, 100, 120]
    bounce = VideoReference(source(50, cuts=(20,), when_short="bounce", length="audio"), SIZE)
    assert bounce.cuts(130) == [20, 79, 118]
    for frame in bounce.cuts(130):
        before, after = bounce.source.source_frame(frame - 1), bounce.source.source_frame(frame)
        assert sorted([before, after]) == [19, 20]


def test_no_chunk_of_a_dubbed_clip_shows_two_shots():
    reference = VideoReference(source(120, cuts=(40, 47, 90)), SIZE)
    plan = plan_shots(120, reference.cuts(120), 33, 9)
    shot_of = [sum(frame >= cut for cut in (40, 47, 90)) for frame in range(120)]
    for chunk in plan:
        shown = {shot_of[n] for n in numbers(reference.source, chunk.start_frame, chunk.frames)}
        kept = {shot_of[f] for f in range(chunk.first_new_frame, chunk.stop_new_frame)}
        assert shown == kept and len(kept) == 1
        assert number(reference.source.frame(chunk.start_frame)) == chunk.start_frame
    assert sum(chunk.kept_frames for chunk in plan) == 120


def test_every_frame_has_its_own_image_tokens():
    encoded = []

    def encode(frame):
        encoded.append(number(frame))
        return torch.full((1, 257, 1280), float(encoded[-1]))

    dub = source()
    reference = VideoReference(dub, SIZE, image_tokens=encode(dub.first), encode=encode)
    assert reference.tokens(dub.frame(0)) is reference.image_tokens
    assert reference.tokens(dub.frame(30)).unique().tolist() == [30]
    assert encoded == [0, 30]
    assert VideoReference(dub, SIZE).tokens(dub.frame(30)) is None
    with pytest.raises(InputError, match="clip_vision_h"):
        VideoReference(dub, SIZE, image_tokens=torch.zeros(1, 50, 768))


def test_a_mask_that_keeps_everything_is_refused():
    keep = torch.ones(1, SIZE[0] // 8, SIZE[1] // 8)
    with pytest.raises(InputError, match="white everywhere"):
        VideoReference(source(), SIZE, keep=keep)
    keep[0, 0, 0] = 0
    assert VideoReference(source(), SIZE, keep=keep).keep is keep


def test_a_picture_has_the_same_face():
    picture = videos.numbered(3)
    reference = reference_of(picture, SIZE)
    assert reference.clip_frames(77) == 77 and reference.cuts(77) == []
    assert (reference.source_strength, reference.keep) == (0.0, None)
    assert reference.tokens(reference.source.frame(50)) is None
    reference.close()


def test_a_file_is_given_back_and_opened_again(tmp_path):
    video = FileVideo(videos.write_numbered(tmp_path / "clip.mp4", 30, rate=30))
    reference = VideoReference(DubSource(video, SIZE, DubSettings()), SIZE)
    assert number(reference.source.frame(10)) == 12
    reference.close()
    assert number(reference.source.frame(20)) == 24
    assert reference.summary == "64x48 to 64x48, 30 fps to 25, 1.00 s, 1 shot"
    reference.close()
