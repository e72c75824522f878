"""The service on a GPU beside the service on the CPU, as a client sees them: the same answers, and how long each call takes.

`python -m benchmarks.gpu_service [--bundles bundles] [--out benchmarks/results/gpu_service.json]`

Serves the committed bundles and `dense` of random weights (benchmarks/random_bundles.py), first with `--device cpu`, then with `--device cuda`, each
in its own process; one client asks. Where there is no usable GPU it says so, exits 0 and writes nothing.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu import gpu_name, write
from dichroic import Client
from services.engine.device import DeviceError, choose_device
from training.data.cards import draw_cards
from training.data.patches_field import draw_patches_field
from training.local_service import ROOT, running_service

RESULT = ROOT / "benchmarks" / "results" / "gpu_service.json"
Call = Callable[[], Any]
# What is compared of an answer, where it is there.
COMPARED = (
    "content",
    "angle_rad",
    "content_sd",
    "images",
    "reconstruction",
    "mean",
    "total_sd",
    "part_mean",
    "hop_probability",
    "rates_per_s",
    "score",
    "occupancy",
    "survival_probability",
)


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundles", type=Path, default=ROOT / "bundles")
    parser.add_argument("--dense", type=Path, help="the folder of a bundle `dense` made before, where torch is not that of the lock")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--devices", nargs=2, default=["cpu", "cuda"], help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    try:
        for device in arguments.devices:
            choose_device(device, intra_op_threads=1)
    except DeviceError as error:
        print(f"no GPU, nothing measured: {error}")
        return
    with tempfile.TemporaryDirectory(prefix="dichroic-gpu-") as folder:
        bundles = Path(folder) / "bundles"
        shutil.copytree(arguments.bundles, bundles)
        if arguments.dense:
            shutil.copytree(arguments.dense, bundles / "dense", dirs_exist_ok=True)
        else:
            from benchmarks.random_bundles import write_random_frames  # noqa: PLC0415 - torch

            write_random_frames(bundles)
        cpu, cuda = (measured(bundles, device, arguments.repeats) for device in arguments.devices)
    rows = [{"call": name, "cpu_ms": cpu[name][0], "cuda_ms": cuda[name][0], **difference(cpu[name][1], cuda[name][1])} for name in cpu]
    found = {"device": gpu_name(), "date": time.strftime("%Y-%m-%d"), "python": platform.python_version(), "rows": rows}
    write(arguments.out, found, "The service on a GPU and on the CPU, as a client sees it", ("call",))


def measured(bundles: Path, device: str, repeats: int) -> dict[str, tuple[float, Any]]:
    """Each call's median ms and its last answer, of a service on one device."""
    found = {}
    with running_service(bundles, "--device", device) as service, Client(service.grpc_address) as client, ExitStack() as stack:
        told = client.model("cards").device
        if told != device:
            raise SystemExit(f"the service runs on {told}, not on {device}")
        for name, call in calls(client, stack).items():
            answer, took = call(), []
            for _ in range(repeats):
                started = time.perf_counter()
                answer = call()
                took.append(1e3 * (time.perf_counter() - started))
            found[name] = statistics.median(took), answer
    return found


def calls(client: Client, stack: ExitStack) -> dict[str, Call]:
    """What is asked, by name."""
    images = draw_cards(64, angle_deg=60, shear_deg=1, shift=0.1, seed=4, stream="test").arrays["images"]
    points = draw_patches_field(256, noise=0.1, seed=4, stream="test").arrays
    random = np.random.default_rng(0)
    beams = random.uniform(-1, 1, (256, 2))
    turns = np.deg2rad([90.0, 210.0, 330.0])
    neighbours = np.tile(1.42 * np.column_stack([np.cos(turns), np.sin(turns)]), (256, 1, 1))
    whole, small = (random.integers(0, 256, (side, side), dtype=np.uint8) for side in (1024, 256))

    def mechanisms(count: int) -> dict[str, Any]:
        return {name: points[name][:count] for name in ("patch", "position", "age")}

    session = stack.enter_context(client.session("patches_start", mechanisms(256)))
    return {
        "encode cards, 1 image": lambda: client.encode("cards", images[:1]),
        "encode cards, 256 images": lambda: client.encode("cards", images),
        "reconstruct cards, 256 images": lambda: client.reconstruct("cards", images),
        "encode cards_joint, 256 images": lambda: client.encode("cards_joint", images),
        "predict patches_start, 1 point": lambda: client.predict("patches_start", mechanisms(1)),
        "predict patches_start, 256 points": lambda: client.predict("patches_start", mechanisms(256)),
        "session: predict 256 points": lambda: session.predict(mechanisms(256)),
        "session: suggest of 256 candidates": lambda: session.suggest(strategy="total_sd"),
        "predict_transitions dune-prior, 256 beams": lambda: client.predict_transitions("dune-prior", beams, neighbours, dwell_s=np.full(256, 0.1)),
        "encode_frame dense, 1024 px, every 8 px": lambda: client.encode_frame("dense", whole).maps[0],
        "encode_frame domains, 1024 px, every 32 px": lambda: client.encode_frame("domains", whole, stride_px=32).maps[0],
        "stream_encode dense, 16 frames of 256 px": lambda: list(client.stream_encode("dense", [small] * 16))[-1].maps[0],
    }


def difference(first: Any, second: Any) -> dict[str, Any]:
    """The worst of what is compared, relative to the greatest absolute value; angles the short way round."""
    found = {}
    for name in COMPARED:
        one, other = (getattr(answer, name, None) for answer in (first, second))
        if one is None or other is None:
            continue
        one, other = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
        gap = np.abs(one - other)
        gap = np.minimum(gap, 2 * np.pi - gap) if name == "angle_rad" else gap
        found[name] = float(np.nanmax(gap) / max(np.nanmax(np.abs(one)), 1e-12))
    worst = max(found, key=lambda name: found[name])
    return {"difference": found[worst], "of": worst}


if __name__ == "__main__":
    main()
