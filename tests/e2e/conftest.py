"""The service as a user runs it: `python -m services` in its own process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.toy_bundle import Toy, write_toy
from tests.toy_family import Family, write_family

ROOT = Path(__file__).parents[2]
ADMIN = "e2e-admin"
FAMILY = Family()
SMALL, LARGE = Toy(side=8), Toy(side=12, seed=4)
# Eight products with a 1024 x 1024 matrix: some tens of milliseconds a batch, so that work is in flight when a test wants it to be.
SLOW = Toy(side=32, seed=9, rounds=8)
# Several times that, for work that must still be in flight when a signal comes.
SLOWER = Toy(side=32, seed=9, rounds=40)


@dataclass(frozen=True)
class Service:
    """A running service."""

    process: subprocess.Popen[bytes]
    http_port: int
    grpc_port: int
    bundles: Path
    log: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a GET; status 0 when nobody listens."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:  # noqa: S310 - loopback
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def worker(self) -> int:
        """The process id of BentoML's worker, which owns the graphs."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next(int(child) for child in children if b"dichroic" in Path(f"/proc/{child}/cmdline").read_bytes())


@contextmanager
def serve(bundles: Path, log: Path, **settings: str) -> Iterator[Service]:
    """Starts the service on free ports and waits until it is ready; stops it at the end."""
    http_port, grpc_port = free_port(), free_port()
    values = {"bundles": str(bundles), "http_port": str(http_port), "grpc_port": str(grpc_port), "admin_token": ADMIN, "device": "cpu"} | settings
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DICHROIC_")}
    environment |= {f"DICHROIC_{name.upper()}": value for name, value in values.items()} | {"BENTOML_HOME": str(log.parent / "bentoml")}
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "services"], cwd=ROOT, env=environment, stdout=out, stderr=out)
    service = Service(process, http_port, grpc_port, bundles, log)
    try:
        wait_until_ready(service)
        yield service
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(service: Service, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while service.get("/readyz")[0] != 200:
        if service.process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"the service did not become ready:\n{service.log.read_text()[-4000:]}")
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("service")
    bundles = home / "bundles"
    write_toy(bundles, SMALL)
    write_toy(bundles, LARGE, name="large")
    write_toy(bundles, SLOW, name="slow")
    write_family(bundles, FAMILY)
    with serve(bundles, home / "log", watch_s="0.2") as running:
        yield running
