"""Whole clips: what is planted in them comes out, and nothing is held."""

import math
import weakref
from pathlib import Path

import drawn
import numpy as np
import pytest
import torch

from endless_talk.errors import InputError
from endless_talk.samplers.plan import plan_chunks
from endless_talk.video.measure import measure_clip
from endless_talk.video.plot import WIDTH, plot_image
from endless_talk.video.sink import VideoSink

PLAN = plan_chunks(200, 33, 9)


def measured(clip, **given):
    blocks = given.pop("blocks", clip.blocks)
    given.setdefault("boxes", clip.boxes)
    return measure_clip(blocks, given.pop("voices", clip.voices), **given)


@pytest.fixture(scope="module")
def plain():
    """A drawn clip as it is."""
    return measured(drawn.talking(1), plan=PLAN, reference=drawn.resting(1))


def test_a_drawn_clip_follows_its_voice_and_stays_itself(plain):
    sync = plain.mouths[0].sync
    assert sync.correlation > 0.85 and abs(sync.lag_frames) < 1
    assert sync.shuffled_max_abs < sync.correlation
    assert plain.frames == 200 and plain.size == (64, 64)
    assert plain.background.last < 0.003 and plain.background.moved < 0.002
    assert plain.skin.moved < 0.01
    assert plain.identity_last < 0.04
    assert plain.frozen == () and plain.least_mouth > 0.25 and plain.least_outside > 0.25


@pytest.mark.parametrize("late", [-5, 3, 7])
def test_sound_that_is_shifted_is_found_at_its_lag(late):
    clip = drawn.talking(1)
    sync = measured(clip, voices=[np.roll(clip.voices[0], -late)]).mouths[0].sync
    assert sync.lag_frames == pytest.approx(late, abs=0.6)
    assert sync.best_correlation > sync.correlation + 0.1


def test_another_voice_is_not_followed(plain):
    sync = measured(drawn.talking(1), voices=drawn.talking(2).voices).mouths[0].sync
    assert abs(sync.correlation) < 0.4 < plain.mouths[0].sync.correlation - 0.3


def test_a_planted_jump_at_a_seam_is_found(plain):
    """Every chunk is a level brighter or darker than the one before."""
    pixels = drawn.talking(1).pixels.astype(float) * 0.8 + 20
    for number, chunk in enumerate(PLAN):
        first = chunk.start_frame + chunk.context_frames
        pixels[first : first + chunk.kept_frames] += 10.0 * (number % 2)
    jumping = measured(drawn.talking(1), blocks=drawn.blocks_of(pixels.astype(np.uint8)), plan=PLAN)
    expected = 10 / 255
    assert jumping.seams.seam == pytest.approx(expected, rel=0.3)
    assert jumping.seams.ratio > 2 * plain.seams.ratio and jumping.seams.ratio > 2
    assert jumping.seam_frames == (33, 57, 81, 105, 129, 153, 177)
    assert jumping.seams.worst_frame in jumping.seam_frames


def test_a_planted_drift_is_measured_with_its_size(plain):
    """0.04 of full scale in red over the clip: the last chunk's mean is 0.036 from the first's."""
    pixels = drawn.talking(1).pixels * (0.8 / 255) + 0.05
    ramp = 0.04 * np.arange(200) / 200
    pixels[..., 0] += ramp[:, None, None]
    blocks = list(torch.from_numpy(pixels).permute(3, 0, 1, 2).mul(2).sub(1).float().split(8, 1))
    still = (drawn.resting(1) + 1) / 2 * 0.8 + 0.05
    drifting = measured(drawn.talking(1), blocks=blocks, plan=PLAN, reference=still * 2 - 1)
    last, first = drifting.stretches[-1], drifting.stretches[0]
    moved = (ramp[last.start : last.stop].mean() - ramp[: first.stop].mean()) / 3
    assert drifting.background.moved == pytest.approx(moved, abs=0.001)
    assert drifting.skin.moved == pytest.approx(moved, abs=0.006)
    assert drifting.background.slope_per_minute == pytest.approx(0.04 / 3 / 200 * 1500, rel=0.1)
    assert drifting.background.last > 5 * plain.background.last
    assert drifting.identity_last > plain.identity_last


