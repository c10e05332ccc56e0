"""Opening pictures, fitting them, the reference frame of a chunk, CLIP's pixels."""

import math
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from endless_talk.crop import crop_box
from endless_talk.errors import InputError
from endless_talk.reference.clip_vision import CLIP_MEAN, CLIP_STD, clip_pixels
from endless_talk.reference.pictures import fit_picture, open_picture, resize_crop
from endless_talk.reference.sources import FramesReference, StillReference

ORIENTATION = 0x0112


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(tmp_path, image: Image.Image, name: str, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


# Opening


def test_rgb_pixels_come_back_unchanged(tmp_path):
    pixels = noise(17, 23)
    opened = open_picture(save(tmp_path, Image.fromarray(pixels), "a.png"))
    assert opened.dtype == np.uint8
    assert np.array_equal(opened, pixels)
    assert np.array_equal(open_picture(str(tmp_path / "a.png")), pixels)


@pytest.mark.parametrize(
    ("orientation", "undo"),
    [
        (1, lambda upright: upright),
        (3, lambda upright: np.rot90(upright, 2)),
        (6, lambda upright: np.rot90(upright, 1)),
        (8, lambda upright: np.rot90(upright, 3)),
    ],
)
def test_exif_orientation_is_applied(tmp_path, orientation, undo):
    upright = noise(20, 30)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo(upright)))
    assert np.array_equal(open_picture(save(tmp_path, stored, "a.png", exif=exif)), upright)


def test_an_unreadable_exif_block_does_not_spoil_the_picture(tmp_path):
    pixels = noise(20, 30)
    path = save(tmp_path, Image.fromarray(pixels), "a.png", exif=b"Exif\0\0garbage")
    assert np.array_equal(open_picture(path), pixels)


def test_transparent_parts_become_white_whatever_is_stored_under_them(tmp_path):
    pixels = np.dstack([noise(20, 20), np.full((20, 20), 255, np.uint8)])
    pixels[:10, :, 3] = 0
    pixels[10, :] = (100, 0, 200, 128)
    opened = open_picture(save(tmp_path, Image.fromarray(pixels), "a.png"))
    assert (opened[:10] == 255).all()
    assert np.abs(opened[10].astype(int) - (177, 127, 227)).max() <= 1
    assert np.array_equal(opened[11:], pixels[11:, :, :3])


def test_a_transparent_palette_entry_becomes_white(tmp_path):
    indices = np.zeros((20, 20), np.uint8)
    indices[5:] = 1
    image = Image.fromarray(indices).convert("L")
    image.putpalette([10, 20, 30, 200, 100, 50])
    opened = open_picture(save(tmp_path, image, "a.png", transparency=0))
    assert (opened[:5] == 255).all()
    assert (opened[5:] == (200, 100, 50)).all()


def test_grey_pictures_have_three_equal_channels(tmp_path):
    grey = noise(18, 16)[:, :, 0]
    for name, image in (("l.png", Image.fromarray(grey)), ("l.pgm", Image.fromarray(grey))):
        assert np.array_equal(open_picture(save(tmp_path, image, name)), np.dstack([grey] * 3))
    two_tone = Image.fromarray(grey).convert("1")
    opened = open_picture(save(tmp_path, two_tone, "1.png"))
    assert set(np.unique(opened)) == {0, 255}


def test_16_bit_greys_keep_their_range(tmp_path):
    wide = np.linspace(0, 65535, 400).astype(np.uint16).reshape(20, 20)
    for name in ("a.png", "a.tif"):
        opened = open_picture(save(tmp_path, Image.fromarray(wide), name))
        assert np.array_equal(opened[:, :, 1], np.rint(wide / 257).astype(np.uint8))


def test_greys_without_a_known_range_are_refused(tmp_path):
    image = Image.fromarray(np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20))
    with pytest.raises(InputError, match=r"a\.tif: .*float32 greys from 0 to 1; .*8-bit PNG"):
        open_picture(save(tmp_path, image, "a.tif"))


