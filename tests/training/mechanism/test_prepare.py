from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import numpy as np
import pytest
import zarr

from tests.training.mechanism.recipes import ARRAYS, DRAWN, LOOP, PATCH, PHASE, POSITION, mechanism_recipe
from training.errors import InputError
from training.mechanism.prepare import PreparedPoints, prepare_points
from training.recipe_mechanism import MechanismRecipe

COUNT = 60


def arrays(count: int = COUNT, seed: int = 0, **changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    made: dict[str, Any] = {"position": rng.random((count, 2)), "phase": rng.integers(0, 2, count), "y": rng.normal(size=count)}
    return {name: values for name, values in (made | changes).items() if values is not None}


def prepared(folder: Path, *files: dict[str, Any], recipe: MechanismRecipe | None = None, licence: str | None = None) -> PreparedPoints:
    paths = tuple(folder / f"{number}.npz" for number in range(len(files)))
    for path, each in zip(paths, files, strict=True):
        np.savez(path, **each)
    return prepare_points(recipe or mechanism_recipe(folder), paths, None, licence)


def refused(folder: Path, *files: dict[str, Any], recipe: MechanismRecipe | None = None) -> InputError:
    with pytest.raises(InputError) as caught:
        prepared(folder, *files, recipe=recipe)
    return caught.value


def test_points_come_in_the_dtypes_of_the_graphs_and_every_point_is_in_one_part(tmp_path: Path) -> None:
    given = arrays(position=np.arange(2 * COUNT, dtype=np.int32).reshape(COUNT, 2), y=np.arange(COUNT))
    found = prepared(tmp_path, given)
    assert {name: values.dtype.name for name, values in found.train.arrays.items()} == {"phase": "int64", "position": "float64", "y": "float64"}
    assert sorted([*found.train.y, *found.held_out.y]) == list(range(COUNT))
    for part in (found.train, found.held_out):
        np.testing.assert_array_equal(part.arrays["position"][:, 0], 2 * part.y)  # rows stay together
    assert len(found.held_out) == 12
    assert "at random" in found.split
    assert found.group is None
    assert (found.source, found.licence) == ("0.npz", "MIT")


def test_the_command_lines_licence_counts(tmp_path: Path) -> None:
    assert prepared(tmp_path, arrays(), licence="CC0").licence == "CC0"


def test_categories_may_be_words(tmp_path: Path) -> None:
    words = np.array(["aged", "fresh"])[np.arange(COUNT) % 2]
    found = prepared(tmp_path, arrays(phase=words, y=np.arange(COUNT)))
    assert (found.train.arrays["phase"] == (found.train.y.astype(int) + 1) % 2).all()


def test_words_of_an_hdf5_file_are_categories(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, values in arrays().items():
            file[name] = values if name != "phase" else np.array(["fresh", "aged"])[values].astype(object)
    found = prepare_points(mechanism_recipe(tmp_path), (tmp_path / "a.h5",), None, None)
    assert set(found.train.arrays["phase"]) == {0, 1}


def test_a_zarr_store_is_hashed_by_its_arrays(tmp_path: Path) -> None:
    def store(name: str, given: dict[str, Any]) -> str:
        group = zarr.open_group(str(tmp_path / name), mode="w")
        for key, values in given.items():
            group.create_array(key, data=values)
        return prepare_points(mechanism_recipe(tmp_path), (tmp_path / name,), None, None).sha256[0]

    first, again, other = store("a.zarr", arrays()), store("b.zarr", arrays()), store("c.zarr", arrays(seed=1))
    assert first == again != other
    assert len(first) == 64


def test_images_of_integers_stay_integers_and_others_are_float32(tmp_path: Path) -> None:
    recipe = mechanism_recipe(tmp_path, mechanisms=PATCH + LOOP)
    patch, loop = np.ones((COUNT, 4, 4)), np.ones((COUNT, 9))
    for dtype, wanted in (("uint8", "uint8"), ("uint16", "uint16"), ("float64", "float32"), ("int32", "float32")):
        found = prepared(tmp_path, arrays(patch=patch.astype(dtype), loop=loop), recipe=recipe)
        assert found.train.arrays["patch"].dtype == wanted
        assert found.train.arrays["loop"].dtype == np.float32


def test_groups_are_held_out_whole_and_told_to_the_fit(tmp_path: Path) -> None:
    group = np.arange(COUNT) // 6
    found = prepared(tmp_path, arrays(group=group, y=np.arange(COUNT)))
    held = {int(y) // 6 for y in found.held_out.y}
    assert held.isdisjoint({int(y) // 6 for y in found.train.y})
    assert found.split == "held-out groups"
    assert found.group is not None
    np.testing.assert_array_equal(found.group, found.train.y.astype(int) // 6)


def test_several_files_are_groups(tmp_path: Path) -> None:
    found = prepared(tmp_path, *(arrays(20, seed, y=np.full(20, float(seed))) for seed in range(4)))
    assert set(found.held_out.y).isdisjoint(found.train.y)
    assert found.split == "held-out groups"
    assert found.source == "0.npz, 1.npz, 2.npz, 3.npz"
    assert len(set(found.sha256)) == 4


def test_places_are_held_out_by_block(tmp_path: Path) -> None:
    place = np.random.default_rng(5).random((COUNT, 2))
    assert "blocks of the plane" in prepared(tmp_path, arrays(position_um=place)).split


def test_position_um_may_be_a_mechanism_and_its_blocks_are_held_out_too(tmp_path: Path) -> None:
    recipe = mechanism_recipe(tmp_path, mechanisms=POSITION + 'array = "position_um"\n')
    place = np.random.default_rng(5).random((COUNT, 2))
    found = prepared(tmp_path, arrays(position=None, position_um=place), recipe=recipe)
    assert "blocks of the plane" in found.split
    assert set(found.train.arrays) == {"position", "y"}


def test_truths_go_along(tmp_path: Path) -> None:
    found = prepared(tmp_path, arrays(truth_f=np.arange(COUNT), truth_phase=np.ones(COUNT), truth_mood=np.ones(COUNT)))
    assert {"truth_f", "truth_phase"} <= set(found.held_out.arrays)
    assert "truth_mood" not in found.held_out.arrays


NAN = np.where(np.arange(COUNT) == 7, np.nan, 0.5)
REFUSED: dict[str, tuple[list[dict[str, Any]], str, tuple[str, ...]]] = {
    "no y": ([arrays(y=None)], "MISSING_ARRAY", ("'y'", "phase", "position")),
    "no mechanism": ([arrays(phase=None)], "MISSING_ARRAY", ("'phase'",)),
    "y of two columns": ([arrays(y=np.zeros((COUNT, 2)))], "WRONG_SHAPE", ("y of 0.npz", "(60, 2)", "one real number")),
    "y of words": ([arrays(y=np.full(COUNT, "high"))], "WRONG_SHAPE", ("y of 0.npz", "one real number")),
    "complex y": ([arrays(y=np.ones(COUNT) * 1j)], "WRONG_SHAPE", ("complex128",)),
    "one y": ([arrays(y=np.array(1.0))], "WRONG_SHAPE", ("y of 0.npz",)),
    "NaN in y": ([arrays(y=NAN)], "NON_FINITE", ("y: row 7 holds NaN", "1 rows do", "Repair or leave out")),
    "NaN in a mechanism": ([arrays(position=np.column_stack((NAN, NAN)))], "NON_FINITE", ("position: row 7",)),
    "fewer rows": ([arrays(phase=np.zeros(59, int))], "WRONG_SHAPE", ("phase of 0.npz", "60 rows")),
    "fewer groups": ([arrays(group=np.arange(59))], "WRONG_SHAPE", ("group of 0.npz", "60 rows")),
    "groups of two": ([arrays(group=np.zeros((COUNT, 2)))], "WRONG_SHAPE", ("group of 0.npz",)),
    "places of three": ([arrays(position_um=np.zeros((COUNT, 3)))], "WRONG_SHAPE", ("position_um of 0.npz", "(n, 2)")),
    "places that are nowhere": ([arrays(position_um=np.column_stack((NAN, NAN)))], "WRONG_SHAPE", ("position_um of 0.npz", "finite")),
    "three columns": ([arrays(position=np.zeros((COUNT, 3)))], "WRONG_SHAPE", ("3 columns", "the recipe names 2: x, y")),
    "an image for a place": ([arrays(position=np.zeros((COUNT, 2, 2)))], "WRONG_SHAPE", ("position has the shape", "1 or 2 axes")),
    "places in words": ([arrays(position=np.full((COUNT, 2), "here"))], "WRONG_SHAPE", ("numbers were expected",)),
    "an unknown word": ([arrays(phase=np.full(COUNT, "molten"))], "UNKNOWN_CATEGORY", ("'molten'", "0 fresh, 1 aged")),
    "an index too high": ([arrays(phase=np.arange(COUNT) % 3)], "UNKNOWN_CATEGORY", ("row 2 is 2", "0 fresh, 1 aged")),
    "an index between two": ([arrays(phase=np.full(COUNT, 0.5))], "UNKNOWN_CATEGORY", ("row 0 is 0.5",)),
    "an index that is none": ([arrays(phase=NAN * 0)], "UNKNOWN_CATEGORY", ("row 7 is nan",)),
    "columns of two files": ([arrays(), arrays(position=np.zeros((COUNT, 3)))], "WRONG_SHAPE", ("position differs between the files",)),
    "few points": ([arrays(22)], "TOO_FEW_POINTS", ("18 points to train on and 4 held out", "20 and 5 at least")),
    "one group": ([arrays(group=np.zeros(COUNT))], "TOO_FEW_GROUPS", ("nothing can be held out",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_points_that_make_no_model_are_refused(tmp_path: Path, case: str) -> None:
    files, reason, words = REFUSED[case]
    error = refused(tmp_path, *files)
    assert error.reason == reason, error.message
    assert [word for word in words if word not in error.message] == [], error.message


def test_images_of_two_dtypes_are_not_mixed(tmp_path: Path) -> None:
    recipe = mechanism_recipe(tmp_path, mechanisms=PATCH)
    files = [arrays(patch=np.ones((COUNT, 4, 4), dtype)) for dtype in ("uint8", "uint16")]
    error = refused(tmp_path, *files, recipe=recipe)
    assert (error.reason, "patch differs between the files" in error.message) == ("WRONG_SHAPE", True)


def test_drawn_data_comes_from_independent_streams_and_takes_no_file(tmp_path: Path) -> None:
    recipe = mechanism_recipe(tmp_path, data=DRAWN, mechanisms=PATCH + POSITION)
    found = prepare_points(recipe, (), None, None)
    assert (len(found.train), len(found.held_out)) == (60, 40)
    assert "fresh draws" in found.split
    assert found.train.arrays["patch"].dtype == np.float32
    assert "truth_f" in found.held_out.arrays
    assert "truth_noise_sd" not in found.held_out.arrays  # one number, not one for each point
    assert not np.isin(found.train.y, found.held_out.y).any()
    for more in (((Path("a.npz"),), None, None), ((), "amplitude", None), ((), None, "MIT")):
        with pytest.raises(InputError) as caught:
            prepare_points(recipe, *more)
        assert caught.value.reason == "DATA_NOT_USED"


def test_a_drawn_mechanism_of_another_name_is_told_with_what_is_drawn(tmp_path: Path) -> None:
    recipe = mechanism_recipe(tmp_path, data=DRAWN, mechanisms=PATCH + PHASE)
    with pytest.raises(InputError, match=r"no array 'phase'; it has .*position") as caught:
        prepare_points(recipe, (), None, None)
    assert caught.value.reason == "MISSING_ARRAY"


def test_simulated_lattices_are_images_with_components_as_channels(tmp_path: Path) -> None:
    lattice = PATCH.replace('"patch"', '"random_field"') + POSITION.replace('"position"', '"amplitude"').replace('"x", "y"', '"amplitude"')
    for mode, shape in (("uniaxial", (6, 6)), ("tetragonal", (6, 6, 2))):
        data = f'\n[data]\nsource = "ferrosim"\npoints = 20\ntest_points = 20\nsites = 6\nmode = "{mode}"\n'
        found = prepare_points(mechanism_recipe(tmp_path, data=data, mechanisms=lattice), (), None, None)
        assert found.train.arrays["random_field"].shape == (20, *shape)
        assert found.train.arrays["amplitude"].shape == (20, 1)


def test_points_have_no_channel_and_need_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DICHROIC_DATA", raising=False)
    with pytest.raises(InputError) as caught:
        prepare_points(mechanism_recipe(tmp_path), (), None, None)
    assert caught.value.reason == "DATA_REQUIRED"
    with pytest.raises(InputError) as caught:
        prepare_points(mechanism_recipe(tmp_path), (tmp_path / "a.npz",), "amplitude", None)
    assert caught.value.reason == "DATA_NOT_USED"


def test_loops_of_two_files_are_refused(tmp_path: Path) -> None:
    recipe = mechanism_recipe(tmp_path, data=ARRAYS.replace('"arrays"', '"loops"'))
    with pytest.raises(InputError) as caught:
        prepare_points(recipe, (tmp_path / "a.h5", tmp_path / "b.h5"), None, None)
    assert caught.value.reason == "INVALID_OPTION"
