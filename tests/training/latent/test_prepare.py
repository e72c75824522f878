from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.latent.recipes import CARDS, MODEL, random_images, write_images, write_recipe
from training.errors import InputError
from training.latent.held_out import split_images, split_patches
from training.latent.normalisation import normalised
from training.latent.pipeline import Request, prepare, specify
from training.latent.prepared import Prepared
from training.recipe import read_recipe

WINDOW = "window_px = 8\nstride_px = 2\n"


def prepared(recipe: Path, *data: Path, channel: str | None = None) -> Prepared:
    return prepare(Request(read_recipe(recipe), data, channel, recipe.parent / "out", "cpu", resume=False))


def reason(recipe: Path, *data: Path, channel: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        prepared(recipe, *data, channel=channel)
    assert len(caught.value.message) > 20
    return caught.value.reason


def test_training_and_held_out_patches_share_no_pixel() -> None:
    image = np.arange(64 * 64, dtype=np.float64).reshape(1, 64, 64, 1)  # each pixel has its own value
    split = split_patches(image, 8, 2, 0.25, 3, validation=True)
    parts = [set(part.ravel()) for part in (split.train, split.validation, split.held_out)]
    assert all(parts)
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]


def test_groups_are_never_split() -> None:
    group = np.repeat(np.arange(10), 6)
    images = group[:, None, None, None].astype(np.float32)
    split = split_images(images, group, 0.2, 0, validation=True)
    sets = [set(part.ravel()) for part in (split.train, split.validation, split.held_out)]
    assert [len(one) for one in sets] == [6, 2, 2]
    assert len(set.union(*sets)) == 10


def test_cards_come_from_three_streams_and_carry_their_truth(tmp_path: Path) -> None:
    made = prepared(write_recipe(tmp_path, CARDS))
    assert made.train.shape == (80, 16, 16, 1)
    assert made.held_out.truth is not None
    assert made.held_out.truth.symmetry_order == (1, 1, 2, 1)
    assert not np.array_equal(made.train[:10], made.held_out.images[:10])


def test_files_to_evaluate_only_are_never_trained_on(tmp_path: Path) -> None:
    first = write_images(tmp_path / "first.npz", random_images(1, 48))
    second = write_images(tmp_path / "second.npz", random_images(1, 48, seed=1) + 5)
    made = prepared(write_recipe(tmp_path, extra=WINDOW + 'evaluate_only = ["second.npz"]\n'), first, second)
    assert made.train.max() < 1
    assert made.held_out.images.max() < 1
    (other,) = made.others
    assert other.images.min() >= 5
    assert "second.npz" in other.name


def test_named_files_are_found_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "inner").mkdir(parents=True)
    write_images(tmp_path / "data" / "inner" / "mine.npz", random_images())
    recipe = write_recipe(tmp_path, extra='files = ["mine.npz"]\n')
    monkeypatch.delenv("DICHROIC_DATA", raising=False)
    assert reason(recipe) == "DATA_REQUIRED"
    monkeypatch.setenv("DICHROIC_DATA", str(tmp_path / "data"))
    assert prepared(recipe).source == "mine.npz"
    monkeypatch.setenv("DICHROIC_DATA", str(tmp_path))
    assert reason(recipe) == "DATA_NOT_FOUND"


def test_normalisation_comes_from_the_training_images_alone(tmp_path: Path) -> None:
    images = random_images(60)
    made = prepared(write_recipe(tmp_path), write_images(tmp_path / "a.npz", images))
    expected = np.percentile(made.train, [0.5, 99.5])
    assert made.preprocessing.input_low[0] == pytest.approx(expected[0], rel=1e-6)
    assert made.preprocessing.input_high[0] == pytest.approx(expected[1], rel=1e-6)
    scaled = normalised(made.train, made.preprocessing)
    assert scaled.dtype == np.float32
    assert np.mean((scaled >= 0) & (scaled <= 1)) == pytest.approx(0.99, abs=0.003)


