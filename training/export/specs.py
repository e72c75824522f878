"""Names, shapes, units and meanings of every graph's tensors: what the manifest says and the graphs have."""

from __future__ import annotations

import math
from typing import Literal

from dichroic.bundle import Preprocessing, Signature, TensorSpec
from training.latent.specification import ModelSpecification

# Intermediate results of one run of a decoding graph stay below this.
_ACTIVATION_BYTES = 128 << 20
_ENCODE_MAX_BATCH = 256
_INTEGER_HIGH = {"uint8": 255.0, "uint16": 65535.0}

ImageDType = Literal["uint8", "uint16", "float32"]


def images_in(specification: ModelSpecification, preprocessing: Preprocessing, dtype: ImageDType) -> TensorSpec:
    """The input of the encode and reconstruct graphs."""
    shape, axes = _image_shape(specification)
    integer = dtype != "float32"
    counts = preprocessing.integer_images == "value"
    meaning = "images in the unit of the training data"
    if integer:
        meaning = "images as counts in that unit" if counts else "images; 0 to the greatest integer span input_low to input_high"
    return TensorSpec(
        name="images",
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
        specs += [
            _per_image("shift_down_px", "px", "the object's shift towards higher rows from the image's centre"),
            _per_image("shift_right_px", "px", "the object's shift towards higher columns from the image's centre"),
        ]
    if specification.content_size:
        specs += [
            _per_latent("content", "content", specification.content_size, "posterior mean of the content latents, prior N(0, 1)"),
            _per_latent("content_sd", "content", specification.content_size, "posterior standard deviation of the content latents", 0.0),
        ]
    return (
        *specs,
        _per_latent("latent_mean", "latent", specification.latent_size, "posterior mean of every raw latent in latent_names order, prior N(0, 1)"),
        _per_latent("latent_sd", "latent", specification.latent_size, "posterior standard deviation of every raw latent", 0.0),
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


def decode_inputs(specification: ModelSpecification) -> tuple[TensorSpec, ...]:
    """Inputs of the decode graph: content where there is any, the object's pose with any spatial decoder, and the class where there are classes."""
    specs: list[TensorSpec] = []
    if specification.content_size:
        specs.append(_per_latent("content", "content", specification.content_size, "content latents, prior N(0, 1)"))
    if specification.invariances:
        specs += [
            _per_image("angle_rad", "rad", "the object's angle, counter-clockwise, any finite value"),
            _per_image("scale", "1", "the object's size over its size at scale 1, above 0", 0.0),
            _per_image("shift_down_px", "px", "the object's shift towards higher rows"),
            _per_image("shift_right_px", "px", "the object's shift towards higher columns"),
        ]
    if specification.class_source:
        specs.append(_per_latent("class_weights", "class", specification.class_count, "one-hot: 1 for the class to draw, 0 for the others", 0.0))
    return tuple(specs)


def images_out(specification: ModelSpecification, preprocessing: Preprocessing, name: str, meaning: str) -> TensorSpec:
    """Decoded images in the unit of the training data."""
    shape, axes = _image_shape(specification)
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
    meaning = "mean over pixels and channels of the squared difference of image and reconstruction, input range scaled to [0, 1], not clipped"
    return (
        images_out(specification, preprocessing, "reconstruction", "the image decoded from its posterior mean"),
        _per_image("error", "1", meaning, 0.0),
    )


def signatures(specification: ModelSpecification, preprocessing: Preprocessing) -> dict[str, Signature]:
    """All signatures by name; the graph's file is the name and ".onnx"."""
    decode_batch = decode_max_batch(specification)
    found = {
        "decode": Signature(
            graph="decode.onnx",
            inputs=decode_inputs(specification),
            outputs=(images_out(specification, preprocessing, "images", "the likelihood's mean image"),),
            max_batch=decode_batch,
        )
    }
    dtypes: tuple[ImageDType, ...] = ("uint8", "uint16", "float32")
    for dtype in dtypes:
        images = (images_in(specification, preprocessing, dtype),)
        found[f"encode.{dtype}"] = Signature(
            graph=f"encode.{dtype}.onnx", inputs=images, outputs=encode_outputs(specification), max_batch=_ENCODE_MAX_BATCH
        )
        found[f"reconstruct.{dtype}"] = Signature(
            graph=f"reconstruct.{dtype}.onnx", inputs=images, outputs=reconstruct_outputs(specification, preprocessing), max_batch=decode_batch
        )
        if specification.class_source:
            found[f"classify.{dtype}"] = Signature(
                graph=f"classify.{dtype}.onnx", inputs=images, outputs=class_outputs(specification), max_batch=_ENCODE_MAX_BATCH
            )
    return found


def decode_max_batch(specification: ModelSpecification) -> int:
    """The largest power of two of images, at most 64, whose hidden features fit the memory bound (two layers live at once)."""
    rows = specification.pixels if specification.invariances else 1
    per_image = 2 * 4 * rows * max(*specification.decoder_widths, specification.channels)
    return int(2 ** math.floor(math.log2(min(64, max(1, _ACTIVATION_BYTES // per_image)))))


def _angle_sd_meaning(specification: ModelSpecification) -> str:
    if specification.angle_bins:
        return "root mean square of the posterior angle's short way from the reported one, without pixel noise"
    return "posterior standard deviation of the angle, without pixel noise"


def _image_shape(specification: ModelSpecification) -> tuple[tuple[Literal["n"] | int, ...], tuple[str, ...]]:
    shape: tuple[Literal["n"] | int, ...] = ("n", specification.height_px, specification.width_px)
    axes: tuple[str, ...] = ("image", "row", "column")
    return (shape, axes) if specification.channels == 1 else ((*shape, specification.channels), (*axes, "channel"))


def _per_image(name: str, unit: str, meaning: str, low: float | None = None, high: float | None = None) -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", shape=("n",), axes=("image",), unit=unit, range_low=low, range_high=high, meaning=meaning)


def _per_latent(name: str, axis: str, size: int, meaning: str, low: float | None = None) -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", shape=("n", size), axes=("image", axis), unit="1", range_low=low, meaning=meaning)
