"""The mechanism room of the fake server: f is the sum of what is sent, and sessions count what they are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dichroic.errors import DichroicError, SessionConflictError, UnknownSessionError
from dichroic.status import abort_arguments
from dichroic.v1 import array_pb2, mechanism_pb2, mechanism_pb2_grpc, models_pb2
from dichroic.wire import from_array, to_array

NAME = "hysteresis"
# What the model takes: an image, volts in two columns, seconds in one, and a phase.
MANIFEST = (
    '{"name": "hysteresis", "mechanism": {"mechanisms": ['
    '{"name": "patch", "kind": "image", "unit": "m"}, '
    '{"name": "field", "kind": "coordinates", "unit": "V", "columns": ["bias", "tip"]}, '
    '{"name": "dwell", "kind": "parameters", "unit": "s", "columns": ["dwell"]}, '
    '{"name": "phase", "kind": "category", "unit": "1", "categories": ["up", "down", "mixed"]}]}}'
)
PARTS = ("constant", "patch", "field")
SIDE = 4


def signatures() -> list[models_pb2.Signature]:
    """`predict` for each dtype of the image; its answer has 8 + 8 bytes a row."""
    found = []
    for name, number in (("uint8", array_pb2.DATA_TYPE_UINT8), ("uint16", array_pb2.DATA_TYPE_UINT16), ("float32", array_pb2.DATA_TYPE_FLOAT32)):
        inputs = [
            models_pb2.TensorSpec(name="patch", dtype=number, shape=[-1, SIDE, SIDE]),
            models_pb2.TensorSpec(name="field", dtype=array_pb2.DATA_TYPE_FLOAT64, shape=[-1, 2]),
            models_pb2.TensorSpec(name="dwell", dtype=array_pb2.DATA_TYPE_FLOAT64, shape=[-1, 1]),
            models_pb2.TensorSpec(name="phase", dtype=array_pb2.DATA_TYPE_INT64, shape=[-1]),
        ]
        outputs = [models_pb2.TensorSpec(name=each, dtype=array_pb2.DATA_TYPE_FLOAT64, shape=[-1]) for each in ("total_mean", "total_variance")]
        found.append(models_pb2.Signature(name=f"predict.{name}", inputs=inputs, outputs=outputs))
    return found


def details(max_message_bytes: int, version: int = 2) -> models_pb2.GetModelResponse:
    """What GetModel says of it. From version 3 on its categories have another order."""
    model = models_pb2.ModelIdentity(name=NAME, version=version, digest="c" * 64)
    told = MANIFEST if version < 3 else MANIFEST.replace('"up", "down", "mixed"', '"mixed", "down", "up"')
    return models_pb2.GetModelResponse(
        model=model, kind="mechanism", device="cpu", max_message_bytes=max_message_bytes, signatures=signatures(), manifest_json=told
    )


def refuse(context: Any, error: DichroicError) -> None:
    """Ends a call with a named error."""
    code, text, trailing = abort_arguments(error)
    context.set_trailing_metadata(trailing)
    context.abort(code, text)


@dataclass
class FakeMechanisms(mechanism_pb2_grpc.MechanismServiceServicer):
    """Predict answers the sum of everything in a row; Observe answers the first answer again to a repeated request_id.

    `take` notes a request, and fails it where the test asked for that; Observe is failed after its work, as if the answer was lost on its way.
    """

    take: Callable[[str, Any, Any], None]
    model: models_pb2.ModelIdentity = field(default_factory=lambda: models_pb2.ModelIdentity(name=NAME, version=2, digest="c" * 64))
    revisions: dict[str, int] = field(default_factory=dict)
    answered: dict[str, Any] = field(default_factory=dict)
    observed: list[float] = field(default_factory=list)
    rows_short: int = 0
    newest: int = 2

    def Predict(self, request: Any, context: Any) -> mechanism_pb2.PredictResponse:  # noqa: N802
        self.take("Predict", request, context)
        total = sum(_by_row(each) for each in request.inputs)[self.rows_short :]
        n = len(total)
        parts = np.stack([np.zeros(n), total, np.zeros(n)], axis=1)
        return mechanism_pb2.PredictResponse(
            model=self.model,
            frame_id=request.frame_id,
            acquisition_time_unix_ns=request.acquisition_time_unix_ns,
            session_id=request.session_id,
            revision=self.revisions.get(request.session_id, 0),
            part_names=PARTS,
            part_mean=to_array(parts),
            part_variance=to_array(np.ones((n, 3))),
            part_covariance=to_array(np.broadcast_to(np.eye(3), (n, 3, 3))) if request.include_covariance else None,
            factor=to_array(np.ones((n, 3))),
            factor_variance=to_array(np.zeros((n, 3))),
            total_mean=to_array(total),
            total_variance=to_array(np.full(n, 4.0 if request.include_noise else 3.0)),
            noise_included=request.include_noise,
            quantile_probabilities=to_array(np.array([0.05, 0.25, 0.5, 0.75, 0.95])),
            quantiles=to_array(total[:, None] + np.arange(-2.0, 3.0)),
            outside=to_array(np.zeros((n, len(request.inputs)), bool)),
            unit="pm",
        )

    def Suggest(self, request: Any, context: Any) -> mechanism_pb2.SuggestResponse:  # noqa: N802
        """The candidates from the last to the first."""
        self.take("Suggest", request, context)
        picks = 9 - np.arange(request.count)
        figures = {name: to_array(picks + shift) for name, shift in (("score", 0.5), ("total_mean", 0.0), ("total_sd", 1.0), ("part_sd", 0.25))}
        revision = self.revisions.get(request.session_id, 0)
        return mechanism_pb2.SuggestResponse(
            model=self.model, session_id=request.session_id, revision=revision, candidate_index=to_array(picks), **figures
        )

    def CreateSession(self, request: Any, context: Any) -> mechanism_pb2.CreateSessionResponse:  # noqa: N802
        self.take("CreateSession", request, context)
        if request.request_id not in self.answered:
            session_id = f"session-{len(self.revisions) + 1}"
            self.revisions[session_id] = 1
            self.answered[request.request_id] = mechanism_pb2.CreateSessionResponse(
                model=self.model,
                session_id=session_id,
                revision=1,
                points=20,
                candidates=request.candidates[0].values.shape[0] if request.candidates else 0,
                memory_bytes=4096,
                expires_time_s=1.75e9,
            )
        return self.answered[request.request_id]  # type: ignore[no-any-return]

    def Observe(self, request: Any, context: Any) -> mechanism_pb2.ObserveResponse:  # noqa: N802
        """Weight 1 for what is below 10, else 0.25."""
        if request.request_id not in self.answered:
            self._conflict(request, context)
            y = from_array(request.y, field="y")
            self.observed.extend(y.tolist())
            self.revisions[request.session_id] += 1
            self.answered[request.request_id] = mechanism_pb2.ObserveResponse(
                model=self.model,
                session_id=request.session_id,
                revision=self.revisions[request.session_id],
                weight=to_array(np.where(y < 10, 1.0, 0.25)),
                duplicate=to_array(np.zeros(len(y), bool)),
                points=20 + len(self.observed),
            )
            self.take("Observe", request, context)
            return self.answered[request.request_id]  # type: ignore[no-any-return]
        self.take("Observe", request, context)
        again = mechanism_pb2.ObserveResponse(repeated=True)
        again.MergeFrom(self.answered[request.request_id])
        return again

    def DeleteSession(self, request: Any, context: Any) -> mechanism_pb2.DeleteSessionResponse:  # noqa: N802
        self._known(request, context)
        self.take("DeleteSession", request, context)
        revision = self.revisions.pop(request.session_id)
        return mechanism_pb2.DeleteSessionResponse(model=self.model, session_id=request.session_id, revision=revision)

    def _known(self, request: Any, context: Any) -> None:
        if request.session_id not in self.revisions:
            refuse(context, UnknownSessionError(f"no session {request.session_id}"))

    def _conflict(self, request: Any, context: Any) -> None:
        self._known(request, context)
        if request.expected_revision not in (0, self.revisions[request.session_id]):
            refuse(context, SessionConflictError(f"the session is at revision {self.revisions[request.session_id]}"))


def _by_row(given: Any) -> Any:
    values = from_array(given.values, field=given.name).astype(np.float64)
    return values.reshape(len(values), -1).sum(axis=1)
