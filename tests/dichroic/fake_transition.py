"""The transition room of the fake server: rates are the beam's distance from each neighbour, and plans point from the dopant to the goal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dichroic.v1 import array_pb2, models_pb2, transition_pb2, transition_pb2_grpc
from dichroic.wire import from_array, is_given, to_array

NAME = "dune"
MANIFEST = '{"name": "dune", "transition": {"dopant": 14, "shells": 1, "current_na": {"low": 0.02, "high": 0.02}}}'
SITES = 4


def details(max_message_bytes: int) -> models_pb2.GetModelResponse:
    """What GetModel says of it."""
    shapes = {"beam_xy_angstrom": [-1, 2], "neighbours_xy_angstrom": [-1, 3, 2], "dwell_s": [-1], "current_na": [-1], "voltage_kv": [-1]}
    inputs = [models_pb2.TensorSpec(name=name, dtype=array_pb2.DATA_TYPE_FLOAT64, shape=shape) for name, shape in shapes.items()]
    outputs = [models_pb2.TensorSpec(name="occupancy_mean", dtype=array_pb2.DATA_TYPE_FLOAT64, shape=[-1, SITES + 1])]
    signatures = [models_pb2.Signature(name="predict", inputs=inputs, outputs=outputs)]
    model = models_pb2.ModelIdentity(name=NAME, version=2, digest="e" * 64)
    return models_pb2.GetModelResponse(
        model=model, kind="transition", device="cpu", max_message_bytes=max_message_bytes, signatures=signatures, manifest_json=MANIFEST
    )


@dataclass
class FakeTransitions(transition_pb2_grpc.TransitionServiceServicer):
    """`take` notes a request, and fails it where the test asked for that."""

    take: Callable[[str, Any, Any], None]
    model: models_pb2.ModelIdentity = field(default_factory=lambda: models_pb2.ModelIdentity(name=NAME, version=2, digest="e" * 64))
    rows_short: int = 0

    def PredictTransitions(self, request: Any, context: Any) -> transition_pb2.PredictTransitionsResponse:  # noqa: N802
        self.take("PredictTransitions", request, context)
        beam = from_array(request.beam_xy_angstrom, field="beam")[self.rows_short :]
        n = len(beam)
        neighbours = np.zeros((n, 3, 2))
        found: dict[str, Any] = {}
        if is_given(request.neighbours_xy_angstrom):
            neighbours = from_array(request.neighbours_xy_angstrom, field="neighbours")[self.rows_short :]
        else:
            found = {"dopant_index": to_array(np.array([1])), "neighbour_index": to_array(np.array([2, 0, 3]))}
        rates = np.hypot(*np.moveaxis(beam[:, None] - neighbours, -1, 0))
        return transition_pb2.PredictTransitionsResponse(
            model=self.model,
            frame_id=request.frame_id,
            acquisition_time_unix_ns=request.acquisition_time_unix_ns,
            rates_per_s=to_array(rates),
            rates_sd_per_s=to_array(rates / 10),
            first_hop_probability=to_array(np.full((n, 4), 0.25)),
            first_hop_sd=to_array(np.full((n, 4), 0.125)),
            occupancy=to_array(np.full((n, SITES + 1), 0.2)),
            occupancy_sd=to_array(np.zeros((n, SITES + 1))),
            sites_xy_angstrom=to_array(np.concatenate([np.zeros((n, 1, 2)), neighbours], axis=1)),
            outside=to_array(rates[:, 0] > 3),
            **found,
        )

    def Plan(self, request: Any, context: Any) -> transition_pb2.PlanResponse:  # noqa: N802
        """To the last atom; done where a goal lies on the first."""
        self.take("Plan", request, context)
        atoms, goals = (from_array(getattr(request, name), field=name) for name in ("atoms_xy_angstrom", "goals_xy_angstrom"))
        done = bool((goals[0] == atoms[0]).all())
        return transition_pb2.PlanResponse(
            model=self.model,
            frame_id=request.frame_id,
            acquisition_time_unix_ns=request.acquisition_time_unix_ns,
            done=done,
            dopant_index=1,
            goal_index=len(atoms) - 1,
            beam_xy_angstrom=to_array(goals[0]),
            beam_from_dopant_angstrom=to_array(goals[0] - atoms[1]),
            dwell_s=0.0 if done else 2.5,
            path_index=to_array(np.array([1, len(atoms) - 1])),
            expected_s=float("nan") if request.deadline_s == 1 else 31.4,
            success_probability=0.9,
            lost_probability=0.05,
            value_s=40.0,
            lost_s=1300.0,
            assignment_index=to_array(np.array([[1 + each, len(atoms) - 1 - each] for each in range(len(goals))])),
            all_expected_s=31.4,
            all_success_probability=0.9,
            outside=request.current_na > 1,
            assumptions=["the beam stands still", "images move no atom"],
        )
