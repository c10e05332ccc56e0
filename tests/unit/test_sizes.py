"""Sizes of the clip: budgets, published tables, the user's own."""

import numpy as np
import pytest

from endless_talk.errors import InputError
from endless_talk.reference.sizes import (
    BUCKETS,
    BUDGETS,
    LARGEST_SIDE,
    LONGEST_SHAPE,
    SIZE_NAMES,
    bucket_key,
    choose_size,
)

SHAPES = [
    *(round(1000 * shape) for shape in np.exp(np.linspace(-np.log(8), np.log(8), 401))),
    *(250, 4000, 562, 563, 1777, 1778, 1333, 750),
]


@pytest.mark.parametrize("name", BUDGETS)
@pytest.mark.parametrize("longest", [4, LONGEST_SHAPE])
def test_sizes_keep_the_budget_and_the_shape(name, longest):
    for height in SHAPES:
        shape = height / 1000
        if not 1 / longest <= shape <= longest:
            continue
        size = choose_size(name, (height, 1000))
        assert all(side % 16 == 0 and 64 <= side <= LARGEST_SIDE for side in size)
        assert size[0] * size[1] <= BUDGETS[name]
        stretch = size[0] / size[1] / shape
        assert 0.95 <= stretch <= 1 / 0.95, (shape, size)
        if longest == 4:
            assert size[0] * size[1] >= 0.92 * BUDGETS[name], (shape, size)


@pytest.mark.parametrize("name", BUDGETS)
def test_a_picture_on_its_side_gets_the_size_on_its_side(name):
    for height, width in [(720, 1280), (3, 2), (4, 5), (1000, 4000), (333, 1001), (512, 512)]:
        assert choose_size(name, (height, width)) == choose_size(name, (width, height))[::-1]


def test_well_known_shapes_get_well_known_sizes():
    assert choose_size("480p", (1080, 1920)) == (480, 848)
    assert choose_size("480p", (500, 500)) == (640, 640)
    assert choose_size("720p", (2160, 3840)) == (720, 1280)
    assert choose_size("720p", (1, 1)) == (960, 960)


def test_small_sources_get_the_same_size_as_large_ones():
    for name in ("480p", "720p", "480p bucket", "720p bucket"):
        assert choose_size(name, (30, 40)) == choose_size(name, (3000, 4000))


def test_a_strip_is_refused():
    with pytest.raises(InputError, match=r"2000x100, a strip longer than 8:1"):
        choose_size("480p", (100, 2000))


@pytest.mark.parametrize("name", BUCKETS)
def test_a_source_in_the_shape_of_a_key_gets_that_entry(name):
    for key, size in BUCKETS[name].items():
        assert bucket_key(name, (round(float(key) * 100), 100)) == key
        assert choose_size(name, (round(float(key) * 100), 100)) == size
        assert size[0] % 64 == size[1] % 64 == 0


def test_of_two_equally_near_keys_the_first_wins():
    assert bucket_key("480p bucket", (9, 4)) == "2.00"  # 2.25, between 2.00 and 2.50


def test_landscape_goes_to_the_rounded_neighbour():
    assert choose_size("480p bucket", (1080, 1920)) == (448, 896)
    assert choose_size("480p bucket", (1920, 1080)) == (832, 448)


def test_custom_sizes_are_taken_as_they_are():
    assert choose_size("custom", (700, 300), custom=(480, 832)) == (480, 832)
    assert choose_size("custom", (700, 300), custom=(64, 2048)) == (64, 2048)


@pytest.mark.parametrize(
    ("custom", "message"),
    [
        ((480, 830), "width is 830 pixels; .* nearest is 816 or 832"),
        ((481, 832), "height is 481 pixels; .* nearest is 480 or 496"),
        ((48, 832), "height is 48 pixels; .* nearest is 64"),
        ((0, 832), "height is 0 pixels; .* nearest is 64"),
        ((480, 4096), "width is 4096 pixels; .* nearest is 2048"),
        ((480, 2047), "width is 2047 pixels; .* nearest is 2032 or 2048"),
        (None, "give both in pixels"),
    ],
)
def test_custom_sizes_that_do_not_fit_name_the_nearest_that_do(custom, message):
    with pytest.raises(InputError, match=message):
        choose_size("custom", (700, 300), custom=custom)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match="480p, 720p, 480p bucket"):
        choose_size("1080p", (700, 300))
    assert {*BUDGETS, *BUCKETS, "custom"} == set(SIZE_NAMES)


@pytest.mark.parametrize("name", SIZE_NAMES)
def test_a_source_without_pixels_is_refused(name):
    with pytest.raises(InputError, match="at least 1 pixel"):
        choose_size(name, (0, 300), custom=(64, 64))
