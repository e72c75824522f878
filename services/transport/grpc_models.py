"""ModelService over gRPC."""

from __future__ import annotations

from dichroic.v1 import models_pb2, models_pb2_grpc
from services.server import Server
from services.transport.auth import require_admin
from services.transport.calls import Context, answered
from services.transport.messages import details, identity_of, summary


class ModelServicer(models_pb2_grpc.ModelServiceServicer):
    """See protos/dichroic/v1/models.proto."""

    def __init__(self, server: Server) -> None:
        self.server = server

    @answered
    async def ListModels(self, request: models_pb2.ListModelsRequest, context: Context) -> models_pb2.ListModelsResponse:  # noqa: N802
        """Every version the server knows."""
        repository = self.server.repository
        return models_pb2.ListModelsResponse(models=[summary(entry, repository) for entry in repository.entries()])

    @answered
    async def GetModel(self, request: models_pb2.GetModelRequest, context: Context) -> models_pb2.GetModelResponse:  # noqa: N802
        """One version in full."""
        model = self.server.repository.find(request.model_name, request.model_version)
        return details(model, self.server.repository, self.server.settings)

    @answered
    async def LoadModel(self, request: models_pb2.LoadModelRequest, context: Context) -> models_pb2.LoadModelResponse:  # noqa: N802
        """Loads a version and swaps it in."""
        require_admin(self.server.settings, authorization(context))
        model = await self.server.repository.load(request.model_name, request.model_version)
        return models_pb2.LoadModelResponse(model=identity_of(model))

    @answered
    async def UnloadModel(self, request: models_pb2.UnloadModelRequest, context: Context) -> models_pb2.UnloadModelResponse:  # noqa: N802
        """Takes a version out of service."""
        require_admin(self.server.settings, authorization(context))
        taken = await self.server.repository.unload(request.model_name, request.model_version)
        return models_pb2.UnloadModelResponse(models=[identity_of(model) for model in taken])


def authorization(context: Context) -> str:
    """The call's `authorization` metadata, or nothing."""
    return next((str(value) for key, value in context.invocation_metadata() or () if key == "authorization"), "")
