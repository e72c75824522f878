"""The published agents, the baselines: greedy ones, which drive the atom to whichever neighbour lies nearest to the goal, and a random one."""

from __future__ import annotations

import math

import numpy as np

from training.data.dataset import Array
from training.data.drawing import random_stream
from training.data.dune.episodes import Agent, AgentObservation
from training.data.dune.rates import BOND_LENGTH, PRIOR_PEAK
from training.data.dune.streams import AGENT
from training.errors import InputError

# Where the human prior's rates peak, (along, across) in the neighbour's frame, Å.
PRIOR_PEAK_POSITION = (PRIOR_PEAK * BOND_LENGTH, 0.0)


def greedy_at(position: tuple[float, float], dwell_s: float) -> Agent:
    """Places the beam at a fixed position in the frame of the neighbour nearest to the goal.

    Args:
        position: (along the bond, across it, counter-clockwise positive), Å.
        dwell_s: s, > 0.

    Raises:
        InputError: INVALID_OPTION.
    """
    _check(dwell_s, *position)
    along, across = position

    def agent(observation: AgentObservation) -> tuple[Array, Array]:
        bond = nearest_to_goal(observation)
        unit = bond / np.linalg.norm(bond, axis=1, keepdims=True)
        beam: Array = along * unit + across * np.stack([-unit[:, 1], unit[:, 0]], axis=1)
        return beam, np.full(len(beam), float(dwell_s))

    return agent


def greedy_on_neighbour(dwell_s: float) -> Agent:
    """Places the beam on the neighbour nearest to the goal. Raises InputError INVALID_OPTION where the dwell is not above 0 s."""
    _check(dwell_s)

    def agent(observation: AgentObservation) -> tuple[Array, Array]:
        bond = nearest_to_goal(observation)
        return bond, np.full(len(bond), float(dwell_s))

    return agent


def random_beam(dwell_s: float, seed: int) -> Agent:
    """Places the beam anywhere within one bond length of the atom in x and in y, as published. Make it anew for every run: it draws as it goes.

    Raises:
        InputError: INVALID_OPTION.
    """
    _check(dwell_s)
    drawing = random_stream(seed, AGENT)

    def agent(observation: AgentObservation) -> tuple[Array, Array]:
        count = len(observation.goal)
        return BOND_LENGTH * (2 * drawing.random((count, 2)) - 1), np.full(count, float(dwell_s))

    return agent


def nearest_to_goal(observation: AgentObservation) -> Array:
    """(n, 2) Å, the neighbour that lies nearest to the goal; the first of them where two are as near."""
    square = ((observation.neighbours - observation.goal[:, None]) ** 2).sum(axis=-1)
    # A tie is a tie whatever the lattice's rotation does to the last bits.
    chosen = (square < square.min(axis=1, keepdims=True) + 1e-6).argmax(axis=1)
    found: Array = observation.neighbours[np.arange(len(chosen)), chosen]
    return found


def _check(dwell_s: float, *lengths: float) -> None:
    if not (0 < dwell_s < math.inf and all(map(math.isfinite, lengths))):
        raise InputError("INVALID_OPTION", f"An agent's dwell is above 0 s and its position finite, not {dwell_s:g} s at {lengths}.")
