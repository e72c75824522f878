"""LatentService over gRPC: translate, call the room, translate."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import Message

from dichroic.v1 import frames_pb2, latent_pb2, latent_pb2_grpc
from dichroic.wire import NDArray, from_array, is_given
from services.latent import Asked, Grid
from services.latent.inputs import ENCODED, LATENTS
from services.latent.manifold import GRID
from services.server import Server
from services.transport.calls import Context, answered, deadline
from services.transport.grpc_stream import Requests, Responses, stream_encode, streamed, wanted_of
from services.transport.messages import echo, fill

RECOGNISED = ("images", "spectra")


class LatentServicer(latent_pb2_grpc.LatentServiceServicer):
    """See protos/dichroic/v1/latent.proto."""

    def __init__(self, server: Server) -> None:
        self.server = server

    @answered
    async def Encode(self, request: latent_pb2.EncodeRequest, context: Context) -> latent_pb2.EncodeResponse:  # noqa: N802 - the protocol's name
        """Images or spectra to pose, content and class."""
        given = _arrays(request, ENCODED)
        found = await self.server.latent.encode(request.model_name, request.model_version, given, deadline(self.server, context))
        return fill(echo(request, latent_pb2.EncodeResponse()), found)

    @answered
    async def Decode(self, request: latent_pb2.DecodeRequest, context: Context) -> latent_pb2.DecodeResponse:  # noqa: N802 - the protocol's name
        """Pose, content and class to images or spectra."""
        given = _arrays(request, LATENTS)
        found = await self.server.latent.decode(request.model_name, request.model_version, given, deadline(self.server, context))
        return fill(latent_pb2.DecodeResponse(), found)

    @answered
    async def Reconstruct(  # noqa: N802 - the protocol's name
        self, request: latent_pb2.ReconstructRequest, context: Context
    ) -> latent_pb2.ReconstructResponse:
        """Images or spectra to themselves, with each one's error."""
        given = _arrays(request, ENCODED)
        found = await self.server.latent.reconstruct(request.model_name, request.model_version, given, deadline(self.server, context))
        return fill(echo(request, latent_pb2.ReconstructResponse()), found)

    @answered
    async def DecodeManifold(  # noqa: N802 - the protocol's name
        self, request: latent_pb2.DecodeManifoldRequest, context: Context
    ) -> latent_pb2.DecodeManifoldResponse:
        """A grid of decoded images over two content latents."""
        grid = Grid(**{name: getattr(request, name) for name in GRID}, fixed=_arrays(request, LATENTS))
        found = await self.server.latent.decode_manifold(request.model_name, request.model_version, grid, deadline(self.server, context))
        return fill(latent_pb2.DecodeManifoldResponse(), found)

    @answered
    async def Classify(self, request: latent_pb2.ClassifyRequest, context: Context) -> latent_pb2.ClassifyResponse:  # noqa: N802 - the protocol's
        """Which class each image shows."""
        given = _arrays(request, RECOGNISED)
        found = await self.server.latent.classify(request.model_name, request.model_version, given, deadline(self.server, context))
        return fill(echo(request, latent_pb2.ClassifyResponse()), found)

    @answered
    async def Regress(self, request: latent_pb2.RegressRequest, context: Context) -> latent_pb2.RegressResponse:  # noqa: N802 - the protocol's name
        """The targets of each image."""
        given = _arrays(request, RECOGNISED)
        found = await self.server.latent.regress(request.model_name, request.model_version, given, deadline(self.server, context))
        return fill(echo(request, latent_pb2.RegressResponse()), found)

    @answered
    async def EncodeFrame(  # noqa: N802 - the protocol's name
        self, request: frames_pb2.EncodeFrameRequest, context: Context
    ) -> frames_pb2.EncodeFrameResponse:
        """A whole image to latent maps."""
        frame, wanted = from_array(request.frame, field="frame"), wanted_of(request)
        found = await self.server.latent.encode_frame(request.model_name, request.model_version, frame, wanted, deadline(self.server, context))
        return fill(echo(request, frames_pb2.EncodeFrameResponse()), found)

    @answered
    async def ScaleSpectrum(  # noqa: N802 - the protocol's name
        self, request: frames_pb2.ScaleSpectrumRequest, context: Context
    ) -> frames_pb2.ScaleSpectrumResponse:
        """Points of a whole image through windows of many lengths."""
        frame, wanted = from_array(request.frame, field="frame"), wanted_of(request)
        asked = Asked(wanted, _arrays(request, ("labels",)).get("labels"))
        found = await self.server.latent.scale_spectrum(request.model_name, request.model_version, frame, asked, deadline(self.server, context))
        return fill(echo(request, frames_pb2.ScaleSpectrumResponse()), found)

    @streamed
    def StreamEncode(self, requests: Requests, context: Context) -> Responses:  # type: ignore[override] # noqa: N802 - it writes its answers itself
        """Frames, or patches, one after another."""
        return stream_encode(self.server, requests)


def _arrays(request: Message, names: Iterable[str]) -> dict[str, NDArray]:
    """The arrays that are given. HasField first: looking into a field that was never sent would make one."""
    given: dict[str, NDArray] = {}
    for name in names:
        if request.HasField(name):
            array = getattr(request, name)
            if is_given(array):
                given[name] = from_array(array, field=name)
    return given
