"""Weight files: safetensors headers, tensors and strict loading into a module.

Knows the container, storage types, fp8 scales and the prefixes that repacks put before key names.
It knows no network: what the keys mean is ``detect``'s business.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import InputError

PREFIXES = ("model.diffusion_model.", "diffusion_model.", "model.", "magicinfinite.")
"""What repacks put before the published key names; the longest is tried first."""

SCALE_SUFFIXES = (".scale_weight", ".weight_scale")
"""Siblings that hold the scale of ``<name>.weight``: Kijai's spelling, then ComfyUI's."""

_BOOKKEEPING = (".scale_input", ".input_scale", ".comfy_quant")
_SCALED_MARKER = "scaled_fp8"
_FLOAT_DTYPES = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}
_INTEGER_DTYPES = {"I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"}
_HEADER_LIMIT = 100_000_000  # safetensors' own limit, bytes

AnyHeader = TypeVar("AnyHeader", bound="Header")

_PICKLE = (
    "is a pickle (.pt, .pth, .bin), which can run code when it is opened, and only safetensors "
    "are read: download the .safetensors version, or convert it with safetensors.torch.save_file."
)
_FOREIGN = {
    b"GGUF": (
        "is a GGUF file: use it in ComfyUI with the GGUF pack's loader; "
        "the command line reads safetensors."
    ),
    b"PK\x03\x04": _PICKLE,
    b"\x80\x02": _PICKLE,
    b"\x80\x03": _PICKLE,
    b"\x80\x04": _PICKLE,
    b"\x80\x05": _PICKLE,
    b"version https://git-lfs": (
        "is a Git LFS pointer, not the weights it points to: run `git lfs pull`, "
        "or download the file itself."
    ),
    b"<": "is a web page, not weights: log in on the download page if it asks, and download again.",
}


@dataclass(frozen=True)
class Header:
    """What is known of a checkpoint before any tensor is read.

    Attributes:
        name: How messages call the file.
        shapes: Shape per key, keys without repack prefixes and without fp8 bookkeeping.
        metadata: The strings stored beside the tensors.
    """

    name: str
    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Numbers stored in all tensors together."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def select(self: AnyHeader, wanted: Callable[[str], bool]) -> AnyHeader:
        """The same checkpoint narrowed to the keys that ``wanted`` accepts."""
        return replace(self, shapes={key: s for key, s in self.shapes.items() if wanted(key)})


@dataclass(frozen=True)
class WeightsFile(Header):
    """A safetensors file whose header was read; tensors are read when asked for.

    Attributes:
        path: The file.
        dtypes: Storage type per key, in safetensors' spelling ("F32", "F8_E4M3").
        stored: Key as it stands in the file, per key of ``shapes``.
        scales: Key in the file of the fp8 scale, for the keys that have one.
    """

    path: Path = Path()
    dtypes: Mapping[str, str] = field(default_factory=dict)
    stored: Mapping[str, str] = field(default_factory=dict)
    scales: Mapping[str, str] = field(default_factory=dict)

    def tensors(
        self, keys: Iterable[str] | None = None, dtype: torch.dtype | None = torch.float32
    ) -> Iterator[tuple[str, Tensor]]:
        """Read tensors one by one, so that a file is never in memory twice.

        Plain fp8 is cast, never rescaled. Where the file has a scale for a weight, the product is
        taken in float32 and then cast. Integers stay as they are.

        Args:
            keys: Which ones; None is all.
            dtype: Type of floating point tensors; None keeps the stored type (a scaled weight is
                float32 then). Tensors that need no cast may be views of the file: do not write.

        Yields:
            Key and tensor, on the CPU.

        Raises:
            InputError: A weight is quantised in a way that plain reading would get wrong.
        """
        with safe_open(self.path, framework="pt") as reader:
            for key in self.shapes if keys is None else keys:
                self._check_storage(key)
                tensor = reader.get_tensor(self.stored[key])
                if key in self.scales:
                    tensor = self._scaled(key, tensor, reader.get_tensor(self.scales[key]))
                cast = dtype is not None and tensor.is_floating_point()
                yield key, tensor.to(dtype) if cast else tensor

    def read(
        self, keys: Iterable[str] | None = None, dtype: torch.dtype | None = torch.float32
    ) -> dict[str, Tensor]:
        """Read tensors into a state dict; arguments and errors as in :meth:`tensors`."""
        return dict(self.tensors(keys, dtype))

    def _check_storage(self, key: str) -> None:
        dtype = self.dtypes[key]
        quantised = dtype in _INTEGER_DTYPES and key.endswith(".weight")
        if quantised or dtype not in _FLOAT_DTYPES | _INTEGER_DTYPES:
            raise InputError(
                f"{self.name} stores {key} as {dtype}, a quantised format that is not read here: "
                "choose an fp16, bf16, fp32 or fp8 version of the file."
            )

    def _scaled(self, key: str, weight: Tensor, scale: Tensor) -> Tensor:
        if scale.numel() not in (1, weight.shape[0]):
            raise InputError(
                f"{self.name}: the scale of {key} has {scale.numel()} values, expected 1 or one "
                f"for each of the {weight.shape[0]} rows. Download the file again."
            )
        rows = scale.float().reshape(-1, *[1] * (weight.ndim - 1))
        return weight.float() * rows


def strip_prefix(key: str) -> str:
    """A key as published, without what repacks put before it (see ``PREFIXES``)."""
    for prefix in PREFIXES:
        if key.startswith(prefix):
            return key[len(prefix) :]
    return key


def open_weights(path: str | Path) -> WeightsFile:
    """Read the header of a safetensors file; what a file is shows in its content, not its suffix.

    Raises:
        FileNotFoundError: No such file; names folder and file.
        InputError: It is a folder, empty, cut off, or another format (pickle, GGUF, web page,
            quanto), each with what to do.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path.name} in the folder {path.parent}.")
    if path.is_dir():
        raise InputError(f"{path} is a folder: choose a .safetensors file inside it.")
    try:
        with safe_open(path, framework="pt") as reader:
            metadata = dict(reader.metadata() or {})
            slices = {key: reader.get_slice(key) for key in reader.keys()}  # noqa: SIM118
            shapes = {key: tuple(part.get_shape()) for key, part in slices.items()}
            dtypes = {key: str(part.get_dtype()) for key, part in slices.items()}
    except SafetensorError as error:
        raise InputError(f"{path.name} {_diagnosis(path, error)}") from error
    return _published(path, shapes, dtypes, metadata)


