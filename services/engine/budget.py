"""How much work may wait or run at once, over all models: what keeps queue memory bounded."""

from __future__ import annotations

from dichroic.errors import QueueFullError

# From this share of the bytes on, what was refused stands for what else may come.
NEARLY = 0.9


class QueueBudget:
    """Counts requests and bytes from acceptance to answer. Used in the event loop only, so it needs no lock."""

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self.max_requests = max_requests
        self.max_bytes = max_bytes
        self.requests = 0
        self.bytes = 0
        # True from a refusal at the limit until something is given back: meanwhile a message need not even be read to be refused.
        self.is_full = False

    def check_size(self, size_bytes: int) -> None:
        """Refuses what could never fit.

        Raises:
            QueueFullError: without a delay: waiting does not help.
        """
        if size_bytes > self.max_bytes:
            raise QueueFullError(
                f"The request needs {size_bytes} bytes for its arrays and answers; the server holds {self.max_bytes} in all. Send fewer rows at once."
            )

    def reserve(self, size_bytes: int, retry_delay_s: float) -> None:
        """Takes one request of this size in.

        Raises:
            QueueFullError: it does not fit now (with a delay after which it may), or never will (without one).
        """
        self.check_size(size_bytes)
        if self.requests >= self.max_requests or self.bytes + size_bytes > self.max_bytes:
            # One large request that does not fit says nothing about small ones, unless hardly anything fits any more.
            self.is_full = self.requests >= self.max_requests or self.bytes >= NEARLY * self.max_bytes
            raise QueueFullError(
                f"The server has {self.requests} requests and {self.bytes} bytes waiting (limits {self.max_requests} and {self.max_bytes}). "
                f"Retry after {retry_delay_s:.3g} s.",
                retry_delay_s=retry_delay_s,
            )
        self.requests += 1
        self.bytes += size_bytes

    def release(self, size_bytes: int) -> None:
        """Gives back what reserve took."""
        self.requests -= 1
        self.bytes -= size_bytes
        self.is_full = False
