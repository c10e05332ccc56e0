"""The contact sheet: every chunk has its place and its caption."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from endless_talk.video.chunk_figures import ChunkFigures
from endless_talk.video.overview import (
    BAR_PITCH,
    BARS,
    BARS_HEIGHT,
    CAPTION_HEIGHT,
    COLUMNS,
    FAIR,
    GOOD,
    LARGEST_HEIGHT,
    LARGEST_WIDTH,
    MOST_CHUNKS,
    POOR,
    cells,
    contact_sheet,
    fitting,
    shown_chunks,
    thumbnail,
)

STEADY = ChunkFigures(1.0, 0.0, 0.0, 1.0, frozen=False, group=0.1, motion=0.1, edges=0.1)
COLORS = {"good": GOOD, "fair": FAIR, "poor": POOR}


def test_a_thumbnail_keeps_shape_and_colour():
    frame = torch.tensor([1.0, -1.0, 0.0]).view(3, 1, 1).expand(3, 60, 90)
    small = thumbnail(frame, 30)
    assert small.shape == (20, 30, 3)
    assert np.abs(small.astype(int) - [255, 0, 128]).max() <= 1


def test_chunks_stand_in_rows_with_captions_below():
    pictures = [np.full((10, 40, 3), 20 * index, np.uint8) for index in range(COLUMNS + 2)]
    sheet = contact_sheet(pictures, [f"#{index}" for index in range(len(pictures))])[0]
    assert sheet.shape == (2 * (10 + CAPTION_HEIGHT), COLUMNS * 40, 3)
    assert sheet.min() >= 0 and sheet.max() <= 1
    for index in range(len(pictures)):
        row, column = divmod(index, COLUMNS)
        top, left = row * (10 + CAPTION_HEIGHT), column * 40
        assert torch.allclose(sheet[top + 5, left + 20], torch.tensor(20 * index / 255))
        caption = sheet[top + 10 : top + 10 + CAPTION_HEIGHT, left : left + 40]
        assert caption.max() > 0.5, "no caption"


def pixels(sheet):
    return (sheet[0] * 255).round().byte().numpy()


def bar_lengths(figures, width=160, height=40):
    """Pixels of each bar in each colour, of a sheet of one chunk."""
    sheet = pixels(contact_sheet([np.zeros((height, width, 3), np.uint8)], ["#0"], [figures]))
    top = height + CAPTION_HEIGHT
    rows = [sheet[top + MIDDLE + row * BAR_PITCH] for row in range(len(BARS))]
    return {
        bar.field: {name: int((row == color).all(-1).sum()) for name, color in COLORS.items()}
        for bar, row in zip(BARS, rows, strict=True)
    }


MIDDLE = 4
"""Rows from the caption into the first bar."""


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("seam", [1.1, 1.8, 2.6]),
        ("color", [0.008, 0.02, 0.045]),
        ("background", [0.008, 0.02, 0.045]),
        ("sharpness", [1.1, 1.4, 1.9]),
    ],
)
def test_a_bar_is_longer_and_redder_the_farther_off_a_chunk_is(field, values):
    lengths = []
    for value, name in zip(values, COLORS, strict=True):
        found = bar_lengths(replace(STEADY, **{field: value}))
        assert [color for color, length in found[field].items() if length] == [name]
        lengths.append(found[field][name])
        others = [found[bar.field] for bar in BARS if bar.field != field]
        assert not any(other["fair"] or other["poor"] for other in others)
    assert lengths == sorted(set(lengths)) and lengths[0] > 5


def test_a_blurred_chunk_is_as_red_as_an_oversharpened_one():
    assert bar_lengths(replace(STEADY, sharpness=0.5))["sharpness"]["poor"] > 5
    assert bar_lengths(replace(STEADY, sharpness=0.0))["sharpness"]["poor"] >= 1


def test_values_beyond_a_bar_fill_it_and_no_more():
    full = bar_lengths(replace(STEADY, seam=3.0))["seam"]["poor"]
    assert bar_lengths(replace(STEADY, seam=300.0))["seam"]["poor"] == full


def test_a_chunk_without_a_seam_has_no_bar_for_it():
    assert not any(bar_lengths(replace(STEADY, seam=None))["seam"].values())


def test_chunks_without_figures_stand_among_those_with():
    pictures = [np.zeros((40, 160, 3), np.uint8)] * 2
    sheet = pixels(contact_sheet(pictures, ["#0", "#1"], [None, replace(STEADY, seam=2.9)]))
    red = (sheet == POOR).all(-1)
    assert not red[:, :160].any() and red[:, 160:].any()


def test_a_frozen_chunk_is_marked_on_its_picture():
    pictures = [np.zeros((40, 160, 3), np.uint8)] * 2
    figures = [STEADY, replace(STEADY, frozen=True)]
    red = (pixels(contact_sheet(pictures, ["#0", "#1"], figures)) == POOR).all(-1)
    assert not red[:, :160].any() and red[:40, 160:].any()


def test_a_second_line_of_a_caption_has_room_in_every_cell():
    pictures = [np.zeros((40, 160, 3), np.uint8)] * 2
    plain = contact_sheet(pictures, ["#0", "#1"])
    higher = contact_sheet(pictures, ["#0\nseed 7", "#1"])
    assert higher.shape[1] > plain.shape[1] + 8
    second = higher[0, 40 + CAPTION_HEIGHT :]
    assert second[:, :160].max() > 0.5 and second[:, 160:].max() < 0.5


@pytest.mark.parametrize("size", [(90, 160), (284, 160)], ids=["landscape", "portrait"])
@pytest.mark.parametrize("chunks", [1, 7, 63, 400, 100_000])
def test_a_sheet_stays_within_its_bounds(size, chunks):
    shown = shown_chunks(chunks)
    assert shown[0] == 0 and len(shown) <= MOST_CHUNKS and shown[-1] + shown.step >= chunks
    pictures = [np.zeros((*size, 3), np.uint8)] * len(shown)
    sheet = contact_sheet(pictures, ["#0"] * len(shown), [STEADY] * len(shown))
    height, width = sheet.shape[1:3]
    assert width <= LARGEST_WIDTH and height <= LARGEST_HEIGHT + 200
    assert width >= min(len(shown), COLUMNS) * 80


def test_every_chunk_is_shown_while_there_is_room():
    assert list(shown_chunks(MOST_CHUNKS)) == list(range(MOST_CHUNKS))
    assert shown_chunks(MOST_CHUNKS + 1) == range(0, MOST_CHUNKS + 1, 2)


def test_smaller_thumbnails_show_the_same_picture():
    shades = [index % 250 for index in range(300)]
    pictures = [np.full((284, 160, 3), shade, np.uint8) for shade in shades]
    sheet = pixels(contact_sheet(pictures, ["#0"] * 300, [STEADY] * 300))
    columns, width, height = cells(300, (284, 160), CAPTION_HEIGHT + BARS_HEIGHT)
    assert width < 160 and columns * width == sheet.shape[1]
    for index in (0, 1, columns, 299):
        row, column = divmod(index, columns)
        top = row * (height + CAPTION_HEIGHT + BARS_HEIGHT)
        assert (sheet[top + 20, column * width + 40] == shades[index]).all()


def test_a_long_caption_stays_in_its_cell():
    pictures = [np.zeros((40, 80, 3), np.uint8)] * 2
    seed = f"seed {2**63 - 1}"
    sheet = contact_sheet(pictures, [f"#0\n{seed}", "#1"])[0, 40 + CAPTION_HEIGHT :]
    assert sheet[:, :80].max() > 0.5 and sheet[:, 80:].max() < 0.5
    assert fitting(seed, 72).startswith("seed 92") and fitting("seed 42", 72) == "seed 42"
    assert fitting("#0", 1) == ""