def _published(
    path: Path,
    shapes: dict[str, tuple[int, ...]],
    dtypes: dict[str, str],
    metadata: dict[str, str],
) -> WeightsFile:
    """Names as published, with the fp8 bookkeeping set aside."""
    if any(key.endswith("._data") for key in shapes):
        raise InputError(
            f"{path.name} was quantised with quanto (its keys end in ._data and ._scale), which is "
            "not read here: choose an fp16, bf16, fp32 or fp8 version of the file."
        )
    stored: dict[str, str] = {}
    for key in shapes:
        name = strip_prefix(key)
        if name in stored:
            raise InputError(
                f"{path.name} holds {name} twice, as {stored[name]} and as {key}: "
                "choose a file with one model in it."
            )
        stored[name] = key
    scales: dict[str, str] = {}
    for name in list(stored):
        suffix = next((s for s in SCALE_SUFFIXES if name.endswith(s)), None)
        weight = f"{name.removesuffix(suffix)}.weight" if suffix else None
        if weight in stored:
            scales[weight] = stored.pop(name)
        elif name == _SCALED_MARKER or name.endswith(_BOOKKEEPING):
            del stored[name]
    return WeightsFile(
        name=path.name,
        shapes={name: shapes[key] for name, key in stored.items()},
        metadata=metadata,
        path=path,
        dtypes={name: dtypes[key] for name, key in stored.items()},
        stored=stored,
        scales=scales,
    )


