"""What frames and tokens are made from, in few words: parts of a chunk's key.

Knows arrays and what a reference says of itself. A key needs no more of a frame than where it comes
from, so that nothing is decoded to know that nothing has changed.
"""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

import numpy as np
from torch import Tensor


class KnownSource(Protocol):
    """Reference frames that say what they are made from."""

    def seen(self, start_frame: int) -> Any:
        """What the reference frame is made from of the chunk that starts there."""
        ...


def seen_content(
    source: KnownSource, start_frame: int, *, own: bool, tokens: str | None, encoded: bool
) -> dict[str, Any]:
    """What a chunk's reference frame and its image tokens are made from.

    Tokens of all frames but the reference's first are made while rendering. They are known by their
    frame and their encoder, and the encoder has to be told by whoever knows the graph.

    Args:
        source: Has the frame.
        start_frame: Clip frame of the chunk's first frame.
        own: Whether it sees a frame of this source; a timeline may show it another picture.
        tokens: A hash of the image tokens of the source's first frame, or None.
        encoded: Whether other frames have tokens of their own.
    """
    seen = source.seen(start_frame) if own else None
    other = encoded and not (own and seen == source.seen(0))
    return {"seen": seen, "tokens": "encoded" if other else tokens}


def content_hash(*parts: Tensor | np.ndarray | str | None) -> str:
    """A hash of values: equal for equal ones.

    Args:
        parts: Tensors count as float32, arrays as they are.
    """
    digest = hashlib.sha256()
    for part in parts:
        value = part.detach().float().cpu().numpy() if isinstance(part, Tensor) else part
        if isinstance(value, np.ndarray):
            kind, data = f"{value.dtype.name} {value.shape}", value.tobytes()
        else:
            kind, data = type(value).__name__, str(value).encode()
        digest.update(f"{kind} {len(data)} ".encode() + data)
    return digest.hexdigest()
