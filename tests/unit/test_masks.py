"""Regions of speakers, and their way to the network's tokens."""

import numpy as np
import pytest
import torch
from golden import DEFAULT_DIR, load_case

from endless_talk.crop import crop_box
from endless_talk.errors import InputError
from endless_talk.masks.regions import box_mask, published_box, speaker_masks, split_evenly
from endless_talk.masks.tokens import (
    check_speakers_visible,
    fit_masks,
    latent_masks,
    token_masks,
)
from endless_talk.reference.pictures import fit_picture

SIZE = (300, 500)


def drawn(box, size=SIZE):
    """Class masks of one box and its background."""
    return speaker_masks(box_mask(size, box)[None])


# Regions


def test_two_columns_are_the_published_halves():
    regions = split_evenly((480, 640))
    rows, columns = regions.nonzero()[:, 1], regions[1].nonzero()[:, 1]
    assert (rows.min(), rows.max() + 1) == (24, 456)
    assert (columns.min(), columns.max() + 1) == (336, 624)
    assert torch.equal(regions[1][:, 320:], regions[0][:, :320])


def test_borders_are_cut_off_to_whole_pixels_as_published():
    regions = split_evenly((37, 53))
    expected = torch.zeros(2, 37, 53)
    expected[0, 1:35, 1:24] = 1
    expected[1, 1:35, 27:50] = 1
    assert torch.equal(regions, expected)


@pytest.mark.parametrize("speakers", [1, 2, 3, 6])
def test_columns_run_from_the_left_without_touching(speakers):
    regions = split_evenly(SIZE, speakers)
    assert regions.shape == (speakers, *SIZE)
    assert regions.sum(dim=0).max() == 1
    centres = [region.nonzero()[:, 1].float().mean() for region in regions]
    assert centres == sorted(centres)
    areas = regions.sum(dim=(1, 2))
    assert (areas.max() - areas.min()) / areas.min() < 0.03


def test_a_picture_too_narrow_to_split_is_refused():
    with pytest.raises(InputError, match=r"4x40 pixels .* into 9 columns"):
        split_evenly((40, 4), 9)
    with pytest.raises(InputError, match="at least 1 speaker"):
        split_evenly(SIZE, 0)


def test_a_box_is_left_top_right_bottom():
    mask = box_mask(SIZE, (40, 20, 200, 220))
    assert mask.sum() == 160 * 200
    assert mask[20:220, 40:200].all()


def test_a_box_in_shares_is_the_box_in_pixels():
    assert torch.equal(box_mask(SIZE, (0.1, 0.2, 0.5, 1)), box_mask(SIZE, (50, 60, 250, 300)))
    assert box_mask(SIZE, (0, 0, 1, 1)).all()


def test_a_box_may_reach_past_the_edge():
    assert torch.equal(box_mask(SIZE, (-30, -5, 90, 400)), box_mask(SIZE, (0, 0, 90, 300)))


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((500, 20, 600, 220), "outside the picture of 500x300"),
        ((40, 300, 200, 400), "outside the picture"),
        ((-90, 20, 0, 220), "outside the picture"),
        ((40, -50, 200, 0), "outside the picture"),
        ((200, 20, 40, 220), "is empty"),
        ((40, 220, 200, 220), "is empty"),
        ((0, 0, 0, 0), "is empty"),
        ((40, 20, 200), "4 numbers"),
        ((40, 20, 200, float("nan")), "4 numbers"),
    ],
)
def test_boxes_without_a_pixel_of_the_picture_are_refused(box, message):
    with pytest.raises(InputError, match=message):
        box_mask(SIZE, box)


def test_published_boxes_name_rows_first():
    expected = np.zeros(SIZE, np.float32)
    expected[20:220, 40:200] = 1
    mask = box_mask(SIZE, published_box([20.9, 40.9, 220.9, 200.9]))
    assert np.array_equal(mask.numpy(), expected)


def test_the_background_is_whoever_nobody_is():
    regions = torch.stack([box_mask(SIZE, (0, 0, 100, 100)), box_mask(SIZE, (50, 50, 200, 200))])
    masks = speaker_masks(regions)
    assert torch.equal(masks[:2], regions)
    assert torch.equal(masks[2] == 0, regions.any(dim=0))


