from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import mechanism_table
from benchmarks.mechanism_case import CASES
from benchmarks.mechanism_page import judged, page_of
from benchmarks.mechanism_table import code_of, digest, encoder_folder, rows_of, run

FIGURES = ("rmse", "coverage_90_y", "coverage_90_f", "r2_patch", "r2_position", "r2_age", "leakage", "nlpd", "crps", "noise_sd")


def _row(name: str, seed: int, **changed: Any) -> dict[str, Any]:
    figures = dict.fromkeys(FIGURES, 0.0) | {"coverage_90_y": 0.9, "r2_patch": 1.0, "r2_position": 1.0, "r2_age": 1.0}
    encoder = {"digest": "of no bundle", "accuracy": 1.0, "accuracy_of_fitted_points": 1.0, "doubtful": 0.0}
    return {"case": name, "seed": seed, "digest": digest(name, seed), "encoder": encoder, "ours": figures, "oracle": figures} | changed


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What was fitted, in place of fitting it."""
    done: list[tuple[str, int]] = []

    def one(name: str, seed: int, bundle: Path) -> dict[str, Any]:
        done.append((name, seed))
        return _row(name, seed)

    def baselines(name: str, seed: int, bundle: Path) -> dict[str, dict[str, float]]:
        done.append((f"baselines of {name}", seed))
        return {"plain GP": {"rmse": 0.5, "coverage_90_y": 0.9, "nlpd": 1.0}}

    monkeypatch.setattr(mechanism_table, "one", one)
    monkeypatch.setattr(mechanism_table, "baselines_of", baselines)
    monkeypatch.setattr(mechanism_table, "fitted_encoder", encoder_folder)
    return done


def test_what_was_done_alike_is_not_done_again(fits: list[tuple[str, int]], tmp_path: Path) -> None:
    for _ in range(2):
        run("additive-10", 0, tmp_path, baselines=False)
    assert fits == [("additive-10", 0)]
    for _ in range(2):
        run("additive-10", 0, tmp_path, baselines=True)
    assert fits == [("additive-10", 0), ("baselines of additive-10", 0)]


def test_other_settings_or_another_encoder_are_fitted_anew(fits: list[tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("additive-10", 0, tmp_path, baselines=False)
    monkeypatch.setitem(CASES, "additive-10", ("additive", 0.11))
    run("additive-10", 0, tmp_path, baselines=False)
    assert len(fits) == 2
    encoder_folder(0, tmp_path).mkdir(parents=True)
    monkeypatch.setattr(mechanism_table, "_digest_of", lambda bundle: "of another bundle")
    run("additive-10", 0, tmp_path, baselines=False)
    assert len(fits) == 3


def test_the_encoder_of_another_recipe_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = encoder_folder(0, tmp_path)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(mechanism_table.ENCODER.read_text(encoding="utf-8").replace("epochs = 30", "epochs = 31"), encoding="utf-8")
    monkeypatch.setattr(mechanism_table, "ENCODER", recipe)
    assert encoder_folder(0, tmp_path) != before
    assert encoder_folder(1, tmp_path) != encoder_folder(0, tmp_path)


def test_the_page_leaves_out_what_is_of_older_code(fits: list[tuple[str, int]], tmp_path: Path) -> None:
    for seed in (0, 1):
        run("additive-10", seed, tmp_path, baselines=True)
    path = tmp_path / "additive-10-1.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"digest": "older"}), encoding="utf-8")
    rows = rows_of(tmp_path)
    assert [row["seed"] for row in rows] == [0]
    assert "| additive-10 | 0 | rmse |" in page_of(rows, points=600, test_points=2000, leakage_points=500)


def test_comments_and_docstrings_are_no_code() -> None:
    one = 'def f():\n    """Says."""\n    return 1  # one\n'
    assert code_of(one) == code_of('"""Module."""\n\n\ndef f():\n    """Says it otherwise."""\n    return 1\n')
    assert code_of(one) != code_of("def f():\n    return 2\n")


@pytest.mark.parametrize(
    ("target", "ours", "oracle", "verdict"),
    [
        (("most", 0.04), [0.03, 0.03, 0.04], [0.0, 0.0, 0.0], ("≤ 0.04", "", "yes")),
        (("most", 0.04), [0.03, 0.03, 0.041], [0.0, 0.0, 0.0], ("≤ 0.04", "", "no")),
        (("most", 0.04), [0.03, 0.03, 0.057], [0.0, 0.0, 0.05], ("≤ 0.04", "0.0400, 0.0400, 0.0575", "yes")),
        (("most", 0.04), [0.03, 0.057, 0.03], [0.0, 0.0, 0.05], ("≤ 0.04", "0.0400, 0.0400, 0.0575", "no")),
        (("least", 0.96), [0.96, 0.97, 0.98], [1.0, 1.0, 1.0], ("≥ 0.96", "", "yes")),
        (("least", 0.96), [0.95, 0.97, 0.98], [0.9, 1.0, 1.0], ("≥ 0.96", "0.8850, 0.9600, 0.9600", "yes")),
        (("between", 0.03), [0.88, 0.92, 0.94], [0.9, 0.9, 0.9], ("0.87 to 0.93", "", "no")),
        (("most", 0.04), [0.03, 0.03], [0.0, 0.0], ("≤ 0.04", "", "2 of 3 seeds")),
        (None, [0.03], [0.0], ("", "", "")),
    ],
)
def test_verdicts(target: tuple[str, float] | None, ours: list[float], oracle: list[float], verdict: tuple[str, str, str]) -> None:
    assert judged(target, ours, oracle) == verdict
