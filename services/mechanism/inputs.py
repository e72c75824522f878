"""What a caller tells of mechanisms, compared with what the model takes, and turned into the graphs' inputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dichroic.bundle import TensorSpec
from dichroic.bundle.arrays import Arrays
from dichroic.bundle.mechanism_section import INPUT_DTYPES, MeasuredQuantity, Mechanism, MechanismSection
from dichroic.errors import (
    InvalidFieldError,
    InvalidTensorError,
    MissingMechanismError,
    UnitMismatchError,
    UnknownCategoryError,
    UnknownMechanismError,
)
from services.engine.model import ServingModel
from services.engine.runtime import first_non_finite_row
from services.mechanism.answers import Bool, Float64, Int64

NDArray = np.ndarray[Any, np.dtype[Any]]
# How far from the model's mean a measurement may be, in standard deviations of the quantity: beyond is another unit, or a sensor's fault.
MOST_SD = 1e6


@dataclass(frozen=True)
class Given:
    """What a caller sends: `values` by mechanism, (n, …) each; `units` as declared, by mechanism. A unit that is not declared is the model's."""

    values: dict[str, NDArray]
    units: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Checked:
    """Inputs that the graphs take: `dtype` ends the signatures' names; `rows` is n."""

    dtype: str
    inputs: Arrays
    rows: int


def checked(model: ServingModel, section: MechanismSection, given: Given, prefix: str = "") -> Checked:
    """Every mechanism of the model, once, as its graphs take it.

    Args:
        model: for its signatures.
        section: of its manifest.
        given: what was sent.
        prefix: of the field that an error names, such as "candidates.".

    Raises:
        UnknownMechanismError, MissingMechanismError, UnitMismatchError, UnknownCategoryError: as they say.
        InvalidTensorError: another dtype or shape, no rows, unequal row counts, NaN or infinity; names field and row.
    """
    known = {mechanism.name: mechanism for mechanism in section.mechanisms}
    for name in (*given.values, *given.units):
        if name not in known:
            message = f"{name!r} is none of this model's mechanisms, which are {listed(section)}. Send those."
            raise UnknownMechanismError(message, field=f"{prefix}{name}")
    for name, mechanism in known.items():
        if name not in given.values:
            raise MissingMechanismError(f"Mechanism {name} is missing. This model needs {listed(section)}.", field=f"{prefix}{name}")
        check_unit(given.units.get(name, ""), mechanism.unit, f"{prefix}{name}")
    dtype = _image_dtype(section, given, prefix)
    signature = model.signature(f"predict.{dtype}")
    rows = len(np.atleast_1d(given.values[section.mechanisms[0].name]))
    for spec in signature.inputs:
        _check_values(known[spec.name], spec, given.values[spec.name], rows, f"{prefix}{spec.name}")
    return Checked(dtype, {spec.name: given.values[spec.name] for spec in signature.inputs}, rows)


def listed(section: MechanismSection) -> str:
    """The mechanisms with kinds and units, for a message."""
    return ", ".join(f"{each.name} ({each.kind}{'' if each.kind == 'category' else f' [{each.unit}]'})" for each in section.mechanisms)


def check_unit(declared: str, expected: str, where: str) -> None:
    """Compares a unit with the model's.

    Raises:
        UnitMismatchError: another one was declared.
    """
    if declared and declared != expected:
        message = f"{where} is declared in {declared!r}; this model takes {expected!r}. Convert the values and declare that."
        raise UnitMismatchError(message, field=where, metadata={"declared": declared, "expected": expected})


def outside(section: MechanismSection, inputs: Arrays, rows: int) -> Bool:
    """(n, M) bool: a column of the mechanism is beyond what it was in training. Of images, spectra and categories always False."""
    found = np.zeros((rows, len(section.mechanisms)), bool)
    for index, mechanism in enumerate(section.mechanisms):
        if mechanism.columns:
            values = inputs[mechanism.name]
            beyond = (values < np.array(mechanism.trained_low)) | (values > np.array(mechanism.trained_high))
            found[:, index] = beyond.any(axis=1)
    return found


