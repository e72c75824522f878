"""LatentService over gRPC: translate, call the room, translate."""

from __future__ import annotations

from dichroic.v1 import latent_pb2, latent_pb2_grpc
from dichroic.wire import from_array, optional_array
from services.server import Server
from services.transport.calls import Context, answered, deadline
from services.transport.messages import array, identity

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
        return latent_pb2.EncodeResponse(
            model=identity(found.model),
            frame_id=request.frame_id,
            acquisition_time_unix_ns=request.acquisition_time_unix_ns,
            angle_rad=array(found.angle_rad),
            angle_sd_rad=array(found.angle_sd_rad),
            scale=array(found.scale),
            shift_down_px=array(found.shift_down_px),
            shift_right_px=array(found.shift_right_px),
            content=array(found.content),
            content_sd=array(found.content_sd),
            latent_mean=array(found.latent_mean),
            latent_sd=array(found.latent_sd),
        )

    @answered
    async def Decode(self, request: latent_pb2.DecodeRequest, context: Context) -> latent_pb2.DecodeResponse:  # noqa: N802 - the protocol's name
        """Pose and content to images."""
        fields = ((name, optional_array(getattr(request, name), field=name)) for name in LATENTS)
        latents = {name: values for name, values in fields if values is not None}
        found = await self.server.latent.decode(request.model_name, request.model_version, latents, deadline(self.server, context))
        return latent_pb2.DecodeResponse(model=identity(found.model), images=array(found.images))

    @answered
    async def Reconstruct(  # noqa: N802 - the protocol's name
        self, request: latent_pb2.ReconstructRequest, context: Context
    ) -> latent_pb2.ReconstructResponse:
        """Images to themselves, with each one's error."""
        images = from_array(request.images, field="images")
        found = await self.server.latent.reconstruct(request.model_name, request.model_version, images, deadline(self.server, context))
        return latent_pb2.ReconstructResponse(
            model=identity(found.model),
            frame_id=request.frame_id,
            acquisition_time_unix_ns=request.acquisition_time_unix_ns,
            reconstruction=array(found.reconstruction),
            error=array(found.error),
            error_threshold=found.error_threshold,
            novel_false_alarm_rate=found.novel_false_alarm_rate,
            novel=array(found.novel),
        )
