"""The gRPC server: services, health, reflection, limits."""

from __future__ import annotations

from typing import cast

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from dichroic.v1 import (
    latent_pb2,
    latent_pb2_grpc,
    mechanism_pb2,
    mechanism_pb2_grpc,
    models_pb2,
    models_pb2_grpc,
    transition_pb2,
    transition_pb2_grpc,
)
from services.server import Server
from services.transport.admission import RefusingRegistrar
from services.transport.grpc_latent import LatentServicer
from services.transport.grpc_mechanism import MechanismServicer
from services.transport.grpc_models import ModelServicer
from services.transport.grpc_transition import TransitionServicer

ROOMS = (
    latent_pb2.DESCRIPTOR.services_by_name["LatentService"].full_name,
    mechanism_pb2.DESCRIPTOR.services_by_name["MechanismService"].full_name,
    transition_pb2.DESCRIPTOR.services_by_name["TransitionService"].full_name,
)
SERVICES = (models_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name, *ROOMS)


class GrpcServer:
    """A grpc.aio server on the running event loop. `port` is the port it listens on once started."""

    def __init__(self, server: Server) -> None:
        limit = server.settings.max_message_bytes
        self._server = server
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined] # the stubs do not know it
        self._grpc = aio.server(
            options=[
                ("grpc.max_receive_message_length", limit),
                ("grpc.max_send_message_length", -1),  # an answer is never larger than the rows asked for
                ("grpc.so_reuseport", 0),  # a second process on this port must fail, not take half of the calls
                # Instrument PCs idle for hours: let them ping without calls instead of being cut off.
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.max_ping_strikes", 0),
            ],
            # A last guard against piles of messages that are received but not yet counted by the queue.
            maximum_concurrent_rpcs=4 * server.settings.queue_max_requests,
        )
        models_pb2_grpc.add_ModelServiceServicer_to_server(ModelServicer(server), self._grpc)
        refusing = cast("aio.Server", RefusingRegistrar(server, self._grpc))  # generated code uses these two methods of it
        latent_pb2_grpc.add_LatentServiceServicer_to_server(LatentServicer(server), refusing)
        mechanism_pb2_grpc.add_MechanismServiceServicer_to_server(MechanismServicer(server), refusing)
        transition_pb2_grpc.add_TransitionServiceServicer_to_server(TransitionServicer(server), refusing)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        reflection.enable_server_reflection([*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME], self._grpc)
        self.port = 0

    async def start(self) -> None:
        """Listens; health says NOT_SERVING until `set_serving`.

        Raises:
            OSError: the port is taken, or not allowed.
        """
        await self.set_serving(False)
        host = self._server.settings.host
        address = f"[{host}]:{self._server.settings.grpc_port}" if ":" in host else f"{host}:{self._server.settings.grpc_port}"
        try:
            self.port = self._grpc.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"gRPC cannot listen on {address}: the port is taken or not allowed. Set DICHROIC_GRPC_PORT.") from error
        await self._grpc.start()

    async def set_serving(self, serving: bool) -> None:
        """What grpc.health.v1 says, for the server as a whole and for each service."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *SERVICES):
            await self._health.set(name, status)

    async def stop(self, grace_s: float) -> None:
        """Takes no new calls; calls in flight have `grace_s` seconds."""
        await self._grpc.stop(grace_s)
