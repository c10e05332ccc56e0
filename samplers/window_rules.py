"""Guidance over windows: what a rule remembers from step to step belongs to one window."""

from __future__ import annotations

import copy

from .guidance import AdaptiveProjectedGuidance, Guidance
from .windows import DenoisingWindow


def remembers(guidance: Guidance) -> bool:
    """Whether a step depends on those before it through the rule, not the latents alone."""
    return isinstance(guidance, AdaptiveProjectedGuidance)


class WindowRules:
    """A guidance rule for every window.

    Args:
        guidance: The rule; copied, never used itself.
        seed: The clip's, for what a rule draws; the same in all windows, or they would not agree
            where they overlap.
    """

    def __init__(self, guidance: Guidance, seed: int = 0):
        self.guidance, self.seed = guidance, seed
        self._rules: dict[int, Guidance] = {}

    def forget(self) -> None:
        """A clip begins."""
        self._rules.clear()

    def of(self, window: DenoisingWindow) -> Guidance:
        """The rule of a window."""
        if window.index not in self._rules:
            rule = copy.deepcopy(self.guidance)
            rule.begin_chunk(self.seed)
            self._rules[window.index] = rule
        return self._rules[window.index]

    @property
    def one_go(self) -> str:
        """Why all steps have to be made in one go; empty when they do not."""
        return "this guidance remembers the steps before" if remembers(self.guidance) else ""
