"""Which grid DecodeManifold decodes: two content latents, their values, and the rows that `decode` is asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

from dichroic.bundle import LatentSection
from dichroic.errors import InvalidFieldError, InvalidTensorError, UnsupportedCapabilityError
from services.latent.answers import Float32
from services.latent.inputs import Given, NDArray

MAX_IMAGES = 4096
# Beyond it the normal distribution's probability is 0 or 1 in double precision, and equal steps of it are none.
MAX_QUANTILE = 8.0
# Grid's fields beside `fixed`, by the names of the wire.
GRID = ("axis_1", "axis_2", "count_1", "count_2", "low_1", "high_1", "low_2", "high_2", "spacing")
SPACINGS = ("quantile", "value")
PRIOR = NormalDist()
TAIL = 0.05
FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Grid:
    """A grid as asked for, in the fields of DecodeManifoldRequest. `fixed`: latents, class, conditions and targets, one row each."""

    axis_1: int
    axis_2: int
    count_1: int
    count_2: int
    low_1: float = 0.0
    high_1: float = 0.0
    low_2: float = 0.0
    high_2: float = 0.0
    spacing: str = ""
    fixed: Given = field(default_factory=dict)

    def values(self, latent: LatentSection) -> tuple[Float32, Float32]:
        """The values down and to the right, (count_1,) and (count_2,) float32, ascending.

        Raises:
            UnsupportedCapabilityError: the model has fewer than two content latents.
            InvalidFieldError: axes, counts, bounds or spacing that make no grid.
        """
        if latent.content_size < 2:
            raise UnsupportedCapabilityError(
                f"The model has {latent.content_size} content latents; a grid needs two. Use Decode.", field="model_name"
            )
        for name, axis in (("axis_1", self.axis_1), ("axis_2", self.axis_2)):
            if not 0 <= axis < latent.content_size:
                raise InvalidFieldError(f"{name} is {axis}; the model's content latents are 0 to {latent.content_size - 1}.", field=name)
        if self.axis_1 == self.axis_2:
            raise InvalidFieldError(f"axis_1 and axis_2 are both {self.axis_1}; a grid needs two different content latents.", field="axis_2")
        for name, count in (("count_1", self.count_1), ("count_2", self.count_2)):
            if count < 2:
                raise InvalidFieldError(f"{name} is {count}; a grid has 2 steps or more each way.", field=name)
        if self.count_1 * self.count_2 > MAX_IMAGES:
            raise InvalidFieldError(f"{self.count_1} x {self.count_2} images are too many; {MAX_IMAGES} at most in one grid.", field="count_1")
        if self.spacing and self.spacing not in SPACINGS:
            raise InvalidFieldError(f"spacing is {self.spacing!r}; choose one of {', '.join(SPACINGS)}.", field="spacing")
        return self._steps(1, self.axis_1, self.count_1, latent), self._steps(2, self.axis_2, self.count_2, latent)

    def one_row(self, latent: LatentSection) -> dict[str, NDArray]:
        """What is fixed over the grid, content included.

        Raises:
            InvalidTensorError: an array has another number of rows than 1.
        """
        for name, array in self.fixed.items():
            if len(array) != 1:
                raise InvalidTensorError(f"{name} has {len(array)} rows; it is fixed over the grid, so send one.", field=name)
        return {"content": np.zeros((1, latent.content_size), np.float32), **self.fixed}

    def rows(self, one_row: Mapping[str, NDArray], values_1: Float32, values_2: Float32) -> dict[str, NDArray]:
        """The inputs of `decode` for the grid, row by row, from those of one row: count_1 x count_2 rows of every array."""
        inputs = {name: np.repeat(array, len(values_1) * len(values_2), axis=0) for name, array in one_row.items()}
        inputs["content"][:, self.axis_1] = np.repeat(values_1, len(values_2))
        inputs["content"][:, self.axis_2] = np.tile(values_2, len(values_1))
        return inputs

    def _steps(self, number: int, axis: int, count: int, latent: LatentSection) -> Float32:
        low, high = (self.low_1, self.high_1) if number == 1 else (self.low_2, self.high_2)
        on_circle = latent.on_circle(axis)
        if low == high == 0:
            if on_circle:  # its end is its beginning
                return np.linspace(-math.pi, math.pi, count, endpoint=False, dtype=np.float32)
            low, high = PRIOR.inv_cdf(TAIL), PRIOR.inv_cdf(1 - TAIL)
        if not (math.isfinite(low) and math.isfinite(high) and low < high and abs(low) <= FLOAT32_MAX and abs(high) <= FLOAT32_MAX):
            raise InvalidFieldError(f"low_{number} is {low:g}, high_{number} {high:g}; low must be below high, both finite.", field=f"low_{number}")
        if on_circle or self.spacing == "value":
            return np.linspace(low, high, count).astype(np.float32)
        if not -MAX_QUANTILE <= low < high <= MAX_QUANTILE:
            message = f"low_{number} is {low:g} and high_{number} {high:g}; by quantiles they lie within ±{MAX_QUANTILE:g}. Use spacing 'value'."
            raise InvalidFieldError(message, field=f"low_{number}")
        inner = [PRIOR.inv_cdf(share) for share in np.linspace(PRIOR.cdf(low), PRIOR.cdf(high), count)[1:-1].tolist()]
        # The ends as asked for, not by way of their probabilities.
        return np.array([low, *inner, high], dtype=np.float32)
