"""A mechanism recipe's points: drawn or read, checked, and split into those that are trained on and those held out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from training.data.dataset import DataSet
from training.data.ferrosim import draw_ferrosim
from training.data.folder import named_files
from training.data.loops import loop_mechanisms, read_loops
from training.data.neighbours import split_places
from training.data.patches_field import draw_patches_field
from training.data.places import held_out_points
from training.data.readers.point_files import read_points
from training.errors import InputError
from training.recipe_mechanism import ArraysData, FerrosimData, LoopsData, MechanismRecipe, MechanismSpec, PatchesFieldData

Array = np.ndarray[Any, np.dtype[Any]]

_COMPANIONS = ("position_um", "group")
# An image or a curve has so many axes, the points' included.
_RANKS = {"image": (3, 4), "spectrum": (2, 3), "coordinates": (1, 2), "parameters": (1, 2), "category": (1,)}


@dataclass(frozen=True)
class Points:
    """Arrays by the mechanisms' names, `y` (n,) float64, and what else the data tells, such as `truth_…`, by its own name."""

    arrays: dict[str, Array]

    @property
    def y(self) -> Array:
        """(n,) float64."""
        return self.arrays["y"]

    def __len__(self) -> int:
        return len(self.y)

    def rows(self, chosen: Array) -> Points:
        """Some of the points, by index or bool (n,)."""
        return Points({name: values[chosen] for name, values in self.arrays.items()})


@dataclass(frozen=True)
class PreparedPoints:
    """What a fit is told of the data.

    Attributes:
        train: points to fit.
        held_out: points that no part of the fit sees.
        split: how those were chosen, in words.
        source: where the numbers are from.
        licence: of the data.
        sha256: of it.
        notes: what a reader should know; may be empty.
        group: (n,) of the training points: the validation points are whole groups of these; None: any points.
    """

    train: Points
    held_out: Points
    split: str
    source: str
    licence: str
    sha256: tuple[str, ...]
    notes: str
    group: Array | None = None


def prepare_points(recipe: MechanismRecipe, files: tuple[Path, ...], channel: str | None, licence: str | None) -> PreparedPoints:
    """The data of a recipe.

    Raises:
        InputError: DATA_NOT_USED, DATA_REQUIRED, MISSING_ARRAY, WRONG_SHAPE, NON_FINITE, UNKNOWN_CATEGORY, and those of reading.
    """
    data = recipe.data
    if isinstance(data, PatchesFieldData | FerrosimData):
        if files or channel or licence:
            raise InputError("DATA_NOT_USED", f"Recipe {recipe.name!r} draws its own data; leave out --data, --channel and --licence.")
        train, test = (_drawn(data, stream, count) for stream, count in (("train", data.points), ("test", data.test_points)))
        made = [Points(_by_mechanism(recipe, _scalar_free(each.arrays))) for each in (train, test)]
        split = f"{data.test_points} fresh draws from an independent stream"
        return PreparedPoints(made[0], made[1], split, f"{train.source}; {test.source}", "MIT", (train.sha256, test.sha256), "")
    paths = files or named_files(data.files)
    told = licence or data.licence
    notes = " ".join(each for each in (data.citation, data.notes) if each)
    if isinstance(data, LoopsData):
        return _loops(recipe, data, paths, channel, told, notes)
    if channel:
        raise InputError("DATA_NOT_USED", "--channel chooses among a scan's channels; points have none: leave it out.")
    return _arrays(recipe, data, paths, told, notes)


def _drawn(data: PatchesFieldData | FerrosimData, stream: str, count: int) -> DataSet:
    if isinstance(data, PatchesFieldData):
        return draw_patches_field(count, form=data.form, noise=data.noise, seed=data.seed, stream=stream)
    made = draw_ferrosim(count, mode=data.mode, n=data.sites, target=data.target, seed=data.seed, stream=stream)
    # Components of a field are the channels of an image.
    images = {name: np.moveaxis(made.arrays[name], 1, -1) for name in ("random_field", "pattern")}
    return replace(made, arrays=made.arrays | {name: each[..., 0] if each.shape[-1] == 1 else each for name, each in images.items()})


