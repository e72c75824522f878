from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tqdm import tqdm

from training.errors import InputError
from training.latent.checkpoint import Checkpoint, CheckpointStore
from training.latent.evaluate import encode_images, held_out_bound
from training.latent.optimise import Fit, Fitted
from training.latent.specification import ModelSpecification
from training.recipe import Classes, Equivariance, Training

SPECIFICATION = ModelSpecification(
    10,
    10,
    invariances=("rotation", "translation"),
    likelihood="gaussian",
    encoder_channels=(4,),
    encoder_widths=(8,),
    decoder_widths=(8, 8),
)
IMAGES = np.random.default_rng(0).random((50, 10, 10, 1), dtype=np.float32)
TRAINING = Training(epochs=3, batch_size=16, pixels_per_step=20, restarts=2, threads=1, equivariance=Equivariance(epochs=2, weight=5.0))


class Interrupting(CheckpointStore):
    """Saves, and after the given number of saves is interrupted, as by Ctrl-C."""

    left = 0

    def save(self, state: Checkpoint) -> None:
        super().save(state)
        Interrupting.left -= 1
        if Interrupting.left == 0:
            raise KeyboardInterrupt


def fit(store: CheckpointStore, *, seed: int = 0, resume: bool = False, training: Training = TRAINING) -> Fitted:
    torch.set_num_threads(1)
    made = Fit(SPECIFICATION, training, IMAGES[:40], IMAGES[40:], seed=seed, store=store, device=torch.device("cpu"))
    return made.run(resume=resume)


def weights(fitted: Fitted) -> dict[str, torch.Tensor]:
    return fitted.model.state_dict()


def same(first: Fitted, second: Fitted) -> bool:
    return first.restart == second.restart and all(torch.equal(tensor, weights(second)[name]) for name, tensor in weights(first).items())


def test_same_seed_gives_the_same_weights_bit_for_bit_and_another_seed_others(tmp_path: Path) -> None:
    first, again = fit(CheckpointStore(tmp_path / "a", "x")), fit(CheckpointStore(tmp_path / "b", "x"))
    assert same(first, again)
    assert not same(first, fit(CheckpointStore(tmp_path / "c", "x"), seed=1))


@pytest.mark.parametrize("saves", [1, 3, 5, 9])  # at the start, after teaching, at a restart's end, within the second restart
def test_resumed_fit_equals_the_uninterrupted_one(tmp_path: Path, saves: int) -> None:
    whole = fit(CheckpointStore(tmp_path / "whole", "x"))
    Interrupting.left = saves
    with pytest.raises(KeyboardInterrupt):
        fit(Interrupting(tmp_path / "cut", "x"))
    Interrupting.left = 0
    assert same(whole, fit(CheckpointStore(tmp_path / "cut", "x"), resume=True))


JOINT = replace(
    SPECIFICATION, rotation_prior_sd_rad=np.pi / 4, angle_bins=4, class_source="joint", class_names=("a", "b"), encoder_channels=(), content_size=1
)
LABELS = np.resize(np.array([0, -1, 1, -1, -1]), 40)
MIXTURE = Training(
    epochs=3,
    batch_size=16,
    pixels_per_step=20,
    restarts=2,
    content_beta_start=50.0,
    classes=Classes(usage_weight=10.0, choice_weight=1.0, beta_start=3.0, pairs_per_step=2, labelled_batch_size=7, labelled_first=0.3),
)


def fit_mixture(store: CheckpointStore, source: str, *, resume: bool = False) -> Fitted:
    torch.set_num_threads(1)
    specification = replace(JOINT, class_source=source)
    labels = LABELS if source == "semi_supervised" else None
    made = Fit(specification, MIXTURE, IMAGES[:40], IMAGES[40:], seed=0, store=store, device=torch.device("cpu"), labels=labels)
    return made.run(resume=resume)


@pytest.mark.parametrize("source", ["joint", "semi_supervised"])
def test_resumed_fit_of_classes_equals_the_uninterrupted_one(tmp_path: Path, source: str) -> None:
    whole = fit_mixture(CheckpointStore(tmp_path / "whole", "x"), source)
    Interrupting.left = 3
    with pytest.raises(KeyboardInterrupt):
        fit_mixture(Interrupting(tmp_path / "cut", "x"), source)
    Interrupting.left = 0
    assert same(whole, fit_mixture(CheckpointStore(tmp_path / "cut", "x"), source, resume=True))


def test_every_labelled_image_is_used_however_few_steps_an_epoch_has(tmp_path: Path) -> None:
    specification = replace(JOINT, class_source="semi_supervised")
    store = CheckpointStore(tmp_path, "x")
    made = Fit(specification, MIXTURE, IMAGES[:40], IMAGES[40:], seed=0, store=store, device=torch.device("cpu"), labels=LABELS)
    batches = made._labelled_batches()
    labelled = np.flatnonzero(LABELS >= 0)
    seen = torch.cat([next(batches) for _ in range(16)]).numpy()
    assert set(seen) == set(labelled)
    assert np.ptp([np.sum(seen == row) for row in labelled]) <= 1
    assert not np.isin(made.rows, labelled).any()