def test_a_planted_blur_is_found(plain):
    pixels = drawn.talking(1).pixels.copy()
    soft = pixels[177:].astype(float)
    for axis in (1, 2):
        soft = (np.roll(soft, 1, axis) + soft + np.roll(soft, -1, axis)) / 3
    pixels[177:] = soft.astype(np.uint8)
    blurred = measured(drawn.talking(1), blocks=drawn.blocks_of(pixels), plan=PLAN)
    assert blurred.eyes < 0.6 and blurred.outline < 0.7
    assert plain.eyes == pytest.approx(1, abs=0.15) and plain.outline == pytest.approx(1, abs=0.15)


def test_a_frozen_stretch_is_found_with_its_frames():
    clip = drawn.talking(1)
    start = max(range(20, 160), key=lambda first: clip.voices[0][first : first + 30].mean())
    pixels = clip.pixels.copy()
    pixels[start : start + 30] = pixels[start - 1]
    frozen = measured(clip, blocks=drawn.blocks_of(pixels)).frozen
    assert [(each.what, each.face) for each in frozen] == [("head", 0), ("mouth", 1)]
    for each in frozen:
        assert (each.start, each.stop) == (start, start + 30)


def test_a_chunk_that_hardly_moves_stands_out(plain):
    pixels = drawn.talking(1).pixels.copy()
    pixels[81:105] = pixels[81]
    still = measured(drawn.talking(1), blocks=drawn.blocks_of(pixels), plan=PLAN)
    assert still.least_outside < 0.2 < plain.least_outside


def test_a_video_without_plan_boxes_or_reference_is_measured(tmp_path):
    clip = drawn.talking(1)
    with VideoSink(tmp_path / "clip.mp4", (64, 64)) as sink:
        for block in clip.blocks:
            sink.append(block)
        sink.finish()
    found = measure_clip(tmp_path / "clip.mp4", clip.voices)
    assert found.frames == 200 and not found.planned
    assert found.seams is None and found.seam_frames == ()
    assert found.mouths[0].boxes.source == "motion"
    assert found.mouths[0].sync.correlation > 0.8
    assert found.reference == "the clip's first frame"
    text = found.report()
    assert "no plan" in text and "(motion)" in text and "seams" not in text


def test_two_faces_follow_their_own_voices():
    clip = drawn.talking(5, 6)
    pair = measured(clip)
    assert pair.matrix.shape == (2, 2)
    own, other = np.diag(pair.matrix), pair.matrix[[0, 1], [1, 0]]
    assert own.min() > 0.8 and np.abs(other).max() < 0.4
    assert [mouth.voice for mouth in pair.mouths] == [0, 1]
    swapped = measured(clip, voice_of_face=[1, 0])
    assert swapped.mouths[0].sync.correlation == pytest.approx(other[1])
    alone = measured(clip, voice_of_face=[None, 1])
    assert alone.mouths[0].sync is None and "no voice of its own" in alone.report()
    assert "voice 2" in alone.report() and "face 2" in alone.report()


def test_one_voice_is_everybodys():
    clip = drawn.talking(5, 6)
    both = measured(clip, voices=clip.voices[:1])
    assert [mouth.voice for mouth in both.mouths] == [0, 0] and both.matrix.shape == (1, 2)


def test_frames_are_not_held():
    """Of a stream that can be read once, two blocks are alive at most."""
    alive, most = weakref.WeakSet(), 0

    def stream():
        nonlocal most
        for _ in range(30):
            block = torch.rand(3, 4, 64, 64)
            alive.add(block)
            most = max(most, len(alive))
            yield block
            del block

    measured(drawn.talking(1), blocks=stream())
    assert most <= 2


