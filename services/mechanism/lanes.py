"""What one request of the mechanism room works with, and locks that wait no longer than the caller does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from dichroic.bundle import MechanismSection
from services.engine.lanes import Lanes, late
from services.engine.model import ServingModel

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


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
