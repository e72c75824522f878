"""Threads for a room's arithmetic, which would hold the event loop up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from dichroic.errors import DeadlineExceededError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

MOST_THREADS = 4


class Lanes:
    """A few threads shared by all of a room's requests."""

    def __init__(self, name: str, most: int = MOST_THREADS) -> None:
        """`name` begins the threads' names; `most`: threads, where there are as many processors."""
        self._threads = ThreadPoolExecutor(max_workers=min(most, os.cpu_count() or 1), thread_name_prefix=name)

    async def run(self, deadline: float, work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """The work on a thread, if the deadline (event loop's time) has not passed when its turn comes.

        Raises:
            DeadlineExceededError: it has.
        """
        loop = asyncio.get_running_loop()

        def in_time() -> Result:
            if loop.time() >= deadline:
                raise late()
            return work(*args, **kwargs)

        return await loop.run_in_executor(self._threads, in_time)

    def close(self) -> None:
        """Takes nothing new; what runs ends."""
        self._threads.shutdown(wait=False)


def late() -> DeadlineExceededError:
    """What a caller is told whose time is over."""
    return DeadlineExceededError("The deadline passed before the request could run. Allow more time, or send less at once.")
