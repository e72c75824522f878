"""A service on free ports of this machine, for as long as a block runs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class LocalService:
    """Where a running service answers, and how long it took to come up."""

    grpc_address: str
    http_url: str
    startup_s: float


@contextmanager
def running_service(bundles: Path, *, timeout_s: float = 120.0) -> Iterator[LocalService]:
    """Starts `python -m services`, waits until /readyz says yes, and stops it at the end.

    Raises:
        SystemExit: it did not come up; its log is printed.
    """
    http_port, grpc_port = _free_port(), _free_port()
    arguments = ["--bundles", str(bundles.resolve()), "--http-port", str(http_port), "--grpc-port", str(grpc_port)]
    with tempfile.TemporaryDirectory(prefix="dichroic-demo-") as folder:
        log = Path(folder) / "log"
        environment = os.environ | {"BENTOML_HOME": str(Path(folder) / "bentoml"), "DICHROIC_SESSIONS": str(Path(folder) / "sessions")}
        started = time.monotonic()
        with log.open("wb") as out:
            process = subprocess.Popen([sys.executable, "-m", "services", *arguments], cwd=ROOT, env=environment, stdout=out, stderr=out)
        try:
            url = f"http://127.0.0.1:{http_port}"
            while not _is_ready(url):
                if process.poll() is not None or time.monotonic() - started > timeout_s:
                    raise SystemExit(f"the service did not come up:\n{log.read_text(errors='replace')[-4000:]}")
                time.sleep(0.1)
            yield LocalService(f"127.0.0.1:{grpc_port}", url, time.monotonic() - started)
        finally:
            process.terminate()
            process.wait()


@contextmanager
def service_address(server: str | None, bundles: Path) -> Iterator[str]:
    """HOST:PORT of the service that is named, or of one that runs for as long as the block does."""
    if server is not None:
        yield server
        return
    with running_service(bundles) as service:
        yield service.grpc_address


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as answer:  # noqa: S310 - loopback
            return bool(answer.status == 200)
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
