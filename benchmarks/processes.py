"""The service and the echo, each in a process of its own, for as long as a stack is open; and what a process takes."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.echo import LIMIT
from training.local_service import ROOT, free_port, running_service

# Until a process answers, s.
STARTING_S = 60


def start_service(stack: ExitStack, bundles: Path) -> str:
    """The service in its own process, as a user starts it, one thread a graph. Returns its address once it is ready.

    Args:
        stack: closes it.
        bundles: what it serves.

    Raises:
        InputError: it did not come up.
    """
    return stack.enter_context(running_service(bundles, "--device", "cpu", "--intra-op-threads", "1")).grpc_address


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
    return _until_up(port, process)


def _until_up(port: int, process: subprocess.Popen[bytes]) -> str:
    """Waits for the port: the echo has no health, and is up once it says that."""
    address = f"127.0.0.1:{port}"
    deadline = time.monotonic() + STARTING_S
    while process.poll() is None and time.monotonic() < deadline:
        with grpc.insecure_channel(address, options=LIMIT) as channel:
            try:
                health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    return address
        time.sleep(0.1)
    raise SystemExit(f"{process.args} did not come up")


def machine_facts(packages: Iterable[str], load_before: tuple[float, float, float]) -> dict[str, Any]:
    """When, on how many processors, with which versions and beside what else a measurement was made."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpus": os.cpu_count(),
        "versions": {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}},
        "load_before": load_before,
        "load_after": os.getloadavg(),
    }


def high_water_bytes(pid: int) -> int:
    """The largest resident set of one process so far; 0 once it is gone."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found.group(1)) * 1024 if found else 0
