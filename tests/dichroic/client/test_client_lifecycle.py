"""Connections: shared between threads and tasks, given up in the middle, encrypted."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest

from dichroic import AsyncClient, Client
from dichroic.client.channel import OPTIONS
from dichroic.errors import CancelledError, ServerUnreachableError
from tests.dichroic.fake_server import FakeServer, Seen, serving

IMAGE = np.zeros((1, 4, 4), np.float32)


def test_threads_share_a_client_and_each_gets_its_own_answer(server: FakeServer) -> None:
    with Client(server.address, message_bytes=128) as client, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda value: client.encode("toy", np.full((5, 4, 4), value, np.float32)).content[:, 0], range(40)))
    np.testing.assert_array_equal(found, np.repeat(np.arange(40)[:, None], 5, axis=1))


async def test_tasks_share_a_client_and_each_gets_its_own_answer(server: FakeServer) -> None:
    async with AsyncClient(server.address, message_bytes=128) as client:
        calls = [client.encode("toy", np.full((5, 4, 4), value, np.float32)) for value in range(40)]
        found = [encoding.content[:, 0] for encoding in await asyncio.gather(*calls)]
    np.testing.assert_array_equal(found, np.repeat(np.arange(40)[:, None], 5, axis=1))


class Held:
    """Holds encode requests on the server until the test ends, and tells when one is there."""

    def __init__(self, server: FakeServer, first: int = 1) -> None:
        self.arrived = threading.Event()
        self.over = threading.Event()
        self.first = first
        self.server = server
        server.on_call = self

    def __call__(self, seen: Seen) -> None:
        if len(self.server.asked("Encode")) >= self.first:
            self.arrived.set()
            self.over.wait(30)


@pytest.mark.parametrize("first", [1, 2], ids=["in the first message", "in the others"])
def test_closing_from_another_thread_ends_a_call(server: FakeServer, first: int) -> None:
    held = Held(server, first)
    client = Client(server.address, message_bytes=64)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.encode, "toy", np.zeros((4, 4, 4), np.float32))
        assert held.arrived.wait(20)
        client.close()
        try:
            with pytest.raises(CancelledError):
                call.result(20)
        finally:
            held.over.set()


@pytest.mark.parametrize("first", [1, 2], ids=["in the first message", "in the others"])
async def test_closing_ends_the_calls_of_other_tasks_without_cancelling_them(server: FakeServer, first: int) -> None:
    held = Held(server, first)
    client = AsyncClient(server.address, message_bytes=64)
    call = asyncio.create_task(client.encode("toy", np.zeros((4, 4, 4), np.float32)))
    try:
        assert await asyncio.to_thread(held.arrived.wait, 20)
        await client.close()
        with pytest.raises(CancelledError, match="closed"):
            await call
    finally:
        held.over.set()


@pytest.mark.parametrize("first", [1, 2], ids=["in the first message", "in the others"])
async def test_a_cancelled_task_cancels_its_call_on_the_server(server: FakeServer, first: int) -> None:
    held = Held(server, first)
    async with AsyncClient(server.address, message_bytes=64) as client:
        call = asyncio.create_task(client.encode("toy", np.zeros((4, 4, 4), np.float32)))
        try:
            assert await asyncio.to_thread(held.arrived.wait, 20)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()], "no message is left behind"
        finally:
            held.over.set()
        server.on_call = lambda seen: None
        assert await client.models()


def test_a_restarted_server_is_found_again() -> None:
    with serving(FakeServer()) as first:
        client = Client(first.address)
        assert client.models()
    asked, pause = threading.Event(), client._sleep

    def sleep(delay_s: float) -> None:
        asked.set()
        pause(delay_s)

    client._sleep = sleep
    with client, ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.models)
        assert asked.wait(20), "the first attempt failed, and the next one waits"
        with serving(FakeServer(), port=first.port):
            assert call.result(30)


def test_keepalive_is_permitted_without_calls_and_answers_may_be_large() -> None:
    options = dict(OPTIONS)
    assert options["grpc.keepalive_permit_without_calls"] == 1
    assert options["grpc.max_receive_message_length"] == -1


def test_answers_over_grpcs_usual_4_mib_arrive(server: FakeServer) -> None:
    with Client(server.address, message_bytes=16 << 20) as client:
        found = client.reconstruct("toy", np.ones((2, 1024, 1024), np.uint8))
    assert found.reconstruction.nbytes == 8 << 20


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """A key and a certificate for "localhost", made for this run."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command")
    folder: Path = tmp_path_factory.mktemp("tls")
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(folder / "key"), "-out", str(folder / "certificate")]
    subprocess.run(command, check=True, capture_output=True)
    return (folder / "key").read_bytes(), (folder / "certificate").read_bytes()


async def test_tls_with_the_right_authority_answers_and_with_another_does_not(certificate: tuple[bytes, bytes]) -> None:
    with serving(FakeServer(), grpc.ssl_server_credentials([certificate])) as server:
        address = f"localhost:{server.port}"
        with Client(address, tls_root_certificates=certificate[1], token="secret") as client:  # noqa: S106
            assert client.encode("toy", IMAGE).model.name == "toy"
        async with AsyncClient(address, tls_root_certificates=certificate[1]) as other:
            assert await other.models()
        for wrong in (b"", None):
            with Client(address, tls_root_certificates=wrong, retry_for_s=0.0) as client, pytest.raises(ServerUnreachableError):
                client.models()
