"""Names, shapes, units and meanings of every graph's tensors: what the manifest says and the graphs have."""

from __future__ import annotations

import math
from typing import Literal

from dichroic.bundle import Preprocessing, Signature, TensorSpec
from training.latent.specification import ModelSpecification

# Intermediate results of one run of a decoding graph stay below this.
# Two layers of hidden features of one run.
ACTIVATION_BYTES = 128 << 20
_ENCODE_MAX_BATCH = 256
_INTEGER_HIGH = {"uint8": 255.0, "uint16": 65535.0}

ImageDType = Literal["uint8", "uint16", "float32"]


def images_in(specification: ModelSpecification, preprocessing: Preprocessing, dtype: ImageDType) -> TensorSpec:
    """The first input of all graphs but decode: images, or spectra."""
    kind = specification.input_kind
    shape, axes = _shape(kind, (specification.height_px, specification.width_px, specification.channels))
    integer = dtype != "float32"
    counts = preprocessing.integer_images == "value"
    meaning = f"{kind} in the unit of the training data"
    if integer:
        meaning = "images as counts in that unit" if counts else "images; 0 to the greatest integer span input_low to input_high"
    return TensorSpec(
        name=kind,
        dtype=dtype,
        shape=shape,
        axes=axes,
        unit=preprocessing.unit if not integer or counts else "1",
        range_low=0.0 if integer else None,
        range_high=_INTEGER_HIGH.get(dtype),
        meaning=meaning,
    )


def normalised_in(specification: ModelSpecification) -> TensorSpec:
    """What the graphs take behind their front: (n, h, w, c), channel axis always there."""
    shape = ("n", specification.height_px, specification.width_px, specification.channels)
    return TensorSpec(name="values", dtype="float32", shape=shape, axes=("image", "row", "column", "channel"), unit="1", meaning="normalised images")


def encode_outputs(specification: ModelSpecification) -> tuple[TensorSpec, ...]:
    """Outputs of the encode graphs, in order, those that exist."""
    specs: list[TensorSpec] = []
    if "rotation" in specification.invariances:
        specs += [
            _per_image("angle_rad", "rad", "the object's angle, counter-clockwise, row 0 at the top", -math.pi, math.pi),
            _per_image("angle_sd_rad", "rad", _angle_sd_meaning(specification), 0.0),
        ]
    if "scale" in specification.invariances:
        specs.append(_per_image("scale", "1", "the object's size over its size at scale 1; above 1 is larger", 0.0))
    if "translation" in specification.invariances:
        specs += (
            [
                _per_image("shift_down_px", "px", "the object's shift towards higher rows from the image's centre"),
                _per_image("shift_right_px", "px", "the object's shift towards higher columns from the image's centre"),
            ]
            if specification.output_kind == "images"
            else [_per_image("shift_right_px", "px", "the shift towards higher indices from the spectrum's middle, in points")]
        )
    if specification.content_size:
        circles = specification.circle_columns("content")
        everywhere = len(circles) == specification.content_size
        specs += [
            _per_latent(
                "content",
                "content",
                specification.content_size,
                "posterior mean of the content latents, prior N(0, 1)" + _of_circles(circles),
                -math.pi if everywhere else None,
                math.pi if everywhere else None,
            ),
            _per_latent(
                "content_sd", "content", specification.content_size, "posterior standard deviation of the content latents" + _sd(circles), 0.0
            ),
        ]
    circles = specification.circle_columns("latent_mean")
    mean = "posterior mean of every raw latent in latent_names order, prior N(0, 1)" + _of_circles(circles)
    return (
        *specs,
        _per_latent("latent_mean", "latent", specification.latent_size, mean),
        _per_latent("latent_sd", "latent", specification.latent_size, "posterior standard deviation of every raw latent" + _sd(circles), 0.0),
        *class_outputs(specification),
    )


def class_outputs(specification: ModelSpecification) -> tuple[TensorSpec, ...]:
    """Output of the classify graphs, and the last of the encode graphs; empty for a model without classes."""
    if not specification.class_source:
        return ()
    shape, meaning = ("n", specification.class_count), "probability of each class, in class_names order; rows sum to 1"
    axes = ("image", "class")
    return (
        TensorSpec(name="class_probabilities", dtype="float32", shape=shape, axes=axes, unit="1", range_low=0.0, range_high=1.0, meaning=meaning),
    )