def test_soft_regions_become_hard():
    masks = speaker_masks(torch.tensor([[[0.0, 0.01, 1.0]]]))
    assert masks.tolist() == [[[0, 1, 1]], [[1, 0, 0]]]


def test_permuting_speakers_permutes_their_masks():
    regions = split_evenly(SIZE, 3)
    order = [2, 0, 1]
    assert torch.equal(speaker_masks(regions[order]), speaker_masks(regions)[[*order, 3]])


# Tokens


@pytest.mark.parametrize(
    ("size", "target"),
    [((300, 500), (128, 192)), ((37, 53), (64, 64)), ((480, 270), (96, 64)), ((64, 64), (64, 64))],
)
def test_a_white_square_and_its_mask_land_on_the_same_pixels(size, target):
    height, width = size
    square = (width * 0.4, height * 0.3, width * 0.7, height * 0.8)
    mask = box_mask(size, square)
    picture = np.repeat(mask.numpy()[:, :, None] * 255, 3, axis=2).astype(np.uint8)
    box = crop_box(size, target)
    fitted = fit_masks(mask[None], box)[0]
    seen = (fit_picture(picture, target)[0] > 0).float()
    for axis in (0, 1):
        mask_line, seen_line = fitted.amax(dim=axis).nonzero(), seen.amax(dim=axis).nonzero()
        tolerance = max(1.0, box.resized_size[0] / height)  # nearest takes the pixel above left
        assert abs(mask_line.min() - seen_line.min()) <= tolerance
        assert abs(mask_line.max() - seen_line.max()) <= tolerance


def test_latents_and_tokens_are_picked_from_the_masks_of_their_place():
    masks = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0)).round()
    box = crop_box((64, 96), (64, 96))
    latents = latent_masks(masks, box)
    assert torch.equal(latents, masks[:, ::8, ::8])
    assert torch.equal(token_masks(latents), masks[:, ::16, ::16].reshape(3, 4 * 6))


@pytest.mark.parametrize("name", ["dit_two_speakers_a", "dit_two_speakers_b"])
def test_token_masks_are_the_published_ones(name):
    tensors = load_case(DEFAULT_DIR / f"{name}.json").tensors
    assert torch.equal(token_masks(tensors["in.ref_target_masks"]), tensors["mid.token_masks"])


def test_a_mask_of_another_picture_is_refused():
    with pytest.raises(InputError, match="mask is 50x30 pixels and the picture 500x300"):
        latent_masks(torch.ones(2, 30, 50), crop_box(SIZE, (64, 96)))


def test_masks_are_not_written_to():
    masks = drawn((40, 20, 200, 220))
    before = masks.clone()
    latent_masks(masks, crop_box(SIZE, SIZE)).zero_()
    fit_masks(masks, crop_box(SIZE, (64, 96)))
    assert torch.equal(masks, before)


# Vanishing


def test_visible_speakers_pass():
    box = crop_box(SIZE, (128, 192))
    check_speakers_visible(speaker_masks(split_evenly(SIZE, 3)), box)
    check_speakers_visible(drawn((0, 0, 500, 300)), box)  # no background left


def test_a_region_of_one_token_is_always_visible():
    size = (128, 192)
    box = crop_box(size, size)
    for left in range(0, 160, 7):
        for top in range(0, 96, 7):
            check_speakers_visible(drawn((left, top, left + 16, top + 16), size), box)


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (box_mask(SIZE, (201, 101, 206, 106)), r"speaker 2: the mask has 25 pixels .*16x16"),
        (box_mask(SIZE, (0, 0, 20, 300)), r"speaker 2: .* 6000 pixels .* outside .* at 64x128"),
        (torch.zeros(SIZE), r"speaker 2: the mask is empty"),
    ],
)
def test_a_speaker_who_vanishes_is_named_with_the_reason(region, message):
    regions = torch.stack([box_mask(SIZE, (150, 50, 350, 250)), region])
    with pytest.raises(InputError, match=message):
        check_speakers_visible(speaker_masks(regions), crop_box(SIZE, (128, 64)))
