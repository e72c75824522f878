from __future__ import annotations

import numpy as np
import pytest

from training.latent.class_metrics import class_agreement


def test_renamed_classes_agree_fully_after_matching_and_not_without() -> None:
    labels = np.tile(np.arange(4), 25)
    renamed = np.array([2, 0, 3, 1])[labels]
    found = class_agreement(renamed, labels, 4, matched=True)
    assert (found.accuracy, found.adjusted_rand_index, found.used) == (1.0, 1.0, 4)
    assert found.normalised_mutual_information == pytest.approx(1)
    assert found.matching.tolist() == [1, 3, 0, 2]
    assert class_agreement(renamed, labels, 4, matched=False).accuracy == 0


def test_chance_has_no_rand_index_and_no_information() -> None:
    generator = np.random.default_rng(0)
    found = class_agreement(generator.integers(4, size=20000), generator.integers(4, size=20000), 4, matched=True)
    assert abs(found.adjusted_rand_index) < 0.01
    assert found.normalised_mutual_information < 0.01
    assert found.accuracy < 0.3


def test_figures_are_those_worked_out_by_hand() -> None:
    labels, predicted = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 2, 2])
    found = class_agreement(predicted, labels, 3, matched=True)
    # Pairs together in both: 1 + 0 + 0 + 1 = 2; by labels 6, by classes 3, of 15: expected 1.2, at most 4.5.
    assert found.adjusted_rand_index == pytest.approx((2 - 1.2) / (4.5 - 1.2))
    # I = H(labels) - H(labels|classes) = log 2 - (1/3) log 2; entropies log 2 and log 3.
    assert found.normalised_mutual_information == pytest.approx(2 * (2 / 3) * np.log(2) / (np.log(2) + np.log(3)))
    assert found.accuracy == pytest.approx(4 / 6)


def test_class_that_draws_next_to_nothing_is_not_used_and_merged_labels_lose_one() -> None:
    labels = np.tile(np.arange(4), 100)
    merged = np.where(labels == 3, 0, labels)
    found = class_agreement(merged, labels, 4, matched=True)
    assert (found.used, found.accuracy) == (3, 0.75)
    more = class_agreement(labels, labels, 6, matched=True)
    assert more.accuracy == 1
    assert sorted(more.matching.tolist()) == [-1, -1, 0, 1, 2, 3]
