"""Fixed inputs that stay on the device: here on the CPU, by the calls that place them on a GPU."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from dichroic.bundle.arrays import Arrays
from services.engine.placed import MOST_KEPT
from services.engine.runtime import Runtime, ShapeError
from tests.services.engine.test_fixed_inputs import ADDING, WRONG, arrays, x


def adding() -> ort.InferenceSession:
    """y = x + Σ w; rows = x's first column times w."""
    value = helper.make_tensor_value_info
    inputs = [value("x", TensorProto.FLOAT, ["n", 2]), value("w", TensorProto.DOUBLE, ["N"]), value("v", TensorProto.DOUBLE, ["N", 2])]
    outputs = [value("y", TensorProto.FLOAT, ["n", 2]), value("rows", TensorProto.FLOAT, ["n", "N"])]
    nodes = [
        helper.make_node("Cast", ["w"], ["w32"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["w32"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
        helper.make_node("Gather", ["x", "first"], ["column"], axis=1),
        helper.make_node("Mul", ["column", "w32"], ["rows"]),
    ]
    graph = helper.make_graph(nodes, "add", inputs, outputs, [helper.make_tensor("first", TensorProto.INT64, [1], [0])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """Bytes and device of everything that was placed."""
    found: list[tuple[int, str]] = []
    place = ort.OrtValue.ortvalue_from_numpy

    def noted(array: np.ndarray, device: str = "", number: int = 0) -> ort.OrtValue:  # type: ignore[type-arg]
        if device:
            found.append((array.nbytes, device))
        return place(array, device or "cpu", number)

    monkeypatch.setattr("services.engine.placed.ort.OrtValue.ortvalue_from_numpy", noted)
    return found


@pytest.fixture
def placed(copied: list[tuple[int, str]]) -> Iterator[Runtime]:
    made = Runtime("add", adding(), ADDING, max_batch=8, pad=False, place_on="cpu")
    made.hold(arrays(1.0))
    yield made
    made.lane.shutdown()


def same(found: Arrays, expected: Arrays) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert (found[name].dtype, found[name].tobytes()) == (values.dtype, values.tobytes())


def test_placed_inputs_give_the_answers_that_others_give(placed: Runtime) -> None:
    plain = Runtime("add", adding(), ADDING, max_batch=8, pad=False)
    plain.hold(arrays(1.0))
    other = {"w": np.arange(10.0)[::2], "v": np.zeros((5, 2))}  # w is no contiguous array
    for fixed in (None, other, arrays(3.0, 7), None, other):
        same(placed.run(x(1, 2, 3), fixed=fixed), plain.run(x(1, 2, 3), fixed=fixed))
    plain.lane.shutdown()


def test_what_is_held_is_placed_once_and_a_callers_once_while_it_is_in_use(placed: Runtime, copied: list[tuple[int, str]]) -> None:
    assert copied == [(24, "cpu"), (48, "cpu")]
    session, prior = arrays(10.0, 5), arrays(0.0, 8)
    for _ in range(3):
        assert placed.run(x(1))["y"][0, 0] == 4
        assert placed.run(x(1), fixed=session)["y"][0, 0] == 51
        assert placed.run(x(1), fixed=prior)["y"][0, 0] == 1
    assert len(copied) == 6
    for value in range(MOST_KEPT):
        placed.run(x(1), fixed=arrays(float(value), 4))
    placed.run(x(1), fixed=session)  # gave way meanwhile
    assert len(copied) == 6 + 2 * MOST_KEPT + 2


def test_equal_arrays_of_another_object_are_placed_anew(placed: Runtime) -> None:
    """A session that observed has another object, whose arrays may be the same ones with other values."""
    fixed = arrays(10.0, 5)
    assert placed.run(x(1), fixed=fixed)["y"][0, 0] == 51
    fixed["w"][:] = 20
    assert placed.run(x(1), fixed=dict(fixed))["y"][0, 0] == 101


@pytest.mark.parametrize("case", WRONG)
def test_a_fixed_input_that_is_wrong_is_refused_before_it_is_placed(placed: Runtime, copied: list[tuple[int, str]], case: str) -> None:
    before = len(copied)
    with pytest.raises(ShapeError, match="the fixed input"):
        placed.run(x(1), fixed=WRONG[case])
    assert len(copied) == before
