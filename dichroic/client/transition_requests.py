"""The calls of the transition room, as data: what is sent, and how answers are read. Both clients run these."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dichroic.client.answers import ModelInfo
from dichroic.client.conversion import Classes, Numbers, invalid, plain
from dichroic.client.messages import OVERHEAD_BYTES
from dichroic.client.models import identity_of
from dichroic.client.requests import BatchCall, Echo, check_name
from dichroic.client.rows import joined, parts_of, required, row_bytes, whole
from dichroic.client.transition_answers import Plan, Transitions
from dichroic.errors import InvalidFieldError, InvalidTensorError, MessageTooLargeError
from dichroic.v1 import transition_pb2
from dichroic.wire import NDArray, put_array

CAPABILITY = "predict"
# The shape of one row; what has a row for each state, and what tells of the atoms.
ROWS: dict[str, tuple[int, ...]] = {
    "beam_xy_angstrom": (2,),
    "neighbours_xy_angstrom": (3, 2),
    "dwell_s": (),
    "current_na": (),
    "voltage_kv": (),
}
PREDICTED = (
    "rates_per_s",
    "rates_sd_per_s",
    "first_hop_probability",
    "first_hop_sd",
    "occupancy",
    "occupancy_sd",
    "sites_xy_angstrom",
    "outside",
)
PLANNED = ("beam_xy_angstrom", "beam_from_dopant_angstrom", "path_index", "assignment_index")
NUMBERS = ("expected_s", "success_probability", "lost_probability", "value_s", "lost_s", "all_expected_s", "all_success_probability")


def checked_states(given: Mapping[str, Numbers | None]) -> dict[str, NDArray]:
    """What is told of states as it is sent: float64, n rows each.

    Args:
        given: by the names of ROWS; None: not given. One row without its axis, or of length 1, stands for every row.

    Raises:
        InvalidTensorError: another shape, different n, no rows, no real number, NaN or infinity; `row` says which.
    """
    arrays = {name: _float64(values, name, ROWS[name]) for name, values in given.items() if values is not None}
    rows = {name: len(values) for name, values in arrays.items() if len(values) != 1}
    if len(set(rows.values())) > 1:
        raise invalid(next(iter(rows)), f"and the other arrays differ in rows: {rows}; give each the same n, or one row for all")
    n = next(iter(rows.values()), 1)
    # A view that repeats: nothing is copied before it is sent.
    return {name: np.broadcast_to(values, (n, *values.shape[1:])) for name, values in arrays.items()}


def checked_atoms(atoms_xy_angstrom: Numbers | None, atomic_numbers: Classes | None, dopant_index: int | None) -> dict[str, NDArray]:
    """What is told of an image's atoms as it is sent, by field.

    Raises:
        InvalidTensorError: positions that are not (m, 2) finite real numbers, or indices and numbers that are not whole.
        InvalidFieldError: a part without the other.
    """
    found: dict[str, NDArray] = {}
    if atoms_xy_angstrom is not None:
        found["atoms_xy_angstrom"] = _places(atoms_xy_angstrom, "atoms_xy_angstrom")
    if (atoms_xy_angstrom is None) != (atomic_numbers is None):
        missing = "atomic_numbers" if atomic_numbers is None else "atoms_xy_angstrom"
        raise InvalidFieldError(f"{missing} is missing; atoms are told by where they are and what they are.", field=missing)
    if atomic_numbers is not None:
        found["atomic_numbers"] = checked_whole(atomic_numbers, "atomic_numbers")
    if dopant_index is not None:
        found["dopant_index"] = checked_whole(dopant_index, "dopant_index")
    return found


def checked_whole(values: Classes, field: str) -> NDArray:
    """Whole numbers as they are sent: (n,) int64, from that many, or one.

    Raises:
        InvalidTensorError: another shape, or not whole.
    """
    found = plain(values, field)
    if found.size == 0:
        return np.zeros(0, np.int64)
    if found.dtype.kind not in "ui" or found.ndim > 1:
        raise invalid(field, f"has dtype {found.dtype} and shape {found.shape}; give whole numbers, (n,) or a single one")
    return np.atleast_1d(found).astype(np.int64)


def predict_transitions_call(
    model_name: str, rows: Mapping[str, NDArray], atoms: Mapping[str, NDArray], *, model_version: int, echo: Echo
) -> BatchCall[transition_pb2.PredictTransitionsRequest, transition_pb2.PredictTransitionsResponse, Transitions]:
    """States to where the dopant goes. `rows`: as checked_states gives them; `atoms`: as checked_atoms, sent with every message.

    Raises:
        InvalidFieldError: the name or version cannot be sent.
    """
    check_name(model_name, model_version)
    count = len(rows["beam_xy_angstrom"])

    def build(some: slice, version: int) -> transition_pb2.PredictTransitionsRequest:
        request = transition_pb2.PredictTransitionsRequest(
            model_name=model_name, model_version=version, frame_id=echo.frame_id, acquisition_time_unix_ns=echo.acquisition_time_unix_ns
        )
        _put(request, {name: values[some] for name, values in rows.items()} | dict(atoms))
        return request

    def join(responses: Sequence[transition_pb2.PredictTransitionsResponse]) -> Transitions:
        first = responses[0]
        found: dict[str, Any] = {name: required(parts_of(responses, name), count, name) for name in PREDICTED}
        dopant = joined([first.dopant_index], 1, "dopant_index")
        return Transitions(
            model=identity_of(first.model),
            frame_id=echo.frame_id,
            acquisition_time_unix_ns=echo.acquisition_time_unix_ns,
            dopant_index=None if dopant is None else int(dopant[0]),
            neighbour_index=joined([first.neighbour_index], 3, "neighbour_index"),
            **found,
        )

    return BatchCall(CAPABILITY, model_name, model_version, count, row_bytes(rows), lambda stubs: stubs.transition.PredictTransitions, build, join)


def plan_request(
    model_name: str,
    atoms: Mapping[str, NDArray],
    goals_xy_angstrom: Numbers,
    forbidden_index: Classes | None,
    options: Mapping[str, float],
    *,
    model_version: int,
    echo: Echo,
) -> transition_pb2.PlanRequest:
    """One image, and where to. `atoms`: as checked_atoms gives them; `options`: numbers by field, 0 for the default.

    Raises:
        InvalidFieldError: a name or number that cannot be sent.
        InvalidTensorError: goals that are not (g, 2), or (2,) for one; indices that are not whole.
    """
    check_name(model_name, model_version)
    for name, value in options.items():
        if not (math.isfinite(value) and value >= 0):
            raise InvalidFieldError(f"{name} is {value}; give a number above 0, or 0 for the default.", field=name)
    request = transition_pb2.PlanRequest(
        model_name=model_name,
        model_version=model_version,
        frame_id=echo.frame_id,
        acquisition_time_unix_ns=echo.acquisition_time_unix_ns,
    )
    for name, value in options.items():
        setattr(request, name, value)
    arrays = dict(atoms) | {"goals_xy_angstrom": _places(goals_xy_angstrom, "goals_xy_angstrom")}
    if forbidden_index is not None:
        arrays["forbidden_index"] = checked_whole(forbidden_index, "forbidden_index")
    _put(request, arrays)
    return request


def plan_of(response: transition_pb2.PlanResponse) -> Plan:
    """The next step, its arrays the caller's own.

    Raises:
        InternalError: the answer cannot be read.
    """
    found: dict[str, Any] = {name: whole(getattr(response, name), name) for name in PLANNED}
    return Plan(
        model=identity_of(response.model),
        frame_id=response.frame_id,
        acquisition_time_unix_ns=response.acquisition_time_unix_ns,
        done=response.done,
        dopant_index=response.dopant_index,
        goal_index=response.goal_index,
        dwell_s=response.dwell_s,
        outside=response.outside,
        assumptions=tuple(response.assumptions),
        **found,
        **{name: getattr(response, name) for name in NUMBERS},
    )


def check_plan_size(request: transition_pb2.PlanRequest, info: ModelInfo | None) -> None:
    """Refuses what the server would not receive. Nothing where the server's limit is not known.

    Raises:
        MessageTooLargeError: with what to do.
    """
    size = request.ByteSize()
    if info is not None and size > info.max_message_bytes - OVERHEAD_BYTES:
        raise MessageTooLargeError(
            f"The request has {size} bytes, and the server receives {info.max_message_bytes} in one message; give the atoms around alone."
        )


def _put(request: Any, arrays: Mapping[str, NDArray]) -> None:
    for name, values in arrays.items():
        put_array(getattr(request, name), values)


def _places(values: Numbers, field: str) -> NDArray:
    return _float64(values, field, (2,))


def _float64(values: Numbers, field: str, row_shape: tuple[int, ...]) -> NDArray:
    """(n, …) float64; one row may come without its axis."""
    array = plain(values, field)
    wanted = f"({', '.join(['n', *map(str, row_shape)])})" if row_shape else "(n,)"
    if array.dtype.kind not in "uif" or array.shape[array.ndim - len(row_shape) :] != row_shape or array.ndim - len(row_shape) not in (0, 1):
        raise invalid(field, f"has dtype {array.dtype} and shape {array.shape}; give real numbers, {wanted}, or one row for all")
    found: NDArray = (array if array.ndim > len(row_shape) else array[None]).astype(np.float64)
    if not len(found):
        raise invalid(field, "has no rows")
    if not np.isfinite(found).all():
        row = int(np.argmax(~np.isfinite(found.reshape(len(found), -1)).all(axis=1)))
        raise InvalidTensorError(f"{field} has NaN or infinity in row {row}; remove or replace it.", field=field, row=row)
    return found
