"""The one error a user of the command line can cause. `python -m training` prints it and exits 2."""

from __future__ import annotations


class InputError(Exception):
    """Something the user gave cannot be used.

    Attributes:
        reason: stable upper-case word, such as "CHANNEL_REQUIRED".
        message: what was wrong, what was expected, what to do.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
