"""The service against its own floor: the bare ONNX Runtime in process, and a bare grpc.aio echo, all in one run.

`python -m benchmarks.serving [--repeats 5] [--out benchmarks/results/serving.json]`

Every figure is a median over repeats in which the things compared take turns. The service, the echo and this client are three processes on
the same machine; every graph runs on one thread. The echo answers as many bytes as the service does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from benchmarks.echo import LIMIT, METHOD
from benchmarks.processes import start_echo, start_service
from benchmarks.random_bundles import SIDE_PX, write_random_bundles
from benchmarks.turns import turn_by_turn
from dichroic.v1 import latent_pb2, latent_pb2_grpc
from dichroic.wire import from_array, put_array
from services.engine.device import ChosenDevice
from services.engine.loader import Loader

ROWS = 256
Call = Callable[[], Awaitable[object]]


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="time given to each measurement of a repeat")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/serving.json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), arguments.repeats, arguments.seconds)
    arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    show(found)
    print(f"written to {arguments.out}")


def run(folder: Path, repeats: int, seconds: float) -> dict[str, Any]:
    """Starts both servers and measures."""
    bundles = folder / "bundles"
    write_random_bundles(bundles)
    with ExitStack() as stack:
        service = start_service(stack, bundles)
        big, small = answer_sizes(service)
        return {
            "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "date": time.strftime("%Y-%m-%d"), "device": "cpu"},
            "repeats": repeats,
            **asyncio.run(measure(bundles, service, (start_echo(stack, big), start_echo(stack, small)), repeats=repeats, seconds=seconds)),
        }


async def measure(bundles: Path, service: str, echoes: tuple[str, str], *, repeats: int, seconds: float) -> dict[str, Any]:
    """The three comparisons."""
    loader = Loader(ChosenDevice("cpu", False, 1), ROWS)
    async with (
        grpc.aio.insecure_channel(service, options=LIMIT) as channel,
        grpc.aio.insecure_channel(echoes[0], options=LIMIT) as big,
        grpc.aio.insecure_channel(echoes[1], options=LIMIT) as small,
    ):
        stub = latent_pb2_grpc.LatentServiceStub(channel)
        result: dict[str, Any] = {"messages": {}}
        for name in ("conv", "mlp"):
            runtime = loader.load(bundles / name / "1").runtimes["encode.uint8"]
            result["messages"][name] = await messages(name, runtime.run, stub, big.unary_unary(METHOD), repeats=repeats, seconds=seconds)
        result["single_patch"] = await single_patch(stub, small.unary_unary(METHOD), repeats)
        result["clients"] = [await clients(stub, count, seconds) for count in (1, 2, 4, 8, 16, 32)]
        return result


async def messages(name: str, run_graph: Callable[..., object], stub: Any, echo: Any, *, repeats: int, seconds: float) -> dict[str, float]:
    """Rate of 256-patch messages, two in flight, against the graph alone and the echo alone."""
    images = patches(ROWS)
    payload = request(name, images).SerializeToString()

    async def graph_alone() -> None:
        run_graph({"images": images})

    async def served() -> None:
        answer = await stub.Encode(request(name, images))
        from_array(answer.content, field="content")

    async def echoed() -> None:
        await echo(payload)

    graph_s, served_s, echo_s = [], [], []
    for _ in range(repeats):
        graph_s.append(await seconds_per_call(graph_alone, 1, seconds))
        served_s.append(await seconds_per_call(served, 2, seconds))
        echo_s.append(await seconds_per_call(echoed, 1, seconds))
    graph, service, bare = (statistics.median(values) for values in (graph_s, served_s, echo_s))
    return {
        "in_process_patches_per_s": ROWS / graph,
        "service_patches_per_s": ROWS / service,
        "echo_ms": bare * 1e3,
        "model_ms": graph * 1e3,
        "service_over_in_process": statistics.median(g / s for g, s in zip(graph_s, served_s, strict=True)),
        "service_over_echo_plus_model": statistics.median((e + g) / s for e, g, s in zip(echo_s, graph_s, served_s, strict=True)),
    }


async def single_patch(stub: Any, echo: Any, repeats: int) -> dict[str, float]:
    """Latency of one patch, one call at a time, against the echo of the same bytes, turn by turn."""
    images = patches(1)
    payload = request("conv", images).SerializeToString()
    took = await turn_by_turn({"service": lambda _: stub.Encode(request("conv", images)), "echo": lambda _: echo(payload)}, 200 * repeats)
    service, bare = took["service"], took["echo"]
    return {
        "service_p50_ms": float(np.median(service)),
        "echo_p50_ms": float(np.median(bare)),
        "difference_p50_ms": float(np.median(service) - np.median(bare)),
        "service_p99_ms": float(np.quantile(service, 0.99)),
        "echo_p99_ms": float(np.quantile(bare, 0.99)),
    }


async def clients(stub: Any, count: int, seconds: float) -> dict[str, float]:
    """`count` callers, each with one patch in flight."""
    took: list[float] = []
    ends = time.perf_counter() + seconds

    async def caller() -> None:
        message = request("conv", patches(1))
        while time.perf_counter() < ends:
            started = time.perf_counter()
            await stub.Encode(message)
            took.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*[caller() for _ in range(count)])
    elapsed = time.perf_counter() - started
    return {
        "clients": count,
        "calls_per_s": len(took) / elapsed,
        "p50_ms": float(np.median(took)) * 1e3,
        "p99_ms": float(np.quantile(took, 0.99)) * 1e3,
    }


async def seconds_per_call(call: Call, in_flight: int, seconds: float) -> float:
    """Wall time over calls, with so many in flight; the first ones are not counted."""
    for _ in range(3):
        await call()
    done = 0
    started = time.perf_counter()

    async def worker() -> None:
        nonlocal done
        while time.perf_counter() - started < seconds:
            await call()
            done += 1

    await asyncio.gather(*[worker() for _ in range(in_flight)])
    return (time.perf_counter() - started) / done


def patches(rows: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Random uint8 patches."""
    return np.random.default_rng(0).integers(0, 256, (rows, SIDE_PX, SIDE_PX), dtype=np.uint8)


