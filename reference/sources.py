"""Where the reference frame of each chunk comes from: a picture, or frames in memory.

The streaming loop asks by the pixel frame its chunk starts at and never learns what is behind the
answer. Long source videos are read elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..crop import CropBox, crop_box, size_text
from ..errors import InputError
from .content import content_hash, seen_content
from .motion import Motion, MovingReference
from .numbered import NumberedFrames
from .pictures import SMALLEST_PICTURE, fit_picture

CLIP_TOKENS = (257, 1280)
"""Image tokens and their width that Wan 2.1 was trained with (CLIP ViT-H, one before the last
layer)."""

ImageEncoder = Callable[[Tensor], Tensor]
"""From a reference frame ``[3, H, W]`` in [-1, 1] to its image tokens ``[1, 257, 1280]``."""


class StillReference:
    """One picture for the whole clip.

    Args:
        picture: uint8 RGB ``[H, W, 3]``.
        size: ``(height, width)`` of the clip.
    """

    def __init__(self, picture: np.ndarray, size: tuple[int, int]):
        self._frame = fit_picture(picture, size)

    @property
    def first(self) -> Tensor:
        """The picture, fitted, ``[3, h, w]`` in [-1, 1]."""
        return self._frame

    def frame(self, start_frame: int) -> Tensor:
        """The same tensor for every chunk."""
        return self._frame

    def seen(self, start_frame: int) -> Any:
        """What the frame is made from: for every chunk the same."""
        return self._content

    @cached_property
    def _content(self) -> str:
        return content_hash(self._frame)


class FramesReference(NumberedFrames):
    """The frame of a short source that lies where the chunk starts; past its end the last one.

    Args:
        frames: uint8 RGB ``[F, H, W, 3]`` at 25 fps, at least one.
        size: ``(height, width)`` of the clip.

    Raises:
        InputError: There is no frame.

    Source: InfiniteTalk, ``generate_infinitetalk``: the source frame under the chunk's first
    *context* frame.
    """

    def __init__(self, frames: np.ndarray, size: tuple[int, int]):
        super().__init__()
        if len(frames) == 0:
            raise InputError("the source has no frames; expected at least 1.")
        self._frames, self._size = frames, size

    def number(self, start_frame: int) -> int:
        """The frame that lies there, or the last."""
        return min(start_frame, len(self._frames) - 1)

    def make(self, number: int) -> Tensor:
        """A frame, fitted, ``[3, h, w]`` in [-1, 1]."""
        return fit_picture(self._frames[number], self._size)


class PictureSource(Protocol):
    """Reference frames made of one picture."""

    @property
    def first(self) -> Tensor:
        """The one of the clip's beginning, ``[3, h, w]`` in [-1, 1]."""
        ...

    def frame(self, start_frame: int) -> Tensor:
        """The one of the chunk that starts there."""
        ...

    def seen(self, start_frame: int) -> Any:
        """What that one is made from, in numbers and strings; equal for equal frames."""
        ...


@dataclass(frozen=True, eq=False)
class PictureReference:
    """A picture as reference, with all a sampler asks of it.

    Attributes:
        source: The reference frame of every chunk.
        size: ``(height, width)`` of the clip.
        box: How the picture was resized and cut; regions drawn on it go the same way.
        image_tokens: CLIP vision tokens of the first reference frame ``[1, 257, 1280]``, or None.
        encode: Makes the tokens of another reference frame; None where there is only one.
    """

    source: PictureSource
    size: tuple[int, int]
    box: CropBox
    image_tokens: Tensor | None = None
    encode: ImageEncoder | None = None

    source_strength = 0.0
    """A picture has no frames to begin from,"""
    keep = None
    """nor any that could be kept."""

    def __post_init__(self):
        check_tokens(self.image_tokens)

    def tokens(self, frame: Tensor) -> Tensor | None:
        """Image tokens of a reference frame, or None."""
        return tokens_of(self, frame)

    def clip_frames(self, speech_frames: int) -> int:
        """Frames of a clip in which is spoken for ``speech_frames``: those."""
        return speech_frames

    def cuts(self, frames: int) -> list[int]:
        """A picture has one shot."""
        return []

    def chunk_content(self, start_frame: int, frames: int, *, own: bool = True) -> dict[str, Any]:
        """What a chunk takes from the picture, as part of its key; the clip's size is another part.

        Args:
            start_frame: Clip frame of the chunk's first frame.
            frames: Frames sampled; of a picture nothing lies under them.
            own: Whether it sees this picture; a timeline may show it another.
        """
        return seen_content(
            self.source,
            start_frame,
            own=own,
            tokens=self.token_hash,
            encoded=self.encode is not None,
        )

    @cached_property
    def token_hash(self) -> str | None:
        """A hash of the image tokens of the first reference frame, or None."""
        return None if self.image_tokens is None else content_hash(self.image_tokens)

    def close(self) -> None:
        """There is nothing to give back."""

    @property
    def summary(self) -> str:
        """One line for the user: the sizes, and how much is cut off."""
        height, width = self.box.resized_size
        cut = 1 - self.size[0] * self.size[1] / (height * width)
        return f"{size_text(self.box.source_size)} to {size_text(self.size)}, {cut:.1%} cut off"


