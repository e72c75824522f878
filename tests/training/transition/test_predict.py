from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from dichroic.honeycomb import surroundings
from tests.training.transition.states import SCALES, irregular, tensors, untrained
from training.export.graphs import exported
from training.transition.chain import occupancy
from training.transition.distil import Lesson, Student
from training.transition.networks import RateNetwork
from training.transition.predict import Members, Predict

INPUTS = {"beam_xy_angstrom": ["n", 2], "neighbours_xy_angstrom": ["n", 3, 2], "dwell_s": ["n"], "current_na": ["n"], "voltage_kv": ["n"]}
OUTPUTS = {"rates_mean": 3, "rates_sd": 3, "first_hop_mean": 4, "first_hop_sd": 4, "occupancy_mean": 11, "occupancy_sd": 11}


def asked(count: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    data = irregular(count, seed)
    return *tensors(data)[:2], torch.from_numpy(data.dwell), *(torch.from_numpy(column.copy()) for column in data.context.T)


def test_means_and_spreads_are_those_of_the_members_own_chains() -> None:
    network, (beam, neighbours, dwell, current, voltage) = untrained(members=3), asked(6)
    told = dict(zip(OUTPUTS, Predict(network, 2)(beam, neighbours, dwell, current, voltage), strict=True))
    context = torch.stack((current, voltage), dim=1)
    rates, occupied = Members(network, 2)(beam, neighbours, dwell, current, voltage)
    assert (rates - network(beam, neighbours, context)).abs().max() < 1e-14
    at_sites = network.rates_at_sites(beam, neighbours, context, 2)
    each = torch.stack([occupancy(at_sites[:, m], dwell, 2) for m in range(3)])
    assert (occupied - each.transpose(0, 1)).abs().max() < 1e-13
    assert (told["occupancy_mean"] - each.mean(dim=0)).abs().max() < 1e-14
    assert (told["occupancy_sd"] - each.std(dim=0, correction=0)).abs().max() < 1e-14
    assert (told["rates_mean"] - rates.mean(dim=1)).abs().max() < 1e-14
    stay = torch.exp(-rates.sum(dim=2) * dwell[:, None])
    assert (told["first_hop_mean"][:, 0] - stay.mean(dim=1)).abs().max() < 1e-14
    assert (told["first_hop_sd"][:, 0] - stay.std(dim=1, correction=0)).abs().max() < 1e-14
    assert torch.allclose(told["first_hop_mean"].sum(dim=1), torch.ones(6, dtype=torch.float64))
    assert float(told["rates_sd"].min()) > 0


def test_one_row_does_not_change_what_another_is_told() -> None:
    module, rows = Predict(untrained("canonical"), 2), asked(5)
    for whole, one in zip(module(*rows), module(*(each[2:3] for each in rows)), strict=True):
        assert (whole[2:3] - one).abs().max() < 1e-14


@pytest.mark.slow
@pytest.mark.parametrize(
    "network",
    [untrained(members=3), untrained("canonical", members=3), Student(SCALES, 0.1, Lesson()).double()],
    ids=lambda each: type(each).__name__,
)
def test_one_graph_from_raw_inputs_agrees_with_torch(network: RateNetwork) -> None:
    """float64 to 1e-9, and with float32 networks within a float64 chain to 1e-6, at every batch size."""
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-6)):
        if dtype == torch.float32:
            for each in network.parameters():
                each.data = each.data.to(dtype)
        module = Predict(network, 2)
        values = [
            [helper.make_tensor_value_info(name, TensorProto.DOUBLE, shape) for name, shape in side.items()]
            for side in (INPUTS, {name: ["n", size] for name, size in OUTPUTS.items()})
        ]
        graph = exported(module, asked(3), tuple({0: torch.export.Dim("n")} for _ in INPUTS), *values)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(graph.SerializeToString(), options)
        for count in (1, 2, 33):
            rows = asked(count, seed=count)
            told = session.run(None, {name: each.numpy() for name, each in zip(INPUTS, rows, strict=True)})
            for ours, theirs in zip(module(*rows), told, strict=True):
                assert np.abs(ours.detach().numpy() - theirs).max() < tolerance
    assert len(surroundings(2)) + 1 == OUTPUTS["occupancy_mean"]