def test_cmyk_becomes_rgb(tmp_path):
    image = Image.new("CMYK", (20, 20), (0, 255, 255, 0))
    opened = open_picture(save(tmp_path, image, "a.tif"))
    assert np.abs(opened.astype(int) - (255, 0, 0)).max() <= 2


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    path = save(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert (open_picture(path) == (255, 0, 0)).all()


# Refusing


def test_a_missing_file_is_named_with_its_folder(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        open_picture(tmp_path / "anna.png")
    assert "anna.png" in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", b"", "0 bytes"),
        ("a.png", b"Dear diary, this is not a picture.", "not a picture"),
        ("a.jpg", b"\0\0\0\x20ftypisom\0\0\2\0", "video"),
        ("a.jpg", b"\x1a\x45\xdf\xa3" + b"\0" * 40, "video"),
        ("a.mp4", b"\0" * 64, "video"),
        ("a.jpg", b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
    ],
)
def test_a_file_that_is_no_picture_says_what_it_is(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        open_picture(path)
    assert name in str(caught.value)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        open_picture(tmp_path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.gif", "a.bmp"])
def test_a_picture_cut_short_is_refused_not_filled_with_grey(tmp_path, name):
    path = save(tmp_path, Image.fromarray(noise(40, 60)), name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(InputError, match=name):
        open_picture(path)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (15, 40), (40, 15)])
def test_pictures_below_16_pixels_are_refused(tmp_path, height, width):
    path = save(tmp_path, Image.fromarray(noise(height, width)), "a.png")
    with pytest.raises(InputError, match=rf"{width}x{height} pixels; expected at least 16x16"):
        open_picture(path)


def test_the_smallest_picture_is_accepted(tmp_path):
    pixels = noise(16, 16)
    path = save(tmp_path, Image.fromarray(pixels), "a.png")
    assert np.array_equal(open_picture(path), pixels)


@pytest.mark.parametrize("side", [11_000, 60_000])
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path, side, recwarn):
    def part(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    rows = part(b"IDAT", zlib.compress(b"\0" * 100))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + rows + part(b"IEND", b""))
    with pytest.raises(InputError, match="100"):
        open_picture(path)
    assert not recwarn.list


# Fitting


def test_a_crop_box_covers_its_target_for_any_sizes():
    rng = np.random.default_rng(1)
    for sides in rng.integers(1, 1500, (3000, 4)):
        height, width, target_height, target_width = (int(side) for side in sides)
        if max(height / width, width / height) > 100:
            continue
        box = crop_box((height, width), (target_height, target_width))
        for resized, offset, side in zip(
            box.resized_size, (box.top, box.left), box.size, strict=True
        ):
            assert 0 <= offset <= resized - side
            assert abs(2 * offset - (resized - side)) <= 1
        slack = [resized - side for resized, side in zip(box.resized_size, box.size, strict=True)]
        assert min(slack) <= 1


def test_a_side_that_overshoots_by_rounding_is_cut():
    overshooting = [
        (side, target)
        for side in range(1, 300)
        for target in range(1, 100)
        if math.ceil(target / side * side) > target
    ]
    assert overshooting
    for side, target in overshooting[:20]:
        box = crop_box((side, side), (target, target))
        assert box.resized_size == (target + 1, target + 1)
        fitted = fit_picture(noise(side, side), (target, target))
        assert fitted.shape == (3, target, target)


@pytest.mark.parametrize(("spare", "offset"), [(0, 0), (1, 0), (2, 1), (3, 2), (5, 2), (7, 4)])
def test_an_odd_spare_row_is_halved_to_the_even_side(spare, offset):
    assert crop_box((32 + spare, 32), (32, 32)).top == offset
    assert crop_box((32, 32 + spare), (32, 32)).left == offset


def test_shrinking_averages_what_it_leaves_out():
    checkered = np.indices((64, 64)).sum(axis=0) % 2 * 255
    pixels = np.repeat(checkered[:, :, None], 3, axis=2).astype(np.uint8)
    assert fit_picture(pixels, (32, 32)).abs().max() < 0.05


def test_enlarging_does_not_overshoot_an_edge():
    pixels = np.full((16, 16, 3), 100, np.uint8)
    pixels[:, 8:] = 150
    fitted = resize_crop(pixels, crop_box((16, 16), (64, 64)))
    assert (fitted.min(), fitted.max()) == (100, 150)
    assert len(np.unique(fitted)) > 2


def test_a_strip_that_would_need_gigabytes_is_refused():
    with pytest.raises(InputError, match="nearer to the target"):
        crop_box((16, 1_000_000), (832, 480))


def test_a_box_without_pixels_is_refused():
    with pytest.raises(InputError, match="at least 1 pixel"):
        crop_box((0, 10), (16, 16))


def test_a_picture_of_the_right_size_is_only_scaled_to_minus_one_to_one():
    pixels = noise(32, 48)
    pixels[0, 0], pixels[0, 1] = 0, 255
    frame = fit_picture(pixels, (32, 48))
    assert frame.dtype == torch.float32
    assert frame.is_contiguous()
    assert frame[:, 0, 0].tolist() == [-1, -1, -1]
    assert frame[:, 0, 1].tolist() == [1, 1, 1]
    restored = ((frame + 1) * 127.5).round().permute(1, 2, 0).numpy()
    assert np.array_equal(restored, pixels)


def test_the_middle_is_kept():
    pixels = np.zeros((32, 96, 3), np.uint8)
    pixels[:, 32:64] = 255
    assert (fit_picture(pixels, (32, 32)) == 1).all()


def test_fitting_a_picture_leaves_it_untouched():
    pixels = noise(37, 53)
    before = pixels.copy()
    frame = fit_picture(pixels, (37, 53))
    frame.zero_()
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize(
    "picture", [np.zeros((8, 8, 3), np.float32), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8))]
)
def test_only_8_bit_rgb_is_fitted(picture):
    with pytest.raises(InputError, match="expected a uint8 picture"):
        resize_crop(picture, crop_box((8, 8), (16, 16)))


