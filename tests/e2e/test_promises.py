"""The promises of the design, each against a real process."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest

from dichroic import AsyncClient, Client
from dichroic.errors import DichroicError, InvalidTensorError
from dichroic.status import from_rpc_error
from dichroic.v1 import latent_pb2, latent_pb2_grpc
from dichroic.wire import to_array
from tests.e2e.conftest import ADMIN, LARGE, ROOT, SLOW, SLOWER, SMALL, Service, free_port, serve, wait_until_ready
from tests.toy_bundle import NDArray, Toy, write_toy


def images(rows: int, toy: Toy, dtype: str, seed: int) -> NDArray:
    values = np.random.default_rng(seed).random((rows, toy.side, toy.side))
    return values.astype(np.float32) if dtype == "float32" else (values * np.iinfo(dtype).max).astype(dtype)


async def test_no_response_ever_goes_to_the_wrong_caller(service: Service) -> None:
    """200 concurrent callers with mixed shapes and dtypes, bad requests among them."""

    async def caller(client: AsyncClient, index: int) -> int:
        toy, name = ((SMALL, "toy"), (LARGE, "large"), (SLOW, "slow"))[index % 3]
        dtype = ("uint8", "uint16", "float32")[index // 3 % 3]
        answered = 0
        for turn in range(5):
            values = images(1 + (7 * index + turn) % 11, toy, dtype, seed=1000 * index + turn)
            try:
                found = await client.encode(name, values, frame_id=f"{index}/{turn}")
            except InvalidTensorError:
                continue
            assert found.frame_id == f"{index}/{turn}"
            np.testing.assert_allclose(found.latent_mean, toy.latent_mean(values), atol=1e-5)
            answered += 1
        return answered

    clients = [AsyncClient(service.address) for _ in range(8)]
    try:
        answered = await asyncio.gather(*[caller(clients[index % 8], index) for index in range(200)])
    finally:
        for client in clients:
            await client.close()
    assert sum(answered) == 1000


def test_ready_only_after_warm_up(tmp_path: Path) -> None:
    """At the first moment /readyz says yes, every model answers without an error."""
    write_toy(tmp_path / "bundles", SLOW, name="slow")
    with serve(tmp_path / "bundles", tmp_path / "log") as service, Client(service.address) as client:
        values = images(2, SLOW, "uint8", 0)
        np.testing.assert_allclose(client.encode("slow", values).latent_mean, SLOW.latent_mean(values), atol=1e-5)
        log = service.log.read_text()
        assert log.index("model slow version 1 ready") < log.index("gRPC on")


async def test_in_flight_work_survives_sigterm(tmp_path: Path) -> None:
    write_toy(tmp_path / "bundles", SLOWER, name="slow")
    with serve(tmp_path / "bundles", tmp_path / "log") as service:
        values = [images(200, SLOWER, "float32", seed) for seed in range(12)]
        async with AsyncClient(service.address) as client:
            # One message each, so that all twelve are accepted before the signal.
            calls = [asyncio.create_task(client.encode("slow", given)) for given in values]
            await until(lambda: all_accepted(service, 12))
            service.process.send_signal(signal.SIGTERM)
            answers = await asyncio.gather(*calls)
        for given, answer in zip(values, answers, strict=True):
            np.testing.assert_allclose(answer.latent_mean, SLOWER.latent_mean(given), atol=1e-5)
        assert service.process.wait(30) == 0


def all_accepted(service: Service, calls: int) -> bool:
    """Whether the service has accepted so many Encode calls, some of which still wait or run."""
    lines = service.get("/metrics")[1].splitlines()
    waiting = sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("dichroic_queue_requests"))
    answered = sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("dichroic_requests_total{") and 'method="Encode"' in line)
    assert waiting or answered < calls, "the work was over before the signal: it has to be slower"
    return waiting + answered >= calls


async def until(true: Callable[[], bool], timeout_s: float = 30) -> None:
    async with asyncio.timeout(timeout_s):
        while not await asyncio.to_thread(true):  # noqa: ASYNC110 - another process's state has no event
            await asyncio.sleep(0.005)


async def test_in_flight_work_of_an_unloaded_model_survives_sigterm(tmp_path: Path) -> None:
    write_toy(tmp_path / "bundles", SLOWER, name="slow")
    with serve(tmp_path / "bundles", tmp_path / "log") as service:
        values = [images(200, SLOWER, "float32", seed) for seed in range(8)]
        async with AsyncClient(service.address) as client, AsyncClient(service.address, token=ADMIN) as admin:
            calls = [asyncio.create_task(client.encode("slow", given)) for given in values]
            await until(lambda: all_accepted(service, 8))
            await admin.unload_model("slow")
            service.process.send_signal(signal.SIGTERM)
            answers = await asyncio.gather(*calls)
        for given, answer in zip(values, answers, strict=True):
            np.testing.assert_allclose(answer.latent_mean, SLOWER.latent_mean(given), atol=1e-5)
        assert service.process.wait(30) == 0


def test_an_upload_that_never_ends_is_told_that_the_server_stops(tmp_path: Path) -> None:
    write_toy(tmp_path / "bundles", SMALL)
    with (
        serve(tmp_path / "bundles", tmp_path / "log", drain_s="0") as service,
        socket.create_connection(("127.0.0.1", service.http_port), timeout=30) as connection,
    ):
        head = ("POST /v1/models/toy/encode HTTP/1.1", "Host: dichroic", "Content-Length: 1000", "Expect: 100-continue", "", "")
        connection.sendall("\r\n".join(head).encode())
        answers = connection.makefile("rb")
        assert answers.readline() == b"HTTP/1.1 100 Continue\r\n"  # the server has begun to receive
        answers.readline()
        service.process.send_signal(signal.SIGTERM)
        answer = answers.read()
        assert service.process.wait(30) == 0
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"SERVER_STOPPING" in answer


async def test_reloads_under_load_give_no_error(service: Service) -> None:
    """A reload every 0.2 s for 6 s; tests/long runs one a second for a minute."""
    stop = asyncio.Event()

    async def caller(client: AsyncClient, seed: int) -> int:
        done = 0
        while not stop.is_set():
            values = images(1 + done % 7, SMALL, "uint8", seed=1000 * seed + done)
            np.testing.assert_allclose((await client.encode("toy", values)).latent_mean, SMALL.latent_mean(values), atol=1e-5)
            done += 1
        return done

    async with AsyncClient(service.address) as client, AsyncClient(service.address, token=ADMIN) as admin:
        callers = [asyncio.create_task(caller(client, seed)) for seed in range(8)]
        for _ in range(30):
            await admin.load_model("toy")
            await asyncio.sleep(0.2)
        stop.set()
        done = await asyncio.gather(*callers)
    assert min(done) > 10


def test_a_new_version_serves_by_itself_and_a_broken_one_does_not(service: Service) -> None:
    with Client(service.address) as client:
        values = images(2, SMALL, "float32", 1)
        folder = write_toy(service.bundles, Toy(side=8, seed=77), name="toy")
        wait_for(lambda: client.encode("toy", values).model.version == 2)
        np.testing.assert_allclose(client.encode("toy", values).latent_mean, Toy(side=8, seed=77).latent_mean(values), atol=1e-5)
        broken = write_toy(service.bundles, Toy(side=8, seed=78), name="broken")
        (broken / "decode.onnx").write_bytes(b"?")
        (broken / "bundle.json").write_text((broken / "bundle.json").read_text() + " ")
        wait_for(lambda: any(line.model.name == "broken" and line.state == "failed" for line in client.models()))
        shutil.rmtree(folder)
        wait_for(lambda: client.encode("toy", values).model.version == 1)
        shutil.rmtree(broken)


def wait_for(true: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


async def test_queue_memory_is_bounded_at_four_times_overload(tmp_path: Path) -> None:
    """Offers four times what the queue holds, again and again: most is refused, and memory grows by next to nothing of what was refused."""
    write_toy(tmp_path / "bundles", SLOW, name="slow")
    values = images(250, SLOW, "float32", 0)  # about a megabyte
    request = latent_pb2.EncodeRequest(model_name="slow", images=to_array(values))
    with serve(tmp_path / "bundles", tmp_path / "log", queue_max_bytes=str(8 << 20)) as service:
        # Bare stubs: the client would wait and try again, which is what it is for.
        async with grpc.aio.insecure_channel(service.address) as channel:
            stub = latent_pb2_grpc.LatentServiceStub(channel)
            outcomes: list[str] = []

            async def caller(rounds: int) -> None:
                for _ in range(rounds):
                    try:
                        await stub.Encode(request)
                        outcomes.append("answered")
                    except grpc.aio.AioRpcError as error:
                        refused = from_rpc_error(error)
                        assert (refused.reason, refused.retry_delay_s is not None) == ("QUEUE_FULL", True)
                        outcomes.append("refused")

            before = peak = resident_bytes(service)
            callers = [asyncio.create_task(caller(50)) for _ in range(32)]
            while not all(task.done() for task in callers):
                peak = max(peak, resident_bytes(service))
                await asyncio.sleep(0.01)
            await asyncio.gather(*callers)
    assert outcomes.count("answered") >= 7
    assert outcomes.count("refused") > len(outcomes) / 4
    # 32 messages on their way and the allocator's own swings are 50 to 180 MB; a queue that kept what it refuses would hold over a gigabyte.
    assert peak - before < outcomes.count("refused") * values.nbytes / 4


def resident_bytes(service: Service) -> int:
    return int(Path(f"/proc/{service.worker()}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_torch_never_enters_a_serving_process(service: Service) -> None:
    with Client(service.address) as client:
        client.encode("toy", images(1, SMALL, "uint8", 0))
    for process in (service.process.pid, service.worker()):
        mapped = Path(f"/proc/{process}/maps").read_text()
        assert "python" in mapped
        assert "libtorch" not in mapped


def test_metrics_tell_what_happened(service: Service) -> None:
    with Client(service.address) as client:
        client.encode("large", images(3, LARGE, "uint8", 0))
        with pytest.raises(DichroicError):
            client.encode("no-such-model", images(1, SMALL, "uint8", 0))
    text = service.get("/metrics")[1]
    for name in ("dichroic_requests_total", "dichroic_queue_wait_seconds_bucket", "dichroic_batch_rows_bucket", "dichroic_model_loads_total"):
        assert name in text
    assert (
        'dichroic_request_duration_seconds_bucket{le="0.0005"' in text.replace('method="Encode",', "").replace('protocol="grpc"', "")
        or 'le="0.0005"' in text
    )
    for path in ("/made/up", "/v1/models/%00/encode", "/v1/models/made-up-name"):
        service.get(path)
    text = service.get("/metrics")[1]
    for made_up in ("no-such-model", "made", "\x00"):  # a caller must not be able to make label values
        assert made_up not in text


def test_probes_answer(service: Service) -> None:
    assert service.get("/livez")[0] == 200
    assert service.get("/readyz")[0] == 200


def test_json_answers_in_the_bentoml_process(service: Service) -> None:
    values = images(2, SMALL, "float32", 3)
    body = json.dumps({"images": values.tolist()}).encode()
    request = urllib.request.Request(f"{service.url}/v1/models/toy/encode", body, {"Content-Type": "application/json"})  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
        np.testing.assert_allclose(json.load(answer)["latent_mean"], SMALL.latent_mean(values), atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"DICHROIC_DEVICE": "cuda"}, "cuda"),
        ({"DICHROIC_DEVICE": "tpu"}, "DICHROIC_DEVICE"),
        ({"DICHROIC_GRPC_PORT": "99999"}, "DICHROIC_GRPC_PORT"),
        ({"DICHROIC_BUNDLES": "/no/such/folder"}, "/no/such/folder"),
    ],
)
def test_a_wrong_setting_is_a_refusal_to_start(settings: dict[str, str], words: str) -> None:
    environment = os.environ | {"DICHROIC_BUNDLES": str(ROOT)} | settings
    done = subprocess.run([sys.executable, "-m", "services"], cwd=ROOT, env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == 2
    assert words in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_a_taken_grpc_port_is_a_refusal_to_start(service: Service, tmp_path: Path) -> None:
    environment = os.environ | {
        "DICHROIC_BUNDLES": str(service.bundles),
        "DICHROIC_GRPC_PORT": str(service.grpc_port),
        "DICHROIC_HTTP_PORT": str(free_port()),
        "BENTOML_HOME": str(tmp_path),
    }
    done = subprocess.run([sys.executable, "-m", "services"], cwd=ROOT, env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode != 0
    assert str(service.grpc_port) in done.stderr.decode() + done.stdout.decode()
    wait_until_ready(service, 5)


def test_the_front_page_is_our_own_and_sends_nobody_elsewhere(service: Service) -> None:
    status, page = service.get("/")
    assert status == 200
    assert json.loads(page)["openapi"] == "/openapi.json"
    assert service.get("/docs.json")[0] == 404
    assert service.get("/static_content/index.css")[0] == 404
