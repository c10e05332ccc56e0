"""Keys: what a chunk was made from, as 32 hexadecimal digits.

A chunk with the same key is the same chunk, whoever made it, so a key holds no path, no time and no
name of a machine. Knows values, tensors and files; what belongs into a key is the caller's
decision, except for the order of the chunks: each key contains the one before, because each chunk
starts from the frames of the one before.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..frames import FPS
from .known_digests import KnownDigests

if TYPE_CHECKING:
    import numpy as np

KEY_SCHEMA = 1
"""Part of every key; raised when the same inputs give other frames than before."""

KEY_DIGITS = 32

SAMPLES, SAMPLE_BYTES = 16, 1 << 16
"""Places of a weight file that are looked at, and how much of each: retrained weights often have
the name, the size and the header of the old ones."""

BLOCK_FRAMES = 10 * FPS
"""Of sound, digested at once."""

_SOUNDS = KnownDigests()

HEADER_BYTES = 1 << 20
"""Of a file that is not safetensors, or whose header is longer, this much is looked at."""


class PlannedChunk(Protocol):
    """What a key needs to know of a chunk's place in the plan."""

    @property
    def index(self) -> int: ...  # noqa: D102
    @property
    def start_frame(self) -> int: ...  # noqa: D102
    @property
    def frames(self) -> int: ...  # noqa: D102
    @property
    def context_frames(self) -> int: ...  # noqa: D102
    @property
    def kept_frames(self) -> int: ...  # noqa: D102


def chunk_keys(
    parts: Sequence[Any], links: Sequence[Any] | None = None, *, common: Any = None
) -> list[str]:
    """Keys of all chunks of a clip, in order.

    The key of chunk k is the digest of ``parts[k]`` and of the link before it; the link of a chunk
    is the digest of ``links[k]`` and of the link before that. Without ``links`` a chunk's link is
    its key, and a part that changes gives it and every later chunk a new key.

    Args:
        parts: What each chunk is made from, anything that :func:`digest` takes: its place in the
            plan (:func:`chunk_places`), seed, prompt, reference frame, audio span.
        links: As what each chunk is known to those after it. A chunk made again while the rest is
            kept has its new part in ``parts`` and its old one here: it alone gets a new key.
        common: What all chunks are made from: settings, noise levels, models, size and quality.

    Returns:
        A key per chunk, usable as a file name.
    """
    link = digest(KEY_SCHEMA, common)
    keys = []
    for part, handed_on in zip(parts, parts if links is None else links, strict=True):
        keys.append(digest(link, part))
        link = digest(link, handed_on)
    return keys


def chunk_places(plan: Sequence[PlannedChunk]) -> list[dict[str, Any]]:
    """The place of every chunk in its plan, as parts of its key.

    With what it hands on: the last chunk of a clip leaves no context, so it is not the chunk with
    the same frames of a longer clip.
    """
    following: list[PlannedChunk | None] = [*plan[1:], None]
    places = []
    for chunk, after in zip(plan, following, strict=True):
        hands_on = after is not None and after.context_frames > 0
        places.append(
            {
                "index": chunk.index,
                "start_frame": chunk.start_frame,
                "frames": chunk.frames,
                "context_frames": chunk.context_frames,
                "kept_frames": chunk.kept_frames,
                "context_from": after.start_frame if after is not None and hands_on else None,
            }
        )
    return places


def digest(*parts: Any) -> str:
    """A digest of values: equal for equal values, on every machine.

    Numbers count by value, so that 7 and 7.0 are the same, as they are in a graph's JSON; True is
    not 1. A list is a tuple. Dictionaries are taken in the order of their keys, and arrays by type,
    shape and content, on whatever device.

    Args:
        parts: Any of str, bytes, int, float, bool, None, Tensor, ndarray, and dictionaries (with
            string keys) and sequences of them.

    Raises:
        TypeError: Something else.
    """
    total = hashlib.sha256()
    _feed(total, parts)
    return total.hexdigest()[:KEY_DIGITS]


def sound_digests(
    samples: Any, spans: Sequence[range], samples_per_frame: float, *, start_frames: float = 0.0
) -> list[str]:
    """A digest of what is heard in each of several spans of frames.

    Sound is looked at in blocks of ten seconds, each once; a span counts every block it touches.

    Args:
        samples: Tensor or array ``[..., n]``, as it was before anything that depends on all of it,
            such as a gain.
        spans: In frames of the clip.
        samples_per_frame: How many samples a frame lasts; need not be whole.
        start_frames: When the sound begins in the clip, in frames.
    """
    block = _blocks_of(samples, samples_per_frame)
    digests = []
    for span in spans:
        first = max(0, math.floor((span.start - start_frames) / BLOCK_FRAMES))
        stop = max(0, math.ceil((span.stop - start_frames) / BLOCK_FRAMES))
        heard = [block(index) for index in range(first, stop)]
        digests.append(digest(span.start, span.stop, start_frames, heard))
    return digests


