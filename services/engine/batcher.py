"""The micro-batcher: takes all that waits when the lane frees. No timer: a lone request never waits for company."""

from __future__ import annotations

import asyncio
from collections import deque

from dichroic.bundle.arrays import Arrays
from dichroic.errors import DeadlineExceededError, DichroicError
from services.engine.batch import Segment, SegmentResult, Work, deliver, fail
from services.engine.budget import QueueBudget
from services.engine.observe import Observer
from services.engine.runtime import Runtime

# How much the last run's time per row counts in the estimate that RetryInfo is made from.
SMOOTHING = 0.2


class MicroBatcher:
    """Queue of one runtime. Every method runs in the event loop; only Runtime.run_segments runs on the lane's thread."""

    def __init__(self, model: str, runtime: Runtime, budget: QueueBudget, observer: Observer) -> None:
        self._model = model
        self._runtime = runtime
        self._budget = budget
        self._observer = observer
        self._waiting: deque[Work] = deque()
        self._waiting_rows = 0
        self._running: asyncio.Future[list[SegmentResult]] | None = None
        self._seconds_per_row = 0.0
        self._row_bytes = runtime.signature.row_bytes

    def size_bytes(self, rows: int) -> int:
        """What so many rows take of the budget: their inputs and outputs."""
        return rows * self._row_bytes

    async def submit(self, inputs: Arrays, deadline: float) -> Arrays:
        """Queues rows and waits for their answer.

        Args:
            inputs: one array for each input of the signature, of the right shape and dtype, with the same first axis n ≥ 1.
            deadline: in the event loop's time, seconds.

        Returns:
            One array of n rows for each output.

        Raises:
            QueueFullError: too much is waiting.
            DeadlineExceededError: the deadline passed before the rows were taken.
            InvalidTensorError: a row is not finite, or overflows.
        """
        loop = asyncio.get_running_loop()
        rows = len(next(iter(inputs.values())))
        now = loop.time()
        size_bytes = self.size_bytes(rows)
        try:
            if now >= deadline:
                raise _late()
            self._budget.reserve(size_bytes, self._retry_delay_s())
        except DichroicError as error:
            self._observer.rejected(self._model, error.reason)
            raise
        work = Work(inputs, rows, deadline, now, loop.create_future())
        self._waiting.append(work)
        self._waiting_rows += rows
        try:
            self._changed()
            self._take()
            async with asyncio.timeout_at(deadline):
                return await work.answer
        except TimeoutError as error:
            self._observer.rejected(self._model, DeadlineExceededError.reason)
            raise _late() from error
        except asyncio.CancelledError:
            self._observer.rejected(self._model, "CANCELLED")
            raise
        finally:
            self._withdraw(work)
            self._budget.release(size_bytes)
            self._changed()

    async def drained(self) -> None:
        """Returns when nothing waits and nothing runs."""
        while self._running is not None:
            await asyncio.wait([self._running])
            await asyncio.sleep(0)  # lets _finished take what still waits

    def _withdraw(self, work: Work) -> None:
        # A caller that left early (cancelled, deadline), or whose first rows failed, is still queued here.
        if work in self._waiting:
            self._waiting.remove(work)
            self._waiting_rows -= work.rows - work.given_rows

    def _take(self) -> None:
        if self._running is not None:
            return
        segments = self._next_segments()
        if not segments:
            return
        loop = asyncio.get_running_loop()
        started = loop.time()
        self._running = loop.run_in_executor(self._runtime.lane, self._runtime.run_segments, segments)
        self._running.add_done_callback(lambda done: self._finished(done, segments, started))

    def _next_segments(self) -> list[Segment]:
        now = self._now()
        segments: list[Segment] = []
        room = self._runtime.max_batch
        for _ in range(len(self._waiting)):
            if not room:
                break
            work = self._waiting.popleft()
            left = work.rows - work.given_rows
            if work.answer.done() or now >= work.deadline:  # its caller's own timer, or cancellation, tells the caller
                self._waiting_rows -= left
                continue
            start = work.given_rows
            segment = Segment(work, start, start + min(left, room))
            if start == 0:
                self._observer.work_taken(self._model, self._runtime.name, now - work.queued_at)
            work.given_rows = segment.stop
            room -= segment.rows
            self._waiting_rows -= segment.rows
            segments.append(segment)
            # A long work goes to the back with what is left of it, so that short ones are not held up behind it.
            if segment.stop < work.rows:
                self._waiting.append(work)
        return segments

    def _finished(self, done: asyncio.Future[list[SegmentResult]], segments: list[Segment], started: float) -> None:
        self._running = None
        try:
            for result in done.result():
                deliver(result)
        except Exception as error:  # a lane that dies must not leave callers waiting
            for segment in segments:
                fail(segment.work, error)
        rows = sum(segment.rows for segment in segments)
        duration_s = asyncio.get_running_loop().time() - started
        self._seconds_per_row += SMOOTHING * (duration_s / rows - self._seconds_per_row)
        self._observer.batch_run(self._model, self._runtime.name, rows, self._runtime.padded(rows), duration_s)
        self._take()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _retry_delay_s(self) -> float:
        return min(10.0, max(0.01, self._waiting_rows * self._seconds_per_row))

    def _changed(self) -> None:
        self._observer.queue_changed(self._budget.requests, self._budget.bytes)


def _late() -> DeadlineExceededError:
    return DeadlineExceededError("The deadline passed before the request could run. Allow more time, or send less at once.")
