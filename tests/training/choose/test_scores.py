from __future__ import annotations

from pathlib import Path

import pytest

from training.choose.candidates import Candidate
from training.choose.scores import PoseErrors, Score, ScoreStore
from training.errors import InputError

SCORE = Score(Candidate(("rotation",), 2, 4), 7, (1.1, 2.0000000001), PoseErrors("truth", 1.5, None, 0.25), 3, 0.75)


def test_a_score_comes_back_exactly_and_leaves_no_draft(tmp_path: Path) -> None:
    store = ScoreStore(tmp_path / "results")
    assert not store.is_begun()
    store.save(SCORE, "mine")
    assert store.is_begun()
    assert store.load(SCORE.candidate, 7, "mine") == SCORE
    assert [path.name for path in store.folder.iterdir()] == ["rotation_content-2_classes-4_seed-7.json"]


def test_another_seed_is_another_score(tmp_path: Path) -> None:
    store = ScoreStore(tmp_path)
    store.save(SCORE, "mine")
    assert store.load(SCORE.candidate, 8, "mine") is None


def test_scores_of_something_else_are_refused(tmp_path: Path) -> None:
    store = ScoreStore(tmp_path)
    store.save(SCORE, "mine")
    with pytest.raises(InputError) as caught:
        store.load(SCORE.candidate, 7, "other")
    assert caught.value.reason == "RESULTS_MISMATCH"
    next(tmp_path.iterdir()).write_text("{half")
    with pytest.raises(InputError) as caught:
        store.load(SCORE.candidate, 7, "mine")
    assert caught.value.reason == "RESULTS_UNREADABLE"