def sound_digest(samples: Any, samples_per_frame: float) -> str:
    """A digest of all of a sound; see ``sound_digests``, whose blocks it shares."""
    block, count = _blocks_of(samples, samples_per_frame), samples.shape[-1]
    blocks = math.ceil(count / (BLOCK_FRAMES * samples_per_frame))
    return digest(count, samples_per_frame, [block(index) for index in range(blocks)])


def _blocks_of(samples: Any, samples_per_frame: float) -> Callable[[int], str]:
    """From the number of a block of sound to its digest.

    Of a tensor each block is digested once, whoever asks; an array may be written to unnoticed.
    """
    of_array: dict[int, str] = {}

    def block(index: int) -> str:
        edges = (index * BLOCK_FRAMES, (index + 1) * BLOCK_FRAMES)
        first, stop = (round(edge * samples_per_frame) for edge in edges)

        def make() -> str:
            return digest(samples[..., first:stop])

        if hasattr(samples, "is_inference"):
            return _SOUNDS.get(samples, (first, stop), make)
        if index not in of_array:
            of_array[index] = make()
        return of_array[index]

    return block


def file_identity(path: Path) -> dict[str, Any]:
    """What identifies a weight file wherever it lies: name, size, header, and samples of its data.

    Sixteen samples of 64 KiB, so that 30 GB of weights are known in milliseconds, and weights that
    were trained on are told from those before.
    """
    size = path.stat().st_size
    seen = hashlib.sha256()
    with path.open("rb") as file:
        seen.update(file.read(min(HEADER_BYTES, _header_end(file.read(8)))))
        for index in range(SAMPLES):
            file.seek(max(0, (size - SAMPLE_BYTES) * index // (SAMPLES - 1)))
            seen.update(file.read(SAMPLE_BYTES))
    return {"name": path.name, "bytes": size, "content": seen.hexdigest()[:KEY_DIGITS]}


def content_identity(path: Path) -> dict[str, Any]:
    """What identifies a media file wherever it lies and whatever it is called: all its bytes."""
    seen = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(HEADER_BYTES):
            seen.update(block)
    return {"bytes": path.stat().st_size, "content": seen.hexdigest()[:KEY_DIGITS]}


def _header_end(start: bytes) -> int:
    """Length of a safetensors header; of other files some number, which does as well."""
    return int.from_bytes(start, "little")


def _feed(total: hashlib._Hash, value: Any) -> None:
    """Add a value, each piece with its kind and its length, so that no two values look alike."""
    if value is None or isinstance(value, bool):
        _feed_bytes(total, b"?", str(value).encode())
    elif isinstance(value, (int, float)):
        _feed_bytes(total, b"n", _number(value))
    elif isinstance(value, str):
        _feed_bytes(total, b"s", value.encode("utf-8", "surrogatepass"))
    elif isinstance(value, (bytes, bytearray)):
        _feed_bytes(total, b"b", bytes(value))
    elif isinstance(value, Mapping):
        total.update(b"d" + struct.pack("<Q", len(value)))
        for key in sorted(value):
            if not isinstance(key, str):
                raise TypeError(f"a key holds a dictionary with the key {key!r}; use strings.")
            _feed(total, key)
            _feed(total, value[key])
    elif isinstance(value, (list, tuple)):
        total.update(b"l" + struct.pack("<Q", len(value)))
        for item in value:
            _feed(total, item)
    else:
        kind, shape, data = _array(value)
        _feed_bytes(total, b"a", kind.encode())
        _feed(total, shape)
        total.update(data)


def _feed_bytes(total: hashlib._Hash, kind: bytes, data: bytes) -> None:
    total.update(kind + struct.pack("<Q", len(data)) + data)


def _number(value: float) -> bytes:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).encode() if isinstance(value, int) else struct.pack("<d", value)


def _array(value: Any) -> tuple[str, list[int], memoryview]:
    """Type, shape and bytes of a tensor or an array."""
    import numpy as np

    if isinstance(value, np.generic):
        value = np.asarray(value)
    if isinstance(value, np.ndarray):
        return value.dtype.name, list(value.shape), _raw(value)
    import torch

    if not isinstance(value, torch.Tensor):
        raise TypeError(
            f"{type(value).__name__} cannot be part of a key; give its values: strings, numbers, "
            "tensors, and lists and dictionaries of them."
        )
    kind = str(value.dtype).removeprefix("torch.")
    # As bytes, because numpy knows neither bfloat16 nor float8.
    flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return kind, list(value.shape), _raw(flat.numpy())


def _raw(array: np.ndarray) -> memoryview:
    import numpy as np

    little = array.dtype.newbyteorder("<")
    return np.ascontiguousarray(array, dtype=little).reshape(-1).view(np.uint8).data
