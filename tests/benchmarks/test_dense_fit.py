from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import dense_fit
from benchmarks.dense_fit import ENCODERS, FIGURES, Found, done, facts_of, figures, no_worse, table


def found(mlp: list[float], dense: list[float]) -> Found:
    """Figures of seeds: −ELBO as given, all others alike."""
    rows = {"mlp": mlp, "dense, moments": dense, "dense, full": mlp}
    return {name: {seed: dict.fromkeys(FIGURES, 0.5) | {"negative_elbo": value} for seed, value in enumerate(rows[name])} for name in ENCODERS}


def test_a_fit_gives_every_figure_that_is_compared() -> None:
    assert list(figures("mlp", 0, quick=True)) == list(FIGURES)


@pytest.mark.parametrize(("dense", "met"), [([9.0, 11.0, 12.0], True), ([11.0, 12.0, 12.5], True), ([13.0, 14.0, 15.0], False)])
def test_worse_is_more_than_the_seeds_spread(dense: list[float], met: bool) -> None:
    assert no_worse(found([10.0, 11.0, 12.0], dense), "dense, moments") is met


def test_what_was_done_is_read_again_unless_the_encoders_are_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "dense_fit.json"
    assert done(path) == {name: {} for name in ENCODERS}
    before = found([10.0], [11.0])
    path.write_text(json.dumps(facts_of(before)), encoding="utf-8")
    assert done(path) == before
    assert "| dense, moments | negative_elbo | 11 | 11 |" in table(before)
    monkeypatch.setattr(dense_fit, "ENCODERS", {name: each | {"encoder_widths": [8]} for name, each in ENCODERS.items()})
    assert done(path) == {name: {} for name in ENCODERS}
