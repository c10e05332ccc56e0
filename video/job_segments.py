"""Segments: every finished chunk as an mp4 without sound and the state that the next starts from.

A segment counts only when both are there and whole: the state is written last, and says how long
its mp4 is. Knows one folder and keys; it does not know the plan.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .files import publish, write_whole
from .job_folder import SCHEMA, JobFolder, check_schema
from .job_keys import KEY_DIGITS, digest

if TYPE_CHECKING:
    from torch import Tensor

OURS = "endless_talk"
"""Metadata of a state: a ``SegmentRecord`` as JSON."""

_HEADER_LIMIT = 100_000_000  # safetensors' own limit, bytes
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class SegmentRecord:
    """What a state says of its segment.

    Attributes:
        schema: Of the state.
        frames: Frames of the mp4.
        bytes: Its size.
        sha256: Its content.
        state: Digest of the state's tensors.
    """

    schema: int
    frames: int
    bytes: int
    sha256: str
    state: str


class SavedState(Mapping[str, "Tensor"]):
    """The tensors of a state, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        header, _ = read_header(path)
        self._names = [name for name in header if name != "__metadata__"]

    def __getitem__(self, name: str) -> Tensor:
        from safetensors import safe_open

        if name not in self._names:
            raise KeyError(name)
        with safe_open(self._path, framework="pt") as reader:
            # A copy, because a view would hold the file open, and Windows replaces no open file.
            return reader.get_tensor(name).clone()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names


class Segments:
    """The finished chunks of a job, by key.

    Args:
        folder: The job's folder.
    """

    def __init__(self, folder: JobFolder) -> None:
        self._folder = folder

    def video(self, key: str) -> Path:
        """Where the pictures of a chunk are."""
        return self._folder.hidden / f"{key}.mp4"

    def state_file(self, key: str) -> Path:
        """Where its state is."""
        return self._folder.hidden / f"{key}.safetensors"

    def stored(self) -> list[str]:
        """Keys of everything that looks like a segment or half of one."""
        digits = set("0123456789abcdef")
        found = {
            path.stem
            for path in self._folder.hidden.glob("*.*")
            if path.suffix in (".mp4", ".safetensors")
        }
        return sorted(key for key in found if len(key) == KEY_DIGITS and set(key) <= digits)

    def holds(self, key: str) -> bool:
        """Whether a chunk is there and whole, as far as names, sizes and header tell.

        Raises:
            InputError: A newer version wrote it.
        """
        record = self.record(key)
        if record is None:
            return False
        try:
            return self.video(key).stat().st_size == record.bytes
        except FileNotFoundError:
            return False

    def record(self, key: str) -> SegmentRecord | None:
        """What a state says; None when it is missing, damaged or not of a job.

        Raises:
            InputError: A newer version wrote it.
        """
        path = self.state_file(key)
        try:
            header, whole = read_header(path)
            values = json.loads(header["__metadata__"][OURS])
            check_schema(values["schema"], path, self._folder.name)
            record = SegmentRecord(**values)
        except InputError:
            raise
        except (FileNotFoundError, KeyError, TypeError, ValueError):
            return None
        return record if whole else None

    def state(self, key: str) -> Mapping[str, Tensor]:
        """What the next chunk starts from, read when it is asked for."""
        return SavedState(self.state_file(key))

    def save(self, key: str, part: Path, frames: int, state: Mapping[str, Tensor]) -> None:
        """Keep a chunk.

        Args:
            key: Its key.
            part: Its mp4, closed; it is moved.
            frames: Frames of the mp4.
            state: What the next chunk starts from; float tensors on any device.
        """
        from safetensors.torch import save

        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        record = {
            "schema": SCHEMA,
            "frames": frames,
            "bytes": part.stat().st_size,
            "sha256": file_sha256(part),
            "state": digest(tensors),
        }
        # An old state must not vouch for new pictures.
        self.state_file(key).unlink(missing_ok=True)
        publish(part, self.video(key))
        # Not safetensors' own writing, whose errors are no OSError.
        write_whole(self.state_file(key), save(tensors, {OURS: json.dumps(record)}))

    def remove(self, key: str) -> int:
        """Remove a chunk; returns the bytes that are free now."""
        freed = 0
        for path in (self.state_file(key), self.video(key)):
            if path.exists():
                freed += path.stat().st_size
                path.unlink()
        return freed

    def exists(self, key: str) -> bool:
        """Whether anything of a chunk is there, whole or not."""
        return self.state_file(key).exists() or self.video(key).exists()

    def problem(self, key: str, frames: int) -> str | None:
        """What is wrong with a chunk, having read all of it; None when nothing is."""
        record = self.record(key)
        if record is None:
            missing = not self.state_file(key).exists()
            return "it was never finished" if missing else "its state is damaged"
        if not self.video(key).exists():
            return "its pictures are missing"
        if file_sha256(self.video(key)) != record.sha256:
            return "its pictures are damaged"
        if record.frames != frames:
            return f"it has {record.frames} frames, the plan {frames}"
        if digest(dict(self.state(key))) != record.state:
            return "its state is damaged"
        return None


def read_header(path: Path) -> tuple[dict[str, Any], bool]:
    """The header of a safetensors file, and whether the file is as long as it says.

    Returns:
        An empty header for anything else.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        data = file.read(min(length, _HEADER_LIMIT))
    try:
        header = json.loads(data)
        ends = [entry["data_offsets"][1] for n, entry in header.items() if n != "__metadata__"]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return {}, False
    return header, size == 8 + length + max(ends, default=0)


def file_sha256(path: Path) -> str:
    """Digest of a file's content, read in blocks."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            total.update(block)
    return total.hexdigest()
