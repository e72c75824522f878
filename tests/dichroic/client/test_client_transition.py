"""The transition room's calls of both clients: values become what the wire takes, and answers are named arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dichroic import ModelIdentity
from dichroic.errors import BondLengthError, InternalError, InvalidFieldError, InvalidTensorError, MessageTooLargeError, ModelChangedError
from dichroic.v1 import models_pb2
from dichroic.wire import from_array, is_given
from tests.dichroic.fake_server import FakeServer

MODEL = ModelIdentity("dune", 2, "e" * 64)
BEAM = np.array([[0.5, -1.0], [2.0, 0.25], [1.0, 1.0]])
NEIGHBOURS = np.arange(18.0).reshape(3, 3, 2) / 7
RATES = np.hypot(*np.moveaxis(BEAM[:, None] - NEIGHBOURS, -1, 0))
ATOMS, NUMBERS = np.arange(8.0).reshape(4, 2), [6, 14, 6, 6]


def sent(request: Any, name: str) -> Any:
    return from_array(getattr(request, name), field=name)


def test_states_become_rates_and_probabilities_under_their_names(client: Any, server: FakeServer) -> None:
    found = client.predict_transitions("dune", BEAM, NEIGHBOURS, dwell_s=[1, 2, 3], frame_id="f", acquisition_time_unix_ns=7)
    assert (found.model, found.frame_id, found.acquisition_time_unix_ns) == (MODEL, "f", 7)
    np.testing.assert_array_equal(found.rates_per_s, RATES)
    np.testing.assert_array_equal(found.rates_sd_per_s, RATES / 10)
    np.testing.assert_array_equal(found.sites_xy_angstrom[:, 1:], NEIGHBOURS)
    assert (found.first_hop_probability.shape, found.occupancy.shape, found.occupancy_sd.shape) == ((3, 4), (3, 5), (3, 5))
    assert (found.first_hop_sd[0, 0], found.outside.tolist()) == (0.125, (RATES[:, 0] > 3).tolist())
    assert (found.dopant_index, found.neighbour_index) == (None, None)
    found.rates_per_s[:] = 0  # the caller's own
    request = server.asked("PredictTransitions")[0]
    assert (request.model_name, request.model_version) == ("dune", 0)
    assert not any(is_given(getattr(request, name)) for name in ("current_na", "voltage_kv", "atoms_xy_angstrom", "dopant_index"))


CONVERTED: dict[str, tuple[dict[str, Any], str, Any]] = {
    "one dwell for all": ({"dwell_s": 1.5}, "dwell_s", [1.5] * 3),
    "one dwell in a list": ({"dwell_s": [2]}, "dwell_s", [2.0] * 3),
    "one current for all": ({"current_na": 0.02}, "current_na", [0.02] * 3),
    "float32": ({"voltage_kv": np.array([60, 70, 80], np.float32)}, "voltage_kv", [60.0, 70.0, 80.0]),
    "one lattice for all": ({"neighbours_xy_angstrom": NEIGHBOURS[0]}, "neighbours_xy_angstrom", [NEIGHBOURS[0].tolist()] * 3),
    "one beam for all": ({"beam_xy_angstrom": [0, 1]}, "beam_xy_angstrom", [[0.0, 1.0]] * 3),
}


@pytest.mark.parametrize("case", CONVERTED)
def test_values_become_what_the_wire_takes(client: Any, server: FakeServer, case: str) -> None:
    change, field, expected = CONVERTED[case]
    client.predict_transitions("dune", **{"beam_xy_angstrom": BEAM, "neighbours_xy_angstrom": NEIGHBOURS, "dwell_s": [1, 2, 3]} | change)
    values = sent(server.asked("PredictTransitions")[0], field)
    assert (values.dtype, values.tolist()) == (np.float64, expected)


def test_atoms_are_sent_with_every_message_and_the_dopant_is_told(connect: Callable[..., Any], server: FakeServer) -> None:
    client = connect(server.address, message_bytes=1000)
    beam = np.random.default_rng(0).normal(size=(100, 2))
    found = client.predict_transitions("dune", beam, dwell_s=1, atoms_xy_angstrom=ATOMS.tolist(), atomic_numbers=NUMBERS, dopant_index=1)
    assert (found.dopant_index, found.neighbour_index.tolist(), len(found.rates_per_s)) == (1, [2, 0, 3], 100)
    requests = server.asked("PredictTransitions")
    assert len(requests) > 3
    # Two are on their way at a time: the server may note them in another order than their answers are joined in.
    rows = np.concatenate([sent(request, "beam_xy_angstrom") for request in requests])
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(beam, axis=0))
    np.testing.assert_array_equal(found.rates_per_s[:, 0], np.hypot(*beam.T))
    assert sorted({request.model_version for request in requests}) == [0, 2]
    for request in requests:
        np.testing.assert_array_equal(sent(request, "atoms_xy_angstrom"), ATOMS)
        assert (sent(request, "atomic_numbers").dtype, sent(request, "dopant_index").tolist()) == (np.int64, [1])


def test_rows_of_two_versions_are_not_mixed(connect: Callable[..., Any], server: FakeServer) -> None:
    client = connect(server.address, message_bytes=1000)
    server.on_call = lambda seen: setattr(
        server.transition, "model", models_pb2.ModelIdentity(name="dune", version=2 + len(server.asked("PredictTransitions")), digest="f" * 64)
    )
    with pytest.raises(ModelChangedError):
        client.predict_transitions("dune", np.zeros((100, 2)), NEIGHBOURS[0], dwell_s=1)


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str, int | None]] = {
    "NaN": ({"beam_xy_angstrom": [[0, 0], [np.nan, 0], [0, 0]]}, InvalidTensorError, "row 1", 1),
    "infinite dwell": ({"dwell_s": [1, 2, np.inf]}, InvalidTensorError, "row 2", 2),
    "three coordinates": ({"beam_xy_angstrom": np.zeros((3, 3))}, InvalidTensorError, r"\(n, 2\)", None),
    "four neighbours": ({"neighbours_xy_angstrom": np.zeros((3, 4, 2))}, InvalidTensorError, r"\(n, 3, 2\)", None),
    "another number of dwells": ({"dwell_s": [1, 2]}, InvalidTensorError, "differ in rows", None),
    "no rows": ({"beam_xy_angstrom": np.zeros((0, 2))}, InvalidTensorError, "no rows", None),
    "text": ({"dwell_s": "long"}, InvalidTensorError, "dwell_s", None),
    "masked": ({"dwell_s": np.ma.masked_array(np.ones(3), [0, 1, 0])}, InvalidTensorError, "mask", None),
    "atoms without numbers": ({"atoms_xy_angstrom": ATOMS}, InvalidFieldError, "atomic_numbers is missing", None),
    "numbers without atoms": ({"atomic_numbers": NUMBERS}, InvalidFieldError, "atoms_xy_angstrom is missing", None),
    "half an element": ({"atoms_xy_angstrom": ATOMS, "atomic_numbers": [6.0, 14.5, 6, 6]}, InvalidTensorError, "whole", None),
    "no name": ({"model_name": ""}, InvalidFieldError, "name is empty", None),
    "a version below 0": ({"version": -1}, InvalidFieldError, "version", None),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_refused_before_it_is_sent(client: Any, server: FakeServer, case: str) -> None:
    change, kind, words, row = REFUSED[case]
    given = {"model_name": "dune", "beam_xy_angstrom": BEAM, "neighbours_xy_angstrom": NEIGHBOURS, "dwell_s": [1, 2, 3]}
    with pytest.raises(kind, match=words) as caught:
        client.predict_transitions(**given | change)
    assert caught.value.row == row  # type: ignore[attr-defined]
    assert server.asked("PredictTransitions") == []


def test_a_plan_is_sent_whole_and_comes_back_under_its_names(client: Any, server: FakeServer) -> None:
    options = {"current_na": 5.0, "voltage_kv": 60, "image_s": 1.5, "deadline_s": 300, "risk_aversion": 0.5}
    found = client.plan(
        "dune",
        ATOMS.tolist(),
        NUMBERS,
        [6, 7],
        forbidden_index=[2, 0],
        dopant_index=1,
        **options,
        version=2,
        frame_id="f",
        acquisition_time_unix_ns=7,
    )
    assert (found.model, found.frame_id, found.acquisition_time_unix_ns) == (MODEL, "f", 7)
    assert (found.done, found.dopant_index, found.goal_index, found.dwell_s, found.outside) == (False, 1, 3, 2.5, True)
    assert (found.beam_xy_angstrom.tolist(), found.beam_from_dopant_angstrom.tolist()) == ([6.0, 7.0], [4.0, 4.0])
    assert (found.path_index.tolist(), found.assignment_index.tolist()) == ([1, 3], [[1, 3]])
    assert (found.expected_s, found.success_probability, found.lost_probability) == (31.4, 0.9, 0.05)
    assert (found.value_s, found.lost_s, found.all_expected_s, found.all_success_probability) == (40.0, 1300.0, 31.4, 0.9)
    assert found.assumptions == ("the beam stands still", "images move no atom")
    found.beam_xy_angstrom[:] = 0  # the caller's own
    request = server.asked("Plan")[0]
    assert {name: getattr(request, name) for name in options} == options
    assert (request.model_name, request.model_version) == ("dune", 2)
    assert [sent(request, name).tolist() for name in ("goals_xy_angstrom", "forbidden_index", "dopant_index")] == [[[6, 7]], [2, 0], [1]]
    assert (sent(request, "atoms_xy_angstrom").dtype, sent(request, "atomic_numbers").dtype) == (np.float64, np.int64)


def test_what_a_plan_is_not_told_is_not_sent(client: Any, server: FakeServer) -> None:
    found = client.plan("dune", ATOMS, NUMBERS, ATOMS[[0, 3]], deadline_s=1)
    assert found.done
    assert math.isnan(found.expected_s)
    request = server.asked("Plan")[0]
    assert not is_given(request.forbidden_index)
    assert not is_given(request.dopant_index)
    assert (request.current_na, request.image_s, sent(request, "goals_xy_angstrom").tolist()) == (0, 0, ATOMS[[0, 3]].tolist())


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"deadline_s": -1}, InvalidFieldError),
        ({"risk_aversion": math.nan}, InvalidFieldError),
        ({"image_s": math.inf}, InvalidFieldError),
        ({"goals_xy_angstrom": [1, 2, 3]}, InvalidTensorError),
        ({"goals_xy_angstrom": np.zeros((0, 2))}, InvalidTensorError),
        ({"forbidden_index": [0.5]}, InvalidTensorError),
        ({"atoms_xy_angstrom": np.full((4, 2), np.nan)}, InvalidTensorError),
        ({"model_name": ""}, InvalidFieldError),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused_before_it_is_sent(
    client: Any, server: FakeServer, change: dict[str, Any], kind: type[Exception]
) -> None:
    given = {"model_name": "dune", "atoms_xy_angstrom": ATOMS, "atomic_numbers": NUMBERS, "goals_xy_angstrom": [6, 7]}
    with pytest.raises(kind):
        client.plan(**given | change)
    assert server.asked("Plan") == []


def test_an_image_larger_than_the_server_receives_is_not_sent(connect: Callable[..., Any], server: FakeServer) -> None:
    server.max_message_bytes = 4000
    client = connect(server.address)
    client.model("dune")
    with pytest.raises(MessageTooLargeError):
        client.plan("dune", np.zeros((1000, 2)), np.full(1000, 6), [0, 0])
    assert server.asked("Plan") == []


def test_an_error_of_the_server_is_raised_as_it_was_named(client: Any, server: FakeServer) -> None:
    for method in ("PredictTransitions", "Plan"):
        server.failures[method] = [BondLengthError("bond lengths", field="atoms_xy_angstrom", row=3, metadata={"distance": "1"})]
    for call in (lambda: client.predict_transitions("dune", BEAM, NEIGHBOURS, dwell_s=1), lambda: client.plan("dune", ATOMS, NUMBERS, [6, 7])):
        with pytest.raises(BondLengthError, match="bond lengths") as caught:
            call()
        assert (caught.value.row, caught.value.metadata["distance"]) == (3, "1")


def test_an_answer_of_too_few_rows_is_the_servers_fault(client: Any, server: FakeServer) -> None:
    server.transition.rows_short = 1
    with pytest.raises(InternalError):
        client.predict_transitions("dune", BEAM, NEIGHBOURS, dwell_s=1)
