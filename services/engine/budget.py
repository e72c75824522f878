"""How much work may wait or run at once, over all models: what keeps queue memory bounded."""

from __future__ import annotations

from dichroic.errors import QueueFullError


class QueueBudget:
    """Counts requests and bytes from acceptance to answer. Used in the event loop only, so it needs no lock."""

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self.max_requests = max_requests
        self.max_bytes = max_bytes
        self.requests = 0
        self.bytes = 0
        # True from a refusal until something is given back: meanwhile a message need not even be read to be refused.
        self.is_full = False

    def reserve(self, size_bytes: int, retry_delay_s: float) -> None:
        """Takes one request of this size in.

        Raises:
            QueueFullError: it does not fit now (with a delay after which it may), or never will (without one).
        """
        if size_bytes > self.max_bytes:
            raise QueueFullError(
                f"The request needs {size_bytes} bytes for its arrays and answers; the server holds {self.max_bytes} in all. Send fewer rows at once."
            )
        if self.requests >= self.max_requests or self.bytes + size_bytes > self.max_bytes:
            self.is_full = True
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
