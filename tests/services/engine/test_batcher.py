import asyncio
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from dichroic.errors import DeadlineExceededError, InvalidTensorError, QueueFullError
from services.engine.batcher import MicroBatcher
from services.engine.budget import QueueBudget
from services.engine.runtime import Runtime
from tests.services.engine.conftest import DoublingSession, Recorder
from tests.toy_bundle import NDArray

ROW_BYTES = 16  # two float32 in, two out


def rows(*values: float) -> dict[str, NDArray]:
    return {"x": np.array([[value, value] for value in values], dtype=np.float32)}


def make(runtime: Runtime, recorder: Recorder, *, max_requests: int = 1000, max_bytes: int = 1 << 20) -> tuple[MicroBatcher, QueueBudget]:
    budget = QueueBudget(max_requests, max_bytes)
    return MicroBatcher("m", runtime, budget, recorder), budget


def soon(seconds: float = 30.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def settled() -> None:
    """Lets every task that can run, run."""
    for _ in range(5):
        await asyncio.sleep(0)


def hold_the_loop_until(happened: Callable[[], bool]) -> None:
    """Ten seconds at most, and a little longer than that took."""
    until = time.monotonic() + 10
    while not happened() and time.monotonic() < until:
        time.sleep(0.001)
    time.sleep(0.02)


async def test_what_waits_when_the_lane_frees_runs_together(runtime: Runtime, session: DoublingSession, recorder: Recorder) -> None:
    batcher, _ = make(runtime, recorder)
    session.gate.clear()
    first = asyncio.create_task(batcher.submit(rows(1), soon()))
    await session.until_running()
    others = [asyncio.create_task(batcher.submit(rows(value), soon())) for value in (2, 3, 4)]
    await settled()
    session.gate.set()
    answers = await asyncio.gather(first, *others)
    assert session.ran == [[1.0], [2.0, 3.0, 4.0]]
    assert [answer["y"][0, 0] for answer in answers] == [2, 4, 6, 8]
    assert recorder.batches == [1, 3]


async def test_a_lone_request_runs_at_once(runtime: Runtime, session: DoublingSession, recorder: Recorder) -> None:
    batcher, _ = make(runtime, recorder)
    await batcher.submit(rows(1), soon())
    assert session.ran == [[1.0]]


async def test_a_lone_request_that_runs_quickly_needs_no_thread(
    runtime: Runtime, session: DoublingSession, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.engine.batcher.QUICK_S", 0.5)  # on a busy machine, too, a run is quicker than this
    batcher, _ = make(runtime, recorder)
    here = threading.get_ident()
    for _ in range(20):  # until runs of one row are known to be quick
        await batcher.submit(rows(1), soon())
    assert session.threads[0] != here
    assert session.threads[-1] == here
    # Two together are another size, not known yet.
    await asyncio.gather(batcher.submit(rows(2), soon()), batcher.submit(rows(3), soon()))
    assert session.ran[-1] == [2.0, 3.0]
    assert session.threads[-1] != here


async def test_a_lone_request_that_runs_slowly_leaves_the_loop_free(runtime: Runtime, session: DoublingSession, recorder: Recorder) -> None:
    batcher, _ = make(runtime, recorder)
    session.takes_s = 0.005
    for _ in range(20):
        await batcher.submit(rows(1), soon())
    assert threading.get_ident() not in session.threads


async def test_every_caller_gets_its_own_rows(runtime: Runtime, recorder: Recorder) -> None:
    batcher, budget = make(runtime, recorder)
    random = np.random.default_rng(0)
    asked = [random.standard_normal((int(random.integers(1, 20)), 2)).astype(np.float32) for _ in range(200)]
    answers = await asyncio.gather(*[batcher.submit({"x": values}, soon()) for values in asked])
    for values, answer in zip(asked, answers, strict=True):
        np.testing.assert_array_equal(answer["y"], 2 * values)
    assert (budget.requests, budget.bytes) == (0, 0)


async def test_no_run_takes_more_rows_than_the_bundle_allows(runtime: Runtime, session: DoublingSession, recorder: Recorder) -> None:
    batcher, _ = make(runtime, recorder)
    answer = await batcher.submit(rows(*range(21)), soon())
    assert [len(ran) for ran in session.ran] == [8, 8, 5]
    np.testing.assert_array_equal(answer["y"][:, 0], 2 * np.arange(21))


async def test_the_lane_goes_on_with_a_full_run_while_the_loop_is_busy(runtime: Runtime, session: DoublingSession, recorder: Recorder) -> None:
    batcher, _ = make(runtime, recorder)
    full = [float(value) for value in range(runtime.max_batch)]
    session.gate.clear()
    submitted = [asyncio.create_task(batcher.submit(rows(7), soon()))]
    await session.until_running()
    submitted += [asyncio.create_task(batcher.submit(rows(*full), soon())) for _ in range(2)]
    await settled()
    session.gate.set()
    hold_the_loop_until(lambda: len(session.ran) >= 2)
    assert session.ran == [[7.0], full]  # one run ahead and no more: what is not begun can still be given up
    answers = await asyncio.gather(*submitted)
    assert session.ran == [[7.0], full, full]
    assert [len(answer["y"]) for answer in answers] == [1, len(full), len(full)]
    await batcher.drained()


async def test_a_short_request_is_not_held_up_behind_a_long_one(runtime: Runtime, session: DoublingSession, recorder: Recorder) -> None:
    batcher, _ = make(runtime, recorder)
    session.gate.clear()
    long = asyncio.create_task(batcher.submit(rows(*range(80)), soon()))
    await session.until_running()
    short = asyncio.create_task(batcher.submit(rows(500), soon()))
    await settled()
    session.gate.set()
    await short
    assert not long.done()
    await long


async def test_expired_work_is_not_run(runtime: Runtime, session: DoublingSession, recorder: Recorder) -> None:
    batcher, budget = make(runtime, recorder)
    session.gate.clear()
    first = asyncio.create_task(batcher.submit(rows(1), soon()))
    await session.until_running()
    with pytest.raises(DeadlineExceededError):
        await batcher.submit(rows(2), soon(0.01))
    session.gate.set()
    await first
    await batcher.drained()
    assert session.ran == [[1.0]]
    assert recorder.rejections == ["DEADLINE_EXCEEDED"]
    assert budget.requests == 0


async def test_work_that_expires_while_the_loop_is_held_up_is_not_run(
    runtime: Runtime, session: DoublingSession, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the lane frees and the deadline passes in one turn of the loop, the rows are dropped, whichever is noticed first."""
    batcher, _ = make(runtime, recorder)
    session.gate.clear()
    first = asyncio.create_task(batcher.submit(rows(1), soon()))
    await session.until_running()
    second = asyncio.create_task(batcher.submit(rows(2), soon(60)))
    await settled()
    loop = asyncio.get_running_loop()
    late = loop.time() + 120
    # The clock as the batcher reads it, without the loop's own timers, which would answer the second request themselves.
    monkeypatch.setattr(batcher, "_now", lambda: late)
    session.gate.set()
    await first
    await batcher.drained()
    assert session.ran == [[1.0]]
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)


async def test_work_that_is_late_on_arrival_is_refused(runtime: Runtime, session: DoublingSession, recorder: Recorder) -> None:
    batcher, _ = make(runtime, recorder)
    with pytest.raises(DeadlineExceededError):
        await batcher.submit(rows(1), soon(-1))
    assert session.ran == []


async def test_cancelled_work_is_not_run(runtime: Runtime, session: DoublingSession, recorder: Recorder) -> None:
    batcher, budget = make(runtime, recorder)
    session.gate.clear()
    first = asyncio.create_task(batcher.submit(rows(1), soon()))
    await session.until_running()
    second = asyncio.create_task(batcher.submit(rows(2), soon()))
    await settled()
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert budget.requests == 1
    session.gate.set()
    await first
    await batcher.drained()
    assert session.ran == [[1.0]]
    assert recorder.rejections == ["CANCELLED"]


async def test_the_queue_is_bounded_by_count(runtime: Runtime, session: DoublingSession, recorder: Recorder) -> None:
    batcher, budget = make(runtime, recorder, max_requests=3)
    session.gate.clear()
    accepted = [asyncio.create_task(batcher.submit(rows(value), soon())) for value in range(3)]
    await settled()
    assert budget.requests == 3
    with pytest.raises(QueueFullError) as refused:
        await batcher.submit(rows(9), soon())
    assert refused.value.retry_delay_s is not None
    session.gate.set()
    await asyncio.gather(*accepted)
    assert recorder.rejections == ["QUEUE_FULL"]


async def test_queue_memory_is_bounded_at_four_times_overload(runtime: Runtime, session: DoublingSession, recorder: Recorder) -> None:
    limit = 40 * ROW_BYTES
    batcher, budget = make(runtime, recorder, max_bytes=limit)
    session.gate.clear()
    tasks = [asyncio.create_task(batcher.submit(rows(*[float(value)] * 4), soon())) for value in range(40)]  # 160 rows: four times the limit
    await settled()
    assert budget.bytes == limit
    session.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(outcome, QueueFullError) for outcome in outcomes) == 30
    assert sum(isinstance(outcome, dict) for outcome in outcomes) == 10
    assert budget.bytes == 0


async def test_a_large_request_that_is_refused_does_not_shut_out_small_ones(runtime: Runtime, session: DoublingSession, recorder: Recorder) -> None:
    batcher, budget = make(runtime, recorder, max_bytes=20 * ROW_BYTES)
    session.gate.clear()
    first = asyncio.create_task(batcher.submit(rows(*range(8)), soon()))
    await settled()
    with pytest.raises(QueueFullError):
        await batcher.submit(rows(*range(15)), soon())
    assert not budget.is_full
    small = asyncio.create_task(batcher.submit(rows(1), soon()))
    await settled()
    session.gate.set()
    await asyncio.gather(first, small)


async def test_at_the_limit_a_refusal_stands_for_what_comes_until_something_is_given_back(
    runtime: Runtime, session: DoublingSession, recorder: Recorder
) -> None:
    batcher, budget = make(runtime, recorder, max_requests=1)
    session.gate.clear()
    first = asyncio.create_task(batcher.submit(rows(1), soon()))
    await settled()
    with pytest.raises(QueueFullError):
        await batcher.submit(rows(2), soon())
    assert budget.is_full
    session.gate.set()
    await first
    assert not budget.is_full


async def test_a_request_that_never_fits_carries_no_retry(runtime: Runtime, recorder: Recorder) -> None:
    batcher, _ = make(runtime, recorder, max_bytes=4 * ROW_BYTES)
    with pytest.raises(QueueFullError) as refused:
        await batcher.submit(rows(*range(5)), soon())
    assert refused.value.retry_delay_s is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
async def test_one_bad_row_never_fails_its_neighbours(runtime: Runtime, session: DoublingSession, recorder: Recorder, bad: float) -> None:
    batcher, _ = make(runtime, recorder)
    session.gate.clear()
    first = asyncio.create_task(batcher.submit(rows(1), soon()))
    await session.until_running()
    tasks = [asyncio.create_task(batcher.submit(given, soon())) for given in (rows(2), rows(3, bad), rows(4))]
    await settled()
    session.gate.set()
    good, broken, also_good = await asyncio.gather(*tasks, return_exceptions=True)
    await first
    assert isinstance(broken, InvalidTensorError)
    assert broken.row == 1
    assert broken.field == "x"
    assert good["y"][0, 0] == 4
    assert also_good["y"][0, 0] == 8


async def test_a_run_that_breaks_fails_only_the_request_that_breaks_it(runtime: Runtime, session: DoublingSession, recorder: Recorder) -> None:
    batcher, _ = make(runtime, recorder)
    session.gate.clear()
    first = asyncio.create_task(batcher.submit(rows(1), soon()))
    await session.until_running()
    tasks = [asyncio.create_task(batcher.submit(given, soon())) for given in (rows(2), rows(666), rows(4))]
    await settled()
    session.gate.set()
    good, broken, also_good = await asyncio.gather(*tasks, return_exceptions=True)
    await first
    assert isinstance(broken, RuntimeError)
    assert good["y"][0, 0] == 4
    assert also_good["y"][0, 0] == 8


async def test_an_answer_that_overflows_is_an_error_not_an_answer(runtime: Runtime, recorder: Recorder) -> None:
    batcher, _ = make(runtime, recorder)
    with pytest.raises(InvalidTensorError, match="Row 1") as refused:
        await batcher.submit(rows(1, 3e38), soon())
    assert refused.value.row == 1


async def test_a_bad_row_late_in_a_long_request_is_named_by_its_own_index(runtime: Runtime, recorder: Recorder) -> None:
    batcher, budget = make(runtime, recorder)
    with pytest.raises(InvalidTensorError) as refused:
        await batcher.submit(rows(*range(18), np.nan, 1.0), soon())
    assert refused.value.row == 18
    assert budget.requests == 0
