"""An automated experiment: the service says where to measure next, a simulated microscope measures there, the service learns; drawn as it goes.

    python examples/closed_loop.py [--model patches_start] [--rounds 16] [--picks 8] [--server HOST:PORT] [--out closed_loop.png]

The model has seen a few points. The microscope has places it could go to, each with a patch of its surroundings and an age; a measurement is
the patch's level, a field and the ageing together, with noise (training/data/patches_field.py), and the loop is to find out who caused what
everywhere. Beside it a second session measures the same number of random places. Everything goes through the client: this file knows nothing of
Gaussian processes. Put an instrument in the place of `SimulatedMicroscope` and it drives that.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dichroic import Client
from examples.asking import options, service_client
from examples.closed_loop_picture import draw
from training.data.patches_field import draw_patches_field

NDArray = np.ndarray[Any, np.dtype[Any]]
MECHANISMS = ("patch", "position", "age")
GRID = 41  # places along each axis of the maps


class SimulatedMicroscope:
    """What stands for an instrument: places it can go to, and a measurement at any of them."""

    def __init__(self, places: int, seed: int) -> None:
        self._drawn = draw_patches_field(places, noise=0.1, seed=seed, stream="validation").arrays

    @property
    def candidates(self) -> dict[str, NDArray]:
        """What is known of each place before it is measured: `patch` (n, 24, 24), `position` (n, 2), `age` (n, 1)."""
        return {name: self._drawn[name] for name in MECHANISMS}

    def measure(self, index: NDArray) -> NDArray:
        """The response (k,) at some places."""
        measured: NDArray = self._drawn["y"][index]
        return measured


@dataclass
class Progress:
    """What the picture shows so far: by round, the number of measurements and the errors of f of both sessions, over sd(f)."""

    measured: list[int] = field(default_factory=list)
    chosen: list[float] = field(default_factory=list)
    random: list[float] = field(default_factory=list)
    places: list[NDArray] = field(default_factory=list)


def main() -> int:
    """Runs the experiment.

    Returns:
        0.

    Raises:
        SystemExit: as `service_client`.
    """
    parser = options(__doc__, model="patches_start", out="closed_loop.png")
    parser.add_argument("--rounds", type=int, default=16, help="of suggesting, measuring and observing (default %(default)s)")
    parser.add_argument("--picks", type=int, default=8, help="measurements of each round (default %(default)s)")
    parser.add_argument("--places", type=int, default=1500, help="that the microscope can go to (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the places and their noise (default %(default)s)")
    arguments = parser.parse_args()
    with service_client(arguments, f"interrupted; {arguments.out} shows how far it came") as client:
        run(client, arguments)
    print(f"picture: {arguments.out}")
    return 0


def run(client: Client, arguments: argparse.Namespace) -> Progress:
    """The loop itself."""
    microscope = SimulatedMicroscope(arguments.places, arguments.seed)
    fresh = draw_patches_field(400, noise=0.1, seed=arguments.seed, stream="test").arrays
    test = {name: fresh[name] for name in MECHANISMS}
    progress, rng = Progress(), np.random.default_rng(arguments.seed)
    order = rng.permutation(arguments.places)

    def error_of(session: Any) -> float:
        told = session.predict(test)
        return float(np.sqrt(np.mean((told.total_mean - fresh["truth_f"]) ** 2)) / np.std(fresh["truth_f"]))

    with client.session(arguments.model, microscope.candidates) as chosen, client.session(arguments.model, microscope.candidates) as random:
        for turn in range(arguments.rounds + 1):
            progress.measured.append(turn * arguments.picks)
            progress.chosen.append(error_of(chosen))
            progress.random.append(error_of(random))
            draw(arguments.out, progress, maps_of(chosen, microscope.candidates), microscope.candidates["position"])
            if turn == arguments.rounds:
                break
            began = time.perf_counter()
            picks = chosen.suggest(strategy="total_sd", count=arguments.picks).candidate_index
            suggested = time.perf_counter()
            seen = chosen.observe(microscope.measure(picks), candidate_index=picks)
            observed = time.perf_counter()
            other = order[turn * arguments.picks : (turn + 1) * arguments.picks]
            random.observe(microscope.measure(other), candidate_index=other)
            progress.places.append(picks)
            print(
                f"round {turn + 1:2d}: {seen.points} points, error of f {progress.chosen[-1]:.3f} (random places {progress.random[-1]:.3f}); "
                f"suggested in {1e3 * (suggested - began):.0f} ms, observed in {1e3 * (observed - suggested):.0f} ms"
            )
    return progress


def maps_of(session: Any, candidates: dict[str, NDArray]) -> tuple[NDArray, NDArray]:
    """Mean and standard deviation of the position's own part over the field of view, (GRID, GRID) each, y downwards."""
    axis = np.linspace(0, 1, GRID)
    across, down = np.meshgrid(axis, axis)
    position = np.stack((across.ravel(), down.ravel()), axis=1)
    count = len(position)
    same = {name: np.repeat(candidates[name][:1], count, axis=0) for name in MECHANISMS}
    told = session.predict(same | {"position": position})
    part = told.part_names.index("position")
    shape = (GRID, GRID)
    return told.part_mean[:, part].reshape(shape), np.sqrt(told.part_variance[:, part]).reshape(shape)


if __name__ == "__main__":
    sys.exit(main())
