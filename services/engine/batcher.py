"""The micro-batcher: takes all that waits when the lane frees. No timer: a lone request never waits for company."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from dichroic.bundle.arrays import Arrays
from dichroic.errors import DeadlineExceededError, DichroicError
from services.engine.batch import Segment, SegmentResult, Work, deliver, fail, may_run_together
from services.engine.budget import QueueBudget
from services.engine.observe import Observer
from services.engine.runtime import Runtime

# How much the last run's time counts in the estimates that RetryInfo and `quick` are made from.
SMOOTHING = 0.2
# Waking the lane's thread and being woken by it costs about as much as a quick run. That is over sooner in the event loop itself, and holds
# the loop up no longer than the parsing of one large message does.
QUICK_S = 0.001


class MicroBatcher:
    """Queue of one runtime. Every method runs in the event loop; only Runtime.run_segments runs on the lane's thread.

    One exception: a lone request runs in the event loop when runs of its size have lately been quicker than QUICK_S. Never two at a time.
    """

    def __init__(self, model: str, runtime: Runtime, budget: QueueBudget, observer: Observer) -> None:
        self._model = model
        self._runtime = runtime
        self._budget = budget
        self._observer = observer
        self._waiting: deque[Work] = deque()
        self._waiting_rows = 0
        self._running: asyncio.Future[tuple[list[SegmentResult], float]] | None = None
        # What the lane goes on with at once: a run that is full, which nobody who comes later could join.
        self._ready: asyncio.Future[tuple[list[SegmentResult], float]] | None = None
        self._take_is_due = False
        self._seconds_per_row = 0.0
        self._run_s: dict[tuple[int, int], float] = {}  # by _size_of a run: what such runs took lately

    def size_bytes(self, rows: int, fixed: Arrays | None = None, inputs: Arrays | None = None) -> int:
        """What so many rows take of the budget: inputs and outputs, as long as these and the fixed inputs (None: the bundle's own) make them.

        Fixed inputs that come with the request count too.
        """
        own = self._runtime.fixed_bytes(fixed) if self._runtime.signature.asks_for_fixed else 0
        return own + rows * self._runtime.row_bytes(fixed, inputs)

    async def submit(self, inputs: Arrays, deadline: float, fixed: Arrays | None = None) -> Arrays:
        """Queues rows and waits for their answer.

        Args:
            inputs: one array for each input of the signature, of the right shape and dtype, with the same first axis n ≥ 1.
            deadline: in the event loop's time, seconds.
            fixed: the graph's fixed inputs, such as a session's posterior; None: the bundle's own.

        Returns:
            One array of n rows for each output.

        Raises:
            QueueFullError: too much is waiting.
            DeadlineExceededError: the deadline passed before the rows were taken.
            InvalidTensorError: a row is not finite, or overflows.
            ShapeError: the graph's outputs are not as the signature says, or their lengths differ between the runs that the rows took.
        """
        loop = asyncio.get_running_loop()
        rows = len(next(iter(inputs.values())))
        now = loop.time()
        size_bytes = self.size_bytes(rows, fixed, inputs)
        try:
            if now >= deadline:
                raise _late()
            self._budget.reserve(size_bytes, self._retry_delay_s())
        except DichroicError as error:
            self._observer.rejected(self._model, error.reason)
            raise
        work = Work(inputs, rows, deadline, now, loop.create_future(), fixed, self._runtime.lengths(inputs))
        self._waiting.append(work)
        self._waiting_rows += rows
        self._take_soon(loop)
        timer = loop.call_at(deadline, _expire, work)
        try:
            return await work.answer
        except DeadlineExceededError as error:
            self._observer.rejected(self._model, error.reason)
            raise
        except asyncio.CancelledError:
            self._observer.rejected(self._model, "CANCELLED")
            raise
        finally:
            timer.cancel()
            self._withdraw(work)
            self._budget.release(size_bytes)

    async def drained(self) -> None:
        """Returns when nothing waits and nothing runs."""
        while self._running is not None or self._take_is_due:
            if self._running is not None:
                await asyncio.wait([self._running])
            await asyncio.sleep(0)  # lets _finished take what still waits

    def _withdraw(self, work: Work) -> None:
        # A caller that left early (cancelled, deadline), or whose first rows failed, is still queued here.
        if work in self._waiting:
            self._waiting.remove(work)
            self._waiting_rows -= work.rows - work.given_rows

    def _take_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        # Not at once: every request that came in the same turn of the loop is then there to run together.
        if (self._running is None or self._ready is None) and not self._take_is_due:
            self._take_is_due = True
            loop.call_soon(self._take)

    def _take(self) -> None:
        self._take_is_due = False
        if self._running is None:
            self._start(self._next_segments(), may_run_here=True)
        self._prepare()

    def _start(self, segments: list[Segment], *, may_run_here: bool) -> None:
        if not segments:
            return
        if may_run_here and len(segments) == 1 and self._run_s.get(self._size_of(segments), QUICK_S) < QUICK_S:
            self._finished(segments, *self._run(segments))
            return
        self._running = self._on_lane(segments)

    def _prepare(self) -> None:
        """Hands the busy lane its next run, if that is full. Otherwise it would wait, idle, for the loop and for Python's lock."""
        if self._running is not None and self._ready is None and self._next_is_full():
            segments = self._next_segments()
            self._ready = self._on_lane(segments) if segments else None

    def _next_is_full(self) -> bool:
        """Whether the work that is next fills a run alone."""
        if not self._waiting:
            return False
        work = self._waiting[0]
        return work.rows - work.given_rows >= self._runtime.most_rows(work.fixed, work.inputs)

    def _on_lane(self, segments: list[Segment]) -> asyncio.Future[tuple[list[SegmentResult], float]]:
        running = asyncio.get_running_loop().run_in_executor(self._runtime.lane, self._run, segments)
        running.add_done_callback(lambda done: self._returned(segments, done))
        return running

    def _next_segments(self) -> list[Segment]:
        now = self._now()
        segments: list[Segment] = []
        others: list[Work] = []  # with other fixed inputs or lengths: they come first in the next run
        room = self._runtime.max_batch
        for _ in range(len(self._waiting)):
            if not room:
                break
            work = self._waiting.popleft()
            left = work.rows - work.given_rows
            if work.answer.done() or now >= work.deadline:  # its caller's own timer, or cancellation, tells the caller
                self._waiting_rows -= left
                continue
            if segments and not may_run_together(work, segments[0].work):
                others.append(work)
                continue
            if not segments:
                room = self._runtime.most_rows(work.fixed, work.inputs)
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
        self._waiting.extendleft(reversed(others))
        return segments

    def _run(self, segments: list[Segment]) -> tuple[list[SegmentResult], float]:
        started = time.perf_counter()
        try:
            results = self._runtime.run_segments(segments)
        except Exception as error:  # callers must not be left waiting, whatever breaks
            results = [SegmentResult(segment, None, error) for segment in segments]
        return results, time.perf_counter() - started

    def _returned(self, segments: list[Segment], done: asyncio.Future[tuple[list[SegmentResult], float]]) -> None:
        self._running, self._ready = self._ready, None
        # The next run before the answers of this one: writing those out would leave the lane idle.
        if self._running is None:
            self._start(self._next_segments(), may_run_here=False)
        self._prepare()
        self._finished(segments, *done.result())

    def _finished(self, segments: list[Segment], results: list[SegmentResult], duration_s: float) -> None:
        for result in results:
            deliver(result)
        rows = sum(segment.rows for segment in segments)
        self._seconds_per_row += SMOOTHING * (duration_s / rows - self._seconds_per_row)
        size = self._size_of(segments)
        lately_s = self._run_s.setdefault(size, duration_s)
        self._run_s[size] = lately_s + SMOOTHING * (duration_s - lately_s)
        self._observer.batch_run(self._model, self._runtime.name, rows, self._runtime.padded(rows), duration_s)
        if self._waiting:
            self._take_soon(asyncio.get_running_loop())

    def _size_of(self, segments: list[Segment]) -> tuple[int, int]:
        """What a run's time depends on, each to a power of two: its rows, and the bytes of a row and of its fixed inputs, such as one posterior's."""
        rows, work = sum(segment.rows for segment in segments), segments[0].work
        beside = self._runtime.row_bytes(work.fixed, work.inputs) if work.lengths else 0
        return rows.bit_length(), (beside + self._runtime.fixed_bytes(work.fixed)).bit_length()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _retry_delay_s(self) -> float:
        return min(10.0, max(0.01, self._waiting_rows * self._seconds_per_row))


def _expire(work: Work) -> None:
    fail(work, _late())


def _late() -> DeadlineExceededError:
    return DeadlineExceededError("The deadline passed before the request could run. Allow more time, or send less at once.")
