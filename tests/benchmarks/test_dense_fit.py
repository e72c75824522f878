from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import dense_fit
from benchmarks.dense_fit import ENCODERS, FIGURES, Found, compare, done, facts_of, figures, no_worse, page_of, table


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


def test_a_run_that_finds_all_done_writes_the_page_and_fits_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> dict[str, float]:
        raise AssertionError("fitted again")

    before = found([10.0, 12.0], [20.0, 21.0])
    path = tmp_path / "dense_fit.json"
    path.write_text(json.dumps(facts_of(before)), encoding="utf-8")
    monkeypatch.setattr(dense_fit, "figures", refused)
    assert compare([0, 1], tmp_path, quick=False) == 1  # the dense one is worse
    assert (tmp_path / "dense_fit.md").read_text(encoding="utf-8") == page_of(before)
    assert json.loads(path.read_text(encoding="utf-8")) == json.loads(json.dumps(facts_of(before)))


def test_the_page_has_every_seed_and_the_mean_and_who_is_no_worse() -> None:
    made = found([10.0, 12.0, 14.0], [20.0, 21.0])
    page = page_of(made)
    assert "| encoder | figure | seed 0 | seed 1 | seed 2 | mean |" in page
    assert "| mlp | negative_elbo | 10 | 12 | 14 | 12 |" in page
    assert "| dense, moments | negative_elbo | 20 | 21 |  | 20.5 |" in page
    assert "| dense, moments | no |" in page
    assert "| dense, full | yes |" in page
    assert all(f"- *{name}*: " in page for name in ENCODERS)
    assert "stride 2 of 16, 32, 32 channels" in page
    assert f"The recipe `{dense_fit.RECIPE}`" in page
    assert "{" not in page