class SeenReference(Protocol):
    """What is needed of a reference to know the image tokens of its frames."""

    @property
    def source(self) -> PictureSource: ...  # noqa: D102

    @property
    def image_tokens(self) -> Tensor | None: ...  # noqa: D102

    @property
    def encode(self) -> ImageEncoder | None: ...  # noqa: D102


def tokens_of(reference: SeenReference, frame: Tensor) -> Tensor | None:
    """Image tokens of one of a reference's frames: those of its first, unless it has others.

    Source: InfiniteTalk, ``generate_infinitetalk``: encoded again for every chunk of a video.
    """
    if reference.encode is None or frame is reference.source.first:
        return reference.image_tokens
    return reference.encode(frame)


def check_tokens(tokens: Tensor | None) -> None:
    """Refuse tokens of another CLIP model than Wan's."""
    if tokens is not None and tuple(tokens.shape) != (1, *CLIP_TOKENS):
        raise InputError(
            f"The CLIP vision model gives {list(tokens.shape)} image tokens; Wan 2.1 expects "
            f"{[1, *CLIP_TOKENS]}: load clip_vision_h.safetensors."
        )


def reference_of(
    picture: np.ndarray, size: tuple[int, int], motion: Motion = Motion.STILL
) -> PictureReference:
    """A picture as reference, without image tokens.

    Args:
        picture: uint8 RGB ``[H, W, 3]``.
        size: ``(height, width)`` of the clip.
        motion: What a camera does over it.
    """
    box = crop_box((picture.shape[0], picture.shape[1]), size)
    if motion is Motion.STILL:
        return PictureReference(StillReference(picture, size), size, box)
    return PictureReference(MovingReference(picture, size, motion), size, box)


def picture_of(image: Tensor) -> np.ndarray:
    """The one picture of a batch in memory as uint8 RGB, transparent parts white as in files.

    Args:
        image: ``[1, H, W, C]`` in 0..1, of 3 or 4 channels.

    Raises:
        InputError: Several pictures, other channels, too small, or values that are not finite.
    """
    if image.ndim != 4 or image.shape[0] != 1:
        raise InputError(
            f"The image is a batch of {image.shape[0]} pictures; expected one. Choose one with "
            "Get Image from Batch."
        )
    height, width, channels = image.shape[1:]
    if channels not in (3, 4):
        raise InputError(f"The image has {channels} channels; expected RGB, or RGB with alpha.")
    if min(height, width) < SMALLEST_PICTURE:
        raise InputError(
            f"The image is {size_text((height, width))} pixels; expected at least "
            f"{SMALLEST_PICTURE}x{SMALLEST_PICTURE}, and some hundred per side for a talking face."
        )
    pixels = image[0].detach().to("cpu", torch.float32)
    if not pixels.isfinite().all():
        raise InputError("The image has NaN or infinite values; load it again.")
    if channels == 4:
        alpha = pixels[..., 3:].clamp(0, 1)
        pixels = pixels[..., :3] * alpha + (1 - alpha)
    return (pixels.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def image_of(frame: Tensor) -> Tensor:
    """A reference frame ``[3, H, W]`` in [-1, 1] as a batch of one picture ``[1, H, W, 3]``."""
    return (frame.permute(1, 2, 0)[None] + 1) / 2


def image_of_pixels(pixels: np.ndarray) -> Tensor:
    """A uint8 picture ``[H, W, 3]`` as a batch of one in 0..1, ``[1, H, W, 3]``."""
    return torch.from_numpy(pixels)[None].float() / 255
