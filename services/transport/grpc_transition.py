"""TransitionService over gRPC: translate, call the room, translate."""

from __future__ import annotations

from google.protobuf.message import Message

from dichroic.v1 import transition_pb2, transition_pb2_grpc
from dichroic.wire import NDArray, from_array, is_given
from services.server import Server
from services.transition.inputs import STATE_MAY, STATE_NEEDS, Given
from services.transition.scenes import OPTIONS, SCENE_MAY, SCENE_NEEDS, Options, Scene
from services.transport.calls import Context, answered, deadline
from services.transport.messages import echo, fill


class TransitionServicer(transition_pb2_grpc.TransitionServiceServicer):
    """See protos/dichroic/v1/transition.proto."""

    def __init__(self, server: Server) -> None:
        self.server = server

    @answered
    async def PredictTransitions(  # noqa: N802 - the protocol's name
        self, request: transition_pb2.PredictTransitionsRequest, context: Context
    ) -> transition_pb2.PredictTransitionsResponse:
        """Where the dopant goes."""
        given = Given(**_arrays(request, STATE_NEEDS, STATE_MAY))
        found = await self.server.transition.predict_transitions(request.model_name, request.model_version, given, deadline(self.server, context))
        return fill(echo(request, transition_pb2.PredictTransitionsResponse()), found)

    @answered
    async def Plan(self, request: transition_pb2.PlanRequest, context: Context) -> transition_pb2.PlanResponse:  # noqa: N802 - the protocol's name
        """What to do next to bring it home."""
        scene = Scene(**_arrays(request, SCENE_NEEDS, SCENE_MAY))
        options = Options(**{name: getattr(request, name) for name in OPTIONS})
        found = await self.server.transition.plan(request.model_name, request.model_version, scene, options, deadline(self.server, context))
        return fill(echo(request, transition_pb2.PlanResponse()), found)


def _arrays(request: Message, needs: tuple[str, ...], may: tuple[str, ...]) -> dict[str, NDArray]:
    """The arrays that are given. HasField first: looking into a field that was never sent would make one.

    Raises:
        InvalidTensorError: one of `needs` is missing, or one is no array.
    """
    given = {name: from_array(getattr(request, name), field=name) for name in needs}
    for name in may:
        if request.HasField(name) and is_given(getattr(request, name)):
            given[name] = from_array(getattr(request, name), field=name)
    return given