def test_a_stream_without_boxes_is_refused():
    with pytest.raises(InputError, match="only once"):
        measure_clip(iter(drawn.talking(1).blocks), drawn.talking(1).voices)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"voices": []}, "no voice"),
        ({"blocks": []}, "no frames"),
        ({"boxes": []}, "no face"),
        ({"blocks": [torch.zeros(3, 4, 64, 64), torch.zeros(3, 4, 64, 32)]}, "before of 64x64"),
        ({"blocks": [torch.zeros(4, 64, 64, 3)]}, r"\[3, frames, height, width\]"),
        ({"reference": torch.zeros(3, 32, 32)}, "32x32 pixels and the clip 64x64"),
        ({"voice_of_face": [3]}, r"\[3\] for 1 faces and 1 voices"),
        ({"voice_of_face": []}, r"\[\] for 1 faces"),
    ],
)
def test_what_cannot_be_measured_is_a_sentence(given, says):
    with pytest.raises(InputError, match=says):
        measured(drawn.talking(1), **given)


@pytest.mark.parametrize(
    ("length", "says"), [(150, "the rest counts as silent"), (260, "only its beginning")]
)
def test_a_voice_of_another_length_is_mentioned(length, says):
    voice = np.resize(drawn.talking(1).voices[0], length)
    found = measured(drawn.talking(1), voices=[voice])
    assert found.envelopes.shape == (1, 200)
    assert any(says in note for note in found.notes) and says in found.report()
    np.testing.assert_allclose(found.envelopes[0, :150], voice[:150])
    assert length > 200 or not found.envelopes[0, 150:].any()


@pytest.mark.parametrize("frames", [1, 2, 6])
def test_very_short_clips_are_measured(frames):
    clip = drawn.talking(1)
    found = measured(clip, blocks=[clip.blocks[0][:, :frames]])
    assert found.frames == frames and math.isnan(found.mouths[0].sync.shuffled_mean)
    assert "too short" in found.report()
    assert plot_image(found).shape[2] == WIDTH


def test_the_report_names_figures_controls_and_units(plain):
    text = plain.report({"no context": plain})
    assert text.startswith("200 frames, 8.0 s, 64x64 pixels, 8 chunks; compared with the reference")
    header = next(line for line in text.splitlines() if "this clip" in line)
    assert header.split()[:4] == ["this", "clip", "no", "context"]
    seam = next(line for line in text.splitlines() if line.startswith("seams / latent groups"))
    assert seam.split()[4:6] == [f"{plain.seams.ratio:.2f}"] * 2
    row = next(line for line in text.splitlines() if line.startswith("face 1: mouth with voice"))
    assert f"{plain.mouths[0].sync.shuffled_mean_abs:.2f}" in row
    assert "-" in text and "nan" not in text


def test_a_late_mouth_is_said_in_milliseconds():
    clip = drawn.talking(1)
    text = measured(clip, voices=[np.roll(clip.voices[0], -5)]).report()
    assert "after the voice" in text and "ms)" in text


def test_the_plot_shows_voice_mouth_and_drift(plain):
    picture = plot_image(plain)
    assert picture.shape[0] == 1 and picture.shape[2:] == (WIDTH, 3)
    assert picture.dtype == torch.float32 and picture.min() >= 0 and picture.max() == 1
    from endless_talk.video.plot import BACKGROUND, MOUTH, SEAM, VOICE

    for colour in (VOICE, MOUTH, SEAM, BACKGROUND):
        near = (picture[0] - torch.tensor(colour) / 255).abs().amax(-1) < 0.01
        assert near.sum() > 20, colour


def test_memory_does_not_depend_on_the_picture():
    """What is kept of a frame is the same for a frame of four times the pixels."""
    from endless_talk.video.face import FaceMeter

    def kept(clip):
        meter = FaceMeter(clip.pixels[0].transpose(2, 0, 1) / 255, clip.boxes[0])
        for frame in clip.pixels:
            meter.append(frame.transpose(2, 0, 1) / 255)
        return sum(array.nbytes for array in [*meter._looks, *meter._skins])

    small, large = drawn.talking(1, frames=20), drawn.talking(1, frames=20, size=128)
    assert kept(small) == kept(large) < 20 * 200


def test_a_path_may_be_text(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.mp4"):
        measure_clip(str(tmp_path / "nothing.mp4"), drawn.talking(1).voices)
    assert Path(tmp_path).is_dir()
