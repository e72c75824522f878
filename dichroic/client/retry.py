"""When a failed message is sent again, and when the caller is told: pure, so that both clients wait in their own way."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from dichroic.errors import DeadlineExceededError, DichroicError, ModelNotReadyError
from dichroic.status import SEND_LESS


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential back-off with jitter.

    Attributes:
        retry_for_s: how long one message is sent again while the server is unreachable or busy; 0: never again.
        first_delay_s: the delay after the first failure; doubled after each further one.
        longest_delay_s: where doubling ends.
        clock: monotonic seconds.
        jitter: a random number in [0, 1), which keeps many clients from returning at once.
    """

    retry_for_s: float = 30.0
    first_delay_s: float = 0.1
    longest_delay_s: float = 5.0
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = field(default=random.random)


class Deadline:
    """The end of one call, over all its messages and their retries."""

    def __init__(self, timeout_s: float | None, clock: Callable[[], float]) -> None:
        """timeout_s: seconds from now; None: no end."""
        self._clock = clock
        self._timeout_s = timeout_s
        self._end = None if timeout_s is None else clock() + timeout_s

    def remaining_s(self) -> float | None:
        """Seconds left, > 0; None without an end.

        Raises:
            DeadlineExceededError: none are left.
        """
        if self._end is None:
            return None
        left = self._end - self._clock()
        if left <= 0:
            raise DeadlineExceededError(f"The call was not done within {self._timeout_s} s; raise timeout_s or {SEND_LESS}.")
        return left

    def allows(self, delay_s: float) -> bool:
        """Whether anything is left after so many seconds."""
        return self._end is None or self._clock() + delay_s < self._end


class Attempts:
    """The failures of one message so far."""

    def __init__(self, policy: RetryPolicy, deadline: Deadline) -> None:
        self._policy = policy
        self._deadline = deadline
        self._failures = 0
        self._give_up_at: float | None = None

    def delay_after(self, error: DichroicError) -> float:
        """Seconds to wait before the message is sent again: at least what the server asks for.

        Raises:
            DichroicError: `error` itself: a retry is of no use, or the next one would come too late.
        """
        policy, now = self._policy, self._policy.clock()
        if self._give_up_at is None:
            self._give_up_at = now + policy.retry_for_s
        backoff = min(policy.longest_delay_s, policy.first_delay_s * 2.0 ** min(self._failures, 30))
        self._failures += 1
        if error.retry_delay_s is None:
            delay = backoff * (0.5 + policy.jitter() / 2)
        else:
            delay = error.retry_delay_s + backoff * policy.jitter() / 2
        if not _may_succeed_later(error) or now + delay > self._give_up_at or not self._deadline.allows(delay):
            raise error
        return delay


def _may_succeed_later(error: DichroicError) -> bool:
    if error.retry_delay_s is not None:
        return True
    # A model that is not ready and names no delay was refused or unloaded: it stays so until somebody acts.
    return error.status == "UNAVAILABLE" and not isinstance(error, ModelNotReadyError)
