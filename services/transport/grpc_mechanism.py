"""MechanismService over gRPC: translate, call the room, translate."""

from __future__ import annotations

from collections.abc import Iterable

from dichroic.errors import InvalidFieldError
from dichroic.v1 import mechanism_pb2, mechanism_pb2_grpc
from dichroic.wire import from_array, optional_array
from services.mechanism import Given
from services.server import Server
from services.transport.calls import Context, answered, deadline
from services.transport.messages import echo, fill


class MechanismServicer(mechanism_pb2_grpc.MechanismServiceServicer):
    """See protos/dichroic/v1/mechanism.proto."""

    def __init__(self, server: Server) -> None:
        self.server = server

    @answered
    async def Predict(  # noqa: N802 - the protocol's name
        self, request: mechanism_pb2.PredictRequest, context: Context
    ) -> mechanism_pb2.PredictResponse:
        """Mechanisms to f, part by part, with variances."""
        found = await self.server.mechanism.predict(
            request.model_name,
            request.model_version,
            told(request.inputs),
            deadline(self.server, context),
            session_id=request.session_id,
            include_noise=request.include_noise,
            include_covariance=request.include_covariance,
        )
        return fill(echo(request, mechanism_pb2.PredictResponse()), found)

    @answered
    async def Suggest(  # noqa: N802 - the protocol's name
        self, request: mechanism_pb2.SuggestRequest, context: Context
    ) -> mechanism_pb2.SuggestResponse:
        """Where to measure next."""
        found = await self.server.mechanism.suggest(
            deadline(self.server, context),
            model_name=request.model_name,
            model_version=request.model_version,
            session_id=request.session_id,
            candidates=told(request.candidates, "candidates.") if request.candidates else None,
            strategy=request.strategy,
            part=request.part,
            count=request.count or 1,
            kappa=request.kappa,
            goal=request.goal,
            incumbent=optional_array(request.incumbent, field="incumbent"),
        )
        return fill(mechanism_pb2.SuggestResponse(), found)

    @answered
    async def CreateSession(  # noqa: N802 - the protocol's name
        self, request: mechanism_pb2.CreateSessionRequest, context: Context
    ) -> mechanism_pb2.CreateSessionResponse:
        """A copy of a model's posterior that observes."""
        found = await self.server.mechanism.create_session(
            request.model_name,
            request.model_version,
            deadline(self.server, context),
            candidates=told(request.candidates, "candidates.") if request.candidates else None,
            expires_after_s=request.expires_after_s,
            seed=request.seed,
            request_id=request.request_id,
        )
        return fill(mechanism_pb2.CreateSessionResponse(), found)

    @answered
    async def Observe(  # noqa: N802 - the protocol's name
        self, request: mechanism_pb2.ObserveRequest, context: Context
    ) -> mechanism_pb2.ObserveResponse:
        """New measurements into a session's posterior."""
        found = await self.server.mechanism.observe(
            request.session_id,
            deadline(self.server, context),
            given=told(request.inputs) if request.inputs else None,
            candidate_index=optional_array(request.candidate_index, field="candidate_index"),
            y=from_array(request.y, field="y"),
            y_unit=request.y_unit,
            request_id=request.request_id,
            expected_revision=request.expected_revision,
        )
        return fill(mechanism_pb2.ObserveResponse(), found)

    @answered
    async def DeleteSession(  # noqa: N802 - the protocol's name
        self, request: mechanism_pb2.DeleteSessionRequest, context: Context
    ) -> mechanism_pb2.DeleteSessionResponse:
        """A session that is no more."""
        found = await self.server.mechanism.delete_session(request.session_id, deadline(self.server, context))
        return fill(mechanism_pb2.DeleteSessionResponse(), found)


def told(inputs: Iterable[mechanism_pb2.MechanismInput], prefix: str = "") -> Given:
    """What a request tells of mechanisms. `prefix`: of the field that an error names.

    Raises:
        InvalidFieldError: an input without a name, or two of one name.
        InvalidTensorError: values that are no array.
    """
    given = Given({})
    for each in inputs:
        if not each.name:
            raise InvalidFieldError("An input has no name; give the mechanism's.", field=f"{prefix}name")
        if each.name in given.values:
            raise InvalidFieldError(f"Mechanism {each.name} stands twice in the request; send it once.", field=f"{prefix}{each.name}")
        given.values[each.name] = from_array(each.values, field=f"{prefix}{each.name}")
        if each.unit:
            given.units[each.name] = each.unit
    return given
