"""A server in this process, on free ports, with two toys of different image sizes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest

from dichroic.v1 import latent_pb2_grpc, models_pb2_grpc
from services.engine.observe import Unobserved
from services.server import Server
from services.settings import Settings
from services.transport.grpc_server import GrpcServer
from services.transport.http_app import HttpApp
from tests.toy_bundle import Toy, write_toy

ADMIN = "let-me-in"
SMALL, LARGE = Toy(side=8), Toy(side=12, seed=4)


@dataclass(frozen=True)
class Running:
    """A server and ways to reach it."""

    server: Server
    grpc: GrpcServer
    channel: grpc.aio.Channel
    http: httpx.AsyncClient
    bundles: Path

    @property
    def latent(self) -> latent_pb2_grpc.LatentServiceAsyncStub:
        return latent_pb2_grpc.LatentServiceStub(self.channel)

    @property
    def models(self) -> models_pb2_grpc.ModelServiceAsyncStub:
        return models_pb2_grpc.ModelServiceStub(self.channel)


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    write_toy(tmp_path, SMALL)
    write_toy(tmp_path, LARGE, name="large")
    async with running_on(tmp_path) as found:
        yield found


@asynccontextmanager
async def running_on(bundles: Path) -> AsyncIterator[Running]:
    """A server over the bundles of a folder."""
    sessions = bundles.with_name(f"{bundles.name}-sessions")
    settings = Settings(
        bundles=bundles, sessions=sessions, device="cpu", grpc_port=0, admin_token=ADMIN, watch_s=0, max_message_bytes=1 << 20, drain_s=5
    )
    server = Server(settings, Unobserved())
    adapter = GrpcServer(server)
    await adapter.start()
    await server.start()
    await adapter.set_serving(True)
    http = HttpApp()
    http.open(server)
    transport = httpx.ASGITransport(app=http.app)
    async with (
        grpc.aio.insecure_channel(f"127.0.0.1:{adapter.port}") as channel,
        httpx.AsyncClient(transport=transport, base_url="http://toy") as client,
    ):
        yield Running(server, adapter, channel, client, bundles)
    await server.stop()
    await adapter.stop(1.0)