def conditions_in(specification: ModelSpecification) -> tuple[TensorSpec, ...]:
    """The last input of encode and reconstruct graphs, and one of decode; empty for a model without conditions."""
    columns = specification.conditions
    if not columns:
        return ()
    told = ", ".join(f"{each.name} (index of {', '.join(each.categories)})" if each.categories else f"{each.name} [{each.unit}]" for each in columns)
    return (_columns("conditions", "condition", tuple(each.unit for each in columns), f"{told}; raw, the graph standardises them"),)


def targets_in(specification: ModelSpecification) -> tuple[TensorSpec, ...]:
    """The last input of the decode graph of a model with targets."""
    columns = specification.targets
    if not columns:
        return ()
    told = ", ".join(f"{each.name} [{each.unit}]" for each in columns)
    return (_columns("targets", "target", tuple(each.unit for each in columns), f"{told}, of what is to be drawn"),)


def target_outputs(specification: ModelSpecification) -> tuple[TensorSpec, ...]:
    """Outputs of the regress graphs; empty for a model without targets."""
    columns = specification.targets
    if not columns:
        return ()
    told, units = ", ".join(f"{each.name} [{each.unit}]" for each in columns), tuple(each.unit for each in columns)
    return (
        _columns("target_mean", "target", units, f"mean of {told}"),
        _columns("target_sd", "target", units, f"standard deviation of {told}: of the observable, noise included", 0.0),
    )


def decode_inputs(specification: ModelSpecification) -> tuple[TensorSpec, ...]:
    """Inputs of the decode graph, those that exist: content, the pose with a spatial decoder, class, conditions, targets."""
    specs: list[TensorSpec] = []
    if specification.content_size:
        meaning = "content latents, prior N(0, 1)" + _of_circles(specification.circle_columns("content"), "any finite value")
        specs.append(_per_latent("content", "content", specification.content_size, meaning))
    if specification.invariances and specification.output_kind == "spectra":
        specs += [
            _per_image("scale", "1", "the width over the width at scale 1, above 0", 0.0),
            _per_image("shift_right_px", "px", "the shift towards higher indices, in points"),
        ]
    elif specification.invariances:
        specs += [
            _per_image("angle_rad", "rad", "the object's angle, counter-clockwise, any finite value"),
            _per_image("scale", "1", "the object's size over its size at scale 1, above 0", 0.0),
            _per_image("shift_down_px", "px", "the object's shift towards higher rows"),
            _per_image("shift_right_px", "px", "the object's shift towards higher columns"),
        ]
    if specification.class_source:
        specs.append(_per_latent("class_weights", "class", specification.class_count, "one-hot: 1 for the class to draw, 0 for the others", 0.0))
    return (*specs, *conditions_in(specification), *targets_in(specification))


def images_out(specification: ModelSpecification, preprocessing: Preprocessing, name: str, meaning: str) -> TensorSpec:
    """Decoded images or spectra in the unit of the training data; `preprocessing` is that of what is drawn."""
    shape, axes = _shape(specification.output_kind, specification.drawn_shape)
    bounded = specification.likelihood != "gaussian"
    return TensorSpec(
        name=name,
        dtype="float32",
        shape=shape,
        axes=axes,
        unit=preprocessing.unit,
        range_low=min(preprocessing.input_low) if bounded else None,
        range_high=max(preprocessing.input_high) if bounded else None,
        meaning=meaning,
    )


def reconstruct_outputs(specification: ModelSpecification, preprocessing: Preprocessing) -> tuple[TensorSpec, ...]:
    """Outputs of the reconstruct graphs."""
    what = "image" if specification.output_kind == "images" else "spectrum"
    where = "pixels" if what == "image" else "points"
    meaning = f"mean over {where} and channels of the squared difference of {what} and reconstruction, input range scaled to [0, 1], not clipped"
    return (
        images_out(specification, preprocessing, "reconstruction", f"the {what} decoded from its posterior mean"),
        _per_image("error", "1", meaning, 0.0),
    )


