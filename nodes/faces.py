"""Face Masks: who can speak in a picture.

Knows the host's IMAGE and MASK values; it loads no detector.
"""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..masks.boxes import typed_boxes
from ..masks.finding import FaceSources, find_faces
from ..masks.preview import draw_faces
from ..reference.sources import image_of_pixels, picture_of
from .load import refusal
from .sockets import FaceLandmarks, Faces, show_under_node

CONNECTED, SPLIT_EVENLY = "connected", "split evenly"


def sockets() -> list[io.Input]:
    """What is connected."""
    return [
        io.Image.Input(
            "picture",
            optional=True,
            tooltip="The source picture at its full size, the one that goes to Reference "
            "Image. Needed for boxes, and for the preview.",
        ),
        FaceLandmarks.Input(
            "landmarks",
            optional=True,
            tooltip="From Detect Face Landmarks (MediaPipe) on the same picture; set its "
            "num_faces to the number of people.",
        ),
        io.BoundingBox.Input(
            "bboxes",
            optional=True,
            force_input=True,
            tooltip="Boxes in pixels of the picture from any detector, one per face.",
        ),
        io.Mask.Input(
            "mask",
            optional=True,
            tooltip="Faces painted on the picture: parts that do not touch are different "
            "faces. A batch of masks is one face each.",
        ),
    ]


def widgets() -> list[io.Input]:
    """What is set on the node; the order is that of saved graphs."""
    return [
        io.String.Input(
            "boxes",
            default="",
            multiline=True,
            optional=True,
            tooltip="Typed boxes, one face per line: left, top, right, bottom in pixels, "
            "or as shares from 0 to 1. They are used as they are.",
        ),
        io.Combo.Input(
            "find",
            options=[CONNECTED, SPLIT_EVENLY],
            default=CONNECTED,
            optional=True,
            tooltip="connected: the faces as they are given. split evenly: a left and a "
            "right half, of the picture or of the painted mask.",
        ),
        io.Float.Input(
            "grow",
            default=0.3,
            min=0.0,
            max=2.0,
            step=0.05,
            optional=True,
            tooltip="Share of its width and height by which a detected box grows on every "
            "side. The face moves while it talks: 0.3 leaves it room.",
        ),
        io.Int.Input(
            "dilate",
            default=16,
            min=0,
            max=256,
            optional=True,
            advanced=True,
            tooltip="Pixels by which a painted face grows on every side. 16 is one token "
            "of the network.",
        ),
    ]


class FaceMasks(io.ComfyNode):
    """Regions of faces, numbered from the left."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EndlessTalkFaceMasks",
            display_name="Face Masks",
            category="EndlessTalk/prepare",
            description="Tell where the faces are, numbered from the left: from a face detector, "
            "a painted mask, typed boxes, or an even split. Give exactly one of them.",
            search_aliases=[
                "face mask",
                "bounding box",
                "MultiTalk",
                "two speakers",
                "face detect",
            ],
            inputs=[*sockets(), *widgets()],
            outputs=[
                Faces.Output("faces", tooltip="For Encode Speaker, numbered from the left."),
                io.Mask.Output("all_faces", tooltip="All faces together, at the picture's size."),
                io.Image.Output("preview", tooltip="The picture with every face and its number."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, boxes: str | None = "") -> bool | str:
        return refusal(typed_boxes, boxes)

    @classmethod
    def execute(
        cls,
        picture: Tensor | None = None,
        landmarks: dict[str, Any] | None = None,
        bboxes: Any = None,
        mask: Tensor | None = None,
        boxes: str = "",
        find: str = CONNECTED,
        grow: float = 0.3,
        dilate: int = 16,
    ) -> io.NodeOutput:
        pixels = None if picture is None else picture_of(picture)
        faces = find_faces(
            FaceSources(landmarks, bboxes, None if mask is None else mask.cpu(), boxes),
            None if pixels is None else pixels.shape[:2],
            split_evenly=find == SPLIT_EVENLY,
            grow=grow,
            dilate=dilate,
        )
        show_under_node(cls.hidden.unique_id, faces.summary)
        preview = image_of_pixels(draw_faces(faces, pixels))
        return io.NodeOutput(faces, faces.together[None], preview)
