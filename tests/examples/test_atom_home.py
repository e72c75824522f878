"""The atom's way home against a real service, through the client alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from dichroic import Client
from dichroic.errors import DichroicError
from examples.atom_home import Image, SimulatedInstrument, bring_home
from examples.atom_home_picture import Film
from tests.e2e.conftest import serve
from tests.toy_transition import write_toy_transition

GOAL = np.array([2.5, 1.5])


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    home = tmp_path_factory.mktemp("home")
    write_toy_transition(home / "bundles", name="dune")
    with serve(home / "bundles", home / "log", sessions=str(home / "sessions")) as service, Client(service.address) as client:
        yield client


@pytest.mark.parametrize("stem", [False, True], ids=["atoms told", "atoms found in images"])
def test_it_comes_home_and_that_is_on_the_film(client: Client, tmp_path: Path, stem: bool) -> None:
    instrument, film = SimulatedInstrument("prior", field_of_view=18.0, seed=3, stem=stem), Film(tmp_path / "home.gif")
    journey = bring_home(client, instrument, "dune", GOAL, 600.0, film)
    assert journey.home
    # No place is farther than a bond from the next atom; and drift.
    assert np.linalg.norm(journey.places[-1] - journey.places[0] - GOAL) < 1.5
    assert len({tuple(np.round(place)) for place in journey.places}) > 2
    film.save()
    with Picture.open(film.path) as animation:
        assert animation.n_frames == len(journey.plans) + 1 > 1
    assert film.last.read_bytes().startswith(b"\x89PNG")


def test_who_has_no_time_left_does_not_come_home(client: Client) -> None:
    journey = bring_home(client, SimulatedInstrument("prior", field_of_view=18.0, seed=3, stem=False), "dune", GOAL, 1.0)
    assert not journey.home
    assert len(journey.plans) == 1


@pytest.mark.parametrize(("silicon", "reason"), [(0, "NO_DOPANT"), (2, "SEVERAL_DOPANTS")])
@pytest.mark.parametrize("deadline_s", [600.0, 1.0])
def test_an_image_that_does_not_show_one_silicon_ends_the_run(client: Client, silicon: int, reason: str, deadline_s: float) -> None:
    class Blurred(SimulatedInstrument):
        images = 0

        def image(self) -> Image:
            seen, self.images = super().image(), self.images + 1
            numbers = np.where(np.arange(len(seen.atomic_numbers)) < silicon, 14, 6)
            # The first shows where the atom is; by the second, with little time, the deadline has passed and nothing is asked of the service.
            return seen if self.images == 1 else Image(seen.atoms_xy_angstrom, numbers, seen.time_s)

    with pytest.raises(DichroicError) as refused:
        bring_home(client, Blurred("prior", field_of_view=18.0, seed=3, stem=False), "dune", GOAL, deadline_s)
    assert refused.value.reason == reason
