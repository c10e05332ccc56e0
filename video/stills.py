"""Single frames of a finished clip, as small pictures.

Seeks to the keyframe before each; chunks begin with one, so that their first frame costs one frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..frames import FPS
from .overview import THUMBNAIL_WIDTH, small_picture
from .reading import frame_pixels


def stills(path: Path, frames: Sequence[int], width: int = THUMBNAIL_WIDTH) -> list[np.ndarray]:
    """Frames of a 25 fps clip by number, uint8 ``[h, width, 3]`` each.

    A number behind the end gives the last frame.
    """
    import av

    found = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for number in frames:
            wanted = round(number / FPS / stream.time_base)
            container.seek(wanted, stream=stream)
            picture = None
            for picture in container.decode(stream):
                if picture.pts is not None and picture.pts >= wanted:
                    break
            if picture is not None:
                found.append(small_picture(frame_pixels(picture), width))
    return found
