"""EndlessTalk: talking video of any length from a portrait, a voice and Wan 2.1 weights.

Importing the package costs nothing: torch, transformers and the rest are imported at use.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .extension import EndlessTalkExtension

__version__ = "0.1.0"

WEB_DIRECTORY = "./web"
"""Where ComfyUI looks for the help pages of the nodes; there is no script in it."""


async def comfy_entrypoint() -> EndlessTalkExtension:
    """What ComfyUI calls to load the pack."""
    try:
        from .extension import EndlessTalkExtension

        return EndlessTalkExtension()
    except Exception:
        # ComfyUI logs one line without the traceback, from which nobody can find the cause.
        logging.getLogger(__name__).exception("EndlessTalk could not be loaded")
        raise
