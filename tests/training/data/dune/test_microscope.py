from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from training.data.dataset import Array
from training.data.dune.lattice import Lattice
from training.data.dune.microscope import Imperfections, Microscope
from training.data.dune.rates import BOND_LENGTH, HumanPrior, Simple, context_rows
from training.data.dune.truth import outcome_probabilities
from training.errors import InputError

LATTICE = Lattice.drawn(20.0, 4)
STILL = Imperfections(0.0, 0.0, 0.0)


def silicon(microscope: Microscope) -> int:
    (only,) = microscope.dopants
    return only


def test_an_image_shows_every_atom_with_its_species_and_takes_two_seconds() -> None:
    microscope = Microscope(HumanPrior(), LATTICE, 0, imperfections=STILL)
    seen = microscope.image()
    np.testing.assert_array_equal(seen.atoms_xy_angstrom, LATTICE.atoms_xy)
    assert np.flatnonzero(seen.atomic_numbers == 14).tolist() == [LATTICE.nearest(np.array([10.0, 10.0]))] == list(microscope.dopants)
    assert set(seen.atomic_numbers) == {6, 14}
    assert (seen.time_s, microscope.time_s, seen.field_of_view_angstrom) == (2.0, 2.0, 20.0)
    microscope.dwell((10.0, 10.0), 1.5)
    assert microscope.time_s == pytest.approx(3.5)


def test_positions_have_noise_and_drift_that_nobody_tells() -> None:
    flaws = Imperfections(position_noise_angstrom=0.05, drift_angstrom_per_s=0.02, drift_walk_angstrom=0.0)
    microscope = Microscope(HumanPrior(), LATTICE, 1, imperfections=flaws)
    first, second = microscope.image(), microscope.image()
    moved = second.atoms_xy_angstrom - first.atoms_xy_angstrom
    assert np.linalg.norm(moved.mean(axis=0)) == pytest.approx(0.04, abs=0.02)
    assert moved.std(axis=0) == pytest.approx(0.05 * math.sqrt(2), rel=0.2)
    microscope.dwell((1.0, 1.0), 96.0)
    assert math.hypot(*microscope.drift_angstrom) == pytest.approx(0.02 * 100, rel=1e-9)


def test_the_random_part_of_drift_grows_with_the_root_of_time() -> None:
    flaws = Imperfections(0.0, 0.0, drift_walk_angstrom=0.1)
    found = []
    for seed in range(200):
        microscope = Microscope(HumanPrior(), LATTICE, seed, imperfections=flaws)
        microscope.dwell((1.0, 1.0), 4.0)
        found.append(microscope.drift_angstrom)
    assert np.std(found) == pytest.approx(0.2, rel=0.15)


def _outcomes(flaws: Imperfections, seed: int, dwell_s: float, count: int) -> tuple[Array, Array, Array]:
    """Counts of stay, three neighbours and elsewhere after a dwell at one place relative to the first atom."""
    start = LATTICE.nearest(np.array([10.0, 10.0]))
    own = LATTICE.neighbours[start].tolist()
    beam = 0.6 * LATTICE.bonds[start, 0] + 0.5 * LATTICE.bonds[start, 1]
    counts = np.zeros(5, np.int64)
    for each in range(count):
        microscope = Microscope(Simple(), LATTICE, seed + each, dopants=[start], imperfections=flaws)
        microscope.dwell(LATTICE.atoms_xy[start] + beam, dwell_s)
        at = silicon(microscope)
        counts[0 if at == start else 1 + own.index(at) if at in own else 4] += 1
    return counts, beam, LATTICE.bonds[start]


@pytest.mark.parametrize("flaws", [STILL, Imperfections(0.0, 1e-6, 0.0)], ids=["whole", "in slices"])
def test_outcomes_are_as_frequent_as_the_truth_says_whether_or_not_a_dwell_is_cut(flaws: Imperfections) -> None:
    counts, beam, bonds = _outcomes(flaws, 100, 1.0, 1000)
    truth = outcome_probabilities(Simple(), beam[None], bonds[None], np.array([1.0]), context_rows((0.1, 60.0), 1))[0]
    assert scipy.stats.chisquare(counts, truth / truth.sum() * counts.sum()).pvalue > 1e-3


class _Still:
    """Rates of nothing, which say where the beam was."""

    def __init__(self) -> None:
        self.beams: list[Array] = []

    def rates(self, beam: Array, neighbours: Array, context: Array) -> Array:
        self.beams.append(beam[0])
        return np.zeros((len(beam), 3))


def test_a_drifting_sample_moves_under_the_beam() -> None:
    rates = _Still()
    microscope = Microscope(rates, LATTICE, 0, imperfections=Imperfections(0.0, 1.0, 0.0))
    at = LATTICE.atoms_xy[silicon(microscope)]
    microscope.dwell(at + 0.5, 2.0)
    np.testing.assert_allclose(rates.beams[0], [0.5, 0.5], atol=1e-12)
    np.testing.assert_allclose(rates.beams[-1], 0.5 - 0.95 * np.array(microscope.drift_angstrom), atol=1e-9)
    assert math.hypot(*microscope.drift_angstrom) == pytest.approx(2.0)


