"""What nodes hand to the sampler: pictures in memory and parts of a schedule."""

import numpy as np
import pytest
import torch

from endless_talk.errors import InputError
from endless_talk.reference.pictures import fit_picture
from endless_talk.reference.sources import (
    PictureReference,
    image_of,
    image_of_pixels,
    picture_of,
    reference_of,
)
from endless_talk.samplers.schedule import flow_sigmas, sigmas_from


def noise_picture(height=40, width=60):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_a_picture_survives_the_way_through_memory():
    picture = noise_picture()
    np.testing.assert_array_equal(picture_of(image_of_pixels(picture)), picture)


def test_transparent_parts_become_white():
    image = torch.zeros(1, 20, 20, 4)
    image[:, :10, :, 3] = 1
    picture = picture_of(image)
    assert (picture[:10] == 0).all() and (picture[10:] == 255).all()


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (torch.zeros(3, 20, 20, 3), "batch of 3"),
        (torch.zeros(1, 20, 20, 2), "2 channels"),
        (torch.zeros(1, 12, 20, 3), "20x12"),
        (torch.full((1, 20, 20, 3), torch.nan), "NaN"),
    ],
)
def test_pictures_that_cannot_be_used_are_a_sentence(image, says):
    with pytest.raises(InputError, match=says):
        picture_of(image)


def test_a_reference_is_the_published_fit_and_remembers_the_crop():
    reference = reference_of(noise_picture(), (64, 64))
    torch.testing.assert_close(reference.source.first, fit_picture(noise_picture(), (64, 64)))
    assert reference.box.source_size == (40, 60) and reference.box.size == (64, 64)
    assert image_of(reference.source.first).shape == (1, 64, 64, 3)
    assert reference.summary == "60x40 to 64x64, 33.3% cut off"


def test_tokens_of_another_clip_model_are_refused():
    reference = reference_of(noise_picture(), (64, 64))
    with pytest.raises(InputError, match="clip_vision_h"):
        PictureReference(reference.source, reference.size, reference.box, torch.zeros(1, 257, 1024))


def test_a_schedule_can_begin_below_pure_noise():
    sigmas = flow_sigmas(6, 7.0)
    assert sigmas_from(sigmas, 1.0) is sigmas
    part = sigmas_from(sigmas, 0.85)
    assert part[0] == pytest.approx(0.85)
    torch.testing.assert_close(part[1:], sigmas[sigmas < 0.85])


@pytest.mark.parametrize("start", [0.0, -1.0, 1.5, float("nan")])
def test_a_start_out_of_range_is_a_sentence(start):
    with pytest.raises(InputError, match="start"):
        sigmas_from(flow_sigmas(4, 2.0), start)
