import numpy as np
import pytest

from services.transition.actions import Actions
from services.transition.open_lattice import OpenLattice
from services.transition.table import tabulate
from services.transition.values import NEUTRAL, Choices, Risk
from tests.services.transition.conftest import CONTEXT
from tests.services.transition.graphene import long_tailed, occupancy_by, peaked

PEAK, RATE = 1.2, 0.23


def test_the_peak_is_found_between_the_places_of_the_grid(table):
    used = np.unique(table.open_lattice.policy.choice[1:] % len(table.actions))
    assert len(table.actions) < 30
    # A beam that follows the peak, a little farther out: the atom is to stay where it has come to.
    assert (np.abs(table.actions.along[used] - PEAK) < 0.15).all()
    assert (np.abs(table.actions.across[used]) < 0.15).all()


def test_a_hop_costs_no_less_than_waiting_for_it(table):
    dwells = np.arange(0.5, 10.5, 0.5)
    bound = ((dwells + 2) / -np.expm1(-RATE * dwells)).min()
    assert bound * 0.98 < table.open_lattice.hop_s < 1.05 * bound


@pytest.mark.parametrize("rates", [peaked, long_tailed])
def test_little_is_lost_against_a_grid_that_is_fine_everywhere(rates):
    evaluate = occupancy_by(rates)
    fine = Actions.grid(0.1, 3.0, np.arange(0.5, 8.5, 0.5))
    neighbours = np.broadcast_to(
        1.42 * np.stack([np.cos(2 * np.pi / 3 * np.arange(3)), np.sin(2 * np.pi / 3 * np.arange(3))], axis=1), (len(fine), 3, 2)
    )
    told = evaluate(np.stack([fine.along, fine.across], axis=1), neighbours, fine.dwell_s, np.zeros((len(fine), 2)))
    best = OpenLattice(fine, Choices(told, fine.dwell_s, 2.0, 2), hops=9).policy.value_s
    found = tabulate(evaluate, CONTEXT, shells=2)
    ours = OpenLattice(found.actions, found.choices, hops=9).policy.value_s
    assert found.evaluated < len(fine) / 2
    assert (ours[1:] / best[1:]).max() < 1.005


def test_beams_and_dwells_stay_within_what_was_trained():
    found = tabulate(occupancy_by(lambda *where: peaked(*where, peak=2.5)), CONTEXT, shells=2, beam_radius=2.0, longest_dwell_s=2.5)
    assert np.hypot(found.actions.along, found.actions.across).max() <= 2.0
    assert found.actions.dwell_s.max() <= 2.5
    free = tabulate(occupancy_by(lambda *where: peaked(*where, peak=2.5)), CONTEXT, shells=2)
    assert free.open_lattice.hop_s < found.open_lattice.hop_s


def test_the_model_is_asked_in_the_context_and_members_are_kept():
    seen = []

    def occupancy(beam, neighbours, dwell_s, context):
        seen.append(np.unique(context, axis=0))
        return occupancy_by(peaked, members=(0.8, 1.2))(beam, neighbours, dwell_s, context)

    found = tabulate(occupancy, (0.05, 80.0), shells=2, image_s=1.0)
    assert np.unique(np.concatenate(seen), axis=0).tolist() == [[0.05, 80.0]]
    assert found.choices.image_s == found.image_s == 1.0
    landed = np.random.default_rng(0).random((4, found.choices.leaving.shape[1])) * 100
    assert (found.choices.costs(landed, Risk(worst=True)) > found.choices.costs(landed, NEUTRAL)).any()
