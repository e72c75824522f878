"""A fake server, and both clients behind one face: what one promises, the other keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dichroic import AsyncClient, Client
from dichroic.cli import main
from dichroic.client.retry import RetryPolicy
from tests.dichroic.fake_server import FakeServer, serving

IMAGES = np.arange(3 * 16, dtype=np.float32).reshape(3, 4, 4)


class Time:
    """A clock that moves only when somebody sleeps, and remembers for how long."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept_s: list[float] = []

    def clock(self) -> float:
        return self.now_s

    def sleep(self, delay_s: float) -> None:
        self.slept_s.append(delay_s)
        self.now_s += delay_s

    async def sleep_async(self, delay_s: float) -> None:
        self.sleep(delay_s)


class Asked:
    """A Client or an AsyncClient, called in the same way."""

    def __init__(self, client: Client | AsyncClient, runner: asyncio.Runner | None) -> None:
        self.client = client
        self.runner = runner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.client, name)
        runner = self.runner
        return method if runner is None else lambda *values, **named: runner.run(method(*values, **named))


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(FakeServer()) as fake:
        yield fake


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture(params=["Client", "AsyncClient"])
def connect(request: pytest.FixtureRequest, time: Time) -> Iterator[Callable[..., Asked]]:
    """Makes clients of either kind, on the test's own clock, without jitter."""
    made: list[Asked] = []
    runner = asyncio.Runner() if request.param == "AsyncClient" else None

    def make(address: str, **settings: Any) -> Asked:
        policy = RetryPolicy(settings.get("retry_for_s", 30.0))
        policy = replace(policy, clock=time.clock, jitter=lambda: 1.0)
        client: Client | AsyncClient
        if runner is None:
            client = Client(address, **settings)
            client._sleep = time.sleep
        else:
            client = AsyncClient(address, **settings)
            client._sleep = time.sleep_async
        client._policy = policy
        made.append(Asked(client, runner))
        return made[-1]

    yield make
    for asked in made:
        asked.close()
    if runner is not None:
        runner.close()


@pytest.fixture
def client(connect: Callable[..., Asked], server: FakeServer) -> Asked:
    return connect(server.address)


@pytest.fixture
def dichroic(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs the command in an empty folder that holds images.npy."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DICHROIC_SERVER", server.address)
    monkeypatch.setattr("dichroic.cli.RETRY_FOR_S", 0.0)
    np.save("images.npy", IMAGES)
    return lambda *arguments: main([str(argument) for argument in arguments])


def saved(name: str) -> dict[str, Any]:
    """The arrays of an .npz."""
    with np.load(name, allow_pickle=False) as found:
        return dict(found)
