"""A transition bundle as `fit` writes it, in the server's own load sequence; and what its export refuses to write."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest

from dichroic.bundle import read_bundle
from dichroic.bundle.arrays import unpack
from dichroic.bundle.transition_section import STATE_INPUTS
from services.engine.device import ChosenDevice
from services.engine.loader import Loader
from tests.training.conftest import FittedTransition
from tests.training.transition.states import brief_fit
from training.export import transition_bundle
from training.export.parity import ParityError
from training.export.transition_bundle import TransitionFacts, transition_section, write_transition_bundle
from training.export.transition_golden import TOLERANCE
from training.export.transition_graphs import transition_graphs
from training.export.transition_parity import drawn_states
from training.export.transition_specs import signatures
from training.recipe_sections import Card
from training.transition.figures import Served, hop_calibration

# On one process: an export takes seconds.
pytestmark = pytest.mark.xdist_group("transition_bundles")


def facts() -> TransitionFacts:
    return TransitionFacts(
        name="toy",
        card=Card(title="Toy", description="A toy.", limits="Everything.", published="Nothing.", ours="All of it."),
        training_data=transition_bundle.TrainingData(source="hops.npz", licence="MIT", sha256=("0" * 64,)),
        notes="A note.",
        metrics=(),
        calibration=transition_bundle.Calibration(hop_calibration=hop_calibration(np.array([0.1, 0.9]), np.array([False, True]), "two")),
        timings_s={},
    )


@pytest.fixture(scope="module")
def served() -> Served:
    return Served(copy.deepcopy(brief_fit().network).double(), brief_fit(), "end_of_dwell")


@pytest.fixture(scope="module")
def graphs(served: Served) -> dict[str, onnx.ModelProto]:
    return transition_graphs(served.network, served.shells, signatures(transition_section(served)))


@pytest.fixture
def exported(graphs: dict[str, onnx.ModelProto], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever network is exported, the graphs are those of `served`."""
    monkeypatch.setattr(transition_bundle, "transition_graphs", lambda *_: graphs)


def test_a_fitted_bundle_loads_and_answers_as_its_members_do(fitted_transition: FittedTransition) -> None:
    loaded = Loader(ChosenDevice("cpu", False, 1), max_batch=16).load(fitted_transition.folder)
    try:
        section = loaded.manifest.transition
        assert section is not None
        assert (section.model, section.spread, section.members, section.likelihood) == ("equivariant", "student", 2, "end_of_dwell")
        assert (section.dopant, section.host, section.lattice) == (14, 6, "graphene")
        assert 2.9 < section.beam_radius_angstrom <= 3.0
        assert 4.9 < section.dwell_s.high <= 5.0
        states = drawn_states(section, 10, seed=5)
        told = loaded.runtimes["predict"].run(states)
        each = loaded.runtimes["rates"].run({name: states[name] for name in STATE_INPUTS["rates"]})
    finally:
        loaded.close()
    np.testing.assert_allclose(told["rates_mean"], each["member_rates"].mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(told["rates_sd"], each["member_rates"].std(axis=1), atol=1e-12)
    stay = np.exp(-each["member_rates"].sum(axis=2) * states["dwell_s"][:, None])
    np.testing.assert_allclose(told["first_hop_mean"][:, 0], stay.mean(axis=1), atol=1e-12)
    for shares in (told["first_hop_mean"], told["occupancy_mean"]):
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-10)


def test_golden_answers_are_a_few_drawn_states_with_tight_tolerances(fitted_transition: FittedTransition) -> None:
    golden = unpack(read_bundle(fitted_transition.folder).files["golden.safetensors"], path="golden")
    for name in STATE_INPUTS:
        assert golden[f"{name}/in/neighbours_xy_angstrom"].shape == (4, 3, 2)
    largest = np.abs(golden["predict/out/occupancy_mean"]).max()
    assert golden["predict/atol/occupancy_mean"][0] == pytest.approx(TOLERANCE * largest)


def test_the_card_tells_figures_ranges_and_what_is_ours(fitted_transition: FittedTransition) -> None:
    bundle = read_bundle(fitted_transition.folder)
    value = {metric.name: metric.value for metric in bundle.manifest.metrics}["nll_above_oracle"]
    for words in (
        f"| nll_above_oracle | {value:.4g} | nat |",
        "asked as 2 members",
        "dwells up to 5 s, 0.1 nA, 60 kV",
        "Published: Nothing.",
        "Our reconstruction or choice: All of it.",
        "| told | hopped | transitions |",
        "Licence of the data: MIT",
    ):
        assert words in bundle.model_card, words


def test_an_ensemble_is_written_as_one(served: Served, exported: None, tmp_path: Path) -> None:
    written = write_transition_bundle(tmp_path, served, facts())
    section = read_bundle(written.folder).manifest.transition
    assert section is not None
    assert (section.spread, section.members) == ("ensemble", 3)
    assert written.parity.worst < 1e-10
    again = write_transition_bundle(tmp_path, served, facts())
    assert again.manifest.version == 2
    assert again.manifest.digest == written.manifest.digest


@pytest.mark.slow
def test_two_exports_of_one_network_have_one_digest(served: Served, tmp_path: Path) -> None:
    first, second = (write_transition_bundle(tmp_path, served, facts()) for _ in range(2))
    assert first.manifest.digest == second.manifest.digest


def test_a_graph_that_disagrees_is_not_written(served: Served, exported: None, tmp_path: Path) -> None:
    other = copy.deepcopy(served.network)
    other.layers.biases[-1].data += 1e-6  # type: ignore[union-attr, index, operator]
    with pytest.raises(ParityError, match="member_rates differs from the float64 reference"):
        write_transition_bundle(tmp_path, Served(other, served.fitted, "end_of_dwell"), facts())
    assert not list(tmp_path.glob("toy/*"))


def test_a_network_that_is_not_finite_is_not_written(served: Served, exported: None, tmp_path: Path) -> None:
    broken = copy.deepcopy(served.network)
    broken.layers.biases[-1].data[:] = float("nan")  # type: ignore[union-attr, index]
    with pytest.raises(ParityError):
        write_transition_bundle(tmp_path, Served(broken, served.fitted, "end_of_dwell"), facts())


def test_the_section_tells_a_first_hop_model(served: Served) -> None:
    assert transition_section(Served(served.network, served.fitted, "first_hop")).likelihood == "first_hop"


def test_drawn_states_are_lattices_and_reach_beyond_what_was_trained(served: Served) -> None:
    section = transition_section(served)
    states = drawn_states(section, 300, seed=0)
    distance = np.linalg.norm(states["neighbours_xy_angstrom"], axis=2)
    assert section.neighbour_distance_angstrom.low < distance.min() < 1.4
    assert 1.44 < distance.max() < section.neighbour_distance_angstrom.high
    assert np.linalg.norm(states["beam_xy_angstrom"], axis=1).max() > 1.5 * section.beam_radius_angstrom
