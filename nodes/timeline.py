"""Timeline: what changes in the course of a clip, one change per line.

Knows the host's CLIP and IMAGE values; what a line means is the samplers' business.
"""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..errors import InputError
from ..reference.sources import picture_of
from ..samplers.timeline import ClipTimeline, Timeline, parse_timeline
from . import sockets
from .load import refusal

UNCONNECTED = "unconnected"
"""What stands for a socket without a link while a graph is queued; a link's value is not known then
and comes as None."""


class TimelineNode(io.ComfyNode):
    """Changes of seed, prompt, picture and voice at times of the clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EndlessTalkTimeline",
            display_name="Timeline",
            category="EndlessTalk/prepare",
            description="What changes in the course of the clip: prompt, picture, seed or the "
            "strength of the voices, one change per line. Only chunks that change are made again.",
            search_aliases=["prompt schedule", "prompt travel", "keyframes", "retake", "schedule"],
            inputs=[
                io.String.Input(
                    "lines",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip='One change per line: 0:41 seed 7 · 1:05-1:20 prompt "she laughs" · '
                    "2:00 image 2 · 0:30-0:40 audio 0.7 · #14 seed 7, keep rest. A change begins "
                    "with the chunk that contains its time; // begins a note.",
                ),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    lazy=True,
                    tooltip="The text encoder of the other prompts. Loaded only when a line has a "
                    "prompt.",
                ),
                io.Image.Input(
                    "images",
                    optional=True,
                    tooltip="Pictures for image 1, image 2 and so on: a batch in that order, each "
                    "fitted to the clip like its reference. image 0 is the reference itself.",
                ),
            ],
            outputs=[sockets.Timeline.Output("timeline", tooltip="For the sampler.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(
        cls, lines: str | None = "", clip: Any = UNCONNECTED, images: Any = UNCONNECTED
    ) -> bool | str:
        sources = {"clip": clip is not UNCONNECTED, "images": images is not UNCONNECTED}
        return refusal(lambda text: check_connected(parse_timeline(text), **sources), lines)

    @classmethod
    def check_lazy_status(
        cls, lines: str = "", clip: Any = UNCONNECTED, images: Any = None
    ) -> list[str]:
        return ["clip"] if clip is None and parse_timeline(lines).prompts else []

    @classmethod
    def execute(
        cls, lines: str = "", clip: Any = None, images: Tensor | None = None
    ) -> io.NodeOutput:
        timeline = parse_timeline(lines)
        check_connected(timeline, clip=clip is not None, images=images is not None)
        timeline.check_images(0 if images is None else len(images))
        pictures = () if images is None else images[: timeline.images].split(1)
        count = len(timeline.lines)
        sockets.show_under_node(
            cls.hidden.unique_id, f"{count} {'change' if count == 1 else 'changes'}"
        )
        return io.NodeOutput(
            ClipTimeline(
                timeline,
                tuple(encode_prompt(clip, text) for text in timeline.prompts),
                tuple(picture_of(picture) for picture in pictures),
            )
        )


def check_connected(timeline: Timeline, *, clip: bool, images: bool) -> None:
    """Refuse lines whose prompts cannot be encoded, or whose images are not there.

    Raises:
        InputError: Every such line.
    """
    if not images:
        timeline.check_images(0)
    problems = [
        line.problem("a prompt needs a text encoder; connect clip, such as CLIPLoader of type wan.")
        for line in timeline.lines
        if "prompt" in line.values and not clip
    ]
    if problems:
        raise InputError("\n".join(problems))


def encode_prompt(clip: Any, text: str) -> list[Any]:
    """A prompt as CONDITIONING, as the host's CLIP Text Encode makes it."""
    return clip.encode_from_tokens_scheduled(clip.tokenize(text))
