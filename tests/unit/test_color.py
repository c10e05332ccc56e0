"""Colour matching: against scikit-image, and what holds for any picture."""

import numpy as np
import pytest
import torch

from endless_talk.video import color
from endless_talk.video.color import ColorAnchor, lab_from_pixels, pixels_from_lab

skcolor = pytest.importorskip("skimage.color")


def pictures(frames, height=18, width=26, seed=0, spread=0.4, centre=-0.2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, frames, height, width, generator=generator) * spread + centre


def channels_last(planes):
    return planes.movedim(0, -1).double().numpy()


def published(frames, reference, strength):
    """The published rule with scikit-image in float64, for frames that are not flat."""
    unit = (channels_last(frames).clip(-1, 1) + 1) / 2
    wanted = skcolor.rgb2lab((channels_last(reference).clip(-1, 1) + 1) / 2)
    matched = []
    for frame in unit:
        lab = skcolor.rgb2lab(frame)
        mean, std = lab.mean((0, 1)), lab.std((0, 1))
        lab = (lab - mean) * (wanted.std((0, 1)) / std) + wanted.mean((0, 1))
        matched.append((1 - strength) * frame + strength * skcolor.lab2rgb(lab).clip(0, 1))
    return torch.from_numpy(np.stack(matched) * 2 - 1).movedim(-1, 0)


def test_lab_is_that_of_scikit_image():
    levels = torch.linspace(0, 1, 18)
    rgb = torch.stack(torch.meshgrid(levels, levels, levels, indexing="ij")).flatten(2)
    expected = skcolor.rgb2lab(channels_last(rgb))
    assert np.abs(channels_last(lab_from_pixels(rgb * 2 - 1)) - expected).max() < 5e-4


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
def test_rgb_is_that_of_scikit_image_also_for_colours_out_of_gamut():
    axes = (
        torch.linspace(-20, 130, 16),
        torch.linspace(-160, 160, 16),
        torch.linspace(-160, 260, 16),
    )
    lab = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(2)
    expected = skcolor.lab2rgb(channels_last(lab))
    assert np.abs(channels_last(pixels_from_lab(lab)) / 2 + 0.5 - expected).max() < 5e-5


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
@pytest.mark.parametrize("strength", [0.3, 1.0])
@pytest.mark.parametrize("spread", [0.05, 0.4, 1.5])
def test_matching_is_the_published_rule_also_for_values_outside_the_range(strength, spread):
    frames, reference = pictures(3, spread=spread), pictures(1, seed=1, centre=0.3)[:, 0]
    matched = ColorAnchor(reference, strength).apply(frames)
    expected = published(frames, reference, strength)
    assert (matched - expected).abs().max() < 2e-4
    assert matched.abs().max() <= 1


def test_strength_0_returns_the_input_untouched():
    frames = pictures(2, spread=3)
    assert ColorAnchor(pictures(1)[:, 0], 0.0).apply(frames) is frames


@pytest.mark.parametrize("level", [-1.0, -0.5, -0.137, 0.0, 0.1, 0.4, 0.777, 1.0])
def test_a_flat_frame_becomes_the_reference_mean_and_does_not_explode(level):
    frames = torch.tensor([level, level * 0.9, -level / 3])[:, None, None, None].expand(
        3, 2, 48, 62
    )
    reference = pictures(1, seed=1)[:, 0]
    matched = ColorAnchor(reference).apply(frames)
    lab = skcolor.rgb2lab((channels_last(reference).clip(-1, 1) + 1) / 2)
    expected = skcolor.lab2rgb(lab.mean((0, 1))[None, None])[0, 0] * 2 - 1
    assert np.abs(channels_last(matched) - expected).max() < 1e-4


def test_one_pixel_one_level_off_is_no_flat_frame():
    frame = torch.full((3, 480, 832), 0.5)
    frame[:, 0, 0] = 128 / 255
    lab = lab_from_pixels(frame.flatten(1) * 2 - 1)
    assert color._centre(lab)[1][0] > 2 * color.FLAT_STD


def test_frames_are_matched_one_by_one_in_blocks_of_any_length():
    frames, anchor = pictures(5), ColorAnchor(pictures(1, seed=1)[:, 0])
    blocks = [
        anchor.apply(frames[:, :1]),
        anchor.apply(frames[:, 1:3]),
        anchor.apply(frames[:, 3:]),
    ]
    assert torch.equal(torch.cat(blocks, 1), anchor.apply(frames))


def test_pictures_larger_than_a_tile_are_one_picture(monkeypatch):
    frames, reference = pictures(2), pictures(1, seed=1)[:, 0]
    whole = ColorAnchor(reference).apply(frames)
    monkeypatch.setattr(color, "TILE_PIXELS", 100)
    assert (ColorAnchor(reference).apply(frames) - whole).abs().max() < 1e-6


def test_a_matched_frame_has_the_statistics_of_a_reference_of_another_size():
    frames, reference = pictures(2, spread=0.1), pictures(1, 30, 14, seed=1, spread=0.05)[:, 0]
    matched = ColorAnchor(reference).apply(frames)
    wanted = color._centre(lab_from_pixels(reference.flatten(1)))
    for index in range(2):
        found = color._centre(lab_from_pixels(matched[:, index].flatten(1)))
        torch.testing.assert_close(found, wanted, atol=0.02, rtol=2e-3)


def test_the_input_is_not_written_to_and_its_dtype_is_kept():
    frames = pictures(2).to(torch.bfloat16)
    before = frames.clone()
    assert ColorAnchor(pictures(1)[:, 0], 0.5).apply(frames).dtype == torch.bfloat16
    assert torch.equal(frames, before)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_outside_0_to_1_is_refused(strength):
    with pytest.raises(ValueError, match=r"0 \(off\) to 1"):
        ColorAnchor(pictures(1)[:, 0], strength)


def test_a_clip_as_reference_is_refused():
    with pytest.raises(ValueError, match="one picture"):
        ColorAnchor(pictures(2))
