"""Face Masks: who can speak in a picture or a video.

Knows the host's IMAGE, VIDEO and MASK values; it loads no detector.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from comfy_api.latest import Input, io
from torch import Tensor

from ..masks.boxes import has_moments, typed_boxes, typed_moments
from ..masks.faces import Faces as FacesValue
from ..masks.finding import FaceSources, check_one_source, find_faces
from ..masks.moving import MOTIONS, TrackSettings, tells_of_frames
from ..masks.pooling import RULES
from ..masks.preview import draw_faces
from ..masks.tracks import FaceTracks
from ..reference.cuts import AUTO
from ..reference.sources import image_of_pixels, picture_of
from ..reference.video import SourceVideo
from .faces_video import VARIANTS, FaceDetector, detected_in, shot_previews, video_faces
from .load import refusal
from .reference_video import source_of
from .sockets import FaceDetection, FaceLandmarks, Faces, show_under_node

CONNECTED, SPLIT_EVENLY = "connected", "split evenly"


def sockets() -> list[io.Input]:
    """What is connected."""
    return [
        io.MultiType.Input(
            "picture",
            [io.Image, io.Video],
            optional=True,
            tooltip="The source picture at its full size, the one that goes to Reference "
            "Image, or the video that goes to Reference Video. Needed for boxes, and for the "
            "preview.",
        ),
        FaceLandmarks.Input(
            "landmarks",
            optional=True,
            tooltip="From Detect Face Landmarks (MediaPipe) on the same picture; set its "
            "num_faces to the number of people. For a video use face_detection_model.",
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
            "or as shares from 0 to 1. They are used as they are. For a video a line may be a "
            "moment: 0:04.2 120 80 260 240; 400 90 540 250.",
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
            tooltip="Pixels by which a painted face, or a detected one of a video, grows on "
            "every side. 16 is one token of the network.",
        ),
    ]


def video_inputs() -> list[io.Input]:
    """What came with videos; it follows everything else, so that saved graphs stay as they are."""
    return [
        FaceDetection.Input(
            "face_detection_model",
            optional=True,
            tooltip="From Load Face Detection Model (MediaPipe): looks for faces in the picture, "
            "or in every frame of the video, a few at a time.",
        ),
        io.Combo.Input(
            "motion",
            options=list(MOTIONS),
            default=MOTIONS[0],
            optional=True,
            tooltip="For a video. union: a voice has every place where the face is in the frames "
            "made at once, as in training. moving: the region follows the face, every 4 frames.",
        ),
        io.String.Input(
            "cuts",
            default=AUTO,
            optional=True,
            tooltip="For a video, as on Reference Video: auto, none, or seconds where a shot "
            "begins. Every shot numbers its faces anew.",
        ),
        io.Int.Input(
            "at_most",
            default=0,
            min=0,
            max=64,
            optional=True,
            tooltip="Faces that count in each shot of a video, the largest; of a picture, the "
            "surest of face_detection_model. 0 is all. Set it when people in the background get "
            "numbers.",
        ),
        io.Combo.Input(
            "rule",
            options=list(RULES),
            default=RULES[0],
            optional=True,
            advanced=True,
            tooltip="When one of the network's tokens (16x16 pixels) belongs to a face: any of "
            "its pixels does, area: half of them, nearest: its first, soft: by its share. For "
            "models that are told by a mask who speaks.",
        ),
        io.Combo.Input(
            "detector_variant",
            options=list(VARIANTS),
            default=VARIANTS[0],
            optional=True,
            advanced=True,
            tooltip="Reach of face_detection_model: short for faces up to 2 m away, full for "
            "farther ones, both takes what finds more and costs twice the time.",
        ),
    ]


def check_boxes(boxes: str | None) -> None:
    """Refuse typed boxes that are not understood, before anything runs."""
    if boxes and has_moments(boxes):
        typed_moments(boxes)
    else:
        typed_boxes(boxes or "")


def in_picture(
    pixels: np.ndarray | None, sources: FaceSources, settings: TrackSettings, split: bool
) -> tuple[FacesValue, Tensor]:
    """The faces of a picture, and the picture with their numbers.

    Args:
        pixels: uint8 ``[H, W, 3]``, or None.
        sources: Where the faces are told.
        settings: What the user chose.
        split: Halves instead of faces.
    """
    if sources.detector is not None and pixels is not None and not split:
        check_one_source(sources)
        sources = detected_in(sources.detector.landmarks([pixels]), pixels.shape[:2])
    faces = find_faces(
        sources,
        None if pixels is None else pixels.shape[:2],
        split_evenly=split,
        grow=settings.grow,
        dilate=settings.dilate,
    )
    preview = image_of_pixels(draw_faces(faces, pixels))
    return replace(faces, rule=settings.rule), preview


def in_video(
    video: SourceVideo, sources: FaceSources, settings: TrackSettings, split: bool, cuts: str
) -> tuple[FacesValue | FaceTracks, Tensor]:
    """The faces of a video, and a picture of every shot with their numbers.

    A source that does not tell of frames, such as a painted mask, holds for the whole video.
    """
    try:
        if split or not (sources.detector or tells_of_frames(sources)):
            return in_picture(video.picture(0), sources, settings, split)
        check_one_source(sources)
        tracks = video_faces(video, sources, settings, cuts)
        return tracks, shot_previews(video, tracks)
    finally:
        video.close()


class FaceMasks(io.ComfyNode):
    """Regions of faces of a picture, or their tracks through a video, numbered from the left."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EndlessTalkFaceMasks",
            display_name="Face Masks",
            category="EndlessTalk/prepare",
            description="Tell where the faces of a picture or a video are, numbered from the left: "
            "from a face detector, a painted mask, typed boxes, or an even split. Give exactly one "
            "of them.",
            search_aliases=[
                "face mask",
                "bounding box",
                "MultiTalk",
                "two speakers",
                "face detect",
            ],
            inputs=[*sockets(), *widgets(), *video_inputs()],
            outputs=[
                Faces.Output("faces", tooltip="For Encode Speaker, numbered from the left."),
                io.Mask.Output("all_faces", tooltip="All faces together, at the picture's size."),
                io.Image.Output(
                    "preview",
                    tooltip="The picture with every face and its number; of a video one picture "
                    "per shot.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, boxes: str | None = "") -> bool | str:
        return refusal(check_boxes, boxes)

    @classmethod
    def execute(
        cls,
        picture: Tensor | Input.Video | None = None,
        landmarks: dict[str, Any] | None = None,
        bboxes: Any = None,
        mask: Tensor | None = None,
        boxes: str = "",
        find: str = CONNECTED,
        grow: float = 0.3,
        dilate: int = 16,
        face_detection_model: Any = None,
        motion: str = MOTIONS[0],
        cuts: str = AUTO,
        at_most: int = 0,
        rule: str = RULES[0],
        detector_variant: str = VARIANTS[0],
    ) -> io.NodeOutput:
        detector = None
        if face_detection_model is not None:
            detector = FaceDetector(face_detection_model, detector_variant, at_most)
        drawn = None if mask is None else mask.cpu()
        sources = FaceSources(landmarks, bboxes, drawn, boxes, detector)
        settings = TrackSettings(grow, dilate, motion, rule, at_most)
        split = find == SPLIT_EVENLY
        if isinstance(picture, Input.Video):
            faces, preview = in_video(source_of(picture), sources, settings, split, cuts)
        else:
            pixels = None if picture is None else picture_of(picture)
            faces, preview = in_picture(pixels, sources, settings, split)
        show_under_node(cls.hidden.unique_id, faces.summary)
        return io.NodeOutput(faces, faces.together[None], preview)
