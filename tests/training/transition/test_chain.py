from __future__ import annotations

import numpy as np
import pytest
import torch

from dichroic.honeycomb import surroundings
from training.data.dune.rates import HumanPrior, Simple
from training.data.dune.transitions import draw_transitions
from training.data.dune.truth import occupancy_probabilities
from training.transition.chain import MOST_HOPS, occupancy, occupancy_rows, outcomes


def rates_at(model: HumanPrior | Simple, arrays: dict[str, np.ndarray], shells: int) -> torch.Tensor:
    sites, count = surroundings(shells), len(arrays["dwell_s"])
    relative = arrays["beam_xy_angstrom"][:, None] - sites.positions(arrays["neighbours_xy_angstrom"])
    own = arrays["neighbours_xy_angstrom"][:, None] * (1 - 2 * sites.sublattice)[:, None, None]
    found = model.rates(relative.reshape(-1, 2), own.reshape(-1, 3, 2), np.full((count * len(sites), 2), 60.0))
    return torch.from_numpy(found.reshape(count, len(sites), 3))


@pytest.mark.parametrize("shells", [1, 2, 3])
@pytest.mark.parametrize("model", [HumanPrior(), Simple()])
def test_both_ways_of_summing_are_the_simulators_truth(model: HumanPrior | Simple, shells: int) -> None:
    arrays = draw_transitions(40, rates=model, seed=3, dwell=(0.0, 30.0)).arrays
    truth = occupancy_probabilities(
        model, arrays["beam_xy_angstrom"], arrays["neighbours_xy_angstrom"], arrays["dwell_s"], np.full((40, 2), 60.0), shells=shells
    )
    rates, dwell = rates_at(model, arrays, shells), torch.from_numpy(arrays["dwell_s"])
    assert np.abs(occupancy(rates, dwell, shells).numpy() - truth).max() < 1e-12
    assert np.abs(occupancy_rows(rates.permute(1, 2, 0), dwell, shells).numpy().T - truth).max() < 1e-12


def test_small_probabilities_keep_their_digits() -> None:
    """Two hops at 1e-9/s within a second: (1e-9)²/2 along each way, which differences of exponentials would lose."""
    rates = torch.full((1, 10, 3), 1e-9, dtype=torch.float64)
    for told in (occupancy(rates, torch.ones(1, dtype=torch.float64), 2)[0], occupancy_rows(rates.permute(1, 2, 0), torch.ones(1).double(), 2)[:, 0]):
        assert told[4:10].numpy() == pytest.approx(np.full(6, 5e-19), rel=1e-6)


def test_an_atom_that_cannot_move_stays_whatever_the_dwell() -> None:
    still = torch.zeros((2, 10, 3), dtype=torch.float64)
    dwell = torch.tensor([1e-6, 1e6], dtype=torch.float64)
    for told in (occupancy(still, dwell, 2), occupancy_rows(still.permute(1, 2, 0), dwell, 2).T):
        assert told[:, 0].tolist() == [1.0, 1.0]


def test_probabilities_add_up_to_one_at_the_most_hops_that_are_counted_and_beyond() -> None:
    rates = torch.rand((6, 10, 3), dtype=torch.float64)
    dwell = torch.tensor([0.1, 1.0, 10.0, 40.0, 100.0, 1e5], dtype=torch.float64)
    told = occupancy(rates, dwell, 2)
    assert (told.sum(dim=1) - 1).abs().max() < 1e-11
    assert (told >= 0).all()
    fastest = rates.sum(dim=2).amax(dim=1)
    assert torch.equal(occupancy(rates, 1e6 + dwell, 2), occupancy(rates, 2 * MOST_HOPS / fastest, 2))


def test_the_gradient_of_the_row_is_that_of_its_finite_differences() -> None:
    rates = torch.rand((10, 3, 2), dtype=torch.float64, requires_grad=True)
    dwell = torch.tensor([0.7, 3.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda r: occupancy_rows(r, dwell, 2)[:5], (rates,))


def test_outcomes_put_all_that_is_no_neighbour_together() -> None:
    occupied = torch.arange(11.0)[:, None]
    assert outcomes(occupied)[:, 0].tolist() == [0, 1, 2, 3, 49]
