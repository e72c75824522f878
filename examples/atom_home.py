"""A silicon atom is brought home through graphene: image, ask the service where to put the beam, dwell, and again; drawn as it goes.

    python examples/atom_home.py [--model dune-prior] [--goal 9 4] [--stem] [--server HOST:PORT] [--out atom_home.gif]

The instrument is simulated (training/data/dune/): a patch of graphene that drifts, atoms that are seen with noise, an atom that hops at random
under the beam. Everything else goes through the client, and this file knows nothing of rates or plans. `Instrument` is all that it asks of a
microscope: put yours in the place of `SimulatedInstrument`. With --stem the atoms are looked for in drawn images, as they would be in real ones.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dichroic import Client
from dichroic.client import Plan
from dichroic.errors import NoDopantError, SeveralDopantsError
from examples.asking import options, service_client
from examples.atom_home_picture import Film
from training.data.dune import BeyondCarbon, HumanPrior, Lattice, Microscope, Simple
from training.data.dune.stem import draw_stem, find_atoms

NDArray = np.ndarray[Any, np.dtype[Any]]
RATES = {"prior": HumanPrior, "simple": Simple, "beyond": BeyondCarbon}
SILICON = 14
STEM_PIXELS = 256


@dataclass(frozen=True)
class Image:
    """What an image shows: atoms (m, 2) in Å, in the frame in which the beam is placed, their atomic numbers (m,), and when, in s."""

    atoms_xy_angstrom: NDArray
    atomic_numbers: NDArray
    time_s: float


class Instrument(Protocol):
    """All that is asked of a microscope."""

    def image(self) -> Image:
        """Takes an image."""
        ...

    def dwell(self, xy_angstrom: NDArray, seconds: float) -> None:
        """Holds the beam at one place, (2,) Å, for so long."""
        ...


class SimulatedInstrument:
    """A simulated one. `rates`: a key of RATES; `stem`: atoms are found in drawn images instead of being told."""

    def __init__(self, rates: str, *, field_of_view: float, seed: int, stem: bool) -> None:
        self._microscope = Microscope(RATES[rates](), Lattice.drawn(field_of_view, seed), seed)
        self._stem, self._seed, self._images = stem, seed, 0

    def image(self) -> Image:
        """See Instrument."""
        seen = self._microscope.image()
        atoms, numbers = seen.atoms_xy_angstrom, seen.atomic_numbers
        if self._stem:
            self._images += 1
            side = seen.field_of_view_angstrom
            drawn = draw_stem(atoms, numbers, field_of_view_angstrom=side, side=STEM_PIXELS, seed=self._seed + self._images)
            atoms, numbers = find_atoms(drawn, side / STEM_PIXELS)
        return Image(atoms, numbers, seen.time_s)

    def dwell(self, xy_angstrom: NDArray, seconds: float) -> None:
        """See Instrument."""
        self._microscope.dwell(xy_angstrom, seconds)


@dataclass
class Journey:
    """What happened: where the atom was seen (Å), when (s), and each plan."""

    places: list[NDArray] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    home: bool = False


def main() -> int:
    """Runs the experiment.

    Returns:
        0; 1 where the atom did not come home in time.

    Raises:
        SystemExit: as `service_client`.
    """
    parser = options(__doc__, model="dune-prior", out="atom_home.gif")
    parser.add_argument("--rates", choices=RATES, default="prior", help="what the simulated atom obeys (default %(default)s)")
    parser.add_argument("--goal", type=float, nargs=2, default=(7.0, 5.0), metavar=("X", "Y"), help="Å from where the atom is, y down (default 7 5)")
    parser.add_argument("--field-of-view", type=float, default=30.0, metavar="A", help="side of the view, Å (default %(default)s)")
    parser.add_argument("--deadline", type=float, default=600.0, metavar="S", help="seconds until it has to be there (default %(default)s)")
    parser.add_argument("--seed", type=int, default=3, help="of lattice, drift, noise and hops (default %(default)s)")
    parser.add_argument("--stem", action="store_true", help="find the atoms in drawn STEM images")
    arguments = parser.parse_args()
    instrument = SimulatedInstrument(arguments.rates, field_of_view=arguments.field_of_view, seed=arguments.seed, stem=arguments.stem)
    film = Film(arguments.out)
    try:
        with service_client(arguments, "interrupted") as client:
            journey = bring_home(client, instrument, arguments.model, np.array(arguments.goal), arguments.deadline, film)
    finally:
        if film.frames:
            film.save()
            print(f"pictures: {arguments.out}, {film.last}")
    took = journey.times_s[-1] - journey.times_s[0]
    print(f"{'home' if journey.home else 'not home'} after {took:.0f} s and {len(journey.plans)} dwells")
    return 0 if journey.home else 1


def bring_home(client: Client, instrument: Instrument, model: str, goal: NDArray, deadline_s: float, film: Film | None = None) -> Journey:  # noqa: PLR0917
    """The loop itself.

    Args:
        client: of the service.
        instrument: the microscope.
        model: of kind transition.
        goal: (2,) Å from where the atom is seen first.
        deadline_s: when to give up, counted from the first image.
        film: what draws each step; None: nothing.

    Raises:
        NoDopantError, SeveralDopantsError: an image shows no silicon atom, or several.
        DichroicError: what else the service tells, such as that there is no way.
    """
    journey, seen = Journey(), instrument.image()
    began, forwards = seen.time_s, goal + only_silicon(seen)
    while True:
        # The sample drifts, by far less than a bond between two images: home is the atom next to where home was.
        home = seen.atoms_xy_angstrom[np.argmin(np.linalg.norm(seen.atoms_xy_angstrom - forwards, axis=1))]
        left = deadline_s - (seen.time_s - began)
        journey.places.append(only_silicon(seen))
        journey.times_s.append(seen.time_s)
        if left <= 0:
            return journey
        plan = client.plan(model, seen.atoms_xy_angstrom, seen.atomic_numbers, home, deadline_s=left)
        if film is not None:
            film.take(seen, home, plan, journey)
        if plan.done:
            journey.home = True
            return journey
        print(
            f"{seen.time_s - began:5.0f} s: beam {np.linalg.norm(plan.beam_from_dopant_angstrom):.2f} Å from the atom for {plan.dwell_s:g} s; "
            f"{len(plan.path_index) - 1} steps, {plan.expected_s:.0f} s more; home in time with {plan.success_probability:.3f}"
        )
        instrument.dwell(plan.beam_xy_angstrom, plan.dwell_s)
        journey.plans.append(plan)
        forwards, seen = home, instrument.image()


def only_silicon(seen: Image) -> NDArray:
    """(2,) Å of the silicon atom.

    Raises:
        NoDopantError, SeveralDopantsError: there is not one. The service would refuse such an image as well.
    """
    found = seen.atoms_xy_angstrom[seen.atomic_numbers == SILICON]
    if not len(found):
        raise NoDopantError(
            f"The image at {seen.time_s:.0f} s shows no silicon atom; it left the view, or was not recognised.", field="atomic_numbers"
        )
    if len(found) > 1:
        message = f"The image at {seen.time_s:.0f} s shows {len(found)} silicon atoms, and one is brought home. Cut the others off."
        raise SeveralDopantsError(message, field="atomic_numbers")
    return found[0]


if __name__ == "__main__":
    sys.exit(main())
