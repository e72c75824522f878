"""The service and the echo, each in a process of its own, for as long as a stack is open."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.echo import LIMIT

ROOT = Path(__file__).resolve().parents[1]
# Until a process answers, s.
STARTING_S = 60


def start_service(stack: ExitStack, bundles: Path, folder: Path) -> str:
    """The service in its own process, as a user starts it, one thread a graph. Returns its address once it is ready.

    Args:
        stack: closes it.
        bundles: what it serves.
        folder: takes its log and what it writes.

    Raises:
        SystemExit: it did not come up.
    """
    port, http_port = free_port(), free_port()
    arguments = ["--bundles", str(bundles), "--grpc-port", str(port), "--http-port", str(http_port), "--device", "cpu", "--intra-op-threads", "1"]
    environment = os.environ | {"BENTOML_HOME": str(folder / "bentoml"), "DICHROIC_SESSIONS": str(folder / "sessions")}
    with (folder / "service.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "services", *arguments], cwd=ROOT, env=environment, stdout=log, stderr=log)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return until_up(port, process)


def start_echo(stack: ExitStack, answer_bytes: int) -> str:
    """The echo in its own process. Returns its address once it is up.

    Args:
        stack: closes it.
        answer_bytes: how many bytes it answers.

    Raises:
        SystemExit: it did not come up.
    """
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.echo", str(port), str(answer_bytes)], cwd=ROOT)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return until_up(port, process)


def until_up(port: int, process: subprocess.Popen[bytes]) -> str:
    """Waits for the port, then for the models: the service's health says so, the echo has no health and is up once it says that."""
    address = f"127.0.0.1:{port}"
    deadline = time.monotonic() + STARTING_S
    while process.poll() is None and time.monotonic() < deadline:
        with grpc.insecure_channel(address, options=LIMIT) as channel:
            try:
                found = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    return address
            else:
                if found.status == health_pb2.HealthCheckResponse.SERVING:
                    return address
        time.sleep(0.1)
    raise SystemExit(f"{process.args} did not come up")


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
