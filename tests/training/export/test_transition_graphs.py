"""The leaner graphs of a rate model say what its reference says, whatever varies in its data."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dichroic.bundle import TransitionSection
from dichroic.bundle.manifest import TrainedRange
from dichroic.bundle.transition_section import STATE_INPUTS
from tests.training.transition.states import SCALES, untrained
from training.export import transition_graphs as graphs
from training.export.sessions import GraphRunner
from training.export.transition_parity import drawn_states
from training.export.transition_specs import signatures
from training.transition.distil import Lesson, Student
from training.transition.networks import Equivariant, RateNetwork
from training.transition.predict import Predict, Rates
from training.transition.states import Scales

CONSTANT = Scales(SCALES.centre, (0.0, 0.0, 0.0))


def section(members: int, shells: int = 2) -> TransitionSection:
    return TransitionSection(
        lattice="graphene",
        host=6,
        dopant=14,
        bond_length_angstrom=1.42,
        model="equivariant",
        likelihood="end_of_dwell",
        spread="ensemble",
        members=members,
        shells=shells,
        beam_radius_angstrom=3.0,
        dwell_s=TrainedRange(low=0.0, high=5.0),
        current_na=TrainedRange(low=0.05, high=0.2),
        voltage_kv=TrainedRange(low=50.0, high=70.0),
        neighbour_distance_angstrom=TrainedRange(low=1.1, high=2.0),
    )


def recalibrated() -> RateNetwork:
    network = untrained(members=3)
    network.sharpness.fill_(0.9)
    return network


NETWORKS = {
    "equivariant": lambda: untrained(members=3),
    "recalibrated": recalibrated,
    "nothing varies": lambda: Equivariant(2, CONSTANT, 0.1, widths=(8,)).double(),
    "canonical": lambda: untrained("canonical", members=2),
    "student": lambda: Student(SCALES, 0.1, Lesson(places=5)).double(),
    "student, nothing varies": lambda: Student(CONSTANT, 0.1, Lesson(widths=(8, 8, 8), places=2)).double(),
}


def given(states: dict[str, np.ndarray], signature: str = "predict") -> list[torch.Tensor]:
    return [torch.from_numpy(states[name]) for name in STATE_INPUTS[signature]]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_served_form_says_what_the_reference_says(name: str) -> None:
    network, states = NETWORKS[name](), drawn_states(section(2), 20, seed=1)
    forms = [("rates", graphs.ServedRates(network), Rates(network))]
    forms += [("predict", graphs.ServedPredict(network, shells), Predict(network, shells)) for shells in (2, 3)]
    for signature, served, reference in forms:
        with torch.no_grad():
            told, wanted = (made(*given(states, signature)) for made in (served, reference))
        assert len(told) == len(wanted)
        for ours, theirs in zip(told, wanted, strict=True):
            assert ours.shape == theirs.shape
            assert (ours - theirs).abs().max() < 1e-11


@pytest.mark.parametrize(
    ("name", "signature"),
    [("student, nothing varies", "predict"), ("canonical", "predict"), pytest.param("canonical", "rates", marks=pytest.mark.slow)],
)
def test_a_graph_from_raw_inputs_says_the_same_at_every_batch_size(name: str, signature: str) -> None:
    network = NETWORKS[name]()
    declared = signatures(section(network.members))[signature]
    model = graphs.transition_graphs(network, 2, {signature: declared})[signature]
    runner = GraphRunner(model.SerializeToString(), None, [spec.name for spec in declared.outputs])
    states = drawn_states(section(2), 9, seed=2)
    reference = Rates(network) if signature == "rates" else Predict(network, 2)
    with torch.no_grad():
        wanted = reference(*given(states, signature))
    for rows in (1, 2, 9):
        told = runner.run({key: states[key][:rows] for key in STATE_INPUTS[signature]})
        for ours, theirs in zip(told.values(), wanted, strict=True):
            np.testing.assert_allclose(ours, theirs[:rows].numpy(), atol=1e-11)


def test_what_did_not_vary_in_training_does_not_change_the_answer() -> None:
    served = graphs.ServedPredict(NETWORKS["nothing varies"](), 2)
    states = drawn_states(section(2), 5, seed=3)
    others = states | {"current_na": 3 * states["current_na"], "voltage_kv": 2 * states["voltage_kv"]}
    with torch.no_grad():
        for first, second in zip(served(*given(states)), served(*given(others)), strict=True):
            assert torch.equal(first, second)


def test_turned_reflected_and_reordered_states_permute_the_answer() -> None:
    served, states = graphs.ServedRates(NETWORKS["student"]()), drawn_states(section(2), 6, seed=4)
    turn, mirror, order = np.array([[0.6, -0.8], [0.8, 0.6]]), np.diag([1.0, -1.0]), [2, 0, 1]
    moved = states | {
        "beam_xy_angstrom": states["beam_xy_angstrom"] @ turn @ mirror,
        "neighbours_xy_angstrom": (states["neighbours_xy_angstrom"] @ turn @ mirror)[:, order],
    }
    with torch.no_grad():
        (plain,), (told,) = (served(*given(each, "rates")) for each in (states, moved))
    assert (told - plain[:, :, order]).abs().max() < 1e-12


def test_the_most_rows_of_a_run_fall_with_members_and_sites() -> None:
    few, many, far = (signatures(each)["predict"].max_batch for each in (section(2), section(64), section(2, shells=6)))
    assert few > many >= 1
    assert few > far >= 1
