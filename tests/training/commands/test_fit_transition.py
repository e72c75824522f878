"""`python -m training fit` of a recipe of kind "transition"."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dichroic.bundle import read_bundle
from tests.training.conftest import FittedTransition
from tests.training.transition.recipes import DRAWN, FILES, MODEL, STUDENT, TRAINING, write_transition_recipe
from tests.training.transition.states import drawn
from training.__main__ import main
from training.export.transition_bundle import TransitionFacts
from training.transition import recipe_pipeline, stages
from training.transition.figures import Served

# On one process: an export takes seconds.
pytestmark = pytest.mark.xdist_group("transition_bundles")


class StopError(Exception):
    """Before the export, which takes longest."""


def stop(out: Path, served: Served, facts: TransitionFacts) -> None:
    raise StopError(served, facts)


def fit(recipe: Path, out: Path, *more: str) -> int:
    return main(["fit", str(recipe), "--out", str(out), "--device", "cpu", *more])


def served_by(recipe: Path, out: Path, *more: str) -> tuple[Served, TransitionFacts]:
    """What would be exported."""
    with pytest.raises(StopError) as caught:
        fit(recipe, out, *more)
    served, facts = caught.value.args
    return served, facts


def weights(served: Served) -> np.ndarray:
    return np.concatenate([each.detach().numpy().ravel() for each in served.network.parameters()])


def brief(folder: Path, data: str = DRAWN.replace("3000", "200").replace("1500", "100")) -> Path:
    more = TRAINING.replace("250", "5").replace("20", "2")
    return write_transition_recipe(folder, data, MODEL + 'spread = "student"\n', more + STUDENT.replace("400", "5"))


def test_fit_says_in_json_what_it_found_and_wrote(fitted_transition: FittedTransition) -> None:
    said, manifest = fitted_transition.said, read_bundle(fitted_transition.folder).manifest
    assert (said["name"], said["version"], said["digest"], manifest.kind) == ("toy", 1, manifest.digest, "transition")
    found = {metric["name"]: metric["value"] for metric in said["metrics"]}
    assert found["nll_above_oracle"] < 0.02 < found["constant_above_oracle"]
    assert found["ece_hop_true"] < 0.05
    assert found["rotation_error"] < 1e-12
    assert said["calibration"]["hop_calibration"]["count"] == 1500
    assert said["parity"]["worst"] < 1e-10
    assert set(said["timings_s"]) == {"data", "fit", "measure"}
    assert manifest.training_data.source.startswith("draw_dune(count=3000, rates='prior'")
    assert len(set(manifest.training_data.sha256)) == 2


def test_nothing_is_left_of_the_stages_of_a_fit_that_is_done(fitted_transition: FittedTransition) -> None:
    assert not list((fitted_transition.folder.parents[1] / ".checkpoints").glob("*"))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe_pipeline, "write_transition_bundle", stop)
    recipe = brief(tmp_path)
    first, again, other = (weights(served_by(recipe, tmp_path / "out", *more)[0]) for more in ((), (), ("--seed", "5")))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_own_files_are_fitted_with_their_licence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe_pipeline, "write_transition_bundle", stop)
    np.savez(tmp_path / "hops.npz", **drawn(300))
    recipe = brief(tmp_path, FILES + 'citation = "A paper."\n')
    _, facts = served_by(recipe, tmp_path / "out", "--data", str(tmp_path / "hops.npz"), "--licence", "CC0")
    assert (facts.training_data.source, facts.training_data.licence, facts.notes) == ("hops.npz", "CC0", "A paper.")
    assert "nll_above_oracle" not in {metric.name for metric in facts.metrics}
    assert facts.calibration.hop_calibration is not None
    assert facts.calibration.hop_calibration.count == 60


def test_ctrl_c_leaves_the_finished_stages_and_resume_goes_on_from_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = brief(tmp_path), tmp_path / "out"
    monkeypatch.setattr(recipe_pipeline, "write_transition_bundle", stop)
    whole = weights(served_by(recipe, tmp_path / "other")[0])

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as cut:
        cut.setattr(stages, "distil", interrupted)
        assert fit(recipe, out) == 130
    said = capsys.readouterr().err
    assert "Interrupted; the checkpoint is in" in said
    assert "--resume" in said
    assert not list(out.glob("toy/*"))
    with monkeypatch.context() as cut:
        cut.setattr(stages, "fit_transition", interrupted)  # must not be asked again
        np.testing.assert_array_equal(weights(served_by(recipe, out, "--resume")[0]), whole)
        assert fit(recipe, out) == 130  # without --resume it begins anew
    assert "there is no checkpoint yet" in capsys.readouterr().err


def test_bad_data_ends_with_2_and_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(brief(tmp_path), tmp_path / "out", "--data", "hops.npz") == 2
    assert "draws its own data" in capsys.readouterr().err
    np.savez(tmp_path / "still.npz", **(drawn(300) | {"outcome": np.zeros(300, np.int64)}))
    assert fit(brief(tmp_path, FILES), tmp_path / "out", "--data", str(tmp_path / "still.npz")) == 2
    assert "stayed in all transitions" in capsys.readouterr().err


def test_the_table_tells_how_far_off_the_chance_of_a_hop_is(
    fitted_transition: FittedTransition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = read_bundle(fitted_transition.folder)
    parity = type("Parity", (), {"worst": 1e-13, "where": "predict/rates_mean, 64 rows"})()
    written = type("Written", (), {"folder": fitted_transition.folder, "manifest": bundle.manifest, "parity": parity})()
    monkeypatch.setattr(recipe_pipeline, "fit_transition_recipe", lambda request: written)
    assert fit(fitted_transition.recipe, tmp_path) == 0
    table = capsys.readouterr().out
    hops = bundle.manifest.calibration.hop_calibration
    assert hops is not None
    assert f"P(hop) is off by {hops.expected_calibration_error:.4f} in the mean, over 1500 transitions" in table
    assert json.dumps(bundle.manifest.digest)[1:-1] in table
