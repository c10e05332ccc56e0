"""TeaCache: skip a transformer's blocks while its time modulation has hardly changed.

Every guidance branch has a state of its own, and every chunk starts afresh. The state decides and
keeps the blocks' residual; the transformer asks it through ``reuse`` and ``store``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

COEFFICIENTS = {
    "480p": (2.57151496e5, -3.54229917e4, 1.40286849e3, -1.35890334e1, 1.32517977e-1),
    "720p": (8.10705460e3, 2.13393892e3, -3.72934672e2, 1.66203073e1, -4.17769401e-2),
}
"""Polynomials, highest degree first, from relative change of the modulation to that of the output.
Fitted by TeaCache's authors for Wan 2.1 I2V 14B; other models need their own."""

WARMUP_STEPS = 5
"""Steps of a chunk that always compute."""


@dataclass
class BranchCache:
    """TeaCache state of one guidance branch within one chunk.

    Attributes:
        coefficients: Polynomial, highest degree first.
        threshold: Accumulated change that ends a run of skipped steps; 0.2 as published.
        accumulated: Change since the blocks last ran.
    """

    coefficients: tuple[float, ...]
    threshold: float
    accumulated: float = 0.0
    _step: int = 0
    _modulation: Tensor | None = None
    _residual: Tensor | None = None

    def reuse(self, modulation: Tensor) -> Tensor | None:
        """The residual to add instead of running the blocks, or None when they must run.

        Args:
            modulation: The network's time modulation ``[B, 6, D]``.

        Source: InfiniteTalk, ``enable_teacache`` with retained steps.
        """
        previous, self._modulation = self._modulation, modulation
        self._step += 1
        if previous is None or self._residual is None or self._step <= WARMUP_STEPS:
            return None
        change = ((modulation - previous).abs().mean() / previous.abs().mean()).item()
        value = 0.0
        for coefficient in self.coefficients:
            value = value * change + coefficient
        self.accumulated += value
        if self.accumulated < self.threshold:
            return self._residual
        return None

    def store(self, residual: Tensor) -> None:
        """Remember what the blocks added to the token stream ``[B, L, D]``."""
        self._residual = residual
        self.accumulated = 0.0


@dataclass
class TeaCache:
    """One ``BranchCache`` per guidance branch.

    Attributes:
        coefficients: Polynomial of the model, see ``COEFFICIENTS``.
        threshold: 0.2 as published: about twice as fast; higher is faster and blurrier.

    Differs: states are keyed by branch and reset per chunk. Upstream counts calls in threes, so two
    calls per step mix their states, and an interrupted run leaves its counter behind.
    """

    coefficients: tuple[float, ...]
    threshold: float = 0.2
    _branches: dict[str, BranchCache] = field(default_factory=dict, repr=False)

    def begin_chunk(self) -> None:
        """Forget everything."""
        self._branches.clear()

    def branch(self, name: str) -> BranchCache:
        """The state of a branch."""
        if name not in self._branches:
            self._branches[name] = BranchCache(self.coefficients, self.threshold)
        return self._branches[name]
