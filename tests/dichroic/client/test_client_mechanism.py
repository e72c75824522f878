"""The mechanism room's calls of both clients: values become what the model takes, and answers are named arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dichroic import ModelIdentity
from dichroic.errors import (
    InternalError,
    InvalidFieldError,
    InvalidTensorError,
    MessageTooLargeError,
    MissingMechanismError,
    SessionConflictError,
    SessionExpiredError,
    SessionMemoryError,
    SessionModelChangedError,
    UnitMismatchError,
    UnknownCategoryError,
    UnknownMechanismError,
    UnknownSessionError,
)
from dichroic.wire import from_array
from tests.dichroic.fake_mechanism import PARTS
from tests.dichroic.fake_server import FakeServer

MODEL = ModelIdentity("hysteresis", 2, "c" * 64)
PATCH = np.arange(3 * 16, dtype=np.float32).reshape(3, 4, 4)
FIELD = np.array([[0.5, -1], [2, 0], [1, 1]])
GIVEN: dict[str, Any] = {"patch": PATCH, "field": FIELD, "dwell": [0.1, 0.2, 0.3], "phase": ["up", "mixed", "down"]}
TOTAL = PATCH.sum(axis=(1, 2)) + FIELD.sum(axis=1) + np.array([0.1, 0.2, 0.3]) + np.array([0, 2, 1])


def sent(request: Any, name: str, field: str = "inputs") -> np.ndarray[Any, Any]:
    found = [each for each in getattr(request, field) if each.name == name]
    assert len(found) == 1
    return from_array(found[0].values, field=name)


def test_predict_answers_parts_total_and_quantiles_under_their_names(client: Any, server: FakeServer) -> None:
    found = client.predict("hysteresis", GIVEN, frame_id="f", acquisition_time_unix_ns=7, include_covariance=True, units={"field": "V"})
    assert (found.model, found.frame_id, found.acquisition_time_unix_ns, found.session_id, found.revision) == (MODEL, "f", 7, "", 0)
    np.testing.assert_allclose(found.total_mean, TOTAL)
    np.testing.assert_allclose(found.part_mean[:, 1], TOTAL)
    assert (found.part_names, found.unit, found.noise_included) == (PARTS, "pm", False)
    assert (found.part_covariance.shape, found.quantiles.shape, found.quantile_probabilities.tolist()) == (
        (3, 3, 3),
        (3, 5),
        [0.05, 0.25, 0.5, 0.75, 0.95],
    )
    assert (found.outside.dtype, found.factor.dtype, found.total_variance.tolist()) == (bool, np.float64, [3.0] * 3)
    found.total_mean[:] = 0  # the caller's own
    request = server.asked("Predict")[0]
    assert [(each.name, each.unit) for each in request.inputs] == [("patch", ""), ("field", "V"), ("dwell", ""), ("phase", "")]


def test_what_is_not_asked_for_is_none_and_noise_is_said(client: Any, server: FakeServer) -> None:
    found = client.predict("hysteresis", GIVEN, include_noise=True)
    assert (found.part_covariance, found.noise_included, found.total_variance[0]) == (None, True, 4.0)
    assert [(request.include_noise, request.include_covariance) for request in server.asked("Predict")] == [(True, False)]


def test_mechanisms_by_name_and_from_a_dictionary_are_the_same(client: Any, server: FakeServer) -> None:
    client.predict("hysteresis", **GIVEN)
    client.predict("hysteresis", {"patch": PATCH, "field": FIELD}, dwell=GIVEN["dwell"], phase=GIVEN["phase"])
    first, second = server.asked("Predict")
    assert first.inputs == second.inputs
    with pytest.raises(InvalidFieldError, match="patch is given twice"):
        client.predict("hysteresis", {"patch": PATCH}, patch=PATCH)
    with pytest.raises(InvalidFieldError, match="No mechanism is given"):
        client.predict("hysteresis")


# What is given, and what is sent of it.
CONVERTED: dict[str, tuple[dict[str, Any], str, Any]] = {
    "a list of numbers": ({"field": [[1, 2], [3, 4], [5, 6]]}, "float64", [[1, 2], [3, 4], [5, 6]]),
    "float32 coordinates": ({"field": FIELD.astype(np.float32)}, "float64", FIELD),
    "integers of a counter": ({"field": FIELD.astype(np.int32)}, "float64", FIELD.astype(np.int32)),
    "one row for all": ({"field": [1.0, 2.0]}, "float64", [[1, 2]] * 3),
    "a column": ({"dwell": np.ones((3, 1))}, "float64", [[1]] * 3),
    "a single column": ({"dwell": np.arange(3)}, "float64", [[0], [1], [2]]),
    "one number": ({"dwell": 0.5}, "float64", [[0.5]] * 3),
    "an index": ({"phase": np.array([0, 2, 1], np.uint8)}, "int64", [0, 2, 1]),
    "names": ({"phase": np.array(["down", "up", "mixed"])}, "int64", [1, 0, 2]),
    "one name": ({"phase": "mixed"}, "int64", [2, 2, 2]),
    "a list of images": ({"patch": list(PATCH)}, "float32", PATCH),
    "float64 images": ({"patch": PATCH.astype(float)}, "float32", PATCH),
    "detector images": ({"patch": PATCH.astype(">u2")}, "uint16", PATCH),
    "camera images": ({"patch": PATCH.astype(np.uint8)}, "uint8", PATCH),
}


@pytest.mark.parametrize("case", CONVERTED)
def test_values_become_what_the_model_takes(client: Any, server: FakeServer, case: str) -> None:
    change, dtype, expected = CONVERTED[case]
    client.predict("hysteresis", GIVEN | change)
    values = sent(server.asked("Predict")[0], next(iter(change)))
    assert values.dtype == dtype
    np.testing.assert_array_equal(values, expected)
    assert values.shape == np.shape(expected)


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str, int | None]] = {
    "another number of rows": ({"field": FIELD[:2]}, InvalidTensorError, "differ in rows", None),
    "a single image": ({"patch": PATCH[0]}, InvalidTensorError, r"patch\[None\]", None),
    "int64 images": ({"patch": PATCH.astype(np.int64)}, InvalidTensorError, "uint8, uint16, or floats", None),
    "NaN in coordinates": ({"field": np.array([[0, 0], [0, np.nan], [0, 0]])}, InvalidTensorError, "row 1", 1),
    "NaN in one row for all": ({"field": [np.nan, 0]}, InvalidTensorError, "NaN", 0),
    "infinity in an image": ({"patch": np.full((3, 4, 4), np.inf)}, InvalidTensorError, "row 0", 0),
    "a category between two": ({"phase": [0.5, 1, 2]}, InvalidTensorError, "whole number", None),
    "a category of another model": (
        {"phase": ["up", "sideways", "up"]},
        UnknownCategoryError,
        "'sideways' in row 1; the model has up, down, mixed",
        1,
    ),
    "text": ({"field": "high"}, InvalidTensorError, "field", None),
    "true and false": ({"dwell": [True, False, True]}, InvalidTensorError, "real numbers", None),
    "too many columns": ({"field": np.zeros((3, 2, 2))}, InvalidTensorError, r"expected \(n, 2\)", None),
    "masked": ({"dwell": np.ma.masked_array(np.ones(3), [0, 1, 0])}, InvalidTensorError, "mask", None),
    "nothing in it": ({"patch": PATCH[:0], "field": FIELD[:0], "dwell": [], "phase": "up"}, InvalidTensorError, "no rows", None),
    "ragged": ({"field": [[1, 2], [3]]}, InvalidTensorError, "field", None),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_become_that_is_refused_before_it_is_sent(client: Any, server: FakeServer, case: str) -> None:
    change, kind, words, row = REFUSED[case]
    with pytest.raises(kind, match=words) as caught:
        client.predict("hysteresis", GIVEN | change)
    assert caught.value.row == row  # type: ignore[attr-defined]
    assert server.asked("Predict") == []


def test_a_unit_of_what_is_not_given_is_refused(client: Any) -> None:
    with pytest.raises(InvalidFieldError, match="unit of current is declared"):
        client.predict("hysteresis", GIVEN, units={"current": "A"})


def test_mechanisms_that_the_client_does_not_know_are_left_to_the_server(client: Any, server: FakeServer) -> None:
    client.predict("hysteresis", GIVEN | {"stress": np.ones((3, 2), np.float16), "grain": [1, 2, 3]})
    request = server.asked("Predict")[0]
    assert (sent(request, "stress").dtype, sent(request, "grain").dtype) == (np.float32, np.int64)


def test_a_large_batch_is_split_comes_back_in_order_and_is_of_one_version(connect: Callable[..., Any], server: FakeServer) -> None:
    many = {"patch": np.zeros((95, 4, 4), np.uint8), "field": np.zeros(2), "dwell": np.arange(95), "phase": 0}
    done: list[tuple[int, int]] = []
    found = connect(server.address, message_bytes=500).predict("hysteresis", many, progress=lambda rows, of: done.append((rows, of)))
    np.testing.assert_array_equal(found.total_mean, np.arange(95))
    requests = server.asked("Predict")
    assert len(requests) > 5
    assert all(len({each.values.shape[0] for each in request.inputs}) == 1 for request in requests)
    assert [request.model_version for request in requests] == [0] + [2] * (len(requests) - 1)
    assert done[-1] == (95, 95)


def test_rows_of_two_revisions_are_never_mixed(connect: Callable[..., Any], server: FakeServer) -> None:
    client = connect(server.address, message_bytes=500)
    made = client.create_session("hysteresis")

    def meanwhile(seen: Any) -> None:
        if len(server.asked("Predict")) == 3:
            server.mechanism.revisions[made.session_id] = 5

    server.on_call = meanwhile
    with pytest.raises(SessionConflictError, match="call again"):
        client.predict("hysteresis", {"patch": np.zeros((50, 4, 4), np.uint8), "field": [0, 0], "dwell": 0, "phase": 0}, session_id=made.session_id)
    assert {(request.model_name, request.model_version) for request in server.asked("Predict")} == {("", 0)}, "the session names the model"


def test_an_answer_of_other_rows_is_an_error(client: Any, server: FakeServer) -> None:
    server.mechanism.rows_short = 1
    with pytest.raises(InternalError, match="2 rows of part_mean for 3 rows"):
        client.predict("hysteresis", GIVEN)


def test_suggest_asks_for_what_was_wanted(client: Any, server: FakeServer) -> None:
    found = client.suggest(
        "hysteresis", GIVEN, strategy="ei", count=2, kappa=1.5, goal="minimise", incumbent=-3.5, part="field", units={"field": "V"}, version=2
    )
    assert (found.model, found.candidate_index.tolist(), found.score.tolist()) == (MODEL, [9, 8], [9.5, 8.5])
    assert (found.total_sd.tolist(), found.part_sd.tolist(), found.revision) == ([10.0, 9.0], [9.25, 8.25], 0)
    request = server.asked("Suggest")[0]
    assert (request.model_name, request.model_version, request.session_id) == ("hysteresis", 2, "")
    assert (request.strategy, request.count, request.kappa, request.goal, request.part) == ("ei", 2, 1.5, "minimise", "field")
    assert from_array(request.incumbent, field="incumbent").tolist() == [-3.5]
    assert sent(request, "field", "candidates").dtype == np.float64
    assert request.candidates[1].unit == "V"


@pytest.mark.parametrize("wrong", [{"count": 0}, {"kappa": -1.0}, {"kappa": float("nan")}, {"incumbent": float("inf")}])
def test_a_suggestion_that_cannot_be_asked_for_is_refused(client: Any, server: FakeServer, wrong: dict[str, Any]) -> None:
    with pytest.raises((InvalidFieldError, InvalidTensorError)) as caught:
        client.suggest("hysteresis", GIVEN, strategy="ucb", **wrong)
    assert caught.value.field == next(iter(wrong))
    assert server.asked("Suggest") == []


def test_candidates_over_the_servers_limit_are_refused_before_they_are_sent(client: Any, server: FakeServer) -> None:
    server.max_message_bytes = 1000
    many = {"patch": np.zeros((50, 4, 4), np.uint8), "field": [0, 0], "dwell": 0, "phase": 0}
    for call in (lambda: client.suggest("hysteresis", many, strategy="total_sd"), lambda: client.create_session("hysteresis", many)):
        with pytest.raises(MessageTooLargeError, match="receives 1000"):
            call()
    assert server.asked("Suggest") + server.asked("CreateSession") == []


@pytest.mark.parametrize(
    "kind",
    [
        UnknownMechanismError,
        MissingMechanismError,
        UnitMismatchError,
        UnknownCategoryError,
        UnknownSessionError,
        SessionExpiredError,
        SessionConflictError,
        SessionModelChangedError,
        SessionMemoryError,
    ],
)
def test_every_error_of_the_room_is_raised_again(client: Any, server: FakeServer, kind: Any) -> None:
    server.failures["Predict"] = [kind("as the server says")]
    with pytest.raises(kind, match="as the server says"):
        client.predict("hysteresis", GIVEN)


def test_when_the_model_takes_other_values_than_before_it_is_asked_again(client: Any, server: FakeServer) -> None:
    server.failures["Predict"] = [InvalidTensorError("field is float64; send float32", field="field")]
    with pytest.raises(InvalidTensorError):
        client.predict("hysteresis", GIVEN)
    client.predict("hysteresis", GIVEN)
    client.predict("hysteresis", GIVEN)
    assert len(server.asked("GetModel")) == 2
    with pytest.raises(UnknownCategoryError):
        client.predict("hysteresis", GIVEN | {"phase": "new"})
    client.predict("hysteresis", GIVEN)
    assert len(server.asked("GetModel")) == 3, "the model may have learnt a category meanwhile"
