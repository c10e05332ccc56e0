"""Picture files into upright RGB pixels, and pixels into the frame the networks see.

Knows file formats and their ways to fail, and the published resize. What the size should be, and
when in the clip a picture is used, is decided elsewhere.
"""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..crop import CropBox, crop_box, size_text
from ..errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

SMALLEST_PICTURE = 16
"""Pixels per side; one token. Anything smaller is an icon, not a portrait."""

LARGEST_PICTURE_PIXELS = 100_000_000
"""Beyond this a file is more likely a decompression bomb than a photograph."""

_VIDEO_SUFFIXES = (
    *(".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4"),
    *(".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"),
)
_HIGH_EFFICIENCY_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis")
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    RuntimeError,
    struct.error,
    zlib.error,
)
"""What Pillow's readers raise on broken bytes; they promise no single type."""


def open_picture(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a picture file as uint8 RGB ``[H, W, 3]``, upright.

    Any mode Pillow reads is converted; 16-bit greys keep their range; of an animation the first
    frame is taken. Transparent parts become white, as on a page: the colours stored under them are
    leftovers of the program that wrote the file and were never meant to be seen.

    Raises:
        FileNotFoundError: No such file; the message names folder and file.
        InputError: A folder, an empty, damaged or foreign file, a video, or a picture below 16x16
            or above 100 megapixels.
        PermissionError: The file may not be read.

    Differs: InfiniteTalk ignores the EXIF orientation (phone portraits lie on their side) and drops
    the alpha channel.
    """
    from PIL import Image, UnidentifiedImageError

    path = Path(path)
    _check_file(path)
    try:
        with warnings.catch_warnings():
            # Pillow warns about size before we can refuse it, and about metadata nobody asked for.
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                _check_picture_size((image.height, image.width))
                image.load()
                return _rgb_pixels(_upright(image))
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from None
    except Image.DecompressionBombError:
        raise InputError(
            f"{path.name}: the picture is far beyond {LARGEST_PICTURE_PIXELS // 10**6} megapixels, "
            "the most that is read; save it smaller."
        ) from None
    except PermissionError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{path.name}: {_foreign_file(path)}") from None
    except _DAMAGED as error:
        raise InputError(
            f"{path.name}: the picture is damaged or cut short ({error}); copy or export it again."
        ) from error


def resize_crop(picture: np.ndarray, box: CropBox) -> np.ndarray:
    """Resize uint8 ``[H, W, 3]`` and cut out the middle, as uint8 ``[h, w, 3]``.

    Bilinear with antialiasing, in Pillow's fixed-point arithmetic to match the published pixels.

    Raises:
        InputError: The picture is not uint8 RGB of the size the box starts from.

    Source: InfiniteTalk, ``resize_and_centercrop`` for pictures.
    """
    from PIL import Image

    if picture.dtype != np.uint8 or picture.shape != (*box.source_size, 3):
        raise InputError(
            f"expected a uint8 picture [{box.source_size[0]}, {box.source_size[1]}, 3], got "
            f"{picture.dtype} {list(picture.shape)}; convert it to 8-bit RGB of that size first."
        )
    height, width = box.resized_size
    resized = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)[box.rows, box.columns].copy()


def fit_picture(picture: np.ndarray, size: tuple[int, int]) -> Tensor:
    """A picture as reference frame: covering ``size``, cut in the middle, ``[3, h, w]`` in [-1, 1].

    Args:
        picture: uint8 RGB ``[H, W, 3]``.
        size: ``(height, width)`` wanted.
    """
    return frame_of(resize_crop(picture, crop_box((picture.shape[0], picture.shape[1]), size)))


def frame_of(picture: np.ndarray) -> Tensor:
    """A fitted picture, uint8 ``[h, w, 3]``, as a frame ``[3, h, w]`` in [-1, 1]."""
    pixels = torch.from_numpy(picture).permute(2, 0, 1).contiguous()
    return (pixels / 255 - 0.5) * 2


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected one picture file in it.")
    if not path.is_file():
        raise FileNotFoundError(f"no picture {path.name} in the folder {path.absolute().parent}")
    if path.stat().st_size == 0:
        raise InputError(f"{path.name}: the file is empty (0 bytes); copy or export it again.")


def _check_picture_size(size: tuple[int, int]) -> None:
    if min(size) < SMALLEST_PICTURE:
        raise InputError(
            f"the picture is {size_text(size)} pixels; expected at least "
            f"{SMALLEST_PICTURE}x{SMALLEST_PICTURE}, and some hundred per side for a talking face."
        )
    if size[0] * size[1] > LARGEST_PICTURE_PIXELS:
        raise InputError(
            f"the picture is {size_text(size)}, {size[0] * size[1] / 1e6:.0f} megapixels; expected "
            f"at most {LARGEST_PICTURE_PIXELS // 10**6}. Save it smaller."
        )


def _upright(image: Image) -> Image:
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except _DAMAGED:
        return image  # an EXIF block nobody can read says nothing about orientation


def _rgb_pixels(image: Image) -> np.ndarray:
    if image.mode == "F" or image.mode.startswith("I"):
        return _wide_grey_pixels(np.asarray(image))
    if "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        image = _on_white(image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def _on_white(image: Image) -> Image:
    from PIL.Image import alpha_composite, new

    return alpha_composite(new("RGBA", image.size, "white"), image)


def _wide_grey_pixels(grey: np.ndarray) -> np.ndarray:
    """16-bit greys as 8-bit RGB; Pillow's own conversion would clip them at 255."""
    low, high = grey.min(), grey.max()
    if grey.dtype.kind == "f" or low < 0 or high > 65535:
        raise InputError(
            f"the picture holds {grey.dtype} greys from {low:g} to {high:g}; expected 8 or 16 bits "
            "per channel. Save it as an 8-bit PNG."
        )
    levels = (grey.astype(np.int64) + 128) // 257
    return np.repeat(levels.astype(np.uint8)[:, :, None], 3, axis=2)


def _foreign_file(path: Path) -> str:
    """What a file that is no picture seems to be, and what to do about it."""
    with path.open("rb") as file:
        head = file.read(16)
    if head[4:8] == b"ftyp" and head[8:12] in _HIGH_EFFICIENCY_BRANDS:
        return "this HEIC or AVIF picture cannot be read here; save it as JPEG or PNG."
    is_video = (
        head[4:8] == b"ftyp"
        or head[:4] == b"\x1a\x45\xdf\xa3"  # Matroska, WebM
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or path.suffix.lower() in _VIDEO_SUFFIXES
    )
    if is_video:
        return "this is a video; expected a picture. Give it as source video, or save one frame."
    return "this is not a picture that can be read; expected PNG, JPEG, WebP, BMP, TIFF or GIF."
