"""The contact sheet: every chunk has its place and its caption."""

import numpy as np
import torch

from endless_talk.video.overview import CAPTION_HEIGHT, COLUMNS, contact_sheet, thumbnail


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
