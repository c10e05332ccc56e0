"""Small videos whose pictures tell their number, at any time stamps."""

import struct
from fractions import Fraction

import av
import numpy as np

SIZE = (48, 64)
STEPS = 6
"""Levels per colour channel of a number; far enough apart to survive an encoder."""


def numbered(number, size=SIZE):
    """A picture in the colour of its number, with its top left corner in white."""
    digits = [number // STEPS**place % STEPS for place in range(3)]
    picture = np.empty((*size, 3), np.uint8)
    picture[:] = [30 + 36 * digit for digit in digits]
    picture[: size[0] // 4, : size[1] // 4] = 255
    return picture


def number_of(picture):
    """The number of a picture ``[h, w, 3]``, from its middle."""
    height, width = picture.shape[:2]
    middle = picture[height // 3 : -height // 3, width // 3 : -width // 3].reshape(-1, 3)
    digits = np.round((middle.mean(axis=0) - 30) / 36).astype(int)
    return int(sum(digit * STEPS**place for place, digit in enumerate(digits)))


def write(path, pictures, *, rate=25, seconds=None, gop=12, codec="libx264", options=None):
    """Encode pictures at a rate, or at the times ``seconds``."""
    base = Fraction(1, 12800)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(rate), options=options or {})
        first, pictures = pictures[0], iter(pictures)
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt, stream.gop_size = "yuv420p", gop
        stream.codec_context.time_base = base
        for index, picture in enumerate(pictures):
            at = (
                Fraction(index, 1) / Fraction(rate) if seconds is None else Fraction(seconds[index])
            )
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(at / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_numbered(path, count, **how):
    """A video of ``count`` numbered pictures."""
    return write(path, [numbered(index) for index in range(count)], **how)


def turn_clockwise(path):
    """Write into an mp4 that its picture is to be turned by a quarter, as phones do."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44
    height = struct.unpack(">I", data[place + 40 : place + 44])[0]
    data[place : place + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, height, 0, 1 << 30)
    path.write_bytes(bytes(data))
    return path
