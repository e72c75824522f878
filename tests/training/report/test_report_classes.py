from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.latent.recipes import CARDS, MODEL, write_recipe
from training.__main__ import main
from training.report.graphs import LatentGraphs

CLASSES = 'content_size = 1\nangle_bins = 4\nclass_source = "{source}"\nclasses = 4'


@pytest.fixture(scope="module", params=["joint", "semi_supervised"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    extra = "labelled_per_suit = 5\n" if request.param == "semi_supervised" else ""
    recipe = write_recipe(folder, CARDS, MODEL.replace("content_size = 1", CLASSES.format(source=request.param)), extra)
    assert main(["fit", str(recipe), "--out", str(folder / "bundles"), "--device", "cpu"]) == 0
    return folder / "bundles" / "toy"


def test_bundle_of_classes_has_their_names_figures_and_classifier(bundle: Path) -> None:
    manifest = LatentGraphs(bundle).manifest
    assert manifest.latent is not None
    semi = manifest.latent.class_source == "semi_supervised"
    assert manifest.latent.class_names == (("spade", "heart", "diamond", "club") if semi else ("class_1", "class_2", "class_3", "class_4"))
    figures = {metric.name: metric.value for metric in manifest.metrics}
    assert {"class_accuracy", "class_ari", "class_nmi", "classes_used", "angle_correlation_worst"} <= figures.keys()
    assert 0 <= figures["class_accuracy"] <= 1
    assert {f"classify.{dtype}" for dtype in ("uint8", "uint16", "float32")} <= manifest.signatures.keys()
    sample = manifest.calibration.reconstruction_error_sample
    assert len(sample) == 40
    assert list(sample) == sorted(sample)
    card = (bundle / "1" / "README.md").read_text(encoding="utf-8")
    assert ("learned from few labelled images" if semi else "found without labels") in card


def test_report_draws_the_class_gallery_and_the_confusion_matrix(bundle: Path, tmp_path: Path) -> None:
    assert main(["report", str(bundle), "--out", str(tmp_path)]) == 0
    for name in ("classes.png", "confusion.png", "elbo.png", "manifold.png", "poses.png", "traversals.png"):
        assert (tmp_path / name).stat().st_size > 2000


def test_classes_are_decoded_one_by_one(bundle: Path) -> None:
    graphs = LatentGraphs(bundle)
    drawn = [graphs.decode(np.zeros((1, 1)), index) for index in range(4)]
    assert all(np.abs(drawn[0] - other).max() > 0 for other in drawn[1:])
