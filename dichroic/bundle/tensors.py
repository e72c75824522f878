"""What goes into a graph and what comes out of it, as the manifest promises."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from dichroic.bundle.section import Section

# A row is an image, a spectrum or latents; more is a mistake, or an attack on the server's memory.
MAX_ROW_ELEMENTS = 1 << 28

Axis = Annotated[int, Field(ge=0, le=1 << 24)]
# An axis of any length that is no batch axis, such as N, the number of the posterior's points.
NamedAxis = Annotated[str, StringConstraints(pattern=r"^[A-Z]$|^r$")]
TensorName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
DType = Literal["uint8", "uint16", "int64", "float32", "float64", "bool"]
ITEM_BYTES = {"uint8": 1, "uint16": 2, "int64": 8, "float32": 4, "float64": 8, "bool": 1}


class TensorSpec(Section):
    """One input or output of a graph.

    `shape` has the batch axis by its name "n" and always first; an axis as long as one of the signature's fixed inputs has that one's name, and one
    of any length a name of its own. `range_low`/`range_high` are None where not bounded. `takes_non_finite`: of an input: the graph passes over NaN
    and infinities, which are refused otherwise.
    """

    name: TensorName
    dtype: DType
    shape: Annotated[tuple[Literal["n"] | NamedAxis | Axis, ...], Field(min_length=1, max_length=8)]
    axes: tuple[str, ...]
    unit: Annotated[str, StringConstraints(min_length=1)]
    range_low: float | None = None
    range_high: float | None = None
    takes_non_finite: bool = False
    meaning: Annotated[str, StringConstraints(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.shape[0] != "n" or "n" in self.shape[1:]:
            raise ValueError(f"{self.name}: the first axis, and no other, is the batch axis 'n', not {self.shape}")
        if math.prod(self.row_shape) > MAX_ROW_ELEMENTS:
            raise ValueError(f"{self.name}: a row of shape {self.row_shape} has more than {MAX_ROW_ELEMENTS} elements")
        if len(self.axes) != len(self.shape):
            raise ValueError(f"{self.name}: {len(self.axes)} axis names for {len(self.shape)} axes")
        if self.range_low is not None and self.range_high is not None and self.range_low > self.range_high:
            raise ValueError(f"{self.name}: range_low {self.range_low} is above range_high {self.range_high}")
        return self

    def lengths_of(self, shape: tuple[int, ...], lengths: dict[str, int]) -> bool:
        """Whether an array of this shape is such a one, whatever its rows. `lengths`: of the named axes seen so far, which it joins."""
        if self.of_one_shape:
            # Every request's every array comes here.
            return shape[1:] == self.row_shape and bool(shape)
        if len(shape) != len(self.shape) or 0 in shape[1:]:
            return False
        return all(_agrees(want, have, lengths) for want, have in zip(self.shape[1:], shape[1:], strict=True))

    @cached_property
    def of_one_shape(self) -> bool:
        """Whether rows have one shape: no axis but the batch's is named, and none is empty."""
        return all(isinstance(length, int) and length for length in self.shape[1:])

    @cached_property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one row, without the batch axis; a named axis counts as 1."""
        return self.row_shape_with({})

    def row_shape_with(self, lengths: Mapping[str, int]) -> tuple[int, ...]:
        """The shape of one row where the named axes have these lengths."""
        return tuple(lengths.get(length, 1) if isinstance(length, str) else length for length in self.shape[1:])


class FixedSpec(Section):
    """An input that is the same for every row. An axis of any length has a name.

    `source`: the server holds it, such as the posterior's arrays, or it comes with each request, such as a frame.
    """

    name: TensorName
    dtype: DType
    shape: Annotated[tuple[NamedAxis | Axis, ...], Field(max_length=8)]
    source: Literal["bundle", "request"] = "bundle"
    meaning: Annotated[str, StringConstraints(min_length=1)]

    def fits(self, dtype: str, shape: tuple[int, ...], lengths: dict[str, int]) -> bool:
        """Whether an array is such a one. `lengths`: of the named axes seen so far, which it joins."""
        if dtype != self.dtype or len(shape) != len(self.shape):
            return False
        return all(_agrees(want, have, lengths) for want, have in zip(self.shape, shape, strict=True))


class Signature(Section):
    """One capability's graph.

    `max_batch`: the most rows one run may take (bounds the memory of intermediate results). `fixed`: the graph's inputs after `inputs` that have no
    rows; the server supplies them, or each request its own. Rows whose named axes have different lengths never run together.
    """

    graph: str
    inputs: Annotated[tuple[TensorSpec, ...], Field(min_length=1)]
    fixed: tuple[FixedSpec, ...] = ()
    outputs: Annotated[tuple[TensorSpec, ...], Field(min_length=1)]
    max_batch: Annotated[int, Field(ge=1, le=65536)]

    @cached_property
    def asks_for_fixed(self) -> bool:
        """Whether the fixed inputs come with each request; the bundle has none of its own then."""
        return any(spec.source == "request" for spec in self.fixed)

    @cached_property
    def free_axes(self) -> frozenset[str]:
        """Named axes of outputs that no input has: a run's outcome tells how long they are."""
        given = {axis for shape in (*(spec.shape for spec in self.inputs), *(spec.shape for spec in self.fixed)) for axis in shape}
        return frozenset(axis for spec in self.outputs for axis in spec.shape[1:] if isinstance(axis, str)) - given

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of every input and output; a named axis counts as 1."""
        return self.row_bytes_with({})

    def row_bytes_with(self, lengths: Mapping[str, int]) -> int:
        """Bytes of one row of every input and output where the named axes have these lengths."""
        return sum(math.prod(spec.row_shape_with(lengths)) * ITEM_BYTES[spec.dtype] for spec in (*self.inputs, *self.outputs))

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        if len({spec.source for spec in self.fixed}) > 1:
            raise ValueError(f"{self.graph}: fixed inputs are all the bundle's, or all come with a request")
        if self.free_axes and not any(isinstance(axis, str) and axis != "n" for spec in self.inputs for axis in spec.shape):
            raise ValueError(
                f"{self.graph}: outputs have the axes {sorted(self.free_axes)}, which no input has; they may where an input has named axes"
            )
        taken = [spec.name for spec in self.inputs] + [spec.name for spec in self.fixed]
        for names in (taken, [spec.name for spec in self.outputs]):
            if len(set(names)) != len(names):
                raise ValueError(f"{self.graph}: two inputs or two outputs have one name: {names}")
        return self


def _agrees(want: str | int, have: int, lengths: dict[str, int]) -> bool:
    """Whether an axis is as long as it should be; a named one as any, but the same throughout."""
    return (lengths.setdefault(want, have) if isinstance(want, str) else want) == have
