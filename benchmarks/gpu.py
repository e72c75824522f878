"""Parity and speed of bundles on a GPU: every signature on CPU and on CUDA, the same rows, the manifest's own golden examples replayed on both.

`python -m benchmarks.gpu [--bundles bundles] [--out benchmarks/results/gpu.json]`

Where there is no usable GPU it says so, exits 0 and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from dichroic.bundle import versions_in
from services.engine.device import ChosenDevice, DeviceError, choose_device
from services.engine.graph import empty_inputs
from services.engine.loader import Loader
from services.engine.runtime import Runtime


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundles", type=Path, default=Path("bundles"))
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu.json"))
    arguments = parser.parse_args()
    try:
        cuda = choose_device("cuda", intra_op_threads=1)
    except DeviceError as error:
        print(f"no GPU, nothing measured: {error}")
        return
    rows = [row for folder in folders(arguments.bundles) for row in compare(folder, cuda, arguments.repeats)]
    found = {"device": gpu_name(), "date": time.strftime("%Y-%m-%d"), "python": platform.python_version(), "rows": rows}
    arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{found['device']}, {found['date']}")
    print(f"{'bundle':<12}{'signature':<22}{'rows':>6}{'cpu ms':>10}{'cuda ms':>10}{'ratio':>8}{'difference/range':>18}")
    for row in rows:
        times = f"{row['cpu_ms']:>10.2f}{row['cuda_ms']:>10.2f}{row['cpu_ms'] / row['cuda_ms']:>8.1f}"
        print(f"{row['bundle']:<12}{row['signature']:<22}{row['rows']:>6}{times}{row['difference']:>18.1e}")


def folders(bundles: Path) -> list[Path]:
    """The highest version of every bundle."""
    homes = (home for home in sorted(bundles.iterdir()) if home.is_dir() and versions_in(home))
    return [home / str(versions_in(home)[-1]) for home in homes]


def compare(folder: Path, cuda: ChosenDevice, repeats: int) -> list[dict[str, Any]]:
    """Loading alone replays the golden examples on the device; then the same random rows go through both."""
    on_cpu = Loader(ChosenDevice("cpu", False, 1), 256).load(folder).runtimes
    on_gpu = Loader(cuda, 256).load(folder).runtimes
    return [one(folder.parent.name, on_cpu[name], on_gpu[name], rows, repeats) for name in sorted(on_cpu) for rows in (1, on_cpu[name].max_batch)]


def one(bundle: str, cpu: Runtime, gpu: Runtime, rows: int, repeats: int) -> dict[str, Any]:
    """One signature at one batch size; the difference is relative to each output's greatest absolute value, the worst of them."""
    random = np.random.default_rng(0)
    inputs = empty_inputs(cpu.signature, rows)
    for spec in cpu.signature.inputs:
        low, high = spec.range_low, spec.range_high
        values = random.uniform(-1 if low is None else low, 1 if high is None else high, inputs[spec.name].shape)
        inputs[spec.name] = values.astype(spec.dtype)
    first, second = cpu.run(inputs), gpu.run(inputs)
    difference = max(float(np.max(np.abs(first[name] - second[name])) / max(np.max(np.abs(first[name])), 1e-12)) for name in first)
    took = {device: statistics.median(seconds(runtime, inputs) for _ in range(repeats)) for device, runtime in (("cpu", cpu), ("cuda", gpu))}
    return {
        "bundle": bundle,
        "signature": cpu.name,
        "rows": rows,
        "cpu_ms": took["cpu"] * 1e3,
        "cuda_ms": took["cuda"] * 1e3,
        "difference": difference,
    }


def seconds(runtime: Runtime, inputs: dict[str, Any]) -> float:
    """One run, numpy in and out."""
    started = time.perf_counter()
    runtime.run(inputs)
    return time.perf_counter() - started


def gpu_name() -> str:
    """As the driver names it."""
    done = subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=False)  # noqa: S607
    return done.stdout.strip() or "unknown GPU"


if __name__ == "__main__":
    main()