def test_labels_teach_classes_to_images_without_labels(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    truth = generator.integers(2, size=120)
    images = 0.1 * generator.random((120, 10, 10, 1), dtype=np.float32)
    images[truth == 0, 3:7, 3:7] += 0.8  # a square
    images[truth == 1, 4:6, 1:9] += 0.8  # a bar
    labels = np.where(np.arange(120) < 20, truth, -1)
    training = Training(epochs=25, batch_size=25, learning_rate=5e-3, pixels_per_step=40, classes=Classes(labelled_first=0.2))
    specification = replace(JOINT, class_source="semi_supervised")
    store = CheckpointStore(tmp_path, "x")
    fitted = Fit(specification, training, images, images[:0], seed=0, store=store, device=torch.device("cpu"), labels=labels).run(resume=False)
    told = encode_images(fitted.model, np.rot90(images[20:], 1, (1, 2)))["class_probabilities"].argmax(axis=1)
    assert np.mean(told == truth[20:]) == 1


def test_restart_with_the_least_bound_on_the_validation_images_is_kept(tmp_path: Path) -> None:
    kept = fit(CheckpointStore(tmp_path / "both", "x"))
    value = held_out_bound(kept.model, IMAGES[40:], seed=0).total.mean()
    only_first = fit(CheckpointStore(tmp_path / "one", "x"), training=TRAINING.model_copy(update={"restarts": 1}))
    first = held_out_bound(only_first.model, IMAGES[40:], seed=0).total.mean()
    assert value <= first
    assert (kept.restart == 0) == (value == first)


def test_training_lowers_the_bound_of_unseen_images(tmp_path: Path) -> None:
    longer = TRAINING.model_copy(update={"epochs": 40, "restarts": 1, "learning_rate": 5e-3})
    before = fit(CheckpointStore(tmp_path / "a", "x"), training=TRAINING.model_copy(update={"epochs": 1, "restarts": 1}))
    after = fit(CheckpointStore(tmp_path / "b", "x"), training=longer)
    values = [held_out_bound(made.model, IMAGES[40:], seed=0).total.mean() for made in (before, after)]
    assert values[1] < values[0] - 10


def test_evaluation_changes_no_weight_and_repeats_itself(tmp_path: Path) -> None:
    fitted = fit(CheckpointStore(tmp_path, "x"))
    before = {name: tensor.clone() for name, tensor in weights(fitted).items()}
    first, second = held_out_bound(fitted.model, IMAGES, seed=3), held_out_bound(fitted.model, IMAGES, seed=3)
    encode_images(fitted.model, IMAGES)
    assert np.array_equal(first.total, second.total)
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(fitted).items())


def test_error_is_measured_on_the_unclipped_image(tmp_path: Path) -> None:
    fitted = fit(CheckpointStore(tmp_path, "x"))
    far = IMAGES + 3
    error = held_out_bound(fitted.model, IMAGES, seed=0, unclipped=far).error
    assert (error > held_out_bound(fitted.model, IMAGES, seed=0).error + 4).all()


def diverging(training: Training) -> Training:
    """With steps that no recipe may ask for."""
    return training.model_copy(update={"learning_rate": 1e30, "learning_rate_end": 1e30})


def test_diverging_fit_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        fit(CheckpointStore(tmp_path, "x"), training=diverging(Training(epochs=2, batch_size=10)))
    assert caught.value.reason == "TRAINING_DIVERGED"
    assert "learning_rate" in caught.value.message


class Overshooting(Fit):
    """Each epoch's losses are finite; the weights after its last step are not."""

    def one_epoch(self, bar: tqdm[None]) -> None:
        super().one_epoch(bar)
        with torch.no_grad():
            self.model.decoder.output.bias += torch.inf


@pytest.mark.parametrize("validation", [IMAGES[40:], IMAGES[:0]], ids=["validated", "not validated"])
def test_last_step_that_diverges_is_no_model(tmp_path: Path, validation: np.ndarray) -> None:
    training = Training(epochs=1, batch_size=100)
    store = CheckpointStore(tmp_path, "x")
    overshooting = Overshooting(SPECIFICATION, training, IMAGES[:40], validation, seed=0, store=store, device=torch.device("cpu"))
    with pytest.raises(InputError) as caught:
        overshooting.run(resume=False)
    assert caught.value.reason == "TRAINING_DIVERGED"


def test_validation_bound_that_is_no_number_never_wins(tmp_path: Path) -> None:
    training = diverging(Training(epochs=1, batch_size=100, restarts=2))
    with pytest.raises(InputError) as caught:
        fit(CheckpointStore(tmp_path, "x"), training=training)
    assert caught.value.reason == "TRAINING_DIVERGED"
    assert "validation" in caught.value.message
