"""The mechanism room's calls as messages, and its answers read. Both clients run these."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dichroic.client.answers import ModelInfo
from dichroic.client.conversion import Numbers
from dichroic.client.mechanism_answers import Observation, Prediction, SessionDeleted, SessionMade, Suggestion
from dichroic.client.mechanism_inputs import CAPABILITY, checked_measurements
from dichroic.client.messages import OVERHEAD_BYTES
from dichroic.client.models import identity_of
from dichroic.client.requests import MAX_INT64, BatchCall, Echo, check_name, fresh_id
from dichroic.client.rows import joined, parts_of, required, row_bytes, row_count, whole
from dichroic.errors import InvalidFieldError, InvalidTensorError, MessageTooLargeError, SessionConflictError
from dichroic.v1 import mechanism_pb2
from dichroic.wire import NDArray, put_array

PREDICTED = ("part_mean", "part_variance", "factor", "factor_variance", "total_mean", "total_variance", "quantiles", "outside")
SUGGESTED = ("candidate_index", "score", "total_mean", "total_sd", "part_sd")


def predict_call(
    model_name: str,
    arrays: Mapping[str, NDArray],
    units: Mapping[str, str],
    *,
    model_version: int,
    session_id: str,
    include_noise: bool,
    include_covariance: bool,
    echo: Echo,
) -> BatchCall[mechanism_pb2.PredictRequest, mechanism_pb2.PredictResponse, Prediction]:
    """Mechanisms to f. `arrays`: as checked_mechanisms gives them.

    Raises:
        InvalidFieldError: the name or version cannot be sent.
    """
    check_name(model_name, model_version)
    rows = row_count(arrays)

    def build(some: slice, version: int) -> mechanism_pb2.PredictRequest:
        # A session keeps to its model; named again, it could only be named wrongly.
        request = mechanism_pb2.PredictRequest(
            model_name="" if session_id else model_name,
            model_version=0 if session_id else version,
            frame_id=echo.frame_id,
            acquisition_time_unix_ns=echo.acquisition_time_unix_ns,
            session_id=session_id,
            include_noise=include_noise,
            include_covariance=include_covariance,
        )
        _put({name: values[some] for name, values in arrays.items()}, units, request.inputs)
        return request

    def join(responses: Sequence[mechanism_pb2.PredictResponse]) -> Prediction:
        first = responses[0]
        if len({response.revision for response in responses}) > 1:
            raise SessionConflictError("The session observed something while this call was answered; call again to have all rows of one revision.")
        found: dict[str, Any] = {name: required(parts_of(responses, name), rows, name) for name in PREDICTED}
        return Prediction(
            model=identity_of(first.model),
            frame_id=echo.frame_id,
            acquisition_time_unix_ns=echo.acquisition_time_unix_ns,
            session_id=first.session_id,
            revision=first.revision,
            part_names=tuple(first.part_names),
            noise_included=first.noise_included,
            quantile_probabilities=whole(first.quantile_probabilities, "quantile_probabilities"),
            unit=first.unit,
            part_covariance=joined(parts_of(responses, "part_covariance"), rows, "part_covariance"),
            **found,
        )

    return BatchCall(CAPABILITY, model_name, model_version, rows, row_bytes(arrays), lambda stubs: stubs.mechanism.Predict, build, join)


def suggest_request(
    model_name: str,
    candidates: Mapping[str, NDArray],
    units: Mapping[str, str],
    *,
    model_version: int,
    session_id: str,
    strategy: str,
    part: str,
    count: int,
    kappa: float,
    goal: str,
    incumbent: Numbers | None,
) -> mechanism_pb2.SuggestRequest:
    """Which candidates to rank, and how. `candidates`: as checked_mechanisms gives them; none: those of the session.

    Raises:
        InvalidFieldError: a number that cannot be sent, or neither a model nor a session.
        InvalidTensorError: an incumbent that is no finite number.
    """
    if not session_id:
        check_name(model_name, model_version)
    if not 1 <= count <= MAX_INT64:
        raise InvalidFieldError(f"count is {count}; give how many candidates to pick, 1 or more.", field="count")
    if not (math.isfinite(kappa) and kappa >= 0):
        raise InvalidFieldError(f"kappa is {kappa}; give how many standard deviations, above 0, or 0 for the default.", field="kappa")
    request = mechanism_pb2.SuggestRequest(
        model_name="" if session_id else model_name,
        model_version=0 if session_id else model_version,
        session_id=session_id,
        strategy=strategy,
        part=part,
        count=count,
        kappa=kappa,
        goal=goal,
    )
    _put(candidates, units, request.candidates)
    if incumbent is not None:
        put_array(request.incumbent, checked_measurements(incumbent, "incumbent"))
    return request


def create_request(
    model_name: str,
    candidates: Mapping[str, NDArray],
    units: Mapping[str, str],
    *,
    model_version: int,
    expires_after_s: float,
    seed: int,
    request_id: str,
) -> mechanism_pb2.CreateSessionRequest:
    """Which model to make a session of. Without a request_id it gets one of its own, so that it can be sent again.

    Raises:
        InvalidFieldError: a name or number that cannot be sent.
    """
    check_name(model_name, model_version)
    if not (math.isfinite(expires_after_s) and expires_after_s >= 0):
        message = f"expires_after_s is {expires_after_s}; give seconds above 0, or 0 for the server's own."
        raise InvalidFieldError(message, field="expires_after_s")
    if not 0 <= seed <= MAX_INT64:
        raise InvalidFieldError(f"seed is {seed}; give a whole number of 63 bits, 0 or more.", field="seed")
    request = mechanism_pb2.CreateSessionRequest(
        model_name=model_name,
        model_version=model_version,
        expires_after_s=expires_after_s,
        seed=seed,
        request_id=request_id or fresh_id(),
    )
    _put(candidates, units, request.candidates)
    return request


def observe_request(
    session_id: str,
    y: NDArray,
    inputs: Mapping[str, NDArray],
    candidate_index: NDArray | None,
    units: Mapping[str, str],
    *,
    y_unit: str,
    request_id: str,
    expected_revision: int,
) -> mechanism_pb2.ObserveRequest:
    """What was measured. Without a request_id Unanswered gives it one, so that it can be sent again.

    Raises:
        InvalidFieldError: both inputs and candidate_index, or neither; a revision that is none.
        InvalidTensorError: y and the points differ in number.
    """
    check_session(session_id)
    if bool(inputs) == (candidate_index is not None):
        problem = "both are given" if inputs else "neither is given"
        raise InvalidFieldError(f"Give the mechanisms where y was measured, or candidate_index; {problem}.", field="inputs")
    if not 0 <= expected_revision <= MAX_INT64:
        raise InvalidFieldError(f"expected_revision is {expected_revision}; give one from 1, or 0 for any.", field="expected_revision")
    rows = row_count(inputs) if candidate_index is None else len(candidate_index)
    if rows != len(y):
        raise InvalidTensorError(f"y has {len(y)} values for {rows} points; give one for each.", field="y")
    request = mechanism_pb2.ObserveRequest(session_id=session_id, y_unit=y_unit, request_id=request_id, expected_revision=expected_revision)
    _put(inputs, units, request.inputs)
    put_array(request.y, y)
    if candidate_index is not None:
        put_array(request.candidate_index, candidate_index)
    return request


def delete_request(session_id: str) -> mechanism_pb2.DeleteSessionRequest:
    """Which session to end."""
    check_session(session_id)
    return mechanism_pb2.DeleteSessionRequest(session_id=session_id)


def check_session(session_id: str) -> None:
    """Refuses an empty id.

    Raises:
        InvalidFieldError: it is empty.
    """
    if not session_id:
        raise InvalidFieldError("The session's id is empty; create_session answers one.", field="session_id")


def check_size(
    request: mechanism_pb2.SuggestRequest | mechanism_pb2.CreateSessionRequest | mechanism_pb2.ObserveRequest, info: ModelInfo | None
) -> None:
    """Refuses what the server would not receive: these requests are not cut up. Nothing where the server's limit is not known.

    Raises:
        MessageTooLargeError: with what to do.
    """
    size = request.ByteSize()
    if info is not None and size > info.max_message_bytes - OVERHEAD_BYTES:
        raise MessageTooLargeError(
            f"The request has {size} bytes, and the server receives {info.max_message_bytes} in one message; "
            "give fewer rows, crop or bin images, or raise DICHROIC_MAX_MESSAGE_BYTES on the server."
        )


def suggestion_of(response: mechanism_pb2.SuggestResponse) -> Suggestion:
    """The picks, their arrays the caller's own.

    Raises:
        InternalError: the answer cannot be read.
    """
    found = {name: whole(getattr(response, name), name) for name in SUGGESTED}
    return Suggestion(identity_of(response.model), response.session_id, response.revision, **found)


def made_of(response: mechanism_pb2.CreateSessionResponse) -> SessionMade:
    """The session."""
    return SessionMade(
        identity_of(response.model),
        response.session_id,
        response.revision,
        response.points,
        response.candidates,
        response.memory_bytes,
        response.expires_time_s,
    )


def observation_of(response: mechanism_pb2.ObserveResponse) -> Observation:
    """How the measurements were taken.

    Raises:
        InternalError: the answer cannot be read.
    """
    found = {name: whole(getattr(response, name), name) for name in ("weight", "duplicate")}
    return Observation(
        identity_of(response.model), response.session_id, response.revision, points=response.points, repeated=response.repeated, **found
    )


def deleted_of(response: mechanism_pb2.DeleteSessionResponse) -> SessionDeleted:
    """The session that is no more."""
    return SessionDeleted(identity_of(response.model), response.session_id, response.revision)


def _put(arrays: Mapping[str, NDArray], units: Mapping[str, str], field: Any) -> None:
    for name, values in arrays.items():
        put_array(field.add(name=name, unit=units.get(name, "")).values, values)
