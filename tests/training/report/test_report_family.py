"""Spectra, conditions and targets in the figures, on bundles whose answers numpy can tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from dichroic.bundle import Condition, TrainingData
from tests.toy_family import PHASE, POINTS, SIDE, TARGETS, VOLTAGE, Family, write_family
from tests.training.report.records import report_words
from training.data.suits import SUITS
from training.errors import InputError
from training.report.answers import Answers, answer
from training.report.graphs import LatentGraphs
from training.report.manifold import decoded_manifold
from training.report.settings import Column, Told, told_to
from training.report.strips import strips_of
from training.report.subjects import Subjects, fresh_subjects, subjects_from_file
from training.report.tiles import draw_tiles
from training.report.traversals import rows_of

RANDOM = np.random.default_rng(0)
ROWS = 20
ARRAYS: dict[str, np.ndarray] = {
    "images": RANDOM.random((ROWS, SIDE, SIDE), dtype=np.float32),
    "spectra": RANDOM.random((ROWS, POINTS), dtype=np.float32),
    "conditions": np.stack([RANDOM.uniform(2, 4, ROWS), np.arange(ROWS) % 3], axis=1),
    "targets": np.where(np.arange(ROWS)[:, None] % 2 == 0, RANDOM.uniform(5, 9, (ROWS, 2)), np.nan),
}
NO_CLASSES: dict[str, Any] = {"classes": ()}
ALL = Family(**NO_CLASSES, draws_by_targets=True)
TO_SPECTRA = Family(**NO_CLASSES, output_kind="spectra", draws_by_targets=True)
CLASSES_TO_SPECTRA = Family(output_kind="spectra", targets=())
FROM_SPECTRA = Family(**NO_CLASSES, input_kind="spectra", conditions=(), targets=())
OF_SPECTRA = Family(**NO_CLASSES, input_kind="spectra", output_kind="spectra", targets=())
DRAWN = {"manifold", "traversals"}
PHASES = {f"manifold-phase_{name}" for name in PHASE.categories}


def file(folder: Path, *without: str, **changes: np.ndarray) -> Path:
    arrays = {name: array for name, array in (ARRAYS | changes).items() if name not in without}
    np.savez(folder / "a.npz", unit=np.array("1"), **arrays)
    return folder / "a.npz"


def opened(folder: Path, family: Family) -> LatentGraphs:
    return LatentGraphs(write_family(folder / "bundles", family))


def asked(folder: Path, family: Family) -> tuple[LatentGraphs, Subjects, Answers]:
    graphs = opened(folder, family)
    subjects = subjects_from_file(graphs, file(folder), None)
    return graphs, subjects, answer(graphs, subjects)


def test_each_image_is_encoded_at_its_own_conditions(tmp_path: Path) -> None:
    _, subjects, answers = asked(tmp_path, ALL)
    assert subjects.conditions is not None
    np.testing.assert_allclose(answers.encoded["content"], ALL.content(ARRAYS["images"], ARRAYS["conditions"].astype(np.float32)), atol=1e-4)
    np.testing.assert_allclose(answers.target_mean, ALL.target_mean(ARRAYS["images"]), atol=1e-4)  # type: ignore[arg-type]
    np.testing.assert_allclose(answers.error, np.square(ARRAYS["images"] / 2).mean(axis=(1, 2)), atol=1e-5)  # type: ignore[arg-type]


def test_outputs_are_predicted_from_what_was_encoded_and_compared_in_their_unit(tmp_path: Path) -> None:
    _, _, answers = asked(tmp_path, TO_SPECTRA)
    conditions = ARRAYS["conditions"].astype(np.float32)
    content = TO_SPECTRA.content(ARRAYS["images"], conditions)
    expected = TO_SPECTRA.decode(content, None, conditions, TO_SPECTRA.target_mean(ARRAYS["images"]))
    np.testing.assert_allclose(answers.drawn, expected, rtol=1e-4, atol=1e-3)
    rms = np.sqrt(np.square(expected - ARRAYS["spectra"]).mean(axis=1))
    np.testing.assert_allclose(answers.error, rms, rtol=1e-4)  # type: ignore[arg-type]
    assert "root mean square" in answers.error_meaning


def test_outputs_are_of_the_most_probable_class(tmp_path: Path) -> None:
    _, _, answers = asked(tmp_path, CLASSES_TO_SPECTRA)
    conditions = ARRAYS["conditions"].astype(np.float32)
    classes = CLASSES_TO_SPECTRA.probabilities(ARRAYS["images"]).argmax(axis=1)
    assert len(set(classes)) > 1
    expected = CLASSES_TO_SPECTRA.decode(CLASSES_TO_SPECTRA.content(ARRAYS["images"], conditions), classes, conditions)
    np.testing.assert_allclose(answers.drawn, expected, rtol=1e-4, atol=1e-3)


def test_pictures_are_drawn_at_the_mean_of_numbers_and_at_each_category(tmp_path: Path) -> None:
    graphs, subjects, _ = asked(tmp_path, ALL)
    settings = told_to(graphs, subjects.conditions, subjects.targets, "a.npz").settings()
    assert [setting.categories for setting in settings] == [(f"phase {name}",) for name in PHASE.categories]
    mean, targets = ARRAYS["conditions"][:, 0].mean(), np.nanmean(ARRAYS["targets"], axis=0)
    for index, setting in enumerate(settings):
        numbers = f"voltage {mean:.3g} V, {_told(targets)} (means of a.npz)"
        assert setting.words() == f", at phase {PHASE.categories[index]}, {numbers}"
        tiles, across, down = decoded_manifold(graphs, setting)
        expected = ALL.decode(np.array([[across[3], down[7]]], np.float32), None, np.array([[mean, index]], np.float32), targets[None])
        np.testing.assert_allclose(tiles[7, 3], expected[0], rtol=1e-4, atol=1e-3)


def _told(targets: np.ndarray) -> str:
    return ", ".join(f"{each.name} {value:.3g} {each.unit}" for each, value in zip(TARGETS, targets, strict=True))


def test_strips_move_one_column_and_no_other(tmp_path: Path) -> None:
    graphs, subjects, _ = asked(tmp_path, ALL)
    told = told_to(graphs, subjects.conditions, subjects.targets, "a.npz")
    setting = told.settings()[1]
    voltage, phase = strips_of(graphs, told, setting, "conditions")
    mean, sd = ARRAYS["conditions"][:, 0].mean(), ARRAYS["conditions"][:, 0].std()
    assert voltage.values[[0, 4, 8]] == pytest.approx([mean - 2 * sd, mean, mean + 2 * sd])
    assert [phase.column.told(value) for value in phase.values] == list(PHASE.categories)
    _, dose = strips_of(graphs, told, setting, "targets")
    centre, targets = np.zeros((1, 2), np.float32), np.nanmean(ARRAYS["targets"], axis=0)
    for strip, at, row, given in (
        (voltage, 8, [mean + 2 * sd, 1], targets),
        (phase, 2, [mean, 2], targets),
        (dose, 0, [mean, 1], [targets[0], targets[1] - 2 * np.nanstd(ARRAYS["targets"][:, 1])]),
    ):
        expected = ALL.decode(centre, None, np.array([row], np.float32), np.array([given], np.float32))
        np.testing.assert_allclose(strip.drawn[at], expected[0], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        (ALL, {"conditions", "targets", "traversals", "reconstructions", "errors", "regression"} | PHASES),
        (TO_SPECTRA, {"conditions", "targets", "traversals", "predictions", "errors", "regression"} | PHASES),
        (CLASSES_TO_SPECTRA, {"conditions", "traversals", "predictions", "errors", "classes"} | PHASES),
        (FROM_SPECTRA, DRAWN | {"predictions", "errors"}),
        (OF_SPECTRA, {"conditions", "traversals", "reconstructions", "errors"} | PHASES),
    ],
)
def test_every_kind_of_bundle_is_drawn_and_every_figure_says_at_which_conditions(tmp_path: Path, family: Family, expected: set[str]) -> None:
    found = report_words(write_family(tmp_path / "bundles", family), tmp_path / "figures", "--data", str(file(tmp_path)))
    assert {name.removesuffix(".png") for name in found} == expected
    for name, words in found.items():
        if family.conditions and name != "regression.png":  # a regressor is not told them
            assert f"voltage {ARRAYS['conditions'][:, 0].mean():.3g} V" in words or "each at its own conditions" in words
        if family.conditions and name.startswith("manifold"):
            assert name.removesuffix(".png").removeprefix("manifold-").replace("_", " ") in words
    if family.output_kind == "spectra":
        assert "point (index)" in found["traversals.png"]
        assert f"points 0 to {POINTS - 1} to the right" in found["manifold-phase_mixed.png"]


def test_predicted_targets_stand_beside_the_true_ones_with_their_figures(tmp_path: Path) -> None:
    words = report_words(write_family(tmp_path / "bundles", ALL), tmp_path / "figures", "--data", str(file(tmp_path)))["regression.png"]
    truth, told = ARRAYS["targets"][::2, 0], ALL.target_mean(ARRAYS["images"])[::2, 0]
    r2 = 1 - np.square(truth - told).sum() / np.square(truth - truth.mean()).sum()
    assert f"strain: R² {r2:.3f},".replace("-", "−") in words
    assert "10 rows" in words
    for axis in ("true strain (%)", "predicted strain, ± 1 sd (%)", "true dose (e/nm^2)", "predicted central interval (probability)"):
        assert axis in words


def test_a_target_that_is_nowhere_known_is_told_and_the_other_drawn(tmp_path: Path) -> None:
    targets = ARRAYS["targets"] * [np.nan, 1]
    given = file(tmp_path, targets=targets)
    words = report_words(write_family(tmp_path / "bundles", Family(**NO_CLASSES)), tmp_path / "figures", "--data", str(given))["regression.png"]
    assert "strain: no row has a known value" in words
    assert "dose: R²" in words


@pytest.mark.parametrize(
    ("family", "changes", "without", "reason", "word"),
    [
        (ALL, {}, ("conditions",), "CONDITIONS_REQUIRED", "voltage (V), phase (0 rhombohedral, 1 tetragonal, 2 mixed)"),
        (ALL, {"conditions": ARRAYS["conditions"][:, :1]}, (), "CONDITIONS_SHAPE", "(n, 2)"),
        (ALL, {"conditions": ARRAYS["conditions"] + [0, 1]}, (), "CATEGORY_OUT_OF_RANGE", "phase is 3 in row 2"),
        (ALL, {"conditions": ARRAYS["conditions"] * [np.nan, 1]}, (), "NON_FINITE_CONDITIONS", "voltage is nan in row 0"),
        (ALL, {"targets": ARRAYS["targets"][:, :1]}, (), "TARGETS_SHAPE", "strain (%), dose (e/nm^2)"),
        (ALL, {}, ("images",), "NO_IMAGES", "spectra"),
        (FROM_SPECTRA, {}, ("spectra",), "NO_SPECTRA", "images"),
        (FROM_SPECTRA, {"spectra": ARRAYS["spectra"][:, 1:]}, (), "SPECTRA_DIFFER", "9 points, the model takes 10"),
        (FROM_SPECTRA, {"spectra": np.zeros((ROWS, POINTS, 2))}, (), "CHANNELS_DIFFER", "2 channels"),
        (TO_SPECTRA, {"spectra": ARRAYS["spectra"][:, 1:]}, (), "OUTPUTS_DIFFER", "of 9, the model draws 10"),
        (FROM_SPECTRA, {"images": np.zeros((ROWS, SIDE, SIDE), np.uint8)}, (), "OUTPUTS_SCALE", "uint8"),
    ],
)
def test_a_file_that_lacks_what_the_model_asks_for_is_refused_by_name(  # noqa: PLR0917
    tmp_path: Path, family: Family, changes: dict[str, np.ndarray], without: tuple[str, ...], reason: str, word: str
) -> None:
    with pytest.raises(InputError) as caught:
        subjects_from_file(opened(tmp_path, family), file(tmp_path, *without, **changes), None)
    assert caught.value.reason == reason
    assert word in caught.value.message


def test_what_cannot_be_drawn_is_said_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_family(tmp_path / "bundles", Family(**NO_CLASSES, output_kind="spectra"))
    assert report_words(bundle, tmp_path / "figures") == {}
    told = capsys.readouterr().out
    assert "does not say where voltage lay in training" in told
    assert "No targets.png: this bundle's decoder does not draw by its targets." in told
    assert "predictions and errors, and regression, need images" in told
    found = report_words(bundle, tmp_path / "figures", "--data", str(file(tmp_path, "spectra", "targets")))
    assert found.keys() >= {"predictions.png", "conditions.png"}
    assert not {"errors.png", "regression.png"} & found.keys()
    assert "it holds no measured spectra" in found["predictions.png"]
    told = capsys.readouterr().out
    assert "No errors.png: a.npz holds no spectra" in told
    assert "No regression.png: a.npz holds no array 'targets' (n, 2)" in told


def test_patches_of_a_larger_image_have_its_conditions(tmp_path: Path) -> None:
    graphs = opened(tmp_path, Family(**NO_CLASSES, targets=()))
    np.savez(tmp_path / "a.npz", images=RANDOM.random((2, 20, 20)), conditions=np.array([[3.5, 2], [9.0, 0]]))
    subjects = subjects_from_file(graphs, tmp_path / "a.npz", None)
    assert subjects.scan is not None
    assert len(subjects.values) > 4
    np.testing.assert_array_equal(subjects.conditions, np.tile([3.5, 2], (len(subjects.values), 1)))  # type: ignore[arg-type]
    words = report_words(graphs.folder, tmp_path / "figures", "--data", str(tmp_path / "a.npz"))["maps.png"]
    assert "at voltage 3.5 V, phase mixed" in words


def test_a_spectrum_has_one_shift_along_its_points_and_a_width(tmp_path: Path) -> None:
    graphs = opened(tmp_path, OF_SPECTRA)
    latent = graphs.latent.model_copy(update={"shift_prior_sd": 0.1, "scale_prior_log_sd": 0.1})
    rows = rows_of(latent, POINTS)
    assert [row.name for row in rows] == ["shift_right_px", "scale", "content", "content"]
    assert [row.label for row in rows[:2]] == ["shift\n±0.9 points", "width\n0.82 to 1.22"]


def test_small_curves_stay_in_their_frames_and_rise_upwards() -> None:
    axes = Figure().add_subplot()
    tiles = np.linspace(0, 1, 5) * np.array([1.0, -1.0])[:, None, None]  # (2, 1, 5): one rises to 1, one falls to -1
    columns, rows = draw_tiles(axes, tiles, -1.0, 1.0)
    assert (list(columns), list(rows)) == ([0.5], [0.5, 1.5])
    rising, falling = (np.asarray(path.vertices) for path in axes.collections[0].get_paths())
    assert axes.get_ylim() == (2, 0)  # row 0 on top
    assert (np.diff(rising[:, 1]) < 0).all()
    assert (np.diff(falling[:, 1]) > 0).all()
    assert ((rising > 0) & (rising < 1)).all()
    assert ((falling[:, 1] > 1) & (falling[:, 1] < 2)).all()


SUIT = Condition(name="suit", unit="1", meaning="on the card", categories=SUITS)
DRAWN_CARDS = "draw_cards(n_per_suit=9, angle_deg=90, shear_deg=1, shift=0.1, scale=(0.9, 1.1), side=8, seed=0, stream='train')"


@pytest.mark.parametrize(("conditions", "drawn"), [((SUIT,), True), ((), True), ((PHASE,), False), ((SUIT, VOLTAGE), False)])
def test_fresh_cards_have_their_suit_as_condition_and_no_other(tmp_path: Path, conditions: tuple[Condition, ...], drawn: bool) -> None:
    family = Family(classes=(), targets=(), conditions=conditions)
    source = TrainingData(source=DRAWN_CARDS, licence="MIT", sha256=("0" * 64,))
    subjects = fresh_subjects(LatentGraphs(write_family(tmp_path / "bundles", family, training_data=source)), seed=1)
    assert (subjects is not None) == drawn
    if subjects is not None and conditions:
        np.testing.assert_array_equal(subjects.conditions, subjects.labels[:, None])  # type: ignore[arg-type, index]


def test_categories_whose_names_make_one_file_name_are_numbered() -> None:
    column = Column("site", "1", ("α", "β"))
    assert [setting.file_part for setting in Told((column,)).settings()] == ["-categories_0", "-categories_1"]


def test_more_combinations_of_categories_than_can_be_drawn_are_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = Condition(name="site", unit="1", meaning="on the chip", categories=tuple("abcdefgh"))
    found = report_words(write_family(tmp_path / "bundles", Family(classes=(), targets=(), conditions=(many,))), tmp_path / "figures")
    assert sum(name.startswith("manifold") for name in found) == 6
    assert "the others 0; the first 4 panels" in found["traversals.png"]
    assert "the first 6 of 8 combinations" in capsys.readouterr().out


def test_one_row_is_enough(tmp_path: Path) -> None:
    given = file(tmp_path, **{name: array[:1] for name, array in ARRAYS.items()})
    found = report_words(write_family(tmp_path / "bundles", TO_SPECTRA), tmp_path / "figures", "--data", str(given))
    assert "R² not defined" in found["regression.png"]
    assert "predictions.png" in found
