"""Reference Video: the video to dub, on the clip's clock and at its size.

Knows the host's VIDEO, MASK and CLIP_VISION values.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import comfy.clip_vision
import comfy.model_management
import comfy.utils
import numpy as np
from comfy_api.latest import Input, InputImpl, io
from torch import Tensor

from ..frames import FPS
from ..masks.keep import kept_latents
from ..reference.cuts import AUTO, STAMP_SIZE, cuts_of
from ..reference.dubbing import (
    CHUNK_START,
    LENGTHS,
    WHEN_SHORT,
    DubSettings,
    DubSource,
    VideoReference,
)
from ..reference.sizes import SIZE_NAMES, choose_size
from ..reference.sources import image_of
from ..reference.video import FileVideo, PicturesVideo, SourceVideo
from .reference import encode_tokens, size_widgets
from .sockets import Reference, show_under_node


def source_of(video: Input.Video) -> SourceVideo:
    """A VIDEO with its trim window; a file is read where it lies, and never as a whole."""
    if isinstance(video, InputImpl.VideoFromComponents):
        parts = video.get_components()  # in memory already
        return PicturesVideo(parts.images, float(parts.frame_rate))
    start, duration = video.get_active_trim_window()
    return FileVideo(video.get_stream_source(), start_seconds=start, duration_seconds=duration)


def _stamps(video: SourceVideo) -> Iterator[np.ndarray]:
    """All pictures in a row, small, with progress and an ear for Cancel."""
    bar = comfy.utils.ProgressBar(video.frames)
    for index in range(video.frames):
        if index % FPS == 0:
            comfy.model_management.throw_exception_if_processing_interrupted()
            bar.update_absolute(index)
        yield video.picture(index, STAMP_SIZE)
    bar.update_absolute(video.frames)


def describe(reference: VideoReference) -> str:
    """The reference in a line, and where its shots begin."""
    cuts = reference.source.settings.cuts
    if not cuts:
        return reference.summary
    begins = ", ".join(f"{cut / FPS:.2f}" for cut in cuts)
    return f"{reference.summary}\ncuts at {begins} s"


def dub_widgets() -> list[io.Input]:
    """What is set for a video alone; the order is that of saved graphs."""
    return [
        io.Combo.Input(
            "length",
            options=list(LENGTHS),
            default=LENGTHS[0],
            optional=True,
            tooltip="How long the clip is: as the video, silent where nobody speaks, or as the "
            "voices.",
        ),
        io.Combo.Input(
            "when_short",
            options=list(WHEN_SHORT),
            default=WHEN_SHORT[0],
            optional=True,
            tooltip="What follows when the clip is longer than the video: its last frame is held, "
            "it begins again, or it runs backwards and forwards.",
        ),
        io.String.Input(
            "cuts",
            default=AUTO,
            optional=True,
            tooltip="auto finds hard cuts, none is one shot, or seconds where a shot begins: "
            "12.4, 31.0. No chunk spans a cut, and every shot starts afresh.",
        ),
        io.Float.Input(
            "source_strength",
            default=0.0,
            min=0.0,
            max=0.95,
            step=0.05,
            optional=True,
            advanced=True,
            tooltip="How much of the video every chunk begins with: 0 is noise alone, 0.1 to 0.4 "
            "keeps the camera's motion, more also keeps the old mouth. Skips as much of the steps.",
        ),
        io.String.Input(
            "keyframe",
            default=CHUNK_START,
            optional=True,
            advanced=True,
            tooltip="Which frame of the video a chunk sees: the one at its start, nearest sharp "
            "(the sharpest within half a second of it), or seconds: 0, 4.5, 12.",
        ),
    ]


class ReferenceVideo(io.ComfyNode):
    """A source video as reference."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EndlessTalkReferenceVideo",
            display_name="Reference Video",
            category="EndlessTalk/prepare",
            description="The video to dub. Every chunk sees one of its frames, which keeps "
            "identity, background and camera while head and body follow the new voice.",
            search_aliases=["dubbing", "video to video", "V2V", "InfiniteTalk", "lip sync"],
            inputs=[
                io.Video.Input(
                    "video",
                    tooltip="Any frame rate, also varying; turned and trimmed as it says.",
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="clip_vision_h. Published InfiniteTalk uses it: without it faces "
                    "drift sooner.",
                ),
                io.Mask.Input(
                    "keep",
                    optional=True,
                    tooltip="White stays as in the video, black is made: leave the whole head "
                    "black. Drawn on a frame of the video, or on this node's picture.",
                ),
                *size_widgets(),
                *dub_widgets(),
            ],
            outputs=[
                Reference.Output("reference", tooltip="For the sampler."),
                io.Image.Output("fitted", tooltip="The first frame at the size of the clip."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        video: Input.Video,
        clip_vision: comfy.clip_vision.ClipVisionModel | None = None,
        keep: Tensor | None = None,
        size: str = SIZE_NAMES[0],
        width: int = 832,
        height: int = 480,
        fit: str = "crop",
        length: str = LENGTHS[0],
        when_short: str = WHEN_SHORT[0],
        cuts: str = AUTO,
        source_strength: float = 0.0,
        keyframe: str = CHUNK_START,
    ) -> io.NodeOutput:
        pictures = source_of(video)
        try:
            fitted = choose_size(size, pictures.size, custom=(height, width))
            shots = tuple(cuts_of(cuts, pictures.frames, _stamps(pictures)))
            settings = DubSettings(length, when_short, shots, source_strength, keyframe.strip())
            source = DubSource(pictures, fitted, settings)
            encode = None if clip_vision is None else partial(encode_tokens, clip_vision)
            reference = VideoReference(
                source,
                fitted,
                image_tokens=encode and encode(source.first),
                encode=encode,
                keep=None if keep is None else kept_latents(keep, source.box),
            )
        finally:
            pictures.close()
        show_under_node(cls.hidden.unique_id, describe(reference))
        return io.NodeOutput(reference, image_of(source.first))