def test_integers_mean_what_the_recipe_says(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).integers(0, 256, (60, 12, 12)).astype(np.uint8)
    data = write_images(tmp_path / "a.npz", counts)
    assert reason(write_recipe(tmp_path), data) == "INTEGER_SCALE"
    as_value = prepared(write_recipe(tmp_path, extra='[normalisation]\ninteger_images = "value"\n'), data)
    assert as_value.train.max() == 255
    full = prepared(write_recipe(tmp_path, extra="[normalisation]\ninput_low = [2.0]\ninput_high = [4.0]\n"), data)
    assert full.train.min() == pytest.approx(2)
    assert full.train.max() == pytest.approx(4)


def test_several_channels_are_normalised_each_for_itself(tmp_path: Path) -> None:
    images = np.stack([random_images(60), 100 * random_images(60, seed=1)], axis=-1)
    made = prepared(write_recipe(tmp_path), write_images(tmp_path / "a.npz", images))
    assert made.train.shape[1:] == (12, 12, 2)
    assert made.preprocessing.input_high[1] > 50 * made.preprocessing.input_high[0]


def test_bad_data_is_refused_with_its_reason(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    images = random_images()
    hurt = images.copy()
    hurt[3, 2, 2] = np.nan
    other = write_images(tmp_path / "other.npz", random_images(side=16))
    assert reason(recipe, write_images(tmp_path / "few.npz", images[:8])) == "TOO_FEW_IMAGES"
    assert reason(recipe, write_images(tmp_path / "flat.npz", np.ones_like(images))) == "CONSTANT_IMAGES"
    assert reason(recipe, write_images(tmp_path / "nan.npz", hurt)).startswith("NON_FINITE")
    assert reason(recipe, write_images(tmp_path / "tiny.npz", images[:, :5, :5])) == "IMAGES_TOO_SMALL"
    assert reason(recipe, write_images(tmp_path / "a.npz", images), other) == "IMAGE_SIZES_DIFFER"
    assert reason(recipe, write_images(tmp_path / "one.npz", images[:1])) == "TOO_FEW_IMAGES"
    assert reason(recipe, write_images(tmp_path / "group.npz", images, group=np.zeros(60))) == "TOO_FEW_GROUPS"
    assert reason(recipe, tmp_path / "absent.npz") == "FILE_NOT_FOUND"
    np.savez(tmp_path / "spectra.npz", spectra=np.random.default_rng(0).random((30, 16)))
    assert reason(recipe, tmp_path / "spectra.npz") == "NO_IMAGES"


def test_bad_combinations_are_refused(tmp_path: Path) -> None:
    data = write_images(tmp_path / "a.npz", random_images())
    assert reason(write_recipe(tmp_path, CARDS), data) == "DATA_NOT_USED"
    assert reason(write_recipe(tmp_path, extra='evaluate_only = ["a.npz"]\n'), data) == "NO_TRAINING_DATA"
    assert reason(write_recipe(tmp_path, extra="[normalisation]\ninput_low = [0.0, 0.0]\ninput_high = [1.0, 1.0]\n"), data) == "INVALID_NORMALISATION"
    assert reason(write_recipe(tmp_path, extra="window_px = 32\n"), data) == "WINDOW_TOO_LARGE"


SEMI = MODEL.replace("content_size = 1", 'content_size = 1\nclass_source = "semi_supervised"\nclasses = 3')


def labelled(count: int = 60) -> np.ndarray:
    return np.where(np.arange(count) % 2, np.arange(count) // 2 % 3, -1)


def test_labels_are_split_as_their_images_are(tmp_path: Path) -> None:
    images = random_images()
    labels = np.arange(60) % 3
    images[:, 0, 0] = labels  # an image knows its label
    path = write_images(tmp_path / "a.npz", images, labels=labels, group=np.arange(60) // 4)
    for restarts in (1, 2):
        made = prepared(write_recipe(tmp_path, model=SEMI.replace("threads = 1", f"threads = 1\nrestarts = {restarts}")), path)
        assert made.labels is not None
        assert made.held_out.labels is not None
        np.testing.assert_array_equal(made.train[:, 0, 0, 0], made.labels)
        np.testing.assert_array_equal(made.held_out.images[:, 0, 0, 0], made.held_out.labels)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (None, "LABELS_REQUIRED"),
        (labelled() + (labelled() == 2), "CLASS_COUNT_DIFFERS"),
        (np.where(labelled() == 1, -1, labelled()), "CLASS_WITHOUT_LABELS"),
        (labelled() * 2 - 1, "INVALID_LABELS"),
    ],
    ids=["none", "too many", "a class without", "below -1"],
)
def test_labels_that_cannot_be_used_are_refused(tmp_path: Path, labels: np.ndarray | None, expected: str) -> None:
    more = {} if labels is None else {"labels": labels}
    assert reason(write_recipe(tmp_path, model=SEMI), write_images(tmp_path / "a.npz", random_images(), **more)) == expected


def test_a_validation_set_is_kept_on_demand_with_its_labels_and_shares_no_image(tmp_path: Path) -> None:
    images = random_images(90)
    labels = np.arange(90) % 3
    images[:, 0, 0] = labels  # an image knows its label
    path = write_images(tmp_path / "a.npz", images, labels=labels)
    model = SEMI.replace("threads = 1", "threads = 1\nkeep_validation = true")
    made = prepared(write_recipe(tmp_path, model=model), path)
    assert made.validation_labels is not None
    np.testing.assert_array_equal(made.validation[:, 0, 0, 0], made.validation_labels)
    sets = [{image.tobytes() for image in part} for part in (made.train, made.validation, made.held_out.images)]
    assert [len(each) for each in sets] == [54, 18, 18]
    assert len(set.union(*sets)) == 90
    assert len(prepared(write_recipe(tmp_path, model=SEMI), path).validation) == 0


def test_validation_cards_have_their_truth_and_a_stream_of_their_own(tmp_path: Path) -> None:
    model = MODEL.replace("threads = 1", "threads = 1\nkeep_validation = true")
    made = prepared(write_recipe(tmp_path, CARDS + "validation_per_suit = 10\n", model))
    assert made.validation_truth is not None
    assert len(made.validation) == len(made.validation_truth.angle_rad) == 40
    sets = [{image.tobytes() for image in part} for part in (made.train, made.validation, made.held_out.images)]
    assert len(set.union(*sets)) == sum(map(len, sets))


def test_labels_of_a_joint_model_are_measured_with_and_never_trained_on(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, model=SEMI.replace("semi_supervised", "joint"))
    made = prepared(recipe, write_images(tmp_path / "a.npz", random_images(), labels=labelled()))
    assert made.labels is None
    assert made.held_out.labels is not None
    assert prepared(recipe, write_images(tmp_path / "b.npz", random_images())).held_out.labels is None


def test_labelled_cards_come_from_a_stream_of_their_own(tmp_path: Path) -> None:
    keys = "labelled_per_suit = 3\nlabelled_angle_deg = 0.0\n"
    made = prepared(write_recipe(tmp_path, CARDS, SEMI.replace("classes = 3", "classes = 4"), keys))
    assert made.labels is not None
    assert made.train.shape == (92, 16, 16, 1)
    assert made.labels.tolist() == [-1] * 80 + [0, 1, 2, 3] * 3
    assert "labelled" in made.source
    assert len(made.sha256) == 2


def test_angle_bins_need_square_images(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, model=MODEL.replace("content_size = 1", "content_size = 1\nangle_bins = 8"))
    made = prepared(recipe, write_images(tmp_path / "a.npz", random_images()[:, :10]))
    with pytest.raises(InputError) as caught:
        specify(read_recipe(recipe), made)
    assert caught.value.reason == "BINS_NEED_SQUARES"