# Reference frames


def test_a_still_gives_every_chunk_the_same_tensor():
    source = StillReference(noise(40, 56), (32, 48))
    assert source.first.shape == (3, 32, 48)
    assert source.frame(0) is source.first
    assert source.frame(72) is source.first


def test_frames_are_taken_where_the_chunk_starts_and_the_last_one_stays():
    frames = np.stack([noise(20, 30, seed) for seed in range(5)])
    source = FramesReference(frames, (16, 16))
    for start_frame, index in [(0, 0), (3, 3), (4, 4), (5, 4), (72, 4), (1, 1)]:
        assert torch.equal(source.frame(start_frame), fit_picture(frames[index], (16, 16)))
    assert source.frame(50) is source.frame(72)
    assert source.frame(0) is source.first


def test_frames_before_the_start_do_not_wrap_around():
    source = FramesReference(noise(20, 30)[None], (16, 16))
    with pytest.raises(IndexError, match="-1"):
        source.frame(-1)


def test_a_source_without_frames_is_refused():
    with pytest.raises(InputError, match="no frames"):
        FramesReference(np.zeros((0, 20, 30, 3), np.uint8), (16, 16))


# CLIP


def unnormalised(pixels: torch.Tensor) -> torch.Tensor:
    return pixels[0] * torch.tensor(CLIP_STD).view(3, 1, 1) + torch.tensor(CLIP_MEAN).view(3, 1, 1)


def test_clip_sees_black_and_white_as_zero_and_one():
    for value, expected in ((-1.0, 0.0), (1.0, 1.0)):
        pixels = clip_pixels(torch.full((3, 32, 48), value))
        assert pixels.shape == (1, 3, 224, 224)
        torch.testing.assert_close(unnormalised(pixels), torch.full((3, 224, 224), expected))


def test_clip_sees_the_whole_frame_squashed():
    frame = torch.linspace(-1, 1, 448).expand(3, 32, 448)
    row = unnormalised(clip_pixels(frame))[0, 0]
    assert (row.diff() > 0).all()
    assert row[0] < 0.01
    assert row[-1] > 0.99


def test_clip_pixels_are_not_antialiased():
    # At a third of the size every sample falls on the centre of a pixel, and only that one counts.
    frame = torch.rand(3, 672, 672, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = frame[:, 1::3, 1::3] * 0.5 + 0.5
    torch.testing.assert_close(unnormalised(clip_pixels(frame)), expected, atol=2e-4, rtol=0)


def test_clip_pixels_are_bicubic():
    # At half the size a sample lies between four pixels; the outer two count -3/32 each.
    frame = torch.rand(3, 1, 448, generator=torch.Generator().manual_seed(0)).expand(3, 448, 448)
    row = unnormalised(clip_pixels(frame * 2 - 1))[:, 5, 1:-1]
    taps = frame[:, 0, 1:-1].unfold(1, 4, 2)
    weights = torch.tensor([-3.0, 19.0, 19.0, -3.0]) / 32
    torch.testing.assert_close(row, taps @ weights, atol=1e-5, rtol=0)
