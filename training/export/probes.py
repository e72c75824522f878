"""Drawn inputs for parity and golden answers: smooth random pictures and random latents. Never crops of measured data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from dichroic.bundle import Preprocessing, Signature, TensorSpec
from training.latent.specification import ConditionColumn, ModelSpecification, TargetColumn

Array = np.ndarray[Any, np.dtype[Any]]


def probe_inputs(signature: Signature, specification: ModelSpecification, preprocessing: Preprocessing, rows: int, seed: int) -> dict[str, Array]:
    """Inputs (rows, ...) for a signature, by name, in its dtypes; the same seed gives the same values."""
    generator = np.random.default_rng(seed)
    return {spec.name: _one(spec, specification, preprocessing, rows, generator) for spec in signature.inputs}


def _one(spec: TensorSpec, specification: ModelSpecification, preprocessing: Preprocessing, rows: int, generator: np.random.Generator) -> Array:
    shape = (rows, *spec.row_shape)
    if spec.name in ("images", "spectra"):
        return _pictures(spec, specification, preprocessing, rows, generator)
    height, width, _ = specification.drawn_shape
    limits = {
        "angle_rad": (-math.pi, math.pi),
        "scale": (0.8, 1.25),
        "shift_down_px": (-0.1 * height, 0.1 * height),
        "shift_right_px": (-0.1 * width, 0.1 * width),
    }
    if spec.name == "class_weights":
        return np.eye(spec.row_shape[0], dtype=np.float32)[generator.integers(spec.row_shape[0], size=rows)]
    if spec.name in ("conditions", "targets"):
        columns = specification.conditions if spec.name == "conditions" else specification.targets
        return np.stack([_column(column, rows, generator) for column in columns], axis=1).astype(np.float32)
    if spec.name in limits:
        return generator.uniform(*limits[spec.name], shape).astype(np.float32)
    drawn = generator.standard_normal(shape)
    circles = list(specification.circle_columns(spec.name))
    if circles:
        drawn[:, circles] = generator.uniform(-math.pi, math.pi, (rows, len(circles)))
    return drawn.astype(np.float32)


def _column(column: ConditionColumn | TargetColumn, rows: int, generator: np.random.Generator) -> Array:
    """A category's index, or a number as the training data has it; (rows,)."""
    if isinstance(column, ConditionColumn) and column.categories:
        return generator.integers(len(column.categories), size=rows)
    return column.mean + column.sd * generator.standard_normal(rows)


def _pictures(spec: TensorSpec, specification: ModelSpecification, preprocessing: Preprocessing, rows: int, generator: np.random.Generator) -> Array:
    shape = (rows, specification.height_px, specification.width_px, specification.channels)
    return smooth_pictures(shape, shape[1:3], spec.dtype, preprocessing, generator).reshape(rows, *spec.row_shape)


def smooth_pictures(
    shape: tuple[int, int, int, int], window: tuple[int, int], dtype: str, preprocessing: Preprocessing, generator: np.random.Generator
) -> Array:
    """Smooth random pictures (n, h, w, c) of a dtype that fill the input range each; `window`: height and width that hold some eight waves."""
    smooth = gaussian_filter(generator.standard_normal(shape), sigma=(0, window[0] / 8, window[1] / 8, 0))
    low, high = smooth.min(axis=(1, 2), keepdims=True), smooth.max(axis=(1, 2), keepdims=True)
    unit = (smooth - low) / (high - low)  # each picture fills [0, 1]
    if dtype == "float32":
        first, last = np.asarray(preprocessing.input_low), np.asarray(preprocessing.input_high)
        return (first + unit * (last - first)).astype(np.float32)
    greatest = float(np.iinfo(dtype).max)
    if preprocessing.integer_images == "value":
        first, last = np.clip(preprocessing.input_low, 0, greatest), np.clip(preprocessing.input_high, 0, greatest)
        return np.round(first + unit * (last - first)).astype(dtype)
    return np.round(unit * greatest).astype(dtype)
