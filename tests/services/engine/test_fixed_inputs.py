"""Inputs of a graph that are the same for every row: kept by the runtime, given by a caller, and never mixed with another's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from dichroic.bundle import Signature, TensorSpec
from dichroic.bundle.arrays import Arrays
from dichroic.bundle.tensors import FixedSpec
from dichroic.errors import QueueFullError
from services.engine.batcher import MicroBatcher
from services.engine.budget import QueueBudget
from services.engine.runtime import Runtime, ShapeError
from tests.services.engine.conftest import DOUBLING, SPEC, DoublingSession, Recorder
from tests.toy_bundle import NDArray

# y = x + the sum of w (N,); rows = x times every entry of w.
FIXED = (
    FixedSpec(name="w", dtype="float64", shape=("N",), meaning="weights"),
    FixedSpec(name="v", dtype="float64", shape=("N", 2), meaning="others"),
)
ADDING = Signature(
    graph="add.onnx",
    inputs=DOUBLING.inputs,
    fixed=FIXED,
    outputs=(
        DOUBLING.outputs[0],
        TensorSpec(name="rows", **SPEC | {"shape": ("n", "N"), "axes": ("batch", "point")}),
    ),
    max_batch=8,
)


class AddingSession(DoublingSession):
    """Remembers which weights each run had."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[float] = []
        self.rows = 0

    def run(self, names: list[str], inputs: dict[str, NDArray], options: object = None) -> list[NDArray]:
        super().run(names, {"x": inputs["x"]}, options)
        self.weights.append(float(inputs["w"].sum()))
        whole = (inputs["x"][:, :1] * inputs["w"]).astype(np.float32)
        return [inputs["x"] + np.float32(inputs["w"].sum()), whole[:, : self.rows or None]]


def arrays(value: float, count: int = 3) -> Arrays:
    return {"w": np.full(count, value), "v": np.zeros((count, 2))}


@pytest.fixture
def adding() -> AddingSession:
    return AddingSession()


@pytest.fixture
def runtime(adding: AddingSession) -> Iterator[Runtime]:
    made = Runtime("add", adding, ADDING, max_batch=8, pad=False)  # type: ignore[arg-type]
    made.hold(arrays(1.0))
    yield made
    adding.gate.set()
    made.lane.shutdown()


def x(*values: float) -> dict[str, NDArray]:
    return {"x": np.array([[value, value] for value in values], dtype=np.float32)}


def test_a_runtime_takes_what_it_holds_and_for_one_run_what_it_is_given(runtime: Runtime) -> None:
    assert runtime.run(x(1))["y"][0, 0] == 4
    assert runtime.run(x(1), fixed=arrays(10.0, 5))["y"][0, 0] == 51
    assert runtime.run(x(1), fixed=arrays(10.0, 5))["rows"].shape == (1, 5)
    assert runtime.run(x(1))["y"][0, 0] == 4  # what it holds is still there


WRONG: dict[str, Arrays] = {
    "missing": {"w": np.ones(3)},
    "of another dtype": {"w": np.ones(3, np.float32), "v": np.zeros((3, 2))},
    "of another rank": {"w": np.ones((3, 1)), "v": np.zeros((3, 2))},
    "of another width": {"w": np.ones(3), "v": np.zeros((3, 3))},
    "of two lengths": {"w": np.ones(3), "v": np.zeros((4, 2))},
}


@pytest.mark.parametrize("case", WRONG)
def test_a_fixed_input_that_is_wrong_is_refused_by_name(runtime: Runtime, case: str) -> None:
    name = "w" if "dtype" in case or "rank" in case else "v"
    for refuse in (lambda: runtime.hold(WRONG[case]), lambda: runtime.run(x(1), fixed=WRONG[case])):
        with pytest.raises(ShapeError, match=f"the fixed input {name} is"):
            refuse()


def test_an_output_that_is_not_as_long_as_the_fixed_input_is_refused(runtime: Runtime, adding: AddingSession) -> None:
    adding.rows = 2
    with pytest.raises(ShapeError, match="rows came out as"):
        runtime.run(x(1))


def batcher(runtime: Runtime, recorder: Recorder) -> MicroBatcher:
    return MicroBatcher("m", runtime, QueueBudget(1000, 1 << 20), recorder)


def soon() -> float:
    return asyncio.get_running_loop().time() + 30


async def behind_the_first(runtime: Runtime, adding: AddingSession, queue: MicroBatcher, given: list[tuple[float, Arrays | None]]) -> list[float]:
    """Submits all while the lane is busy; what each was answered."""
    adding.gate.clear()
    first = asyncio.create_task(queue.submit(x(0), soon()))
    await adding.until_running()
    tasks = []
    for value, fixed in given:
        tasks.append(asyncio.create_task(queue.submit(x(value), soon(), fixed)))
        await asyncio.sleep(0)
    adding.gate.set()
    await first
    return [float(answer["y"][0, 0]) for answer in await asyncio.gather(*tasks)]


