"""LoRA files: their naming styles, and adding them to the weights of a model.

Knows pairs of low-rank factors, plain differences and ``alpha``. It knows no network: which one a
LoRA belongs to shows when its keys are matched against that model's own.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ..errors import InputError
from .detect import LORA_PARTS, Kind, require
from .weights import WeightsFile, first_few, strip_prefix

logger = logging.getLogger(__name__)

_PREFIXES = ("transformer.", "base_model.model.")  # beside those that weights.strip_prefix knows
_KOHYA_PREFIX = "lora_unet_"

_PARTS = {**LORA_PARTS, ".alpha": "alpha"}


@dataclass(frozen=True)
class LoRA:
    """A LoRA in memory.

    Attributes:
        name: How messages call it.
        layers: Parts per layer, as spelled in the file: ``down`` ``[rank, in, ...]``, ``up``
            ``[out, rank, ...]``, ``alpha`` (a number), ``diff`` and ``diff_b`` (added to weight
            and bias). Stored types.
    """

    name: str
    layers: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """One tensor of a model that a LoRA changes, and with what.

    Attributes:
        key: Key of the tensor in the model.
        parts: Either ``diff``, or ``up`` and ``down`` and perhaps ``alpha``.
        source: How messages call where it comes from.
    """

    key: str
    parts: Mapping[str, Tensor]
    source: str

    def delta(self, shape: tuple[int, ...]) -> Tensor:
        """What is added at strength 1, in float32: ``diff``, or ``alpha / rank * up @ down``.

        Args:
            shape: Shape of the tensor in the model.

        Raises:
            InputError: The change has another shape.

        Source: InfiniteTalk, ``wan/wan_lora.py``.
        Differs: upstream ignores ``alpha`` (here, no ``alpha`` is a scale of 1), multiplies in the
            weight's type, and knows neither ``lora_A``/``lora_B`` nor names with underscores.
        """
        if "diff" in self.parts:
            change = self.parts["diff"].float()
            if change.shape == shape:
                return change
        else:
            up, down = (self.parts[part].float() for part in ("up", "down"))
            up, down = up.reshape(up.shape[0], -1), down.reshape(down.shape[0], -1)
            rank = down.shape[0]
            if (*up.shape, down.shape[1]) == (*shape[:1], rank, math.prod(shape[1:])):
                scale = self.parts["alpha"].item() / rank if "alpha" in self.parts else 1.0
                return scale * (up @ down).reshape(shape)
        got = [str(list(part.shape)) for name, part in self.parts.items() if name != "alpha"]
        raise InputError(
            f"{self.source} has the shape {' and '.join(got)}, which does not fit {self.key} with "
            f"{list(shape)}: choose a LoRA made for this model."
        )


def read_lora(file: WeightsFile) -> LoRA:
    """Read a LoRA and sort its tensors by layer.

    Raises:
        InputError: Not a LoRA, or one with tensors of another method (LoKr, LoHa, DoRA), or a
            factor without its partner.
    """
    require(file, Kind.LORA)
    layers: dict[str, dict[str, Tensor]] = {}
    foreign: list[str] = []
    for key, tensor in file.tensors(dtype=None):
        suffix = next((suffix for suffix in _PARTS if key.endswith(suffix)), None)
        if suffix is None:
            foreign.append(key)
        else:
            layers.setdefault(key.removesuffix(suffix), {})[_PARTS[suffix]] = tensor
    if foreign:
        raise InputError(
            f"{len(foreign)} of {len(file.shapes)} tensors are not of a plain LoRA in {file.name} "
            f"({first_few(foreign)}): choose a LoRA with up and down factors or differences."
        )
    broken = [name for name, parts in layers.items() if not _is_complete(parts)]
    if broken:
        raise InputError(
            f"{file.name} lacks a factor in {len(broken)} of {len(layers)} layers "
            f"({first_few(broken)}): "
            "the file is incomplete, download it again."
        )
    return LoRA(file.name, layers)


def lora_changes(lora: LoRA, shapes: Mapping[str, tuple[int, ...]]) -> list[Change]:
    """Which tensors of a model a LoRA changes.

    Args:
        lora: The LoRA.
        shapes: Shape per key of the model.

    Raises:
        InputError: No layer, or not every layer, belongs to the model.
    """
    modules = {key.rpartition(".")[0] for key in shapes} | set(shapes)
    flattened = {name.replace(".", "_"): name for name in modules}
    changes: list[Change] = []
    unmatched: list[str] = []
    for name, parts in lora.layers.items():
        module = _module_name(name, flattened)
        for target, part in _targets(module, parts, shapes):
            if target in shapes:
                changes.append(Change(target, part, f"{lora.name}: {name}"))
            else:
                unmatched.append(name)
    if not changes:
        raise InputError(
            f"No key of {lora.name} fits this model (it begins with {first_few(lora.layers, 3)}): "
            "choose a LoRA made for this model."
        )
    if unmatched:
        raise InputError(
            f"{len(unmatched)} of {len(lora.layers)} layers of {lora.name} do not fit this model "
            f"({first_few(unmatched)}): choose a LoRA made for this model."
        )
    return changes


def apply_loras(
    state_dict: Mapping[str, Tensor], loras: Sequence[tuple[LoRA, float]]
) -> dict[str, Tensor]:
    """Add LoRAs to a model's weights, each with its own strength.

    Sums are taken in float32 and rounded once to the weight's type. All LoRAs are matched before
    anything is added.

    Args:
        state_dict: Tensor per key; not written to.
        loras: LoRA and strength, in any order.

    Returns:
        A new state dict; tensors that nothing changes are the same objects.

    Raises:
        InputError: A LoRA, or a layer of one, does not fit the model.

    Differs: upstream pairs LoRAs with a list of one default strength and so applies only the first.
    """
    shapes = {key: tuple(tensor.shape) for key, tensor in state_dict.items()}
    by_key: dict[str, list[tuple[Change, float]]] = {}
    for lora, strength in loras:
        changes = lora_changes(lora, shapes)
        logger.info("%s: %d tensors at strength %g", lora.name, len(changes), strength)
        for change in changes:
            by_key.setdefault(change.key, []).append((change, strength))
    merged = dict(state_dict)
    for key, pieces in by_key.items():
        weight = state_dict[key]
        total = weight.float()
        for change, strength in pieces:
            total = total + strength * change.delta(shapes[key]).to(weight.device)
        merged[key] = total.to(weight.dtype)
    return merged


def _is_complete(parts: Mapping[str, Tensor]) -> bool:
    pair = ("up" in parts, "down" in parts)
    return all(pair) or (not any(pair) and ("diff" in parts or "diff_b" in parts))


def _module_name(name: str, flattened: Mapping[str, str]) -> str:
    """Name of a layer as the model spells it, from how the LoRA does."""
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return strip_prefix(name[len(prefix) :])
    if name.startswith(_KOHYA_PREFIX):
        flat = name[len(_KOHYA_PREFIX) :].lstrip("_")
        return flattened.get(flat, flat)
    return name


def _targets(
    module: str, parts: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Key of the model, and what changes it; a bare parameter (``modulation``) has no suffix."""
    weight = module if module in shapes else f"{module}.weight"
    if "up" in parts:
        yield weight, {part: parts[part] for part in ("up", "down", "alpha") if part in parts}
    if "diff" in parts:
        yield weight, {"diff": parts["diff"]}
    if "diff_b" in parts:
        yield f"{module}.bias", {"diff": parts["diff_b"]}
