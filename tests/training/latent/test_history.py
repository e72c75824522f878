"""What a fit tells of its epochs: right, resumable, and the same for the same seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from tests.training.latent.test_optimise import IMAGES, SPECIFICATION, TRAINING, Interrupting
from training.latent import optimise
from training.latent.checkpoint import CheckpointStore
from training.latent.companions import Companions
from training.latent.history import EpochFigures, History, LegStart, Tally, history_bytes, read_history
from training.latent.optimise import Fit, Fitted
from training.latent.specification import TargetColumn
from training.recipe import Classes, Training
from training.recipe_sections import Regression


def fit(store: CheckpointStore, *, resume: bool = False, training: Training = TRAINING, validation: np.ndarray = IMAGES[40:]) -> Fitted:
    torch.set_num_threads(1)
    return Fit(SPECIFICATION, training, IMAGES[:40], validation, seed=0, store=store, device=torch.device("cpu")).run(resume=resume)


def test_every_epoch_is_told_once_and_taught_ones_have_no_bound(tmp_path: Path) -> None:
    history = fit(CheckpointStore(tmp_path, "x")).history
    assert [epoch.epoch for epoch in history.epochs] == [1, 2, 3, 4, 5]
    assert history.taught_epochs == 2
    assert all(epoch.negative_elbo is None and epoch.validation is None for epoch in history.epochs[:2])
    for epoch in history.epochs[2:]:
        assert epoch.negative_elbo == pytest.approx(epoch.reconstruction + epoch.pose_kl + epoch.content_kl)
        assert epoch.discrete_kl == 0
        assert epoch.validation is not None


def test_the_loss_is_the_bound_where_every_weight_is_one(tmp_path: Path) -> None:
    plain = Training(epochs=2, batch_size=20)
    for epoch in fit(CheckpointStore(tmp_path, "x"), training=plain).history.epochs:
        assert epoch.negative_elbo == pytest.approx(epoch.loss, rel=1e-5)


def test_an_interrupted_fit_tells_the_history_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = fit(CheckpointStore(tmp_path / "whole", "x")).history
    Interrupting.left = 8  # in the second restart
    with pytest.raises(KeyboardInterrupt):
        fit(Interrupting(tmp_path / "cut", "x"))
    resumed = fit(CheckpointStore(tmp_path / "cut", "x"), resume=True).history
    assert resumed == whole
    assert history_bytes(resumed) == history_bytes(whole)


def test_watching_validation_images_changes_no_weight(tmp_path: Path) -> None:
    alone = TRAINING.model_copy(update={"restarts": 1})
    watched, unwatched = (
        fit(CheckpointStore(tmp_path / name, "x"), training=alone, validation=images)
        for name, images in (("watched", IMAGES[40:]), ("unwatched", IMAGES[:0]))
    )
    assert [epoch.validation for epoch in unwatched.history.epochs] == [None] * 5
    assert all(torch.equal(tensor, unwatched.model.state_dict()[name]) for name, tensor in watched.model.state_dict().items())


def test_history_comes_back_from_its_bytes_and_another_format_is_not_guessed() -> None:
    history = History(1, 1, (EpochFigures(1, 0.1), EpochFigures(2, 3.0000000001, 1.0, 0.5, 0.25, 0.0, 2.5)))
    assert read_history(history_bytes(history)) == history
    assert b"legs" not in history_bytes(history)
    several = replace(history, legs=(LegStart(1, "20 nm"), LegStart(2, "40 nm")))
    assert read_history(history_bytes(several)) == several
    assert read_history(history_bytes(history).replace(b'"format": 1', b'"format": 2')) is None
    assert read_history(b"[]") is None
    assert read_history(b"not JSON") is None


class Counting(Tally):
    """Tells how many images each epoch's means are of."""

    counts: ClassVar[list[int]] = []

    def figures(self, epoch: int, validation: float | None) -> EpochFigures:
        Counting.counts.append(self._images)
        return super().figures(epoch, validation)


@pytest.mark.parametrize("kind", ["classes", "targets"])
@pytest.mark.parametrize("labelled", [15, 40], ids=["some", "all"])
def test_means_are_of_unlabelled_images_or_of_all_where_every_image_is_labelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, labelled: int
) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(optimise, "Tally", Counting)
    monkeypatch.setattr(Counting, "counts", [])
    known = np.arange(40) < labelled
    training, store = Training(epochs=3, batch_size=16), CheckpointStore(tmp_path, "x")
    if kind == "classes":
        training = training.model_copy(update={"classes": Classes(labelled_batch_size=7, labelled_first=0.3)})
        specification = replace(SPECIFICATION, class_source="semi_supervised", class_names=("a", "b"))
        given = {"labels": np.where(known, np.arange(40) % 2, -1)}
    else:
        training = training.model_copy(update={"regression": Regression(labelled_batch_size=7, labelled_first=0.3)})
        specification = replace(SPECIFICATION, targets=(TargetColumn("strain", "%", "of the lattice"),))
        given = {"beside": Companions(targets=np.where(known, np.arange(40) / 40, np.nan)[:, None])}
    made = optimise.Fit(specification, training, IMAGES[:40], IMAGES[:0], seed=0, store=store, device=torch.device("cpu"), **given)  # type: ignore[arg-type]
    epochs = made.run(resume=False).history.epochs
    counted = 40 if labelled == 40 else 40 - labelled
    assert Counting.counts == [0, counted, counted]  # in the first epoch labelled images alone are learned from
    assert [epoch.negative_elbo is None for epoch in epochs] == [True, False, False]
