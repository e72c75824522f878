"""Rows of any length: frames that come with a request, maps as large as they turn out; and never another caller's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dichroic.bundle import Signature, TensorSpec
from dichroic.bundle.arrays import Arrays, pack, unpack
from dichroic.bundle.files import GOLDEN_NAME, sha256_of
from dichroic.errors import BundleRefusedError, InvalidTensorError, QueueFullError
from services.engine.batch import Segment, SegmentResult, Work, deliver
from services.engine.batcher import MicroBatcher
from services.engine.budget import QueueBudget
from services.engine.device import ChosenDevice
from services.engine.loader import Loader
from services.engine.model import LoadedBundle, ServingModel, check_inputs
from services.engine.runtime import Runtime, ShapeError
from tests.services.engine.conftest import Recorder
from tests.services.engine.frame_graphs import dense_answer, frame_answer, write_framed
from tests.toy_bundle import NDArray, rewrite_manifest

LOADER = Loader(ChosenDevice("cpu", False, 1), max_batch=16)


def spec(name: str, *row: str | int, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=("n", *row), axes=("frame", *("axis",) * len(row)), unit="1", meaning="a value")


# Halves the length of every row: y[r] = x[2r] + x[2r + 1].
PAIRS = Signature(graph="pairs.onnx", inputs=(spec("x", "W"), spec("k")), outputs=(spec("y", "R"), spec("z", "R", 2)), max_batch=8)


class PairsSession:
    """Stands for an ONNX session; remembers the shape of every run."""

    def __init__(self) -> None:
        self.ran: list[tuple[int, ...]] = []
        self.spoil = ""

    def run(self, _: list[str], inputs: dict[str, NDArray], __: object = None) -> list[NDArray]:
        x = inputs["x"]
        self.ran.append(x.shape)
        y = x[:, 0 : x.shape[1] // 2 * 2 : 2] + x[:, 1::2] + inputs["k"][:, None]
        z = np.stack((y, -y), axis=2)
        return [y[:-1] if self.spoil == "rows" else y, z[:, 1:] if self.spoil == "lengths" else z]


@pytest.fixture
def session() -> PairsSession:
    return PairsSession()


@pytest.fixture
def runtime(session: PairsSession) -> Iterator[Runtime]:
    made = Runtime("pairs", session, PAIRS, max_batch=8, pad=False)  # type: ignore[arg-type]
    yield made
    made.lane.shutdown()


def soon() -> float:
    return asyncio.get_running_loop().time() + 30


def given(generator: np.random.Generator, rows: int, length: int) -> Arrays:
    return {"x": generator.standard_normal((rows, length)).astype(np.float32), "k": generator.standard_normal(rows).astype(np.float32)}


async def test_rows_of_different_lengths_never_share_a_run_and_every_caller_gets_its_own(runtime: Runtime, session: PairsSession) -> None:
    budget = QueueBudget(1000, 1 << 24)
    queue, generator = MicroBatcher("m", runtime, budget, Recorder()), np.random.default_rng(0)
    asked = [given(generator, int(generator.integers(1, 4)), int(generator.choice([4, 6, 10]))) for _ in range(120)]
    asked.append(given(generator, 20, 6))
    answers = await asyncio.gather(*[queue.submit(inputs, soon()) for inputs in asked])
    for inputs, answer in zip(asked, answers, strict=True):
        y = inputs["x"][:, ::2] + inputs["x"][:, 1::2] + inputs["k"][:, None]
        np.testing.assert_array_equal(answer["y"], y)
        np.testing.assert_array_equal(answer["z"], np.stack((y, -y), axis=2))
    assert {shape[1] for shape in session.ran} == {4, 6, 10}
    assert len(session.ran) <= sum(shape[0] for shape in session.ran) / 6  # those of one length do run together, up to 8
    assert (budget.requests, budget.bytes) == (0, 0)


@pytest.mark.parametrize("spoil", ["rows", "lengths"])
def test_an_output_whose_named_lengths_disagree_is_refused(runtime: Runtime, session: PairsSession, spoil: str) -> None:
    session.spoil = spoil
    with pytest.raises(ShapeError, match="y came out" if spoil == "rows" else "z came out"):
        runtime.run(given(np.random.default_rng(0), 3, 8))


def test_rows_that_come_out_in_other_lengths_fail_their_caller_alone() -> None:
    """What is delivered is delivered in the event loop: nothing may be raised there."""
    loop = asyncio.new_event_loop()
    work = Work({}, 2, 0.0, 0.0, loop.create_future())
    deliver(SegmentResult(Segment(work, 0, 1), {"y": np.zeros((1, 3))}, None))
    deliver(SegmentResult(Segment(work, 1, 2), {"y": np.zeros((1, 4))}, None))
    with pytest.raises(ShapeError, match="for some rows"):
        work.answer.result()
    loop.close()


async def test_the_budget_and_a_run_count_rows_as_long_as_they_are(session: PairsSession) -> None:
    runtime = Runtime("pairs", session, PAIRS, max_batch=8, pad=False, max_run_bytes=1000)  # type: ignore[arg-type]
    generator = np.random.default_rng(0)
    runtime.run(given(generator, 2, 100))  # as the golden example: 404 bytes in, 600 out
    long, short = given(generator, 4, 100), given(generator, 4, 10)
    assert runtime.row_bytes(None, long) >= 404 + 600
    assert 44 + 60 <= runtime.row_bytes(None, short) < 44 + 90
    queue = MicroBatcher("m", runtime, QueueBudget(1000, 3000), Recorder())
    with pytest.raises(QueueFullError):
        await queue.submit(long, soon())
    session.ran.clear()
    await queue.submit(short, soon())
    await MicroBatcher("m", runtime, QueueBudget(1000, 1 << 20), Recorder()).submit(long, soon())
    assert session.ran == [(4, 10), (1, 100), (1, 100), (1, 100), (1, 100)]
    runtime.lane.shutdown()


def test_non_finite_values_reach_only_a_graph_that_passes_over_them(session: PairsSession) -> None:
    inputs = given(np.random.default_rng(0), 1, 4)
    inputs["x"][0, 1] = np.nan
    outcomes = []
    for takes in (False, True):
        x = PAIRS.inputs[0].model_copy(update={"takes_non_finite": takes})
        runtime = Runtime("pairs", session, PAIRS.model_copy(update={"inputs": (x, PAIRS.inputs[1])}), max_batch=8, pad=False)  # type: ignore[arg-type]
        outcomes.append(runtime.run_segments([Segment(Work(inputs, 1, 0, 0, None), 0, 1)])[0].error)  # type: ignore[arg-type]
        runtime.lane.shutdown()
    assert len(session.ran) == 1
    assert isinstance(outcomes[0], InvalidTensorError)
    assert outcomes[0].field == "x"
    assert "overflows" in str(outcomes[1])  # this graph does not: its answer is not let out


def test_an_array_is_as_long_as_the_one_before_it() -> None:
    signature = Signature(graph="g.onnx", inputs=(spec("x", "W"), spec("v", 2, "W")), outputs=(spec("y", "W"),), max_batch=8)
    check_inputs(signature, {"x": np.zeros((1, 5), np.float32), "v": np.zeros((1, 2, 5), np.float32)})
    for x, v in (((1, 5), (1, 2, 6)), ((1, 0), (1, 2, 0)), ((1, 5), (1, 3, 5)), ((1, 5, 1), (1, 2, 5))):
        with pytest.raises(InvalidTensorError, match="this model takes"):
            check_inputs(signature, {"x": np.zeros(x, np.float32), "v": np.zeros(v, np.float32)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_framed(tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Iterator[LoadedBundle]:
    bundle = LOADER.load(folder)
    yield bundle
    bundle.close()


async def test_a_bundle_of_frames_answers_frames_of_any_size_at_once(loaded: LoadedBundle) -> None:
    model = ServingModel.start(loaded, QueueBudget(1000, 1 << 26), Recorder())
    generator = np.random.default_rng(5)
    frames = [generator.integers(0, 255, shape, dtype=np.uint8) for shape in ((9, 40), (33, 17), (33, 17), (64, 64))]
    rows = [{"centre_px": generator.random((n, 2)).astype(np.float32), "window_px": np.full(n, 4 + n, np.float32)} for n in (1, 5, 20, 3)]
    maps = [{"frames": frame[None], "window_px": np.ones(1, np.float32)} for frame in frames]
    asked = [model.run("frame_1.uint8", inputs, soon(), {"frame": frame}) for frame, inputs in zip(frames, rows, strict=True)]
    asked += [model.run("dense_1.uint8", inputs, soon()) for inputs in maps]
    answers = await asyncio.gather(*asked)
    for outputs, inputs, frame in zip(answers[:4], rows, frames, strict=True):
        for output in model.signature("frame_1.uint8").outputs:
            np.testing.assert_allclose(outputs[output.name], frame_answer(output, inputs, frame), rtol=1e-4, atol=1e-2)
    for outputs, inputs in zip(answers[4:], maps, strict=True):
        for output in model.signature("dense_1.uint8").outputs:
            np.testing.assert_allclose(outputs[output.name], dense_answer(output, inputs), rtol=1e-4, atol=1e-3)
    assert model.budget.bytes == 0


WRONG: dict[str, Arrays | None] = {
    "missing": None,
    "of another dtype": {"frame": np.zeros((9, 9), np.float32)},
    "of another rank": {"frame": np.zeros((9, 9, 1), np.uint8)},
    "empty": {"frame": np.zeros((0, 9), np.uint8)},
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_request_without_its_frame_is_told_so(loaded: LoadedBundle, case: str) -> None:
    model = ServingModel.start(loaded, QueueBudget(10, 1 << 20), Recorder())
    inputs = {"centre_px": np.zeros((1, 2), np.float32), "window_px": np.ones(1, np.float32)}
    with pytest.raises(InvalidTensorError, match="frame is") as refused:
        await model.run("frame_1.uint8", inputs, soon(), WRONG[case])
    assert refused.value.field == "frame"


async def test_the_frame_itself_counts_in_the_budget(loaded: LoadedBundle) -> None:
    model = ServingModel.start(loaded, QueueBudget(10, 10_000), Recorder())
    inputs = {"centre_px": np.zeros((1, 2), np.float32), "window_px": np.ones(1, np.float32)}
    await model.run("frame_1.uint8", inputs, soon(), {"frame": np.zeros((90, 90), np.uint8)})
    with pytest.raises(QueueFullError):
        await model.run("frame_1.uint8", inputs, soon(), {"frame": np.zeros((120, 90), np.uint8)})


def replaced(folder: Path, golden: Arrays) -> None:
    data = pack(golden)
    (folder / GOLDEN_NAME).write_bytes(data)
    files = json.loads((folder / "bundle.json").read_text())["files"]
    for entry in files:
        if entry["path"] == GOLDEN_NAME:
            entry |= {"sha256": sha256_of(data), "size_bytes": len(data)}
    rewrite_manifest(folder, files=files)


@pytest.mark.parametrize(("key", "cause"), [("frame_1.uint8/in/frame", "NO_GOLDEN"), ("dense_1.uint8/out/content", "GOLDEN_DIFFERS")])
def test_a_frame_graphs_example_has_its_own_frame_and_lengths(tmp_path: Path, key: str, cause: str) -> None:
    folder = write_framed(tmp_path)
    golden = unpack((folder / GOLDEN_NAME).read_bytes(), path="")
    if cause == "NO_GOLDEN":
        del golden[key]
    else:
        golden[key] = np.ascontiguousarray(golden[key][:, :, 1:])
    replaced(folder, golden)
    with pytest.raises(BundleRefusedError) as refused:
        LOADER.load(folder)
    assert (refused.value.step, refused.value.cause) == ("golden", cause)


def test_an_example_of_another_frame_is_refused(tmp_path: Path) -> None:
    folder = write_framed(tmp_path)
    golden = unpack((folder / GOLDEN_NAME).read_bytes(), path="")
    golden["frame_1.uint8/in/frame"] = golden["frame_1.uint8/in/frame"] // 2
    replaced(folder, golden)
    with pytest.raises(BundleRefusedError) as refused:
        LOADER.load(folder)
    assert refused.value.cause == "GOLDEN_DIFFERS"
