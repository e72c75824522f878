"""How much memory all sessions may take together, and which of them are dropped for another."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from dichroic.errors import SessionMemoryError

# When others that are in use may be done.
RETRY_S = 1.0
# How ids begin that stand for one call and no session.
CALL = "call "


class Memory:
    """Counts bytes by session, in the order of their last use. Used in the event loop only."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._taken: OrderedDict[str, int] = OrderedDict()

    @property
    def taken_bytes(self) -> int:
        """By all sessions, and by calls that are being answered."""
        return sum(self._taken.values())

    @property
    def sessions(self) -> int:
        """How many are in memory."""
        return sum(not each.startswith(CALL) for each in self._taken)

    def check(self, needed: int) -> None:
        """Refuses what could never fit.

        Raises:
            SessionMemoryError: without a delay: waiting does not help.
        """
        if needed > self.max_bytes:
            message = (
                f"The request needs {needed} bytes; all sessions together may take {self.max_bytes} (DICHROIC_SESSION_MAX_BYTES). "
                "Name fewer candidates, observe fewer points, ask for fewer picks, or let the server have more."
            )
            raise SessionMemoryError(message, metadata={"needed_bytes": str(needed), "max_bytes": str(self.max_bytes)})

    def reserve(self, session_id: str, needed: int, in_use: Callable[[str], bool]) -> list[str]:
        """Takes so many bytes for a session, in place of what it had.

        Returns:
            The sessions that are dropped for it, used longest ago first.

        Raises:
            SessionMemoryError: it does not fit now (with a delay after which it may), or never will (without one). Then nothing has changed.
        """
        self.check(needed)
        others = self.taken_bytes - self._taken.get(session_id, 0)
        dropped: list[str] = []
        for other, taken in self._taken.items():
            if others + needed <= self.max_bytes:
                break
            if other != session_id and not in_use(other):
                dropped.append(other)
                others -= taken
        if others + needed > self.max_bytes:
            message = f"The request needs {needed} bytes, and sessions in use at this moment have {others} of {self.max_bytes}. Try again soon."
            raise SessionMemoryError(message, retry_delay_s=RETRY_S, metadata={"needed_bytes": str(needed), "max_bytes": str(self.max_bytes)})
        for other in dropped:
            del self._taken[other]
        self._taken[session_id] = needed
        self._taken.move_to_end(session_id)
        return dropped

    def touch(self, session_id: str) -> None:
        """It was used just now."""
        if session_id in self._taken:
            self._taken.move_to_end(session_id)

    def release(self, session_id: str) -> None:
        """It takes nothing any more."""
        self._taken.pop(session_id, None)
