"""The one list of nodes, and what is set up when ComfyUI loads the pack."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .model_loaders.folders import register_folders
from .nodes.faces import FaceMasks
from .nodes.guidance import TalkGuidanceNode, TalkSigmas
from .nodes.load import ApplyAdapter, LoadModel, LoadVAE, LoadWav2Vec
from .nodes.reference import ReferenceImage
from .nodes.speaker import Speaker
from .nodes.streaming import StreamingSampler

NODES: list[type[io.ComfyNode]] = [
    LoadModel,
    ApplyAdapter,
    LoadVAE,
    LoadWav2Vec,
    Speaker,
    FaceMasks,
    ReferenceImage,
    TalkGuidanceNode,
    TalkSigmas,
    StreamingSampler,
]


class EndlessTalkExtension(ComfyExtension):
    """What ComfyUI asks the pack for."""

    async def on_load(self) -> None:
        """Make model folders known that only other packs use."""
        register_folders()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes."""
        return list(NODES)
