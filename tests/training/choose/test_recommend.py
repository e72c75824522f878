"""The rule of the recommendation, on evidence made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training.choose.candidates import Candidate
from training.choose.recommend import recommend, tabulate
from training.choose.scores import Score
from training.errors import InputError

PLAIN, TURNED, BOTH = Candidate((), 2), Candidate(("rotation",), 2), Candidate(("rotation", "translation"), 2)
IMAGES = np.random.default_rng(0).normal(100, 20, 400)


def score(candidate: Candidate, apart: float, scatter: float = 0.0, seed: int = 0, failure: str = "") -> Score:
    """Evidence that differs from IMAGES by `apart` on average exactly, scattered from image to image."""
    noise = np.random.default_rng(seed + 10 * candidate.latents).normal(0, 1, len(IMAGES))
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    return Score(candidate, seed, () if failure else tuple(IMAGES + apart + scatter * noise), failure=failure)


def test_clearly_best_evidence_is_taken_though_it_is_the_largest_model() -> None:
    rows = tabulate([score(PLAIN, 30, 5), score(TURNED, 10, 5), score(BOTH, 0)], 1.0)
    assert [row.candidate for row in rows] == [BOTH, TURNED, PLAIN]
    assert recommend(rows).candidate == BOTH
    assert "best evidence" in recommend(rows).sentence


def test_the_simplest_within_one_standard_error_is_taken_and_the_sentence_says_why() -> None:
    # Paired: 0.2 ± 5/√400 = 0.25, whatever the images differ among each other.
    rows = tabulate([score(PLAIN, 1.0, 5), score(TURNED, 0.2, 5), score(BOTH, 0)], 1.0)
    assert rows[1].worse_by == pytest.approx(0.2)
    assert rows[1].worse_by_standard_error == pytest.approx(0.25)
    assert rows[0].standard_error == pytest.approx(1.0, rel=0.1)
    made = recommend(rows)
    assert made.candidate == TURNED
    for told in ("0.20 ± 0.25 nats", "3 latents against 5 latents", "within one standard error", BOTH.label):
        assert told in made.sentence


def test_the_difference_is_paired_so_the_images_own_scatter_hides_nothing() -> None:
    # The scatter over the images is 1 nat, five times the difference, which holds for each image alike.
    rows = tabulate([score(TURNED, 0.2), score(BOTH, 0)], 1.0)
    assert recommend(rows).candidate == BOTH


def test_overlapping_patches_widen_the_standard_error() -> None:
    scores = [score(TURNED, 0.4, 5), score(BOTH, 0)]
    assert recommend(tabulate(scores, 1.0)).candidate == BOTH
    assert recommend(tabulate(scores, 1 / 4)).candidate == TURNED
    assert tabulate(scores, 1 / 4)[1].worse_by_standard_error == pytest.approx(0.5)


def test_scatter_from_seed_to_seed_widens_the_standard_error() -> None:
    one = [score(TURNED, 3), score(BOTH, 0)]
    assert recommend(tabulate(one, 1.0)).candidate == BOTH
    several = [score(TURNED, 3), score(TURNED, -1, seed=1), score(BOTH, 0), score(BOTH, 0, seed=1)]
    rows = tabulate(several, 1.0)
    assert rows[1].worse_by == pytest.approx(1.0)
    assert rows[1].worse_by_standard_error == pytest.approx(2.0)
    assert recommend(rows).candidate == TURNED


def test_of_equally_many_latents_pose_is_simpler_than_content_and_a_class_counts_as_one() -> None:
    rows = tabulate([score(Candidate((), 3), 0), score(Candidate(("rotation",), 2), 0)], 1.0)
    assert recommend(rows).candidate == Candidate(("rotation",), 2)
    rows = tabulate([score(Candidate((), 2, 4), 0), score(Candidate((), 2, 3), 0)], 1.0)
    assert recommend(rows).candidate == Candidate((), 2, 3)


def test_a_failed_fit_is_listed_last_and_never_recommended() -> None:
    rows = tabulate([score(PLAIN, 0, failure="TRAINING_DIVERGED: too fast"), score(BOTH, 5)], 1.0)
    assert [row.candidate for row in rows] == [BOTH, PLAIN]
    assert rows[1].failure == "TRAINING_DIVERGED: too fast"
    assert recommend(rows).candidate == BOTH
    with pytest.raises(InputError, match="too fast") as caught:
        tabulate([score(PLAIN, 0, failure="TRAINING_DIVERGED: too fast")], 1.0)
    assert caught.value.reason == "ALL_FAILED"
