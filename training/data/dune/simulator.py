"""Many episodes at once on unbounded lattices, and how time is counted.

As published: an image is taken before the first dwell and after every dwell; each takes 2 s, in which no atom moves. The goal is reached when
an image shows the atom within half a bond (0.71 Å) of it, so that an episode of N dwells of T lasts 2 + N (T + 2) seconds. It is given up
when an image ends after 600 s.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from training.data.dataset import Array
from training.data.drawing import random_stream
from training.data.dune.episodes import Agent, AgentObservation, Episodes, Outcomes
from training.data.dune.gillespie import hop_during_dwell
from training.data.dune.rates import BOND_LENGTH, REFERENCE_CURRENT, REFERENCE_VOLTAGE, RateModel, check_states, context_rows
from training.data.dune.streams import RUN
from training.errors import InputError

IMAGE_SECONDS = 2.0
TIMEOUT_SECONDS = 600.0
GOAL_RADIUS = BOND_LENGTH / 2  # Å
REFERENCE_CONTEXT = (REFERENCE_CURRENT, REFERENCE_VOLTAGE)


class Simulator:
    """The atoms of some episodes, each where it is now.

    Random numbers belong to an episode's place in the set, its dwell's number and its hop's number. So agents that run on the same seed share them
    for as long as they can, and an episode does not depend on which others run.
    """

    def __init__(
        self,
        rates: RateModel,
        episodes: Episodes,
        seed: int,
        *,
        context: Sequence[float] | Array = REFERENCE_CONTEXT,
        image_seconds: float = IMAGE_SECONDS,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """Takes the first image.

        Args:
            rates: what the atoms obey.
            episodes: starts and goals.
            seed: of the hops.
            context: nA and kV, for all or (n, 2).
            image_seconds: what an image takes, > 0.
            timeout_seconds: when an episode is given up, > 0.

        Raises:
            InputError: INVALID_OPTION, or NON_FINITE or WRONG_UNITS in the episodes.
        """
        if not (0 < image_seconds < math.inf and 0 < timeout_seconds < math.inf):
            raise InputError("INVALID_OPTION", f"An image and an episode take more than 0 s, not {image_seconds:g} and {timeout_seconds:g}.")
        count = len(episodes)
        self._rates, self._episodes, self._seed = rates, episodes, seed
        self._context = context_rows(context, count)
        check_states(np.zeros((count, 2)), episodes.neighbours, self._context)
        self._image_seconds, self._timeout = image_seconds, timeout_seconds
        self._steps = np.zeros((count, 3), np.int64)
        self._dwells = np.zeros(count, np.int64)
        self._seconds = np.full(count, float(image_seconds))
        self._success = self._at_goal()
        self._ended = self._success.copy()

    @property
    def running(self) -> Array:
        """(r,) int64, which episodes go on."""
        found: Array = np.flatnonzero(~self._ended)
        return found

    @property
    def outcomes(self) -> Outcomes:
        """So far."""
        return Outcomes(self._success.copy(), self._seconds.copy(), self._dwells.copy())

    def observe(self, rows: Array) -> AgentObservation:
        """What the last image shows of episodes (r,)."""
        sublattice = self._steps[rows].sum(axis=1)
        sign = 1 - 2 * sublattice
        neighbours = self._episodes.neighbours[rows] * sign[:, None, None]
        # The atom's own frame: on the other sublattice all steps count the other way.
        goal_steps = (self._episodes.goal_steps[rows] - self._steps[rows]) * sign[:, None]
        goal = (goal_steps[:, None, :] @ neighbours)[:, 0]
        return AgentObservation(neighbours, goal, goal_steps, sublattice, self._context[rows], self._seconds[rows])

    def dwell(self, rows: Array, beam: Array, dwell_s: Array) -> None:
        """Lets the beam dwell on episodes (r,), all of whose dwells have the same number, and takes an image of each.

        Args:
            rows: which; `running` or some of it.
            beam: (r, 2) float64, Å relative to the silicon atom.
            dwell_s: (r,) float64, s, > 0.

        Raises:
            InputError: INVALID_OPTION where an agent's answer is none.
        """
        beam, dwell_s = np.asarray(beam, dtype=np.float64), np.asarray(dwell_s, dtype=np.float64)
        if beam.shape != (len(rows), 2) or dwell_s.shape != (len(rows),) or not ((dwell_s > 0) & np.isfinite(dwell_s)).all():
            raise InputError("INVALID_OPTION", f"An agent answers {len(rows)} observations with beams (n, 2) and dwells (n,) above 0 s.")
        sign = 1 - 2 * self._steps[rows].sum(axis=1)
        neighbours = self._episodes.neighbours[rows] * sign[:, None, None]
        draws = partial(self._draw, rows, int(self._dwells[rows].max(initial=0)))
        dwelt = hop_during_dwell(self._rates, beam, neighbours, dwell_s, self._context[rows], draws=draws)
        self._steps[rows] += sign[:, None] * dwelt.steps
        self._dwells[rows] += 1
        self._seconds[rows] += dwell_s + self._image_seconds
        late = self._seconds[rows] > self._timeout
        self._success[rows] = self._at_goal()[rows] & ~late
        self._ended[rows] = self._success[rows] | late

    def _draw(self, rows: Array, number: int, turn: int) -> Array:
        found: Array = random_stream(self._seed, RUN, number, turn).random((len(self._episodes), 2))[rows]
        return found

    def _at_goal(self) -> Array:
        """Sites lie a bond apart, so that within half a bond of the goal there is the goal alone."""
        near: Array = (self._steps == self._episodes.goal_steps).all(axis=1)
        return near


def run_episodes(agent: Agent, rates: RateModel, episodes: Episodes, seed: int, *, context: Sequence[float] | Array = REFERENCE_CONTEXT) -> Outcomes:
    """Runs all episodes to their ends.

    Args:
        agent: decides; a function of its observation.
        rates: what the atoms obey.
        episodes: starts and goals.
        seed: of the hops; agents run with the same seed are paired.
        context: nA and kV, for all or (n, 2).

    Raises:
        InputError: INVALID_OPTION.
    """
    simulator = Simulator(rates, episodes, seed, context=context)
    while len(rows := simulator.running):
        simulator.dwell(rows, *agent(simulator.observe(rows)))
    return simulator.outcomes


def run_agents(
    agents: Mapping[str, Agent], rates: RateModel, episodes: Episodes, seed: int, *, context: Sequence[float] | Array = REFERENCE_CONTEXT
) -> dict[str, Outcomes]:
    """Outcomes by agent, on the same starts, goals and random numbers. Arguments as in `run_episodes`."""
    return {name: run_episodes(agent, rates, episodes, seed, context=context) for name, agent in agents.items()}
