from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from training.data.dataset import Array
from training.data.drawing import random_stream
from training.data.dune.gillespie import hop_during_dwell
from training.data.dune.lattice import bonds_at
from training.data.dune.rates import BeyondCarbon, GaussianMixture, HumanPrior, RateModel, Simple, context_rows
from training.data.dune.transitions import end_of_dwell_outcomes
from training.data.dune.truth import first_hop_probabilities, outcome_probabilities
from training.errors import InputError

FAMILIES: dict[str, RateModel] = {"prior": HumanPrior(), "simple": Simple(), "beyond": BeyondCarbon(), "mixture": GaussianMixture.drawn(3)}
COUNT = 40_000


def one_state(beam: tuple[float, float], count: int = COUNT) -> tuple[Array, Array, Array]:
    return np.tile(beam, (count, 1)), np.repeat(bonds_at(np.array([0.5])), count, axis=0), context_rows((0.1, 60.0), count)


def p_value(seen: Array, expected: Array) -> float:
    """Pearson's, with those outcomes taken together that are too rare for it."""
    often = expected * seen.sum() >= 5
    assert seen[~often].sum() <= 20
    counts, shares = np.append(seen[often], seen[~often].sum()), np.append(expected[often], expected[~often].sum())
    counts, shares = counts[shares > 0], shares[shares > 0]
    return float(scipy.stats.chisquare(counts, shares / shares.sum() * counts.sum()).pvalue)


@pytest.mark.parametrize("beam", [(1.1, 0.9), (0.3, -0.2), (1.8, 0.1)])
@pytest.mark.parametrize("model", FAMILIES.values(), ids=FAMILIES)
def test_outcomes_are_as_frequent_as_the_generators_exponential_says(model: RateModel, beam: tuple[float, float]) -> None:
    places, neighbours, context = one_state(beam)
    dwell_s = np.full(COUNT, 5.0)
    dwelt = hop_during_dwell(model, places, neighbours, dwell_s, context, draws=lambda turn: random_stream(11, turn).random((COUNT, 2)))
    outcome = end_of_dwell_outcomes(dwelt)
    seen = np.bincount(np.where(outcome < 0, 4, outcome), minlength=5)
    truth = outcome_probabilities(model, places[:1], neighbours[:1], dwell_s[:1], context[:1])[0]
    assert p_value(seen, truth) > 1e-3
    first = first_hop_probabilities(model, places[:1], neighbours[:1], dwell_s[:1], context[:1])[0]
    assert p_value(np.bincount(dwelt.first + 1, minlength=4), first) > 1e-3


def test_several_hops_happen_in_a_dwell_and_change_the_sublattice_each_time() -> None:
    places, neighbours, context = one_state((1.2, 0.6), 2000)
    dwelt = hop_during_dwell(Simple(), places, neighbours, np.full(2000, 20.0), context, draws=lambda turn: random_stream(1, turn).random((2000, 2)))
    assert dwelt.hops.max() > 4
    np.testing.assert_array_equal(dwelt.steps.sum(axis=1), dwelt.hops % 2)
    assert (np.abs(dwelt.steps).sum(axis=1) <= dwelt.hops).all()
    np.testing.assert_array_equal(dwelt.first >= 0, dwelt.hops > 0)


def test_with_simple_rates_and_the_beam_on_the_neighbour_half_of_the_atoms_hop_again_within_five_seconds() -> None:
    neighbours = np.repeat(bonds_at(np.zeros(1)), 4000, axis=0)
    context = context_rows((0.1, 60.0), 4000)
    dwelt = hop_during_dwell(
        Simple(), neighbours[:, 0], neighbours, np.full(4000, 5.0), context, draws=lambda turn: random_stream(2, turn).random((4000, 2))
    )
    assert 0.4 < (dwelt.hops > 1).mean() < 0.6


class _Forth:
    """Rates that hop along bond 1 alone, at once, and say what they were asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Array, Array]] = []

    def rates(self, beam: Array, neighbours: Array, context: Array) -> Array:
        self.asked.append((beam.copy(), neighbours.copy()))
        return np.tile([0.0, 1.0, 0.0], (len(beam), 1))


def test_after_a_hop_the_beam_stays_in_space_and_the_neighbours_stand_the_other_way() -> None:
    places, neighbours, context = one_state((1.2, 0.6), 1)
    model = _Forth()
    # Waits of 1/2, 1/2 and then longer than is left.
    waits = [1 - np.exp(-0.5), 1 - np.exp(-0.5), 0.9]
    dwelt = hop_during_dwell(model, places, neighbours, np.array([1.5]), context, draws=lambda turn: np.array([[waits[turn], 0.0]]))
    (first, own), (second, turned), (third, back) = model.asked
    np.testing.assert_allclose(second, first - own[:, 1], atol=1e-15)
    np.testing.assert_array_equal(turned, -own)
    np.testing.assert_allclose(third, first, atol=1e-15)  # along bond 1 of the other sublattice lies where it came from
    np.testing.assert_array_equal(back, own)
    assert (dwelt.steps.tolist(), dwelt.hops.tolist(), dwelt.first.tolist()) == ([[0, 0, 0]], [2], [1])


def test_no_rate_and_no_time_mean_no_hop() -> None:
    places, neighbours, context = one_state((1e6, 0.0), 10)
    zeros = np.zeros((10, 2))
    assert not hop_during_dwell(HumanPrior(), places, neighbours, np.full(10, 3600.0), context, draws=lambda _: zeros).hops.any()
    places, _, _ = one_state((1.2, 0.0), 10)
    assert not hop_during_dwell(HumanPrior(), places, neighbours, np.zeros(10), context, draws=lambda _: zeros).hops.any()


@pytest.mark.parametrize("dwell", [np.array([-1.0, 1.0]), np.array([1.0]), np.array([np.nan, 1.0]), np.array([np.inf, 1.0])])
def test_dwells_that_are_none_are_refused(dwell: Array) -> None:
    places, neighbours, context = one_state((0.0, 0.0), 2)
    with pytest.raises(InputError) as caught:
        hop_during_dwell(HumanPrior(), places, neighbours, dwell, context, draws=lambda _: np.zeros((2, 2)))
    assert caught.value.reason == "INVALID_OPTION"