def _loops(recipe: MechanismRecipe, data: LoopsData, paths: tuple[Path, ...], channel: str | None, licence: str, notes: str) -> PreparedPoints:  # noqa: PLR0917
    if len(paths) != 1:
        raise InputError("INVALID_OPTION", f"One file of loops was expected, not {len(paths)}: places of two grids are not each other's neighbours.")
    made = loop_mechanisms(
        read_loops(paths[0], channel or data.channel),
        data.target,
        neighbours=data.neighbours,
        half_width=data.half_width_px,
        keep_failed=data.keep_failed,
    )
    grid = (int(made.arrays["grid"][0]), int(made.arrays["grid"][1]))
    inside, outside = split_places(grid, data.half_width_px, data.held_out_fraction, recipe.seed)
    place = made.arrays["place"]
    points = Points(_by_mechanism(recipe, _scalar_free(made.arrays)))
    chosen = np.isin(place, inside)
    # Validation takes whole blocks of places too, of about the held-out ones' size.
    row, column = np.divmod(place[chosen], grid[1])
    blocks = (row // (4 * data.half_width_px)) * grid[1] + column // (4 * data.half_width_px)
    split = f"spatial blocks, farther from training places than the patches' half-width of {data.half_width_px} px"
    told = " ".join([notes, *made.notes]).strip()
    return PreparedPoints(points.rows(chosen), points.rows(np.isin(place, outside)), split, made.source, licence, (made.sha256,), told, blocks)


def _arrays(recipe: MechanismRecipe, data: ArraysData, paths: tuple[Path, ...], licence: str, notes: str) -> PreparedPoints:
    wanted = [*(mechanism.source_array for mechanism in recipe.mechanisms), "y"]
    truths = [f"truth_{name}" for name in ("f", *(mechanism.name for mechanism in recipe.mechanisms))]
    parts = [read_points(path, wanted, [*_COMPANIONS, *truths]) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        _same_rows(path.name, part)
    common = set.intersection(*(set(part) for part in parts))
    if "group" not in common and len(parts) > 1:  # of several files each is a group
        for number, part in enumerate(parts):
            part["group"] = np.full(len(part["y"]), number)
        common.add("group")
    arrays = {name: _joined(name, [part[name] for part in parts]) for name in sorted(common)}
    points = Points(_by_mechanism(recipe, arrays))
    held, how = held_out_points(arrays, data.held_out_fraction, recipe.seed)
    if held.sum() < 5 or (~held).sum() < 20:
        raise InputError("TOO_FEW_POINTS", f"{(~held).sum()} points to train on and {held.sum()} held out are too few; 20 and 5 at least.")
    digests = tuple(_digest(path, part) for path, part in zip(paths, parts, strict=True))
    group = arrays["group"][~held] if "group" in arrays else None
    return PreparedPoints(points.rows(~held), points.rows(held), how, ", ".join(path.name for path in paths), licence, digests, notes, group)


def _same_rows(name: str, arrays: dict[str, Array]) -> None:
    """Every array of a file has a row for each point, and places are two finite numbers."""
    y = arrays["y"]
    if y.ndim != 1 or y.dtype.kind not in "fiu":
        raise InputError("WRONG_SHAPE", f"y of {name} is {y.dtype} of shape {y.shape}; expected one real number for each point, (n,).")
    for key, values in arrays.items():
        if values.ndim == 0 or len(values) != len(y):
            raise InputError("WRONG_SHAPE", f"{key} of {name} has the shape {values.shape}, and y {len(y)} rows; all need the same number of rows.")
        if key == "group" and values.ndim != 1:
            raise InputError("WRONG_SHAPE", f"group of {name} has the shape {values.shape}; expected one number or word for each point, (n,).")
    place = arrays.get("position_um", np.zeros((len(y), 2)))
    if place.shape[1:] != (2,) or place.dtype.kind not in "fiu" or not np.isfinite(place).all():
        raise InputError("WRONG_SHAPE", f"position_um of {name} is {place.dtype} of shape {place.shape}; expected (n, 2) finite numbers, µm.")


def _joined(name: str, parts: list[Array]) -> Array:
    """One array of several files."""
    kinds = {part.dtype if part.dtype.kind in "iu" else part.dtype.kind for part in parts}
    if len({part.shape[1:] for part in parts}) > 1 or (parts[0].ndim > 2 and len(kinds) > 1):
        told = "; ".join(f"{part.dtype} {part.shape}" for part in parts)
        raise InputError("WRONG_SHAPE", f"{name} differs between the files: {told}. All but the first axis, and images' dtype, must be the same.")
    return np.concatenate(parts)


def _digest(path: Path, arrays: dict[str, Array]) -> str:
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    # A zarr store is a folder.
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return found.hexdigest()


def _scalar_free(arrays: dict[str, Array]) -> dict[str, Array]:
    """Those with one row for each point."""
    count = len(arrays["y"])
    return {name: values for name, values in arrays.items() if values.ndim and len(values) == count}


def _by_mechanism(recipe: MechanismRecipe, arrays: dict[str, Array]) -> dict[str, Array]:
    """Checked, in the dtypes the graphs take, by the mechanisms' names; other arrays as they are.

    Raises:
        InputError: MISSING_ARRAY, WRONG_SHAPE, NON_FINITE, UNKNOWN_CATEGORY.
    """
    for name in (*(mechanism.source_array for mechanism in recipe.mechanisms), "y"):
        if name not in arrays:
            raise InputError("MISSING_ARRAY", f"The data has no array {name!r}; it has {', '.join(sorted(arrays))}.")
    y = arrays["y"]
    if y.ndim != 1 or y.dtype.kind not in "fiu":
        raise InputError("WRONG_SHAPE", f"y is {y.dtype} of shape {y.shape}; expected one real number for each point, (n,).")
    found: dict[str, Array] = {}
    for mechanism in recipe.mechanisms:
        values = arrays[mechanism.source_array]
        if len(values) != len(y):
            raise InputError("WRONG_SHAPE", f"{mechanism.source_array} has {len(values)} rows and y {len(y)}; all need the same number.")
        found[mechanism.name] = _checked(mechanism, values)
    found["y"] = y.astype(np.float64)
    for name, values in found.items():
        finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if not finite.all():
            row = int(np.argmin(finite))
            raise InputError(
                "NON_FINITE", f"{name}: row {row} holds NaN or infinity ({int((~finite).sum())} rows do). Repair or leave out those rows."
            )
    taken = {mechanism.source_array for mechanism in recipe.mechanisms}
    return {name: values for name, values in arrays.items() if name not in taken and name not in found} | found


def _checked(mechanism: MechanismSpec, values: Array) -> Array:
    name, kind = mechanism.source_array, mechanism.kind
    if values.ndim not in _RANKS[kind]:
        raise InputError(
            "WRONG_SHAPE", f"{name} has the shape {values.shape}; a mechanism of kind {kind} has {' or '.join(map(str, _RANKS[kind]))} axes."
        )
    if kind == "category":
        return _indices(mechanism, values)
    if values.dtype.kind not in "fiu":
        raise InputError("WRONG_SHAPE", f"{name} is {values.dtype}; numbers were expected.")
    if kind in ("image", "spectrum"):
        # Integers stay what they are: an encoder may read them otherwise than the same numbers as float32.
        return values if kind == "image" and values.dtype in (np.uint8, np.uint16) else values.astype(np.float32)
    columns: Array = values.astype(np.float64).reshape(len(values), -1)
    if columns.shape[1] != len(mechanism.columns):
        raise InputError(
            "WRONG_SHAPE", f"{name} has {columns.shape[1]} columns; the recipe names {len(mechanism.columns)}: {', '.join(mechanism.columns)}."
        )
    return columns


def _indices(mechanism: MechanismSpec, values: Array) -> Array:
    names = list(mechanism.categories)
    listed = ", ".join(f"{number} {name}" for number, name in enumerate(names))
    if values.dtype.kind in "US":
        texts = values.astype(str)
        unknown = sorted(set(texts) - set(names))
        if unknown:
            raise InputError("UNKNOWN_CATEGORY", f"{mechanism.source_array}: {unknown[0]!r} is none of its categories: {listed}.")
        return np.array([names.index(text) for text in texts], dtype=np.int64)
    wrong = (values < 0) | (values >= len(names)) | (values != np.floor(values))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError("UNKNOWN_CATEGORY", f"{mechanism.source_array} of row {row} is {values[row]}, which is none of its categories: {listed}.")
    return values.astype(np.int64)
