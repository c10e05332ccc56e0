"""The sockets that only our nodes have, and the line of text under a node.

Knows names, not values: what travels on a socket is a frozen object of the package it belongs to.
"""

from __future__ import annotations

import logging

from comfy_api.latest import io

Wav2Vec = io.Custom("ENDLESSTALK_WAV2VEC")
"""An audio encoder, ``model_loaders.wav2vec.HostWav2Vec``."""

Speech = io.Custom("ENDLESSTALK_SPEECH")
"""The speakers so far, ``audio.speech.Speech``."""

Faces = io.Custom("ENDLESSTALK_FACES")
"""Faces from the left: ``masks.faces.Faces`` of a picture, ``masks.tracks.FaceTracks`` of a
video."""

Reference = io.Custom("ENDLESSTALK_REFERENCE")
"""Where reference frames come from, ``reference.sources.PictureReference``."""

Guidance = io.Custom("ENDLESSTALK_GUIDANCE")
"""A ``samplers.guidance.Guidance``."""

Timeline = io.Custom("ENDLESSTALK_TIMELINE")
"""What changes in the course of a clip, ``samplers.timeline.ClipTimeline``."""

FaceLandmarks = io.Custom("FACE_LANDMARKS")
"""The host's socket of detected face landmarks."""

FaceDetection = io.Custom("FACE_DETECTION_MODEL")
"""The host's socket of a model that finds faces."""

_log = logging.getLogger(__name__)


def show_under_node(node_id: str | None, text: str, *, level: int = logging.INFO) -> None:
    """Say something where the user looks: under the node, and in the log for those without one.

    Args:
        node_id: The node, or None.
        text: One line or a few.
        level: Of the line in the log; what changes with every step belongs below INFO.
    """
    from server import PromptServer

    _log.log(level, "%s", text.replace("\n", "; "))
    instance = getattr(PromptServer, "instance", None)
    if instance is not None and node_id is not None:
        instance.send_progress_text(text, node_id)
