"""Seconds a simulation takes: the batch of training/data/ferrosim against a loop over sites of the same dynamics, in one process.

`python -m benchmarks.ferrosim`. The published loop version takes 1.3 s for n = 10 and 1000 steps (science.md 3.4), on another machine; the loop
here takes four stages a step where that takes one, and gives the same numbers as the batch.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from training.data.ferrosim import Lattices, simulate, uniform_lattices

RESULT = Path(__file__).resolve().parent / "results" / "ferrosim.json"
PUBLISHED_S = 1.3
N, STEPS, STEP = 10, 1000, 0.05


def main() -> int:
    parser = argparse.ArgumentParser(description="Times batches of FerroSIM simulations, n = 10, 1000 Runge-Kutta steps each.")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 64, 256], help="simulations at once (default: 1 64 256)")
    parser.add_argument("--repeats", type=int, default=5, help="runs, of which the median counts (default: 5)")
    parser.add_argument("--out", type=Path, default=RESULT, help="JSON file of the figures (default: benchmarks/results/ferrosim.json)")
    arguments = parser.parse_args()
    lattices, field = disordered(1)
    (loop_wall, loop_cpu), by_loop = timed(lambda: loop_over_sites(lattices, field[0], STEP), 1)
    difference = float(np.abs(simulate(lattices, field, STEP).polarisation[0, :, 0] - by_loop).max())
    rows = []
    for mode, batch in [("uniaxial", batch) for batch in arguments.batch] + [("tetragonal", arguments.batch[-1])]:
        lattices, field = disordered(batch, mode)
        simulate(lattices, field[:, :10], STEP)
        (wall, cpu), _ = timed(lambda lattices=lattices, field=field: simulate(lattices, field, STEP), arguments.repeats)
        rows.append(
            {
                "mode": mode,
                "batch": batch,
                "wall_ms_per_simulation": wall / batch * 1e3,
                "cpu_ms_per_simulation": cpu / batch * 1e3,
                "wall_ratio_to_published_1.3_s": PUBLISHED_S / (wall / batch),
                "cpu_ratio_to_published_1.3_s": PUBLISHED_S / (cpu / batch),
                "wall_ratio_to_loop_here": loop_wall / (wall / batch),
                "cpu_ratio_to_loop_here": loop_cpu / (cpu / batch),
            }
        )
    facts: dict[str, Any] = {
        "what": f"n = {N}, {STEPS} Runge-Kutta steps of fourth order, random field and bond, d = 0.1, float64, one thread",
        "loop_here_s": {"wall": loop_wall, "cpu": loop_cpu, "mode": "uniaxial"},
        "largest_difference_from_loop": difference,
        "rows": rows,
        "machine": {"processor": processor(), "cores": os.cpu_count(), "load_average_1_min": os.getloadavg()[0]},
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(table(facts))
    print(f"wrote {arguments.out}")
    met = all(row["cpu_ratio_to_published_1.3_s"] >= 100 for row in rows if row["batch"] >= 64)
    return 0 if met and difference < 1e-9 else 1


def disordered(batch: int, mode: str = "uniaxial") -> tuple[Lattices, np.ndarray[Any, Any]]:
    """Lattices with every kind of disorder, and one triangular cycle of the field for each."""
    generator = np.random.default_rng(batch)
    plain = uniform_lattices(mode, N, batch, depolarisation=0.1)
    ec = plain.landau.coercive_field
    bond, random_field = generator.uniform(0.5, 1.5, plain.bond.shape), 0.3 * generator.standard_normal(plain.random_field.shape)
    wave = np.interp(np.linspace(0, 4, STEPS + 1), [0, 1, 3, 4], [0, 1, -1, 0])
    return Lattices(mode, bond, random_field, plain.depolarisation), generator.uniform(1.5, 2.5, (batch, 1)) * ec * wave


def timed(call: Callable[[], Any], repeats: int) -> tuple[tuple[float, float], Any]:
    """Medians of wall and processor seconds, and the last answer. Processor time does not count what others do on the machine."""
    wall, cpu = [], []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        answer = call()
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
    return (statistics.median(wall), statistics.median(cpu)), answer


def loop_over_sites(lattices: Lattices, field: np.ndarray[Any, Any], step: float) -> np.ndarray[Any, Any]:
    """The mean polarisation at every sample of one uniaxial lattice: plain Python, site by site, as one would write the equation down."""
    own, n = lattices.landau, lattices.n
    k, defect = lattices.bond[0].tolist(), (own.coercive_field * lattices.random_field[0, 0]).tolist()
    d = float(lattices.depolarisation[0])
    p = [[own.spontaneous[0]] * n for _ in range(n)]

    def slope(p: list[list[float]], e: float) -> list[list[float]]:
        mean = sum(map(sum, p)) / n**2
        out = []
        for i in range(n):
            row = []
            for j in range(n):
                here, coupling = p[i][j], 0.0
                for a, b in (((i + 1) % n, j), ((i - 1) % n, j), (i, (j + 1) % n), (i, (j - 1) % n)):
                    coupling += (k[i][j] + k[a][b]) / 8 * (here - p[a][b])
                row.append(-(own.a * here + own.b * here**3) - coupling + e + defect[i][j] - d * mean)
            out.append(row)
        return out

    def moved(p: list[list[float]], f: list[list[float]], h: float) -> list[list[float]]:
        return [[x + h * y for x, y in zip(*rows, strict=True)] for rows in zip(p, f, strict=True)]

    means = [sum(map(sum, p)) / n**2]
    for e0, e1 in zip(field[:-1].tolist(), field[1:].tolist(), strict=True):
        f1 = slope(p, e0)
        f2 = slope(moved(p, f1, step / 2), (e0 + e1) / 2)
        f3 = slope(moved(p, f2, step / 2), (e0 + e1) / 2)
        f4 = slope(moved(p, f3, step), e1)
        for f, share in ((f1, 1 / 6), (f2, 1 / 3), (f3, 1 / 3), (f4, 1 / 6)):
            p = moved(p, f, share * step)
        means.append(math.fsum(map(math.fsum, p)) / n**2)
    return np.array(means)


def processor() -> str:
    """The processor's name as Linux tells it, or what Python knows."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


def table(facts: dict[str, Any]) -> str:
    """One line for each batch."""
    lines = ["| mode | batch | wall, ms a simulation | processor, ms | × published 1.3 s | × loop here (processor) |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row['mode']} | {row['batch']} | {row['wall_ms_per_simulation']:.2f} | {row['cpu_ms_per_simulation']:.2f} "
        f"| {row['wall_ratio_to_published_1.3_s']:.0f} (processor {row['cpu_ratio_to_published_1.3_s']:.0f}) | {row['cpu_ratio_to_loop_here']:.0f} |"
        for row in facts["rows"]
    ]
    loop = facts["loop_here_s"]
    lines.append(
        f"loop over sites here: {loop['wall']:.2f} s (processor {loop['cpu']:.2f} s); answers differ by {facts['largest_difference_from_loop']:.1e}"
    )
    lines.append(f"load average while measuring: {facts['machine']['load_average_1_min']:.1f} on {facts['machine']['cores']} cores")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
