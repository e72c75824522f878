"""One stream of frames: read, encoded several at a time, answered in order; what waits is bounded, whoever is slow."""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Given = TypeVar("Given")
Found = TypeVar("Found")

# Of a stream that drops: so many are under way, one running and one ready to run. More would be older when their answers come.
UNDER_WAY = 2


class Mode(enum.Enum):
    """What a stream does when frames come faster than they are encoded: stop reading, or drop the one that has waited longest."""

    BLOCK = "block"
    DROP_OLDEST = "drop_oldest"


@dataclass(frozen=True)
class Limits(Generic[Given]):
    """How much a stream may hold: `most` frames, 1 or more, and `most_bytes` of them by what `size_bytes` tells; one frame always."""

    most: int
    most_bytes: int
    size_bytes: Callable[[Given], int]


@dataclass(frozen=True)
class Outcome(Generic[Given, Found]):
    """What became of one frame: `found`, or the `error`; `dropped`: how many frames the stream has dropped so far."""

    given: Given
    found: Found | None
    error: Exception | None
    dropped: int


class FrameStream(Generic[Given, Found]):
    """Frames in, outcomes out, in order. Used in the event loop only.

    What is read and not yet answered stays within the limits (beside the frame that is being read); with Mode.DROP_OLDEST what waits does, beside
    UNDER_WAY frames. An answer counts as given when the next is asked for, which a transport does once the one before is written: a caller that
    stops reading stops the stream.
    """

    def __init__(self, work: Callable[[Given], Awaitable[Found]], limits: Limits[Given], mode: Mode, dropped: Callable[[Given], None]) -> None:
        """work: encodes one frame. dropped: told of each frame that is read and will not be encoded."""
        self._work = work
        self._limits = limits
        self._mode = mode
        self._tell_dropped = dropped
        self._waiting: deque[Given] = deque()
        self._started: deque[tuple[Given, asyncio.Task[Found]]] = deque()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._reader: asyncio.Task[None] | None = None
        self._ended = False
        self._end_error: Exception | None = None
        self._dropped = 0

    @property
    def held(self) -> int:
        """How many frames are read and not yet answered."""
        return len(self._waiting) + len(self._started)

    def end(self, error: Exception | None = None) -> None:
        """Reads nothing more; what was read is answered, and then `error` raised."""
        if self._ended:
            return
        self._ended, self._end_error = True, error
        self._changed.set()
        if self._reader is not None and self._reader is not asyncio.current_task():
            self._reader.cancel()

    async def outcomes(self, arriving: AsyncIterator[Given]) -> AsyncIterator[Outcome[Given, Found]]:
        """The frames' outcomes, in the order in which they arrived.

        Args:
            arriving: the frames. What it raises is raised here, once the frames before are answered.
        """
        self._reader = asyncio.create_task(self._read(arriving))
        try:
            while await self._any_started():
                given, task = self._started[0]
                await asyncio.wait([task])
                error = asyncio.CancelledError() if task.cancelled() else task.exception()
                if error is not None and not isinstance(error, Exception):
                    raise error
                yield Outcome(given, None if error is not None else task.result(), error, self._dropped)
                self._started.popleft()
                self._start()
        finally:
            self._ended = True
            left = [self._reader, *(task for _, task in self._started)]
            for each in left:
                each.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            while self._waiting:
                self._tell_dropped(self._waiting.popleft())

    async def _any_started(self) -> bool:
        """Waits for a frame that is under way; False: there will be none any more."""
        while not self._started:
            if self._ended:
                if self._end_error is not None:
                    raise self._end_error
                return False
            self._changed.clear()
            await self._changed.wait()
        return True

    async def _read(self, arriving: AsyncIterator[Given]) -> None:
        try:
            while True:
                if self._mode is Mode.BLOCK:
                    await self._room.wait()
                self._waiting.append(await anext(arriving))
                self._start()
                while self._mode is Mode.DROP_OLDEST and len(self._waiting) > 1 and not self._within(self._waiting):
                    self._dropped += 1
                    self._tell_dropped(self._waiting.popleft())
        except StopAsyncIteration:
            self.end()
        except Exception as error:
            self.end(error)

    def _start(self) -> None:
        """As many as may be under way; then says whether there is room for others."""
        while self._waiting and (self._mode is Mode.BLOCK or len(self._started) < UNDER_WAY):
            given = self._waiting.popleft()
            self._started.append((given, asyncio.ensure_future(self._work(given))))
            self._changed.set()
        if self._within([given for given, _ in self._started], more=1):
            self._room.set()
        else:
            self._room.clear()

    def _within(self, frames: deque[Given] | list[Given], more: int = 0) -> bool:
        """Whether so many frames, and `more` of about the same size, are within the limits."""
        if not frames:
            return True
        size_bytes = sum(map(self._limits.size_bytes, frames))
        return len(frames) + more <= self._limits.most and size_bytes * (len(frames) + more) <= self._limits.most_bytes * len(frames)