def signatures(specification: ModelSpecification, preprocessing: Preprocessing, drawn: Preprocessing | None = None) -> dict[str, Signature]:
    """All signatures by name; the graph's file is the name and ".onnx". `drawn`: preprocessing of what is drawn, where another kind goes in."""
    what = "image" if specification.output_kind == "images" else "spectrum"
    decode_batch = decode_max_batch(specification)
    found = {
        "decode": Signature(
            graph="decode.onnx",
            inputs=decode_inputs(specification),
            outputs=(images_out(specification, drawn or preprocessing, specification.output_kind, f"the likelihood's mean {what}"),),
            max_batch=decode_batch,
        )
    }
    dtypes: tuple[ImageDType, ...] = ("uint8", "uint16", "float32") if specification.input_kind == "images" else ("float32",)
    for dtype in dtypes:
        images = (images_in(specification, preprocessing, dtype),)
        told = (*images, *conditions_in(specification))
        found[f"encode.{dtype}"] = Signature(
            graph=f"encode.{dtype}.onnx", inputs=told, outputs=encode_outputs(specification), max_batch=_ENCODE_MAX_BATCH
        )
        if not specification.translates:
            found[f"reconstruct.{dtype}"] = Signature(
                graph=f"reconstruct.{dtype}.onnx", inputs=told, outputs=reconstruct_outputs(specification, preprocessing), max_batch=decode_batch
            )
        if specification.targets:
            found[f"regress.{dtype}"] = Signature(
                graph=f"regress.{dtype}.onnx", inputs=images, outputs=target_outputs(specification), max_batch=_ENCODE_MAX_BATCH
            )
        if specification.class_source:
            found[f"classify.{dtype}"] = Signature(
                graph=f"classify.{dtype}.onnx", inputs=images, outputs=class_outputs(specification), max_batch=_ENCODE_MAX_BATCH
            )
    return found


def decode_max_batch(specification: ModelSpecification, most: int = 64) -> int:
    """The largest power of two of images, `most` at most, whose hidden features fit the memory bound (two layers live at once)."""
    rows = specification.pixels if specification.invariances else 1
    per_image = 2 * 4 * rows * max(*specification.decoder_widths, specification.drawn_shape[2])
    return int(2 ** math.floor(math.log2(min(most, max(1, ACTIVATION_BYTES // per_image)))))


def _angle_sd_meaning(specification: ModelSpecification) -> str:
    if specification.angle_bins:
        return "root mean square of the posterior angle's short way from the reported one, without pixel noise"
    return "posterior standard deviation of the angle, without pixel noise"


def _shape(kind: str, size: tuple[int, int, int]) -> tuple[tuple[Literal["n"] | int, ...], tuple[str, ...]]:
    height, width, channels = size
    shape: tuple[Literal["n"] | int, ...] = ("n", height, width) if kind == "images" else ("n", width)
    axes: tuple[str, ...] = ("image", "row", "column") if kind == "images" else ("spectrum", "point")
    return (shape, axes) if channels == 1 else ((*shape, channels), (*axes, "channel"))


def _per_image(name: str, unit: str, meaning: str, low: float | None = None, high: float | None = None) -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", shape=("n",), axes=("image",), unit=unit, range_low=low, range_high=high, meaning=meaning)


def _per_latent(  # noqa: PLR0917 - as _per_image
    name: str, axis: str, size: int, meaning: str, low: float | None = None, high: float | None = None
) -> TensorSpec:
    shape, axes = ("n", size), ("image", axis)
    return TensorSpec(name=name, dtype="float32", shape=shape, axes=axes, unit="1", range_low=low, range_high=high, meaning=meaning)


def _of_circles(columns: tuple[int, ...], where: str = "in [-pi, pi]") -> str:
    return f"; columns {_listed(columns)}, from 0, are angles in radians on a circle, {where}, with a uniform prior" if columns else ""


def _sd(columns: tuple[int, ...]) -> str:
    return f"; of columns {_listed(columns)}, from 0, in radians, before the angle is wrapped" if columns else ""


def _listed(columns: tuple[int, ...]) -> str:
    return ", ".join(map(str, columns))


def _columns(name: str, axis: str, units: tuple[str, ...], meaning: str, low: float | None = None) -> TensorSpec:
    unit = ", ".join(dict.fromkeys(units))
    return TensorSpec(name=name, dtype="float32", shape=("n", len(units)), axes=("image", axis), unit=unit, range_low=low, meaning=meaning)
