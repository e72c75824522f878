"""The report of a transition bundle: which figures there are, what they say, and the numbers in them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from tests.toy_bundle import rewrite_manifest
from tests.training.conftest import FittedTransition
from tests.training.report.records import report_words
from training.__main__ import main
from training.errors import InputError
from training.report import hops, rate_maps
from training.report.transition_graphs import TransitionGraphs

# On one process: an export takes seconds.
pytestmark = pytest.mark.xdist_group("transition_bundles")

OF_ALL = ["hop_calibration.png", "outcomes.png", "rate_maps.png", "spread.png"]


@pytest.fixture(autouse=True)
def _coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_maps, "_PIXELS", 21)
    monkeypatch.setattr(hops, "_POINTS", 31)


@pytest.fixture
def measured(fitted_transition: FittedTransition, tmp_path: Path) -> Path:
    """The same bundle as if its transitions had been measured."""
    folder = tmp_path / "toy" / "1"
    shutil.copytree(fitted_transition.folder, folder)
    data = json.loads((folder / "bundle.json").read_text())["training_data"]
    rewrite_manifest(folder, training_data=data | {"source": "hops.npz"})
    return folder


def test_every_figure_is_drawn_with_its_name_and_setting(fitted_transition: FittedTransition, tmp_path: Path) -> None:
    words = report_words(fitted_transition.folder, tmp_path / "report")
    assert sorted(words) == OF_ALL
    for text in words.values():
        assert "toy version 1" in text.replace("\n", " ")
    for name in OF_ALL[1:]:
        assert "at 0.1 nA and 60 kV" in words[name].replace("\n", " ")
    for hop in (1, 2, 3):
        assert f"model: to neighbour {hop}" in words["rate_maps.png"]
        assert f"truth: to neighbour {hop}" in words["rate_maps.png"]
    assert "its distance from the truth" in words["spread.png"]
    error = fitted_transition.said["calibration"]["hop_calibration"]["expected_calibration_error"]
    assert f"off by {error:.4f} in the mean" in words["hop_calibration.png"]
    for line in ("at its place at the end", "no hop", "first hop to neighbour 1", "anywhere else at the end", "truth", "longer than trained"):
        assert line in words["outcomes.png"]


def test_a_measured_bundle_has_no_truth_and_says_so(measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = report_words(measured, tmp_path / "report")
    assert sorted(words) == OF_ALL
    assert "truth" not in " ".join(words.values())
    assert "Without a truth beside the model" in capsys.readouterr().out


def test_a_picture_is_written_and_is_no_blank(fitted_transition: FittedTransition, tmp_path: Path) -> None:
    path = rate_maps.draw_rate_maps(TransitionGraphs(fitted_transition.folder), tmp_path)[0]
    assert np.std(matplotlib.image.imread(path)[..., :3]) > 0.1


def test_the_state_that_is_drawn_is_a_lattice_with_neighbour_1_upwards(fitted_transition: FittedTransition) -> None:
    graphs = TransitionGraphs(fitted_transition.folder)
    np.testing.assert_allclose(graphs.neighbours[0], [0, 1.42], atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(graphs.neighbours, axis=1), 1.42)
    np.testing.assert_allclose(graphs.neighbours.sum(axis=0), 0, atol=1e-12)


def test_a_beam_beside_a_neighbour_moves_the_atom_there_in_map_and_truth(fitted_transition: FittedTransition) -> None:
    graphs = TransitionGraphs(fitted_transition.folder)
    beam = 0.85 * graphs.neighbours
    told = graphs.ask("predict", beam, np.full(3, 2.0))["rates_mean"]
    true = graphs.true_rates(beam)
    assert true is not None
    np.testing.assert_array_equal(told.argmax(axis=1), [0, 1, 2])
    np.testing.assert_array_equal(true.argmax(axis=1), [0, 1, 2])
    np.testing.assert_allclose(np.diag(told), np.diag(true), rtol=0.5)


def test_many_states_are_asked_in_batches(fitted_transition: FittedTransition) -> None:
    graphs = TransitionGraphs(fitted_transition.folder)
    most = graphs.manifest.signatures["rates"].max_batch
    beam = np.random.default_rng(0).uniform(-2, 2, (most + 3, 2))
    whole = graphs.ask("rates", beam)["member_rates"]
    last = graphs.ask("rates", beam[-3:])["member_rates"]
    assert whole.shape == (most + 3, graphs.section.members, 3)
    np.testing.assert_allclose(whole[-3:], last, atol=1e-12)


def test_data_are_not_asked_for_and_another_kind_is_refused(
    fitted_transition: FittedTransition, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(fitted_transition.folder), "--data", "hops.npz", "--out", str(tmp_path)]) == 2
    assert "leave out --data" in capsys.readouterr().err
    with pytest.raises(InputError, match="of kind latent, not transition"):
        TransitionGraphs(Path(__file__).parents[3] / "bundles" / "cards" / "1")
