"""The one list of nodes, and what is set up when ComfyUI loads the pack."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from comfy_api.latest import ComfyExtension, io

from .model_loaders.folders import register_folders
from .nodes.examples import offer_examples
from .nodes.faces import FaceMasks
from .nodes.guidance import TalkGuidanceNode, TalkSigmas
from .nodes.load import ApplyAdapter, LoadModel, LoadVAE, LoadWav2Vec
from .nodes.measure import Measure
from .nodes.reference import ReferenceImage
from .nodes.reference_video import ReferenceVideo
from .nodes.sliding import SlidingSampler
from .nodes.speaker import Speaker
from .nodes.streaming import StreamingSampler
from .nodes.timeline import TimelineNode

NODES: list[type[io.ComfyNode]] = [
    LoadModel,
    ApplyAdapter,
    LoadVAE,
    LoadWav2Vec,
    Speaker,
    FaceMasks,
    ReferenceImage,
    ReferenceVideo,
    TalkGuidanceNode,
    TalkSigmas,
    TimelineNode,
    StreamingSampler,
    SlidingSampler,
    Measure,
]


class EndlessTalkExtension(ComfyExtension):
    """What ComfyUI asks the pack for."""

    async def on_load(self) -> None:
        """Make model folders known that only other packs use, and put the examples in place."""
        register_folders()
        offer_examples(Path(folder_paths.get_input_directory()))

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes."""
        return list(NODES)