def checked_y(y: NDArray, rows: int, unit: str, quantity: MeasuredQuantity, mean: float) -> Float64:
    """Measured values, one for each of `rows` points.

    Args:
        y: as sent.
        rows: points.
        unit: as declared; empty: not declared.
        quantity: what the model's y is.
        mean: μ of the model.

    Raises:
        UnitMismatchError: another unit was declared.
        InvalidTensorError: no float64 (n,), none at all, another number than points, NaN, infinity, or beyond MOST_SD; names the row.
    """
    check_unit(unit, quantity.unit, "y_unit")
    if y.dtype != np.float64 or y.ndim != 1:
        raise InvalidTensorError(f"y is {y.dtype.name} of shape {y.shape}; send float64 of shape (n,), one value for each point.", field="y")
    if not len(y):
        raise InvalidTensorError("y is empty; send one value for each point, at least one.", field="y")
    if len(y) != rows:
        raise InvalidTensorError(f"y has {len(y)} values for {rows} points; send one for each.", field="y")
    row = first_non_finite_row(y)
    if row is not None:
        raise InvalidTensorError(f"y of row {row} is {y[row]}; a measurement that failed is no observation. Leave the row out.", field="y", row=row)
    with np.errstate(over="ignore"):
        far = np.abs(y - mean) > MOST_SD * quantity.sd
    if far.any():
        row = int(np.argmax(far))
        message = (
            f"y of row {row} is {y[row]:g}; this model takes {quantity.name} in {quantity.unit}, {mean:.3g} ± {quantity.sd:.3g} in training, and "
            f"nothing beyond {MOST_SD:.0e} such deviations. It is in another unit or a fault of the sensor: convert it, or leave the row out."
        )
        raise InvalidTensorError(message, field="y", row=row)
    return y


def checked_index(index: NDArray, candidates: int) -> Int64:
    """Indices of registered candidates.

    Raises:
        InvalidFieldError: the session has no candidates.
        InvalidTensorError: no int64 (n,), none at all, or out of range; names the row.
    """
    if not candidates:
        message = "candidate_index was given, but the session has no candidates. Send the mechanisms' values, or name candidates in CreateSession."
        raise InvalidFieldError(message, field="candidate_index")
    if index.dtype != np.int64 or index.ndim != 1 or not len(index):
        found = f"{index.dtype.name} of shape {index.shape}"
        raise InvalidTensorError(f"candidate_index is {found}; send int64 of shape (n,), with one row at least.", field="candidate_index")
    wrong = (index < 0) | (index >= candidates)
    if wrong.any():
        row = int(np.argmax(wrong))
        message = f"candidate_index of row {row} is {index[row]}; the session's candidates are 0 to {candidates - 1}."
        raise InvalidTensorError(message, field="candidate_index", row=row)
    return index


def _image_dtype(section: MechanismSection, given: Given, prefix: str) -> str:
    """What ends the signatures' names: the dtype that all images have; float32 without images."""
    found = {each.name: given.values[each.name].dtype.name for each in section.mechanisms if each.kind == "image"}
    for name, dtype in found.items():
        if dtype not in INPUT_DTYPES["image"]:
            raise InvalidTensorError(f"{prefix}{name} is {dtype}; send uint8, uint16 or float32.", field=f"{prefix}{name}")
    if len(set(found.values())) > 1:
        told = ", ".join(f"{name} {dtype}" for name, dtype in found.items())
        raise InvalidTensorError(f"The images have several dtypes ({told}); send all in the same.", field=f"{prefix}{list(found)[-1]}")
    return next(iter(found.values()), "float32")


def _check_values(mechanism: Mechanism, spec: TensorSpec, values: NDArray, rows: int, where: str) -> None:
    if values.dtype != np.dtype(spec.dtype) or values.ndim != len(spec.shape) or values.shape[1:] != spec.row_shape:
        columns = f", columns {', '.join(mechanism.columns)}" if mechanism.columns else ""
        wanted = f"{spec.dtype} of shape ({', '.join(map(str, spec.shape))}){columns}"
        raise InvalidTensorError(f"{where} is {values.dtype.name} of shape {values.shape}; this model takes {wanted}.", field=where)
    if not len(values):
        raise InvalidTensorError(f"{where} has no rows; send at least one.", field=where)
    if len(values) != rows:
        raise InvalidTensorError(f"{where} has {len(values)} rows, the mechanisms before it {rows}; all need the same number.", field=where)
    if values.dtype.kind == "f":
        row = first_non_finite_row(values)
        if row is not None:
            message = f"{where}: row {row} holds NaN or infinity. Every value must be finite: mask or repair the row, or leave it out."
            raise InvalidTensorError(message, field=where, row=row)
    if mechanism.kind == "category":
        wrong = (values < 0) | (values >= len(mechanism.categories))
        if wrong.any():
            row = int(np.argmax(wrong))
            names = ", ".join(f"{number} {name}" for number, name in enumerate(mechanism.categories))
            message = f"{where} of row {row} is {values[row]}, a category this model has never seen; it knows {names}."
            metadata = {"category": str(values[row]), "known": str(len(mechanism.categories))}
            raise UnknownCategoryError(message, field=where, row=row, metadata=metadata)
