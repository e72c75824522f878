"""States and small ensembles that the tests of this folder share."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from training.data.dune.rates import ContextScaling, HumanPrior
from training.data.dune.transitions import draw_transitions
from training.transition.ensemble import Training
from training.transition.networks import Canonical, Equivariant, RateNetwork
from training.transition.pipeline import Fit, Fitted, fit_transition
from training.transition.states import Scales, Transitions

SCALES = Scales((1.42, -2.3, 60.0), (5.0, 1.0, 0.1))
# Enough to learn the human prior's rates from, roughly.
BRIEF = Training(members=3, widths=(16, 16), first_hop_steps=250, first_hop_batch=300, steps=20, batch=300, checks=2)


def drawn(count: int, seed: int = 0, *, stream: str = "train", **options: object) -> dict[str, np.ndarray]:
    """Transitions by the human prior, whose rates are proportional to the current."""
    arrays = draw_transitions(count, rates=HumanPrior(scaling=ContextScaling()), seed=seed, stream=stream, **options).arrays  # type: ignore[arg-type]
    return dict(arrays)


def irregular(count: int, seed: int = 0) -> Transitions:
    """States whose neighbours are displaced and whose contexts differ: nothing is special about them."""
    rng = np.random.default_rng(seed)
    arrays = drawn(count, seed)
    arrays["neighbours_xy_angstrom"] = arrays["neighbours_xy_angstrom"] + rng.uniform(-0.05, 0.05, (count, 3, 2))
    arrays["current_na"], arrays["voltage_kv"] = rng.uniform(0.05, 0.2, count), rng.uniform(50, 70, count)
    return Transitions.read(arrays)


def untrained(model: str = "equivariant", members: int = 2) -> RateNetwork:
    """Random weights, float64, far from constant."""
    network: RateNetwork = {"equivariant": Equivariant, "canonical": Canonical}[model](members, SCALES, 0.1, widths=(16, 16), seed=1)
    with torch.no_grad():
        network.layers.weights[-1].mul_(5)  # type: ignore[union-attr, operator]
    return network.double().requires_grad_(requires_grad=False)


def tensors(data: Transitions) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Beam, neighbours, context."""
    return torch.from_numpy(data.beam), torch.from_numpy(data.neighbours), torch.from_numpy(data.context)


@cache
def brief_fit() -> Fitted:
    """Of 3 000 transitions of the human prior, without recalibration. Not to be written to."""
    return fit_transition(Fit(candidates=(BRIEF,), recalibrate=False), drawn(3000), seed=0, show=False)
