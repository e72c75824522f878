"""One episode at a time, stepped as Gymnasium's environments are; their package is not needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.data.dataset import Array
from training.data.dune.episodes import AgentObservation, Episodes
from training.data.dune.rates import RateModel
from training.data.dune.simulator import REFERENCE_CONTEXT, Simulator
from training.errors import InputError

_ONLY = np.zeros(1, np.int64)


class DuneEnvironment:
    """A silicon atom on unbounded graphene and a goal. An action is (x, y, dwell): the beam in Å relative to the atom, and s.

    An observation has `neighbours_xy_angstrom` (3, 2) and `goal_xy_angstrom` (2,), both relative to the atom, and `time_s` (). The reward is minus
    the seconds that passed, so that an episode's rewards add up to minus its time; the first image, before any action, is in no reward. `info`
    holds the fewest hops to the goal, `hops_to_goal`, and the agents' view of the same, `observation`.
    """

    def __init__(
        self, rates: RateModel, *, field_of_view_angstrom: tuple[float, float] = (15.0, 30.0), context: Sequence[float] = REFERENCE_CONTEXT
    ) -> None:
        """Takes what the atom obeys, how far goals may lie, and (nA, kV). Reset before the first step."""
        self._rates, self._field_of_view, self._context = rates, field_of_view_angstrom, context
        self._next_seed = 0
        self._simulator: Simulator | None = None

    def reset(self, seed: int | None = None) -> tuple[dict[str, Array], dict[str, Any]]:
        """Starts an episode and gives (observation, info).

        Args:
            seed: of start, goal and hops, >= 0; without one, the last one plus 1, from 0 on.

        Raises:
            InputError: INVALID_OPTION.
        """
        seed = self._next_seed if seed is None else seed
        if seed < 0:
            raise InputError("INVALID_OPTION", f"A seed is 0 or more, not {seed}.")
        self._next_seed = seed + 1
        episodes = Episodes.drawn(1, seed, field_of_view_angstrom=self._field_of_view)
        self._simulator = Simulator(self._rates, episodes, seed, context=self._context)
        return self._observe(self._simulator)

    def step(self, action: Sequence[float] | Array) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        """Dwells, takes an image, and gives (observation, reward, terminated, truncated, info): terminated at the goal, truncated after 600 s.

        Raises:
            InputError: INVALID_OPTION for an action that is none, or an episode that has ended or not begun.
        """
        simulator = self._simulator
        if simulator is None or not len(simulator.running):
            raise InputError("INVALID_OPTION", "No episode runs; call reset() before step().")
        given = np.asarray(action, dtype=np.float64)
        if given.shape != (3,) or not np.isfinite(given).all():
            raise InputError("INVALID_OPTION", "An action is (x, y, dwell): the beam in Å relative to the silicon atom, and s.")
        before = simulator.outcomes.seconds[0]
        simulator.dwell(_ONLY, given[None, :2], given[2:])
        after = simulator.outcomes
        terminated = bool(after.success[0])
        truncated = not terminated and not len(simulator.running)
        return *self._observe(simulator)[:1], float(before - after.seconds[0]), terminated, truncated, self._observe(simulator)[1]

    @staticmethod
    def _observe(simulator: Simulator) -> tuple[dict[str, Array], dict[str, Any]]:
        seen: AgentObservation = simulator.observe(_ONLY)
        shown = {"neighbours_xy_angstrom": seen.neighbours[0], "goal_xy_angstrom": seen.goal[0], "time_s": seen.seconds[0]}
        return shown, {"hops_to_goal": int(np.abs(seen.goal_steps).sum()), "observation": seen}