def request(name: str, images: np.ndarray[Any, np.dtype[np.uint8]]) -> latent_pb2.EncodeRequest:
    """As a client builds it."""
    message = latent_pb2.EncodeRequest(model_name=name)
    put_array(message.images, images)
    return message


def answer_sizes(service: str) -> tuple[int, int]:
    """How many bytes the service answers to 256 patches and to one."""
    with grpc.insecure_channel(service, options=LIMIT) as channel:
        stub = latent_pb2_grpc.LatentServiceStub(channel)
        return tuple(stub.Encode(request("conv", patches(rows))).ByteSize() for rows in (ROWS, 1))  # type: ignore[return-value]


def show(found: dict[str, Any]) -> None:
    """The table."""
    print(f"\n{found['machine']['cpus']} CPUs, one thread a graph, medians of {found['repeats']} repeats, uint8 patches {SIDE_PX} x {SIDE_PX}\n")
    print(f"{'256-patch messages, two in flight':<36}{'in process':>14}{'service':>14}{'ratio':>8}{'of 1/(echo+model)':>20}")
    for name, row in found["messages"].items():
        rates = f"{row['in_process_patches_per_s']:>12.0f}/s{row['service_patches_per_s']:>12.0f}/s"
        print(f"  {name:<34}{rates}{row['service_over_in_process']:>8.2f}{row['service_over_echo_plus_model']:>20.2f}")
    one = found["single_patch"]
    print(f"\nsingle patch, conv: p50 {one['service_p50_ms']:.2f} ms, echo {one['echo_p50_ms']:.2f} ms, difference {one['difference_p50_ms']:.2f} ms")
    print(f"                    p99 {one['service_p99_ms']:.2f} ms, echo {one['echo_p99_ms']:.2f} ms\n")
    print(f"{'clients':>8}{'calls/s':>10}{'p50 ms':>9}{'p99 ms':>9}")
    for row in found["clients"]:
        print(f"{row['clients']:>8}{row['calls_per_s']:>10.0f}{row['p50_ms']:>9.2f}{row['p99_ms']:>9.2f}")


if __name__ == "__main__":
    main()
