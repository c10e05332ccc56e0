"""Check Lip Sync: how well a finished video does what it should, in words and as a plot.

Knows the host's VIDEO. The measuring is the package's, and reads one block of frames at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import comfy.model_management
from comfy_api.latest import Input, InputImpl, io, ui
from torch import Tensor

from ..audio.envelope import voice_envelope
from ..audio.speech import Speech as SpeechValue
from ..crop import crop_box
from ..masks.faces import Faces as FacesValue
from ..masks.faces import face_speakers
from ..masks.tokens import fit_masks
from ..video.finding import find_mouths
from ..video.measure import measure_clip
from ..video.plot import plot_image
from ..video.reading import PictureFrames, VideoFrames
from .sockets import Faces, Speech, show_under_node


class Interruptible:
    """Frames that listen for Cancel between two blocks.

    Args:
        frames: Blocks ``[3, f, H, W]``, which can be read again.
    """

    def __init__(self, frames: Iterable[Tensor]) -> None:
        self._frames = frames

    def __iter__(self) -> Iterator[Tensor]:
        for block in self._frames:
            comfy.model_management.throw_exception_if_processing_interrupted()
            yield block


def frames_of(video: Input.Video) -> Iterable[Tensor]:
    """The frames of a VIDEO on the clock of 25 per second; of a file one block at a time."""
    if isinstance(video, InputImpl.VideoFromComponents):
        parts = video.get_components()  # in memory already
        return Interruptible(PictureFrames(parts.images, float(parts.frame_rate)))
    start, duration = video.get_active_trim_window()
    return Interruptible(
        VideoFrames(video.get_stream_source(), start_seconds=start, duration_seconds=duration)
    )


def faces_and_voices(
    speech: SpeechValue, faces: FacesValue | None, size: tuple[int, int]
) -> tuple[Tensor | None, list[int | None] | None]:
    """Regions to look for mouths in at the clip's size, and which voice belongs to which.

    Without faces the speakers' own regions are taken; None is one face in the whole picture.
    """
    regions, owners = face_speakers(faces, [speaker.region for speaker in speech.speakers])
    if regions is None:
        return None, owners
    return fit_masks(regions, crop_box((regions.shape[1], regions.shape[2]), size)), owners


class Measure(io.ComfyNode):
    """Lip sync, drift, sharpness and frozen motion of a video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EndlessTalkMeasure",
            display_name="Check Lip Sync",
            category="EndlessTalk/finish",
            description="Measures whether the mouth follows the voice, and whether colours, "
            "sharpness and identity last. Works on any talking video; changes nothing in it.",
            search_aliases=[
                "lip sync score",
                "SyncNet",
                "measure",
                "color drift",
                "quality",
                "audio delay",
            ],
            is_output_node=True,
            inputs=[
                io.Video.Input(
                    "video",
                    tooltip="The clip, from Talk Sampler or Load Video. It is read twice, some "
                    "frames at a time, and compared at 25 frames per second.",
                ),
                Speech.Input(
                    "speech",
                    tooltip="The voices it should follow, from Encode Speaker: the same as for "
                    "the sampler. A voice that starts 0.4 s late is expected 0.4 s late.",
                ),
                Faces.Input(
                    "faces",
                    optional=True,
                    tooltip="Where the faces are, from Face Masks on the clip's picture. Without "
                    "them the mouth is looked for in the speakers' regions, or in the lower "
                    "middle of the picture, by its motion.",
                ),
            ],
            outputs=[
                io.String.Output(
                    "report",
                    tooltip="Sentences and a table: correlation, lag in frames of 40 ms, drift in "
                    "fractions of full scale, each beside what chance would give.",
                ),
                io.Image.Output(
                    "plot",
                    tooltip="Loudness of the voice and opening of the mouth over seconds, drift "
                    "below, 960 pixels wide.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, video: Input.Video, speech: SpeechValue, faces: FacesValue | None = None
    ) -> io.NodeOutput:
        frames = frames_of(video)
        width, height = video.get_dimensions()
        regions, voices = faces_and_voices(speech, faces, (height, width))
        measured = measure_clip(
            frames,
            [voice_envelope(speaker.voice.samples) for speaker in speech.speakers],
            boxes=find_mouths(frames, regions),
            voice_of_face=voices,
        )
        report, plot = measured.report(), plot_image(measured)
        show_under_node(cls.hidden.unique_id, report.partition("\n\n")[0])
        return io.NodeOutput(report, plot, ui=ui.PreviewImage(plot, cls=cls))
