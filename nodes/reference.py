"""Reference Image: the picture that talks, at the size of the clip.

Knows the host's IMAGE and CLIP_VISION values.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import comfy.clip_vision
from comfy_api.latest import io
from torch import Tensor

from ..reference.clip_vision import clip_square
from ..reference.motion import Motion
from ..reference.sizes import LARGEST_SIDE, SIZE_NAMES, SIZE_STEP, SMALLEST_SIDE, choose_size
from ..reference.sources import image_of, picture_of, reference_of
from .sockets import Reference, show_under_node


def encode_tokens(clip_vision: comfy.clip_vision.ClipVisionModel, frame: Tensor) -> Tensor:
    """Image tokens ``[1, 257, 1280]`` of a reference frame ``[3, H, W]`` in [-1, 1].

    The frame is squashed here, because the host's own resize has antialiasing, which the networks
    were not trained with.
    """
    square = image_of(clip_square(frame)[0])
    return clip_vision.encode_image(square, crop=False)["penultimate_hidden_states"]


def size_widgets() -> list[io.Input]:
    """How large the clip becomes; the order is that of saved graphs."""
    return [
        io.Combo.Input(
            "size",
            options=list(SIZE_NAMES),
            default=SIZE_NAMES[0],
            optional=True,
            tooltip="Size of the clip. 480p and 720p: at most 0.41 or 0.92 megapixels in "
            "the picture's own shape. bucket: the nearest published size. custom: width "
            "and height. Twice the pixels take more than twice the time.",
        ),
        io.Int.Input(
            "width",
            default=832,
            min=SMALLEST_SIDE,
            max=LARGEST_SIDE,
            step=SIZE_STEP,
            optional=True,
            tooltip="Pixels, a multiple of 16; for size custom only.",
        ),
        io.Int.Input(
            "height",
            default=480,
            min=SMALLEST_SIDE,
            max=LARGEST_SIDE,
            step=SIZE_STEP,
            optional=True,
            tooltip="Pixels, a multiple of 16; for size custom only.",
        ),
        io.Combo.Input(
            "fit",
            options=["crop"],
            default="crop",
            optional=True,
            advanced=True,
            tooltip="How the picture fills the size: crop keeps its proportions and cuts "
            "the margins evenly.",
        ),
    ]


class ReferenceImage(io.ComfyNode):
    """A still picture as reference."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EndlessTalkReferenceImage",
            display_name="Reference Image",
            category="EndlessTalk/prepare",
            description="The picture that talks, fitted to the size of the clip. It keeps "
            "identity, background and camera in every chunk.",
            search_aliases=["start image", "portrait", "InfiniteTalk", "resize", "talking head"],
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="One picture with the face to talk, some hundred pixels per side or "
                    "more. Transparent parts become white.",
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="clip_vision_h. Published InfiniteTalk uses it: without it faces "
                    "drift sooner.",
                ),
                *size_widgets(),
                io.Combo.Input(
                    "motion",
                    options=[motion.value for motion in Motion],
                    default=Motion.STILL.value,
                    optional=True,
                    advanced=True,
                    tooltip="Camera over the picture: still holds it. Over a minute a slow zoom or "
                    "pan keeps the clip from freezing and drifting; there and back in 48 s.",
                ),
            ],
            outputs=[
                Reference.Output("reference", tooltip="For the sampler."),
                io.Image.Output("fitted", tooltip="The picture at the size of the clip."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        clip_vision: comfy.clip_vision.ClipVisionModel | None = None,
        size: str = SIZE_NAMES[0],
        width: int = 832,
        height: int = 480,
        fit: str = "crop",
        motion: str = Motion.STILL.value,
    ) -> io.NodeOutput:
        picture = picture_of(image)
        reference = reference_of(
            picture, choose_size(size, picture.shape[:2], custom=(height, width)), Motion(motion)
        )
        if clip_vision is not None:
            encode = partial(encode_tokens, clip_vision)
            tokens = encode(reference.source.first)
            reference = replace(reference, image_tokens=tokens, encode=encode)
        show_under_node(cls.hidden.unique_id, reference.summary)
        return io.NodeOutput(reference, image_of(reference.source.first))
