from itertools import permutations

import numpy as np
import pytest

from services.transition.assignment import MOST_TARGETS, assign


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("dopants", "targets"), [(1, 1), (4, 4), (5, 3), (6, 1)])
def test_no_other_assignment_costs_less(dopants, targets, seed):
    cost = np.random.default_rng(seed).random((dopants, targets))
    pairs = assign(cost)
    assert sorted(target for _, target in pairs) == list(range(targets))
    assert len({dopant for dopant, _ in pairs}) == targets
    best = min(sum(cost[who, target] for target, who in enumerate(order)) for order in permutations(range(dopants), targets))
    assert sum(cost[pair] for pair in pairs) == pytest.approx(best)


def test_ways_that_do_not_exist_are_not_taken():
    assert assign(np.array([[1.0, np.inf], [1.0, 5.0]])) == [(0, 0), (1, 1)]
    assert assign(np.array([[1.0, np.inf], [1.0, np.inf]])) is None


def test_twelve_are_assigned_exactly():
    order = np.random.default_rng(1).permutation(MOST_TARGETS)
    cost = np.ones((MOST_TARGETS, MOST_TARGETS))
    cost[np.arange(MOST_TARGETS), order] = 0
    assert [target for _, target in assign(cost)] == order.tolist()


def test_more_than_can_be_is_refused():
    with pytest.raises(ValueError, match="cannot be assigned"):
        assign(np.ones((1, 2)))
    with pytest.raises(ValueError, match="is the most"):
        assign(np.ones((13, 13)))
