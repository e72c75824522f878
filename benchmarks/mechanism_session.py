"""Observing and suggesting in a session, in process: `python -m benchmarks.mechanism_session`.

N = 1 000 points, three additive mechanisms (a category of four, a place, an age), posterior in low rank, 10 000 candidates registered. The journal
lies once in memory (/dev/shm: what is left is what comes before fsync) and once on the disk. Medians of repeats; the machine's other work is in them.
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
from pathlib import Path
from typing import Any

import numpy as np

from dichroic.bundle import TrainingData
from dichroic.bundle.manifest import Calibration, CoverageLevel, IntervalCoverage
from dichroic.bundle.mechanism_section import MeasuredQuantity
from dichroic.bundle.mechanism_section import Mechanism as Declared
from services.mechanism import Given
from services.server import Server
from services.settings import Settings
from training.export.mechanism_bundle import MechanismFacts, write_mechanism_bundle
from training.export.mechanism_graphs import Standardisation
from training.mechanism.encoders import identity, one_hot
from training.mechanism.fit import Fitted
from training.mechanism.posterior import Posterior
from training.mechanism.structure import Mechanism, Structure, TermValues, additive
from training.recipe_sections import Card

RESULT = Path(__file__).resolve().parent / "results" / "mechanism_session.json"
KINDS = ("one", "two", "three", "four")
STRATEGIES = ("total_sd", "part_sd", "mean_variance", "ucb", "ei", "thompson")


class Unobserved:
    """Nothing is counted."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--candidates", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dichroic-session-") as home:
        rank = write(Path(home) / "bundles", arguments.points)
        places = {"disk": Path(home) / "sessions"}
        if os.access("/dev/shm", os.W_OK):  # noqa: S108 - memory is what is wanted
            places["memory"] = Path(tempfile.mkdtemp(prefix="dichroic-", dir="/dev/shm"))
        ms = {name: asyncio.run(measured(Path(home) / "bundles", folder, arguments)) for name, folder in places.items()}
    found = {
        "points": arguments.points,
        "candidates": arguments.candidates,
        "rank": rank,
        "date": time.strftime("%Y-%m-%d"),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "median_ms": ms,
    }
    arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"N = {arguments.points}, rank {rank}, {arguments.candidates} candidates; median ms by where the journal lies")
    for name in ms["disk"]:
        print(f"{name:<28}" + "".join(f"{place}: {told[name]:8.2f}   " for place, told in ms.items()))


async def measured(bundles: Path, sessions: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Median milliseconds of each call."""
    server = Server(Settings(bundles=bundles, sessions=sessions, device="cpu", watch_s=0), Unobserved())
    await server.start()
    room, rng = server.mechanism, np.random.default_rng(1)
    try:
        began = time.perf_counter()
        made = await room.create_session("bench", 0, later(), candidates=given(rng, arguments.candidates))
        ms = {"create session": 1e3 * (time.perf_counter() - began)}

        async def timed(name: str, call: Callable[[], Awaitable[Any]], before: Callable[[], Awaitable[Any]] | None = None) -> None:
            took = []
            for _ in range(arguments.repeats):
                if before is not None:
                    await before()
                started = time.perf_counter()
                await call()
                took.append(1e3 * (time.perf_counter() - started))
            ms[name] = statistics.median(took)

        async def observe() -> None:
            await room.observe(made.session_id, later(), given=given(rng, 1), y=np.array([0.3]))

        async def suggest(strategy: str, count: int = 1) -> None:
            part = "place" if strategy == "part_sd" else ""
            await room.suggest(later(), session_id=made.session_id, candidates=None, strategy=strategy, part=part, count=count)

        await timed("observe, one point", observe)
        for strategy in STRATEGIES:
            await timed(f"suggest {strategy}", lambda strategy=strategy: suggest(strategy))
        for strategy in ("total_sd", "mean_variance"):
            await timed(f"suggest {strategy}, 8 picks", lambda strategy=strategy: suggest(strategy, 8))
        await timed("suggest after an observation", lambda: suggest("total_sd"), observe)
        await timed("predict, one point", lambda: room.predict("", 0, given(rng, 1), later(), session_id=made.session_id))
        return ms
    finally:
        await server.stop()


def given(rng: np.random.Generator, count: int) -> Given:
    """Points at random."""
    return Given({"kind": rng.integers(0, 4, count), "place": rng.random((count, 2)), "age": rng.random((count, 1))}, {})


def later() -> float:
    """A deadline far away."""
    return asyncio.get_running_loop().time() + 600


def write(bundles: Path, points: int) -> int:
    """Writes the bundle "bench" with numbers that nobody fitted; returns the rank of its posterior."""
    rng = np.random.default_rng(0)
    kind, place, age = rng.integers(0, 4, points), rng.random((points, 2)), rng.random((points, 1))
    encoders = (
        one_hot("kind", KINDS, unit="1", meaning="kind"),
        identity("place", np.zeros(2), np.ones(2), unit="um", meaning="place"),
        identity("age", np.zeros(1), np.ones(1), unit="h", meaning="age"),
    )
    raw = np.column_stack((np.eye(4)[kind], place, age))
    standardisation = Standardisation.of(raw)
    mechanisms = (Mechanism("kind", 0, 4), Mechanism("place", 4, 2), Mechanism("age", 6, 1))
    lengths = (np.full(4, 2.0), np.array([0.6, 0.9]), np.array([0.8]))
    terms = tuple(TermValues(term, 1.0, {term.name: length}) for term, length in zip(additive("kind", "place", "age"), lengths, strict=True))
    y = kind / 2 + np.sin(6 * place[:, 0]) * place[:, 1] + age[:, 0] ** 2 + 0.1 * rng.standard_normal(points)
    structure = Structure(mechanisms, terms, float(y.mean()))
    posterior = Posterior(structure, standardisation(raw), y, np.full(points, 0.01), np.full(points, 1 / points))

    def declared(name: str, kind: Any, size: int, **more: Any) -> Declared:
        return Declared(name=name, kind=kind, unit="1", meaning=name, latent_size=size, encoder="identity", kernel="rbf", **more)

    facts = MechanismFacts(
        name="bench",
        card=Card(title="Bench", description="Made up.", limits="All.", published="Nothing.", ours="Everything."),
        mechanisms=(
            declared("kind", "category", 4, categories=KINDS),
            declared("place", "coordinates", 2, columns=("x", "y"), trained_low=(0.0, 0.0), trained_high=(1.0, 1.0)),
            declared("age", "parameters", 1, columns=("age",), trained_low=(0.0,), trained_high=(1.0,)),
        ),
        encoders=encoders,
        standardisation=standardisation,
        form="additive",
        quantity=MeasuredQuantity(name="y", unit="1", meaning="made up", sd=float(y.std())),
        training_data=TrainingData(source="made up", licence="MIT", sha256=("0" * 64,)),
        notes="",
        metrics=(),
        calibration=Calibration(interval_coverage=IntervalCoverage(count=1, split="made up", levels=(CoverageLevel(probability=0.9, covered=0.9),))),
        timings_s={},
    )
    written = write_mechanism_bundle(bundles, Fitted(structure, posterior, 0.01, None, 0.0, ()), facts)
    section = written.manifest.mechanism
    return 0 if section is None or section.truncation is None else section.truncation.rank


if __name__ == "__main__":
    main()
