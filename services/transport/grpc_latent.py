"""LatentService over gRPC: translate, call the room, translate."""

from __future__ import annotations

from typing import TypeVar

from dichroic.v1 import latent_pb2, latent_pb2_grpc
from dichroic.wire import from_array, optional_array
from services.server import Server
from services.transport.calls import Context, answered, deadline
from services.transport.messages import fill

OfImages = latent_pb2.EncodeRequest | latent_pb2.ReconstructRequest
Echoing = TypeVar("Echoing", latent_pb2.EncodeResponse, latent_pb2.ReconstructResponse)
LATENTS = ("content", "angle_rad", "scale", "shift_down_px", "shift_right_px")


class LatentServicer(latent_pb2_grpc.LatentServiceServicer):
    """See protos/dichroic/v1/latent.proto."""

    def __init__(self, server: Server) -> None:
        self.server = server

    @answered
    async def Encode(self, request: latent_pb2.EncodeRequest, context: Context) -> latent_pb2.EncodeResponse:  # noqa: N802 - the protocol's name
        """Images to pose and content."""
        images = from_array(request.images, field="images")
        found = await self.server.latent.encode(request.model_name, request.model_version, images, deadline(self.server, context))
        return fill(_echo(request, latent_pb2.EncodeResponse()), found)

    @answered
    async def Decode(self, request: latent_pb2.DecodeRequest, context: Context) -> latent_pb2.DecodeResponse:  # noqa: N802 - the protocol's name
        """Pose and content to images."""
        fields = ((name, optional_array(getattr(request, name), field=name)) for name in LATENTS)
        latents = {name: values for name, values in fields if values is not None}
        found = await self.server.latent.decode(request.model_name, request.model_version, latents, deadline(self.server, context))
        return fill(latent_pb2.DecodeResponse(), found)

    @answered
    async def Reconstruct(  # noqa: N802 - the protocol's name
        self, request: latent_pb2.ReconstructRequest, context: Context
    ) -> latent_pb2.ReconstructResponse:
        """Images to themselves, with each one's error."""
        images = from_array(request.images, field="images")
        found = await self.server.latent.reconstruct(request.model_name, request.model_version, images, deadline(self.server, context))
        return fill(_echo(request, latent_pb2.ReconstructResponse()), found)


def _echo(request: OfImages, response: Echoing) -> Echoing:
    response.frame_id = request.frame_id
    response.acquisition_time_unix_ns = request.acquisition_time_unix_ns
    return response