def test_the_atom_does_not_leave_the_patch() -> None:
    lattice = Lattice.drawn(8.0, 0)
    edge = int((lattice.neighbours < 0).any(axis=1).argmax())
    microscope = Microscope(HumanPrior(), lattice, 0, dopants=[edge], imperfections=STILL)
    for _ in range(60):
        at = silicon(microscope)
        bond = lattice.bonds[at, int(lattice.neighbours[at].argmin())]  # towards the missing neighbour, where there is one
        microscope.dwell(np.clip(lattice.atoms_xy[at] + 0.85 * bond, 0, 8), 5.0)
        assert lattice.neighbours[at].max() >= 0
    assert 0 <= silicon(microscope) < len(lattice)
    # Where there is a neighbour it goes.
    seen = {silicon(microscope)}
    for _ in range(60):
        at = silicon(microscope)
        microscope.dwell(np.clip(lattice.atoms_xy[at] + 0.85 * lattice.bonds[at, int(lattice.neighbours[at].argmax())], 0, 8), 5.0)
        seen.add(silicon(microscope))
    assert len(seen) > 2


def test_two_dopants_move_each_under_its_own_beam_and_never_into_one_another() -> None:
    first = LATTICE.nearest(np.array([10.0, 10.0]))
    second = int(LATTICE.neighbours[first, 0])
    microscope = Microscope(HumanPrior(), LATTICE, 3, dopants=[first, second], imperfections=STILL)
    for _ in range(40):
        microscope.dwell(LATTICE.atoms_xy[first] + 0.85 * LATTICE.bonds[first, 0], 2.0)
        assert len(set(microscope.dopants)) == 2
        assert (microscope.image().atomic_numbers == 14).sum() == 2
    far = Microscope(HumanPrior(), LATTICE, 3, dopants=[first, LATTICE.nearest(np.array([3.0, 3.0]))], imperfections=STILL)
    far.dwell(LATTICE.atoms_xy[first] + 0.85 * LATTICE.bonds[first, 0], 30.0)
    assert far.dopants[0] != first
    assert far.dopants[1] == LATTICE.nearest(np.array([3.0, 3.0]))


def test_the_greedy_way_home_works_through_images_alone() -> None:
    microscope = Microscope(HumanPrior(), LATTICE, 7)
    start, goal = silicon(microscope), LATTICE.nearest(np.array([14.0, 6.0]))
    assert start != goal
    while microscope.time_s < 600 and silicon(microscope) != goal:
        seen = microscope.image()
        at = seen.atoms_xy_angstrom[seen.atomic_numbers == 14][0]
        distance = np.linalg.norm(seen.atoms_xy_angstrom - at, axis=1)
        near = seen.atoms_xy_angstrom[np.argsort(distance)[1:4]]
        to = near[np.linalg.norm(near - seen.atoms_xy_angstrom[goal], axis=1).argmin()]
        microscope.dwell(at + 0.85 * BOND_LENGTH * (to - at) / np.linalg.norm(to - at), 3.0)
    assert silicon(microscope) == goal


def test_the_same_seed_and_requests_give_the_same_answers() -> None:
    def journey(seed: int) -> list[float]:
        microscope = Microscope(Simple(), LATTICE, seed)
        for _ in range(5):
            microscope.dwell((10.5, 10.2), 2.0)
        return [*microscope.image().atoms_xy_angstrom.ravel(), *microscope.dopants]

    assert journey(1) == journey(1) != journey(2)


@pytest.mark.parametrize(
    ("xy", "seconds", "reason"),
    [
        ((10.0, 20.1), 1.0, "OUT_OF_VIEW"),
        ((-0.1, 3.0), 1.0, "OUT_OF_VIEW"),
        ((float("nan"), 3.0), 1.0, "OUT_OF_VIEW"),
        ((1e13, 0.0), 1.0, "OUT_OF_VIEW"),
        ((10.0, 10.0), 0.0, "INVALID_OPTION"),
        ((10.0, 10.0), float("nan"), "INVALID_OPTION"),
        ((10.0, 10.0, 1.0), 1.0, "INVALID_OPTION"),
    ],
)
def test_dwells_that_cannot_be_are_refused(xy: tuple[float, ...], seconds: float, reason: str) -> None:
    microscope = Microscope(HumanPrior(), LATTICE, 0)
    with pytest.raises(InputError) as caught:
        microscope.dwell(xy, seconds)
    assert caught.value.reason == reason
    assert microscope.time_s == 0


def test_microscopes_out_of_range_are_refused() -> None:
    wrong = ({"dopants": [1, 1]}, {"dopants": [len(LATTICE)]}, {"dopants": [-1]}, {"image_seconds": 0.0}, {"context": (0.1, -60.0)})
    for options in wrong:
        with pytest.raises(InputError) as caught:
            Microscope(HumanPrior(), LATTICE, 0, **options)  # type: ignore[arg-type]
        assert caught.value.reason == "INVALID_OPTION"
    with pytest.raises(InputError, match="0 or more"):
        Imperfections(drift_walk_angstrom=-0.1)
