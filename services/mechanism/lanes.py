"""Threads for arithmetic that would hold the event loop up, and locks that wait no longer than the caller does."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from dichroic.bundle import MechanismSection
from dichroic.errors import DeadlineExceededError
from services.engine.model import ServingModel

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

MOST_THREADS = 4


class Lanes:
    """A few threads shared by all sessions; a session's own lock keeps its work in order."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=min(MOST_THREADS, os.cpu_count() or 1), thread_name_prefix="mechanism")

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


@contextlib.asynccontextmanager
async def locked(lock: asyncio.Lock, deadline: float) -> AsyncIterator[None]:
    """The lock's holder, unless the deadline passes first.

    Raises:
        DeadlineExceededError: it did.
    """
    try:
        async with asyncio.timeout_at(deadline):
            await lock.acquire()
    except TimeoutError as error:
        raise late() from error
    try:
        yield
    finally:
        lock.release()


async def finished(work: Coroutine[Any, Any, Result]) -> Result:
    """The work's result. A caller that gives up waits for its end all the same: it is done whole or not at all."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # nobody is there to be told
        raise


@dataclass(frozen=True)
class Call:
    """What one request works with: the model and its manifest's section, the deadline in the event loop's time, threads for arithmetic."""

    model: ServingModel
    section: MechanismSection
    deadline: float
    lanes: Lanes

    async def run(self, work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """See Lanes.run."""
        return await self.lanes.run(self.deadline, work, *args, **kwargs)


def late() -> DeadlineExceededError:
    """What a caller is told whose time is over."""
    return DeadlineExceededError("The deadline passed before the request could run. Allow more time, or send less at once.")
