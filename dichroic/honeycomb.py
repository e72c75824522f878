"""The sites around an atom of graphene, in steps along its three neighbours: what simulator, training and serving must number alike."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

# Sites of the last shell that anybody may ask for: 1 + 3 + 6 + 9 + ... of them.
MOST_SHELLS = 12


@dataclass(frozen=True)
class Surroundings:
    """Sites within so many hops of the origin on a honeycomb lattice, continued from the origin's three neighbours n_1, n_2, n_3.

    A site of the origin's sublattice has its neighbours at +n_j, one of the other at −n_j. Sites stand in the order of their shells (hops from the
    origin), and within a shell in that of their first discovery: the origin is 0, its neighbours are 1, 2, 3. One more index, S, stands for
    everywhere else.

    Attributes:
        steps: (S, 3) int64, so that a site lies at steps @ (n_1, n_2, n_3).
        sublattice: (S,) int64, 0 the origin's, 1 the other.
        shell: (S,) int64 hops from the origin.
        neighbour: (S, 3) int64 the site that lies along the site's own j-th neighbour; S where that is elsewhere.
    """

    steps: npt.NDArray[np.int64]
    sublattice: npt.NDArray[np.int64]
    shell: npt.NDArray[np.int64]
    neighbour: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.steps)

    def positions(self, neighbours: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(..., S, 2) Å of the sites, where the origin's neighbours lie at (..., 3, 2) Å."""
        found: npt.NDArray[np.float64] = self.steps.astype(np.float64) @ neighbours
        return found


@cache
def surroundings(shells: int) -> Surroundings:
    """The sites within `shells` hops of the origin. Shared between callers: not to be written to.

    Raises:
        ValueError: shells is not 1 to MOST_SHELLS.
    """
    if not 1 <= shells <= MOST_SHELLS:
        raise ValueError(f"shells is {shells}; it is 1 to {MOST_SHELLS}")
    # Steps sum to 0 or 1, so that a site is written in one way only, though the three steps together lead nowhere on a perfect lattice.
    steps: list[tuple[int, ...]] = [(0, 0, 0)]
    index, shell = {steps[0]: 0}, [0]
    for site, own in enumerate(steps):  # grows while it is walked
        for reached in _hops(own) if shell[site] < shells else ():
            if reached not in index:
                index[reached] = len(steps)
                steps.append(reached)
                shell.append(shell[site] + 1)
    neighbour = [[index.get(reached, len(steps)) for reached in _hops(own)] for own in steps]
    arrays = (np.array(each, np.int64) for each in (steps, [sum(own) for own in steps], shell, neighbour))
    found = Surroundings(*arrays)
    for array in vars(found).values():
        array.flags.writeable = False
    return found


def _hops(steps: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Where the three hops from a site lead: along +n_j from the origin's sublattice, whose steps sum to 0, and along −n_j from the other."""
    sign = 1 - 2 * sum(steps)
    return [tuple(own + sign * (j == k) for k, own in enumerate(steps)) for j in range(3)]
