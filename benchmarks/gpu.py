"""Parity and speed of bundles on a GPU: every signature on CPU and on CUDA, the same rows, the manifest's own golden examples replayed on both.

Rows are random, or, of graphs that read whole frames, places in one frame of 1024 x 1024 pixels.

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

from dichroic.bundle import TensorSpec, versions_in
from dichroic.bundle.arrays import Arrays
from dichroic.bundle.tensors import FixedSpec
from services.engine.device import ChosenDevice, DeviceError, choose_device
from services.engine.loader import Loader
from services.engine.runtime import Runtime
from services.mechanism.posterior import make_fixed

FRAME_PX, WINDOW_PX = 1024, 64


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
    write(arguments.out, found, "Graphs on a GPU and on one CPU core", ("bundle", "signature", "rows"))


def folders(bundles: Path) -> list[Path]:
    """The highest version of every bundle."""
    homes = (home for home in sorted(bundles.iterdir()) if home.is_dir() and versions_in(home))
    return [home / str(versions_in(home)[-1]) for home in homes]


def compare(folder: Path, cuda: ChosenDevice, repeats: int) -> list[dict[str, Any]]:
    """Loading alone replays the golden examples on the device; then the same rows go through both."""
    cpu, gpu = (Loader(device, 256, make_fixed={"mechanism": make_fixed}).load(folder) for device in (ChosenDevice("cpu", False, 1), cuda))
    found = []
    for name, runtime in sorted(cpu.runtimes.items()):
        for rows in sorted({1, runtime.most_rows(*given(runtime, 1)[::-1])}):
            inputs, fixed = given(runtime, rows)
            found.append({"bundle": folder.parent.name, "signature": name, "rows": rows, **one(runtime, gpu.runtimes[name], inputs, fixed, repeats)})
    cpu.close()
    gpu.close()
    return found


def given(runtime: Runtime, rows: int) -> tuple[Arrays, Arrays | None]:
    """Random rows, and the fixed inputs that come with a request; None: the bundle's own."""
    random = np.random.default_rng(0)
    signature = runtime.signature
    fixed = {spec.name: drawn(spec, 1, random)[0] for spec in signature.fixed} if signature.asks_for_fixed else None
    return {spec.name: drawn(spec, rows, random) for spec in signature.inputs}, fixed


def drawn(spec: TensorSpec | FixedSpec, rows: int, random: np.random.Generator) -> Any:
    """Values of one input in its range; places and windows inside a frame."""
    shape = (rows, *(FRAME_PX if isinstance(axis, str) else axis for axis in spec.shape[1 if spec.shape[0] == "n" else 0 :]))
    if spec.name == "window_px":
        return np.full(shape, WINDOW_PX, spec.dtype)
    if spec.name == "centre_px":
        return random.uniform(WINDOW_PX, FRAME_PX - WINDOW_PX, shape).astype(spec.dtype)
    low, high = (getattr(spec, name, None) for name in ("range_low", "range_high"))
    if spec.dtype.startswith("float"):
        return random.uniform(-1 if low is None else low, 1 if high is None else high, shape).astype(spec.dtype)
    whole = np.iinfo(spec.dtype)
    limits = whole.min if low is None else int(low), whole.max if high is None else int(high)
    return random.integers(*limits, shape, spec.dtype, endpoint=True)


def one(cpu: Runtime, gpu: Runtime, inputs: Arrays, fixed: Arrays | None, repeats: int) -> dict[str, Any]:
    """The difference is relative to each output's greatest absolute value, the worst of them."""
    first, second = cpu.run(inputs, fixed=fixed), gpu.run(inputs, fixed=fixed)
    took = {device: statistics.median(seconds(runtime, inputs, fixed) for _ in range(repeats)) for device, runtime in (("cpu", cpu), ("cuda", gpu))}
    differences = {name: float(np.max(np.abs(first[name] - second[name].astype(float))) / max(np.max(np.abs(first[name])), 1e-12)) for name in first}
    worst = max(differences, key=lambda name: differences[name])
    return {"cpu_ms": took["cpu"] * 1e3, "cuda_ms": took["cuda"] * 1e3, "difference": differences[worst], "of": worst}


def seconds(runtime: Runtime, inputs: Arrays, fixed: Arrays | None) -> float:
    """One run, numpy in and out."""
    started = time.perf_counter()
    runtime.run(inputs, fixed=fixed)
    return time.perf_counter() - started


def write(path: Path, found: dict[str, Any], title: str, names: tuple[str, ...]) -> None:
    """JSON, and a page of the same beside it, which is printed."""
    *facts, (_, rows) = found.items()
    head = "".join(f" {json.dumps(name)}: {json.dumps(value)},\n" for name, value in facts)
    path.write_text("{\n" + head + ' "rows": [\n  ' + ",\n  ".join(map(json.dumps, rows)) + "\n ]\n}\n", encoding="utf-8")
    lines = [
        f"# {title}",
        "",
        f"{', '.join(str(value) for _, value in facts)}. Medians in ms; the largest difference, of the output's greatest value.",
    ]
    lines += ["", f"| {' | '.join(names)} | CPU | CUDA | CPU/CUDA | difference |", "|---" * (len(names) + 4) + "|"]
    for row in rows:
        first = " | ".join(str(row[name]) for name in names)
        times = f"{row['cpu_ms']:.2f} | {row['cuda_ms']:.2f} | {row['cpu_ms'] / row['cuda_ms']:.1f}"
        lines.append(f"| {first} | {times} | {row['difference']:.0e}, {row['of']} |")
    page = "\n".join(lines) + "\n"
    path.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


def gpu_name() -> str:
    """As the driver names it."""
    done = subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=False)  # noqa: S607
    return done.stdout.strip() or "unknown GPU"


if __name__ == "__main__":
    main()