def _diagnosis(path: Path, error: SafetensorError) -> str:
    """Why a file is not readable as safetensors, and what to do."""
    size = path.stat().st_size
    if size == 0:
        return "is empty (0 bytes): download it again."
    with path.open("rb") as stream:
        start = stream.read(32)
        header_bytes = int.from_bytes(start[:8], "little")
        if start[8:9] != b"{" or header_bytes > _HEADER_LIMIT:
            reasons = (text for magic, text in _FOREIGN.items() if start.startswith(magic))
            return next(reasons, f"is not a safetensors file ({error}): download it again.")
        stream.seek(8)
        header = stream.read(header_bytes)
    expected = 8 + header_bytes
    if len(header) == header_bytes:
        expected += _data_bytes(header)
    if size < expected:
        return f"is cut off: expected {expected} bytes, got {size}. Download it again."
    return f"is damaged ({error}; {size} bytes): download it again."


def _data_bytes(header: bytes) -> int:
    """Bytes of tensor data that a header promises; 0 when it cannot be understood."""
    try:
        entries = json.loads(header)
        return max((e["data_offsets"][1] for k, e in entries.items() if k != "__metadata__"))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return 0


def empty_weights() -> AbstractContextManager[object]:
    """A context in which modules are built without memory: accelerate's, or torch's own without it.

    Buffers that a network computes for itself exist for real in accelerate's.
    """
    try:
        from accelerate import init_empty_weights
    except ImportError:
        return torch.device("meta")
    return init_empty_weights()


def check_shapes(module: nn.Module, shapes: Mapping[str, tuple[int, ...]], what: str) -> None:
    """Refuse weights that do not fit a module, before any of them is read.

    Args:
        module: The network, on any device (``meta`` is enough).
        shapes: Shape per key of the weights.
        what: How the message calls them.

    Raises:
        InputError: Lists missing keys, unexpected keys and differing shapes (five of each).
    """
    expected = {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}
    differing = [
        f"{key}: expected {list(shape)}, got {list(shapes[key])}"
        for key, shape in expected.items()
        if key in shapes and tuple(shapes[key]) != shape
    ]
    problems = [
        f"{len(found)} {label} ({first_few(found)})"
        for label, found in (
            ("missing", [key for key in expected if key not in shapes]),
            ("unexpected", [key for key in shapes if key not in expected]),
            ("of another shape", differing),
        )
        if found
    ]
    if problems:
        raise InputError(
            f"{what} does not fit {type(module).__name__}, which has {len(expected)} tensors: "
            f"{'; '.join(problems)}. Choose the file made for this network, or download it again."
        )


def load_strict(module: nn.Module, state_dict: Mapping[str, Tensor], what: str) -> nn.Module:
    """Give a module its weights, all of them and nothing else, ready for inference.

    The tensors become the module's own without a copy, so it takes over their type and device, and
    may have been built on the ``meta`` device.

    Args:
        module: The network; it is returned in eval mode, without gradients.
        state_dict: Tensor per key.
        what: How messages call the weights.

    Raises:
        InputError: As :func:`check_shapes`.
        RuntimeError: A buffer that no file holds was left on the ``meta`` device.
    """
    check_shapes(module, {key: tuple(t.shape) for key, t in state_dict.items()}, what)
    module.requires_grad_(False)  # integer tensors could not be assigned to parameters with one
    module.load_state_dict(state_dict, strict=True, assign=True)
    empty = [name for name, buffer in module.named_buffers() if buffer.is_meta]
    if empty:
        raise RuntimeError(f"{type(module).__name__} has no values for {first_few(empty)}.")
    return module.eval()


def first_few(items: Iterable[str], limit: int = 5) -> str:
    """The first few of a list, for a message that must stay readable."""
    items = list(items)
    return ", ".join(items[:limit]) + (", …" if len(items) > limit else "")