async def test_works_of_different_fixed_inputs_never_share_a_run(runtime: Runtime, adding: AddingSession, recorder: Recorder) -> None:
    one, other = arrays(10.0), arrays(100.0)
    given = [(1.0, one), (2.0, other), (3.0, None), (4.0, one), (5.0, other), (6.0, None)]
    answers = await behind_the_first(runtime, adding, batcher(runtime, recorder), given)
    assert answers == [31, 302, 6, 34, 305, 9]
    assert adding.ran == [[0.0], [1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]  # those with one run together, the first come first
    assert adding.weights == [3, 30, 300, 3]


async def test_equal_arrays_that_are_not_the_same_object_are_kept_apart(runtime: Runtime, adding: AddingSession, recorder: Recorder) -> None:
    """Comparing them would cost more than a run, and one may be changed."""
    await behind_the_first(runtime, adding, batcher(runtime, recorder), [(1.0, arrays(10.0)), (2.0, arrays(10.0))])
    assert adding.ran == [[0.0], [1.0], [2.0]]


async def test_no_work_is_overtaken_for_ever(runtime: Runtime, adding: AddingSession, recorder: Recorder) -> None:
    """The work at the head of the queue decides whose run it is."""
    one, other = arrays(10.0), arrays(100.0)
    given = [(1.0, one), (2.0, other), *((float(value), one) for value in range(3, 20))]
    await behind_the_first(runtime, adding, batcher(runtime, recorder), given)
    assert adding.ran[1][0] == 1.0
    assert adding.ran[2] == [2.0]


async def test_a_long_work_with_its_own_arrays_is_answered_whole(runtime: Runtime, adding: AddingSession, recorder: Recorder) -> None:
    queue, one = batcher(runtime, recorder), arrays(10.0)
    values = [float(value) for value in range(20)]
    long, short = await asyncio.gather(queue.submit(x(*values), soon(), one), queue.submit(x(1.0), soon()))
    np.testing.assert_array_equal(long["y"][:, 0], np.array(values, np.float32) + 30)
    np.testing.assert_array_equal(short["y"][:, 0], [4])


def test_a_signature_without_fixed_inputs_asks_no_maker(session: DoublingSession) -> None:
    runtime = Runtime("double", session, DOUBLING, max_batch=8, pad=False)  # type: ignore[arg-type]
    runtime.hold({})
    assert runtime.run(x(2))["y"][0, 0] == 4
    runtime.lane.shutdown()


async def test_the_budget_counts_rows_as_long_as_their_fixed_inputs_make_them(runtime: Runtime, adding: AddingSession, recorder: Recorder) -> None:
    budget = QueueBudget(1000, 1 << 20)
    queue = MicroBatcher("m", runtime, budget, recorder)
    adding.gate.clear()
    tasks = [asyncio.create_task(queue.submit(x(1, 2), soon()))]
    await adding.until_running()
    assert budget.bytes == queue.size_bytes(2) == 2 * (16 + 4 * 3)  # x and y, and `rows` along the three weights that are held
    tasks.append(asyncio.create_task(queue.submit(x(1, 2), soon(), arrays(1.0, 500))))
    await asyncio.sleep(0)
    assert budget.bytes == 2 * (16 + 4 * 3) + 2 * (16 + 4 * 500)
    with pytest.raises(QueueFullError):
        await queue.submit(x(1, 2), soon(), arrays(1.0, 1 << 17))
    adding.gate.set()
    await asyncio.gather(*tasks)
    assert budget.bytes == 0


async def test_a_run_holds_no_more_bytes_than_it_may_however_long_the_fixed_inputs(adding: AddingSession, recorder: Recorder) -> None:
    runtime = Runtime("add", adding, ADDING, max_batch=8, pad=False, max_run_bytes=1000)  # type: ignore[arg-type]
    runtime.hold(arrays(1.0, 46))
    assert (runtime.max_batch, runtime.buckets[-1]) == (5, 5)  # of 16 + 4 · 46 bytes
    answer = await batcher(runtime, recorder).submit(x(*range(6)), soon())
    assert [len(ran) for ran in adding.ran] == [5, 1]
    adding.ran.clear()
    answer = await batcher(runtime, recorder).submit(x(*range(5)), soon(), arrays(1.0, 121))
    assert [len(ran) for ran in adding.ran] == [2, 2, 1]  # of 16 + 4 · 121
    assert answer["rows"].shape == (5, 121)
    adding.ran.clear()
    await batcher(runtime, recorder).submit(x(1, 2), soon(), arrays(1.0, 1000))
    assert [len(ran) for ran in adding.ran] == [1, 1]  # at least one
    runtime.lane.shutdown()


async def test_runs_with_few_points_do_not_make_one_with_many_count_as_quick(
    runtime: Runtime, adding: AddingSession, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.engine.batcher.QUICK_S", 0.5)  # on a busy machine, too, a run is quicker than this
    queue, few, many = batcher(runtime, recorder), arrays(1.0, 8), arrays(1.0, 5000)
    for _ in range(20):
        await queue.submit(x(1), soon(), few)
    assert adding.threads[-1] == threading.get_ident()
    await queue.submit(x(1), soon(), many)
    assert adding.threads[-1] != threading.get_ident()
