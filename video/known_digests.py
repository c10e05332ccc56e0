"""Digests of tensors that are asked for again and again, each made once while its tensor lives.

Knows tensors by which object they are; what a digest is, it is told.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


class KnownDigests:
    """Digests by tensor and by part.

    A tensor that was written to has another version, and is digested again. One that was made in
    inference mode has none: it counts as never written to, as in a host that keeps the outputs of
    its nodes. Nothing here keeps a tensor alive.
    """

    def __init__(self) -> None:
        self._tensors: dict[int, tuple[weakref.ref[Tensor], Any, dict[Hashable, str]]] = {}

    def get(self, tensor: Tensor, part: Hashable, make: Callable[[], str]) -> str:
        """The digest of a part of a tensor.

        Args:
            tensor: Whose part.
            part: Which.
            make: Makes it.
        """
        parts = self._parts(tensor)
        if part not in parts:
            parts[part] = make()
        return parts[part]

    def _parts(self, tensor: Tensor) -> dict[Hashable, str]:
        version = None if tensor.is_inference() else tensor._version
        known = self._tensors.get(id(tensor))
        if known is None or known[0]() is not tensor or known[1] != version:
            number = id(tensor)
            reference = weakref.ref(tensor, lambda dead: self._forget(number, dead))
            known = self._tensors[number] = reference, version, {}
        return known[2]

    def _forget(self, number: int, dead: weakref.ref[Tensor]) -> None:
        """Another tensor may have the number by now."""
        known = self._tensors.get(number)
        if known is not None and known[0] is dead:
            del self._tensors[number]
