"""What the engine tells the outside about its work; transport turns it into metrics. The engine itself knows no metrics library."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Called in the event loop; must return at once."""

    def batch_run(self, model: str, signature: str, rows: int, padded_rows: int, duration_s: float) -> None:
        """One run of a graph ended."""

    def work_taken(self, model: str, signature: str, waited_s: float) -> None:
        """A request's first rows were taken from the queue."""

    def rejected(self, model: str, reason: str) -> None:
        """A request was refused or dropped without a run; `reason` is the error's."""

    def model_loaded(self, model: str, outcome: str, duration_s: float) -> None:
        """A load ended; `outcome` is "ready" or the step that refused it."""


class Unobserved:
    """Sees nothing: for tests, and where no metrics are wanted."""

    def batch_run(self, model: str, signature: str, rows: int, padded_rows: int, duration_s: float) -> None:
        """Nothing."""

    def work_taken(self, model: str, signature: str, waited_s: float) -> None:
        """Nothing."""

    def rejected(self, model: str, reason: str) -> None:
        """Nothing."""

    def model_loaded(self, model: str, outcome: str, duration_s: float) -> None:
        """Nothing."""
