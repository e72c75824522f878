"""What a caller sends, compared with what the model takes, and turned into the graphs' inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from dichroic.bundle import LatentSection
from dichroic.errors import InvalidTensorError
from services.engine.model import ServingModel, check_array

NDArray = np.ndarray[Any, np.dtype[Any]]
# What a caller may give, by the names of the wire: to encode or reconstruct, and to decode.
ENCODED = ("images", "spectra", "conditions")
LATENTS = ("content", "angle_rad", "scale", "shift_down_px", "shift_right_px", "class_index", "conditions", "targets")

Given = dict[str, NDArray]

IMAGE_DTYPES = {np.dtype(name): name for name in ("uint8", "uint16", "float32")}
OTHER_KIND = {"images": "spectra", "spectra": "images"}
POSE_DEFAULTS = {"angle_rad": 0.0, "scale": 1.0, "shift_down_px": 0.0, "shift_right_px": 0.0}


def data_dtype(latent: LatentSection, given: Given) -> str:
    """The dtype of the images or spectra, whichever the model takes: the end of the signature's name.

    Raises:
        InvalidTensorError: the other kind was sent, or none, or a dtype that no signature takes.
    """
    kind = latent.input_kind
    other = OTHER_KIND[kind]
    if other in given:
        raise InvalidTensorError(f"{other} were given, but this model takes {kind}. Send {kind} in their place.", field=other)
    data = given.get(kind)
    if data is None:
        raise InvalidTensorError(f"{kind} is missing: give dtype, shape and data.", field=kind)
    name = IMAGE_DTYPES.get(data.dtype)
    if name is None or (kind == "spectra" and name != "float32"):
        wanted = "uint8, uint16 or float32" if kind == "images" else "float32"
        raise InvalidTensorError(f"{kind} are {data.dtype.name}; send {wanted}.", field=kind)
    return name


def encoder_inputs(latent: LatentSection, given: Given, capability: str) -> tuple[str, dict[str, NDArray]]:
    """The signature's name, and its inputs: the data, and the conditions where the model has some.

    Raises:
        InvalidTensorError: as data_dtype and check_conditions.
    """
    signature_name = f"{capability}.{data_dtype(latent, given)}"
    if latent.conditions or "conditions" in given:
        check_conditions(latent, given.get("conditions"))
    return signature_name, given


def check_conditions(latent: LatentSection, conditions: NDArray | None) -> None:
    """Compares conditions with those the model has.

    Raises:
        InvalidTensorError: missing, not wanted, another dtype or number of columns, or a category that is none; names the row.
    """
    wanted = latent.conditions
    listed = ", ".join(f"{each.name} ({len(each.categories)} categories)" if each.categories else f"{each.name} [{each.unit}]" for each in wanted)
    if conditions is None:
        if wanted:
            message = f"conditions are missing; this model needs float32 (n, {len(wanted)}): {listed}. Send one row for each row of the other arrays."
            raise InvalidTensorError(message, field="conditions")
        return
    if not wanted:
        raise InvalidTensorError("conditions were given, but the model has none. Leave them out.", field="conditions")
    if conditions.dtype != np.float32 or conditions.ndim != 2 or conditions.shape[1] != len(wanted):
        found = f"{conditions.dtype.name} of shape {conditions.shape}"
        raise InvalidTensorError(f"conditions are {found}; this model needs float32 (n, {len(wanted)}): {listed}.", field="conditions")
    for index, each in enumerate(wanted):
        if each.categories:
            column = conditions[:, index]
            # Also true for NaN.
            wrong = ~((column >= 0) & (column < len(each.categories)) & (column == np.floor(column)))
            if wrong.any():
                row = int(np.argmax(wrong))
                names = ", ".join(f"{number} {name}" for number, name in enumerate(each.categories))
                message = f"conditions: {each.name} of row {row} is {column[row]:g}, which is none of its categories: {names}."
                raise InvalidTensorError(message, field="conditions", row=row)


def decoder_inputs(model: ServingModel, latent: LatentSection, given: Given) -> dict[str, NDArray]:
    """The inputs of `decode`: what is given, the class one-hot, and the prior's mean for the rest.

    Raises:
        InvalidTensorError: something the model has no use for, or lacks; a wrong dtype, shape or number of rows; a scale, class or category
            that is none.
        QueueFullError: more rows than could ever be held.
    """
    signature = model.signature("decode")
    specs = {spec.name: spec for spec in signature.inputs}
    extra = sorted(given.keys() - specs.keys() - {"class_index", "conditions"})
    if extra:
        raise InvalidTensorError(f"{extra[0]} was given, but the model {_why_not(extra[0], latent)}. Leave it out.", field=extra[0])
    class_index = given.get("class_index")
    _check_class(latent, class_index)
    if "conditions" in given or latent.conditions:
        check_conditions(latent, given.get("conditions"))
    if "targets" in specs and "targets" not in given:
        listed = ", ".join(f"{each.name} [{each.unit}]" for each in latent.targets)
        message = f"targets are missing; this model draws what has them: float32 (n, {len(latent.targets)}): {listed}. Send one row for each drawing."
        raise InvalidTensorError(message, field="targets")
    if not given:
        raise InvalidTensorError(f"No latents were given; give at least one of {', '.join(specs)}.", field=next(iter(specs)))
    # Before anything is made of their number of rows: a few bytes can claim a great many.
    for name, array in given.items():
        if name != "class_index":
            check_array(specs[name], array)
    rows = len(next(iter(given.values())))
    model.check_rows("decode", rows)
    scale = given.get("scale")
    if scale is not None and np.any(scale <= 0):
        row = int(np.argmax(scale <= 0))
        raise InvalidTensorError(f"scale of row {row} is {scale[row]:g}; a scale is greater than 0.", field="scale", row=row)
    made = {} if class_index is None else {"class_weights": one_hot(latent, class_index, rows)}
    return {name: made[name] if name in made else given[name] if name in given else _prior_mean(name, rows, latent.content_size) for name in specs}


def one_hot(latent: LatentSection, class_index: NDArray, rows: int) -> NDArray:
    """(n, K) float32, 1 at each row's class.

    Raises:
        InvalidTensorError: another n, or a class out of range; names the row.
    """
    classes = len(latent.class_names)
    if len(class_index) != rows:
        raise InvalidTensorError(f"class_index has {len(class_index)} rows, the other arrays {rows}; all need the same number.", field="class_index")
    wrong = (class_index < 0) | (class_index >= classes)
    if wrong.any():
        row = int(np.argmax(wrong))
        message = f"class_index of row {row} is {class_index[row]}; this model's classes are 0 to {classes - 1}: {', '.join(latent.class_names)}."
        raise InvalidTensorError(message, field="class_index", row=row)
    weights = np.zeros((rows, classes), dtype=np.float32)
    weights[np.arange(rows), class_index] = 1
    return weights


def _check_class(latent: LatentSection, class_index: NDArray | None) -> None:
    if class_index is None and latent.class_names:
        names = ", ".join(latent.class_names)
        message = f"class_index is missing; this model decodes one of its classes, 0 to {len(latent.class_names) - 1}: {names}."
        raise InvalidTensorError(message, field="class_index")
    if class_index is not None and not latent.class_names:
        raise InvalidTensorError("class_index was given, but the model has no classes. Leave it out.", field="class_index")
    if class_index is not None and (class_index.dtype != np.int64 or class_index.ndim != 1 or not len(class_index)):
        found = f"{class_index.dtype.name} of shape {class_index.shape}"
        raise InvalidTensorError(f"class_index is {found}; send int64 (n,), with one row at least.", field="class_index")


def _why_not(name: str, latent: LatentSection) -> str:
    if name == "content":
        return "has no content latents"
    if name == "targets":
        return "tells its targets, and does not draw by them" if latent.targets else "has no targets"
    if name not in POSE_DEFAULTS:
        return "does not take it"
    if latent.invariances and latent.output_kind == "spectra":
        return f"gives spectra, which have no {name}"
    return f"has no pose (its invariances are {list(latent.invariances) or 'none'})"


def _prior_mean(name: str, rows: int, content_size: int) -> NDArray:
    if name == "content":
        return np.zeros((rows, content_size), dtype=np.float32)
    return np.full(rows, POSE_DEFAULTS[name], dtype=np.float32)
