"""A transition room that notes what it is asked and answers by rule, so that both transports can be compared with it field by field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from services.engine.model import Identity
from services.transition.answers import NextStep, Predicted

MODEL = Identity("toy", 1, "d" * 64)
PREDICTED = Predicted(
    model=MODEL,
    rates_per_s=np.array([[0.1, 1 / 3, 0.0], [2.5, 1e-300, 1e9]]),
    rates_sd_per_s=np.linspace(0, 1, 6).reshape(2, 3),
    first_hop_probability=np.linspace(0, 0.5, 8).reshape(2, 4),
    first_hop_sd=np.linspace(0.5, 1, 8).reshape(2, 4),
    occupancy=np.linspace(0, 1 / 3, 10).reshape(2, 5),
    occupancy_sd=np.linspace(1 / 3, 1, 10).reshape(2, 5),
    sites_xy_angstrom=np.linspace(-3, 3, 16).reshape(2, 4, 2),
    outside=np.array([False, True]),
    dopant_index=np.array([4]),
    neighbour_index=np.array([7, 0, 3]),
)
PLANNED = NextStep(
    model=MODEL,
    done=True,
    dopant_index=4,
    goal_index=9,
    beam_xy_angstrom=np.array([0.1, -1 / 3]),
    beam_from_dopant_angstrom=np.array([1.42, 0.0]),
    dwell_s=2.5,
    path_index=np.array([4, 7, 9]),
    expected_s=31.4,
    success_probability=0.9375,
    lost_probability=0.03125,
    value_s=40.1,
    lost_s=1300.0,
    assignment_index=np.array([[4, 9], [1, 2]]),
    all_expected_s=70.5,
    all_success_probability=0.75,
    outside=True,
    assumptions=("one", "two"),
)


@dataclass
class ToldTransitions:
    """`asked` holds what each method was called with, by the names of its arguments; `error` is raised in place of an answer."""

    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    error: BaseException | None = None

    async def predict_transitions(self, model_name: str, model_version: int, given: Any, deadline: float) -> Predicted:
        self._note("predict_transitions", model_name=model_name, model_version=model_version, given=given, deadline=deadline)
        return PREDICTED

    async def plan(self, model_name: str, model_version: int, scene: Any, options: Any, deadline: float) -> NextStep:
        self._note("plan", model_name=model_name, model_version=model_version, scene=scene, options=options, deadline=deadline)
        return PLANNED

    async def close(self) -> None:
        """Nothing was opened."""

    def last(self, method: str) -> dict[str, Any]:
        """What the method was last called with, without the deadline."""
        name, options = self.asked[-1]
        assert name == method
        return {key: value for key, value in options.items() if key != "deadline"}

    def _note(self, method: str, **options: Any) -> None:
        self.asked.append((method, options))
        if self.error is not None:
            raise self.error


def same_arrays(told: Any, sent: dict[str, Any]) -> None:
    """The room was told these arrays, and None of the others."""
    for name, value in vars(told).items():
        if name in sent:
            assert value.dtype == sent[name].dtype, name
            np.testing.assert_array_equal(value, sent[name])
        else:
            assert value is None, name
