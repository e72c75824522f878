"""The BentoML service: it owns the process, HTTP, probes and metrics, and brings our gRPC server up and down in its hooks.

BentoML imports this module twice, in its supervisor and in the worker: nothing happens at import.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from pathlib import Path
from types import FrameType

import bentoml

from services.server import Phase, Server
from services.settings import START_REPORT, Settings
from services.transport.front_page import FrontPage
from services.transport.grpc_server import GrpcServer
from services.transport.http_app import HttpApp
from services.transport.metrics import PrometheusObserver, show_queue, show_sessions, show_tables

log = logging.getLogger("dichroic.server")

http = HttpApp()


# BentoML's own HTTP metrics take the path as it came: every made-up URL would be a new label for ever. Ours count both protocols, and
# /metrics is a route of ours. Its access log writes a line for every probe and every call.
@bentoml.service(name="dichroic", workers=1, traffic={"timeout": 3600}, metrics={"enabled": False}, logging={"access": {"enabled": False}})
@bentoml.asgi_app(http.app, path="/")
class Dichroic:
    """One worker process: one device, one engine, both protocols."""

    server: Server | None = None
    grpc: GrpcServer | None = None

    @bentoml.on_startup
    async def start(self) -> None:
        """Loads every bundle and opens. HTTP is accepted only after this returns."""
        try:
            await self._start(Settings())
        except BaseException as error:
            _report_failure(error)
            raise

    async def _start(self, settings: Settings) -> None:
        logging.getLogger("dichroic").setLevel(settings.log_level.upper())
        self.server = Server(settings, PrometheusObserver())
        self.grpc = GrpcServer(self.server)
        self._drain_on_signal()
        show_queue(self.server.budget)
        show_sessions(self.server.mechanism)
        show_tables(self.server.transition)
        await self.grpc.start()
        await self.server.start()
        await self.grpc.set_serving(True)
        http.open(self.server)
        log.info("gRPC on %s:%d, device %s", settings.host, self.grpc.port, self.server.repository.device.name)

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Finishes what was accepted, then lets go of the port."""
        if self.server is None or self.grpc is None:
            return
        await self.grpc.set_serving(False)
        await self.server.stop()
        await self.grpc.stop(grace_s=1.0)

    async def __is_ready__(self) -> bool:
        return self.server is not None and self.server.phase is Phase.SERVING

    def _drain_on_signal(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.getsignal(number)

            def handle(signum: int, frame: FrameType | None, before: signal._HANDLER = before) -> None:
                loop.call_soon_threadsafe(self._begin_draining)
                if callable(before):
                    before(signum, frame)

            signal.signal(number, handle)

    def _begin_draining(self) -> None:
        if self.server is not None and self.server.phase is Phase.STARTING:
            os._exit(0)  # nothing was accepted yet, and a bundle that hangs while it is loaded must not hold up the end
        if self.server is not None and self.grpc is not None:
            self.server.begin_draining()
            self._flip = asyncio.ensure_future(self.grpc.set_serving(False))


def _report_failure(error: BaseException) -> None:
    # BentoML would start the worker again and again; what stopped it once (a port, a device, a folder) stops it each time.
    report = os.environ.get(START_REPORT)
    if report:
        Path(report).write_text(str(error) or type(error).__name__, encoding="utf-8")
        os.kill(os.getppid(), signal.SIGTERM)


# bentoml.service types the class away.
Dichroic.add_asgi_middleware(FrontPage, ours=http.app)  # type: ignore[attr-defined]
