"""A time limit for machines that are lent: it ends a job between two chunks, not within one.

Knows a clock; it does not know what a chunk is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from ..errors import InputError


class TimeBudget:
    """Says before each chunk whether there is time for it, going by the slowest one so far.

    The first is always made, so that a job gets on however short the time is.

    Args:
        minutes: From now on, loading included; 0 is no limit.
        clock: Seconds.

    Raises:
        InputError: Not a time.
    """

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        if not (math.isfinite(minutes) and minutes >= 0):
            raise InputError(f"the time budget is {minutes} min; give minutes, or 0 for no limit.")
        self.minutes, self._clock = minutes, clock
        self._end = clock() + 60 * minutes
        self._begun: float | None = None
        self._slowest = 0.0

    def __call__(self, chunk: object) -> bool:
        """Whether to stop before ``chunk``."""
        now = self._clock()
        if self._begun is not None:
            self._slowest = max(self._slowest, now - self._begun)
            if self.minutes and now + self._slowest > self._end:
                return True
        self._begun = now
        return False

    @property
    def message(self) -> str:
        """Why it stopped, for the status."""
        return f"the time budget of {self.minutes:g} min is used up"
