"""A service on free ports of this machine, in a process of its own, for as long as a block runs: even if the block's process is killed.

Between the two stands a keeper, `python -m training.local_service`: it ends the service once the pipe that leads to it closes, which the operating
system does for a process that is killed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from training.errors import InputError

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class LocalService:
    """Where a running service answers, and how long it took to come up."""

    grpc_address: str
    http_url: str
    startup_s: float


@contextmanager
def running_service(bundles: Path, *options: str, timeout_s: float = 120.0) -> Iterator[LocalService]:
    """Starts `python -m services`, waits until /readyz says yes, and stops it at the end. Ctrl-C does not reach it.

    Args:
        bundles: what it serves.
        options: others of its command line.
        timeout_s: to come up.

    Raises:
        InputError: SERVICE_NOT_STARTED: it did not come up; its log is in the message.
    """
    http_port, grpc_port = free_port(), free_port()
    arguments = ["--bundles", str(bundles.resolve()), "--http-port", str(http_port), "--grpc-port", str(grpc_port), *options]
    with tempfile.TemporaryDirectory(prefix="dichroic-service-") as folder:
        log = Path(folder) / "log"
        environment = os.environ | {"BENTOML_HOME": str(Path(folder) / "bentoml"), "DICHROIC_SESSIONS": str(Path(folder) / "sessions")}
        started = time.monotonic()
        with log.open("wb") as out:
            keeper = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "training.local_service", *arguments],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        try:
            url = f"http://127.0.0.1:{http_port}"
            while not _is_ready(url):
                if keeper.poll() is not None or time.monotonic() - started > timeout_s:
                    told = log.read_text(errors="replace")[-4000:]
                    cure = "It needs the packages of the extra serving-cpu, and a folder of bundles"
                    raise InputError("SERVICE_NOT_STARTED", f"The service did not come up. {cure}; its log:\n{told}")
                time.sleep(0.1)
            yield LocalService(f"127.0.0.1:{grpc_port}", url, time.monotonic() - started)
        finally:
            if keeper.stdin is not None:
                keeper.stdin.close()
            keeper.wait()


@contextmanager
def service_address(server: str | None, bundles: Path) -> Iterator[str]:
    """HOST:PORT of the service that is named, or of one that runs for as long as the block does.

    Raises:
        InputError: as running_service.
    """
    if server is not None:
        yield server
        return
    with running_service(bundles) as service:
        yield service.grpc_address


def keep(arguments: list[str]) -> int:
    """Runs the service until this process's standard input ends, or the service does. Returns its exit code."""
    service = subprocess.Popen([sys.executable, "-m", "services", *arguments], cwd=ROOT, stdin=subprocess.DEVNULL)  # noqa: S603 - our own

    def end() -> None:
        sys.stdin.buffer.read()
        service.terminate()

    threading.Thread(target=end, daemon=True).start()
    return service.wait()


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as answer:  # noqa: S310 - loopback
            return bool(answer.status == 200)
    except OSError:
        return False


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(keep(sys.argv[1:]))
