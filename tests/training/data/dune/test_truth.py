from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg

from dichroic.honeycomb import surroundings
from training.data.dataset import Array
from training.data.dune.lattice import bonds_at
from training.data.dune.rates import BeyondCarbon, Component, GaussianMixture, HumanPrior, RateModel, Simple, context_rows
from training.data.dune.truth import _terms, first_hop_probabilities, occupancy_probabilities, outcome_probabilities
from training.errors import InputError

FAMILIES: dict[str, RateModel] = {
    "prior": HumanPrior(),
    "simple": Simple(),
    "beyond": BeyondCarbon(),
    "mixture": GaussianMixture.drawn(1),
    "fast mixture": GaussianMixture((Component(1.0, 0.3, 0.3, 0.3, 6.0),), background=1.0),
}


def states(count: int, longest: float = 5.0, seed: int = 0) -> tuple[Array, Array, Array, Array]:
    drawn = np.random.default_rng(seed).random((count, 4))
    return 5 * drawn[:, :2] - 2.5, bonds_at(2 * math.pi * drawn[:, 2]), longest * drawn[:, 3], context_rows((0.1, 60.0), count)


def generator(model: RateModel, beam: Array, neighbours: Array, shells: int) -> Array:
    """Q of one state, built site by site."""
    sites = surroundings(shells)
    q = np.zeros((len(sites) + 1, len(sites) + 1))
    for s, (steps, other) in enumerate(zip(sites.steps, sites.sublattice, strict=True)):
        own = -neighbours if other else neighbours
        rates = model.rates((beam - steps @ neighbours)[None], own[None], context_rows((0.1, 60.0), 1))[0]
        for j in range(3):
            q[s, sites.neighbour[s, j]] += rates[j]
            q[s, s] -= rates[j]
    return q


@pytest.mark.parametrize("shells", [1, 2, 4])
@pytest.mark.parametrize("model", FAMILIES.values(), ids=FAMILIES)
def test_occupancies_are_a_row_of_the_matrix_exponential(model: RateModel, shells: int) -> None:
    beam, neighbours, dwell, context = states(6, longest=20)
    found = occupancy_probabilities(model, beam, neighbours, dwell, context, shells=shells)
    for row in range(6):
        expected = scipy.linalg.expm(dwell[row] * generator(model, beam[row], neighbours[row], shells))[0]
        np.testing.assert_allclose(found[row], expected, atol=1e-12, rtol=0)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)


def test_a_long_dwell_is_taken_in_parts_and_stays_exact() -> None:
    beam, neighbours, _, context = states(3)
    dwell, model = np.array([300.0, 0.0, 1000.0]), FAMILIES["fast mixture"]
    found = occupancy_probabilities(model, beam, neighbours, dwell, context, shells=2)
    for row in range(3):
        expected = scipy.linalg.expm(dwell[row] * generator(model, beam[row], neighbours[row], 2))[0]
        np.testing.assert_allclose(found[row], expected, atol=1e-12, rtol=0)
    assert found[1, 0] == 1


def test_outcomes_are_the_atoms_place_its_neighbours_and_elsewhere_in_the_order_given() -> None:
    beam, neighbours, dwell, context = states(700)
    found = outcome_probabilities(Simple(), beam, neighbours, dwell, context)
    occupancy = occupancy_probabilities(Simple(), beam, neighbours, dwell, context)
    np.testing.assert_array_equal(found[:, :4], occupancy[:, :4])
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)
    swapped = outcome_probabilities(Simple(), beam, neighbours[:, [0, 2, 1]], dwell, context)
    np.testing.assert_allclose(swapped, found[:, [0, 1, 3, 2, 4]], atol=1e-14)
    assert np.abs(found[:, 2] - found[:, 3]).max() > 0.1
    # Another tile, alone: no row depends on the others.
    np.testing.assert_allclose(outcome_probabilities(Simple(), beam[650:], neighbours[650:], dwell[650:], context[650:]), found[650:], atol=1e-13)


def test_six_shells_are_enough_that_more_change_nothing_to_speak_of() -> None:
    beam, neighbours, dwell, context = states(50)
    for model in (HumanPrior(), Simple(), GaussianMixture.drawn(2)):
        six, nine = (outcome_probabilities(model, beam, neighbours, dwell, context, shells=shells) for shells in (6, 9))
        np.testing.assert_allclose(six, nine, atol=1e-9)


def test_with_simple_rates_the_end_of_a_dwell_is_not_its_first_hop() -> None:
    # science 4.1: a first-hop likelihood is wrong for end-of-dwell outcomes.
    neighbours = bonds_at(np.zeros(1))
    arguments = (Simple(), neighbours[:, 0], neighbours, np.array([5.0]), context_rows((0.1, 60.0), 1))
    outcome, first = outcome_probabilities(*arguments)[0], first_hop_probabilities(*arguments)[0]
    assert first[0] < 0.01
    assert first[1] > 0.9
    assert outcome[1] < 0.85
    assert outcome[0] > 0.05


def test_first_hops_are_exponential_and_split_by_the_rates() -> None:
    beam, neighbours, dwell, context = states(20)
    rates = HumanPrior().rates(beam, neighbours, context)
    found = first_hop_probabilities(HumanPrior(), beam, neighbours, dwell, context)
    np.testing.assert_allclose(found[:, 0], np.exp(-rates.sum(axis=1) * dwell), rtol=1e-12)
    np.testing.assert_allclose(found[:, 1:], (1 - found[:, :1]) * rates / rates.sum(axis=1, keepdims=True), rtol=1e-9, atol=1e-15)
    far = first_hop_probabilities(HumanPrior(), np.full((1, 2), 1e9), neighbours[:1], dwell[:1], context[:1])
    np.testing.assert_array_equal(far, [[1, 0, 0, 0]])
    np.testing.assert_array_equal(
        outcome_probabilities(HumanPrior(), np.full((1, 2), 1e9), neighbours[:1], dwell[:1], context[:1]), [[1, 0, 0, 0, 0]]
    )


@pytest.mark.parametrize("mean", [0.0, 0.3, 5.0, 150.0])
def test_terms_are_as_many_as_the_bound_needs_and_not_many_more(mean: float) -> None:
    terms = _terms(mean, 1e-13)
    log_weight = [-mean + k * (math.log(mean) if mean else -math.inf) - math.lgamma(k + 1) if k else -mean for k in range(terms + 400)]
    weight = np.exp(log_weight)
    assert weight[terms + 1 :].sum() < 1e-13
    assert terms == 0 or weight[max(terms - 3, 0) :].sum() > 1e-13


def test_dwells_and_shells_out_of_range_are_refused() -> None:
    beam, neighbours, dwell, context = states(2)
    for wrong in (-dwell, dwell[:1], np.array([np.inf, 1])):
        with pytest.raises(InputError, match="dwell"):
            outcome_probabilities(HumanPrior(), beam, neighbours, wrong, context)
    with pytest.raises(ValueError, match="shells"):
        outcome_probabilities(HumanPrior(), beam, neighbours, dwell, context, shells=0)
