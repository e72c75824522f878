"""What happens within one dwell: Gillespie's algorithm for many atoms at once, the beam fixed in space.

After a hop the state is another: the beam lies elsewhere relative to the atom, and on the other sublattice the neighbours stand at −n_j. So an
atom may hop several times while the beam stands, and may come back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from training.data.dataset import Array
from training.data.dune.rates import RateModel, check_states
from training.errors import InputError

# From the number of a round of hops, (n, 2) uniform in [0, 1): how long the atom waits and where it then goes. Rows stay with their atoms.
Draws = Callable[[int], Array]


@dataclass(frozen=True)
class Dwelt:
    """Where the atoms were when the dwell was over.

    Attributes:
        steps: (n, 3) int64: an atom is steps @ neighbours from where it was, as `dichroic.honeycomb` counts. Their sum is 0, or 1 when it is
            now on the other sublattice.
        hops: (n,) int64, how many.
        first: (n,) int64, along which neighbour the first was, 0 to 2; −1 where there was none.
    """

    steps: Array
    hops: Array
    first: Array


def hop_during_dwell(model: RateModel, beam: Array, neighbours: Array, dwell_s: Array, context: Array, *, draws: Draws) -> Dwelt:
    """Lets each atom hop for as long as the beam dwells.

    Args:
        model: gives the rates.
        beam: (n, 2) float64, Å relative to the atom as it stands at first.
        neighbours: (n, 3, 2) float64, Å relative to it.
        dwell_s: (n,) float64, s, >= 0 and finite.
        context: (n, 2) float64, nA and kV.
        draws: of random numbers.

    Raises:
        InputError: INVALID_OPTION, UNSUPPORTED_SHAPE, NON_FINITE or WRONG_UNITS.
    """
    check_states(beam, neighbours, context)
    count = len(beam)
    if dwell_s.shape != (count,) or not ((dwell_s >= 0) & np.isfinite(dwell_s)).all():
        raise InputError("INVALID_OPTION", f"A dwell is 0 s or more and finite, one for each of {count} states.")
    beam, own, left = beam.copy(), neighbours.copy(), dwell_s.astype(np.float64)
    steps, hops, first = np.zeros((count, 3), np.int64), np.zeros(count, np.int64), np.full(count, -1, np.int64)
    going, turn = np.arange(count), 0
    while len(going):
        uniform = draws(turn)[going]
        running = np.cumsum(model.rates(beam[going], own[going], context[going]), axis=1)
        total = running[:, 2]
        wait = np.full(len(going), np.inf)
        np.divide(-np.log1p(-uniform[:, 0]), total, out=wait, where=total > 0)
        hopping = wait < left[going]
        # Neighbour j where the running sum of rates first exceeds a share of the total.
        along = (uniform[hopping, 1, None] * total[hopping, None] >= running[hopping, :2]).sum(axis=1)
        going, wait = going[hopping], wait[hopping]
        left[going] -= wait
        beam[going] -= own[going, along]
        own[going] = -own[going]
        steps[going, along] += 1 - 2 * (hops[going] % 2)
        first[going] = np.where(hops[going] == 0, along, first[going])
        hops[going] += 1
        turn += 1
    return Dwelt(steps, hops, first)
