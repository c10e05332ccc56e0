"""The one exception that means "you can fix this": its text is shown to the user as it stands."""

from __future__ import annotations


class InputError(ValueError):
    """An input the caller can correct. Its message: expected, got, what to do."""
