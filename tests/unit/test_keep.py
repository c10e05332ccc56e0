"""The mask of what stays in a dubbed video: all that is white, and what it costs the black part."""

import pytest
import torch

from endless_talk.crop import crop_box
from endless_talk.errors import InputError
from endless_talk.masks.keep import kept_latents

BOX = crop_box((60, 100), (48, 80))


def black(rows, columns):
    """All white but a part."""
    mask = torch.ones(1, 48, 80)
    mask[:, slice(*rows), slice(*columns)] = 0
    return mask


def made(latents):
    """Places ``[row, column]`` of what is made."""
    return (1 - latents).nonzero()[:, 1:].tolist()


def test_what_is_made_begins_inside_of_what_is_black():
    latents = kept_latents(black((8, 32), (15, 40)), BOX)
    assert latents.shape == (1, 6, 10) and latents.dtype == torch.float32
    assert made(latents) == [[y, x] for y in (1, 2, 3) for x in (2, 3, 4)]
    tighter = kept_latents(black((9, 32), (15, 39)), BOX)
    assert made(tighter) == [[y, x] for y in (2, 3) for x in (2, 3)], "a white pixel stays"


def test_a_mask_may_be_drawn_on_the_source_and_need_not_be_hard():
    mask = torch.full((1, 60, 100), 0.8)
    mask[:, 10:40, 15:50] = 0.4
    assert torch.equal(kept_latents(mask, BOX), kept_latents(black((8, 32), (12, 40)), BOX))
    assert kept_latents(torch.full((1, 48, 80), 0.4), BOX).sum() == 0


def test_a_mask_that_leaves_nothing_to_make_is_refused():
    with pytest.raises(InputError, match="a block of 8x8 pixels of the clip"):
        kept_latents(black((9, 23), (9, 23)), BOX)
    assert kept_latents(torch.ones(1, 48, 80), BOX).all(), "the reference refuses all of it white"


def test_a_mask_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match="batch of 2 masks"):
        kept_latents(torch.ones(2, 48, 80), BOX)
    with pytest.raises(InputError, match="80x40 pixels"):
        kept_latents(torch.ones(1, 40, 80), BOX)
