"""What goes into a graph and what comes out of it, as the manifest promises."""

from __future__ import annotations

import math
from collections.abc import Mapping
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

    `shape` has the batch axis by its name "n" and always first; an axis as long as one of the signature's fixed inputs has that one's name.
    `range_low`/`range_high` are None where not bounded.
    """

    name: TensorName
    dtype: DType
    shape: Annotated[tuple[Literal["n"] | NamedAxis | Axis, ...], Field(min_length=1, max_length=8)]
    axes: tuple[str, ...]
    unit: Annotated[str, StringConstraints(min_length=1)]
    range_low: float | None = None
    range_high: float | None = None
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

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one row, without the batch axis; a named axis counts as 1."""
        return self.row_shape_with({})

    def row_shape_with(self, lengths: Mapping[str, int]) -> tuple[int, ...]:
        """The shape of one row where the named axes have these lengths."""
        return tuple(lengths.get(length, 1) if isinstance(length, str) else length for length in self.shape[1:])


class FixedSpec(Section):
    """An input that is the same for every row: an array that the server holds, such as the posterior's. An axis of any length has a name."""

    name: TensorName
    dtype: DType
    shape: Annotated[tuple[NamedAxis | Axis, ...], Field(max_length=8)]
    meaning: Annotated[str, StringConstraints(min_length=1)]

    def fits(self, dtype: str, shape: tuple[int, ...], lengths: dict[str, int]) -> bool:
        """Whether an array is such a one. `lengths`: of the named axes seen so far, which it joins."""
        if dtype != self.dtype or len(shape) != len(self.shape):
            return False
        return all((lengths.setdefault(want, have) if isinstance(want, str) else want) == have for want, have in zip(self.shape, shape, strict=True))


class Signature(Section):
    """One capability's graph.

    `max_batch`: the most rows one run may take (bounds the memory of intermediate results). `fixed`: the graph's inputs after `inputs` that have no
    rows; the server supplies them.
    """

    graph: str
    inputs: Annotated[tuple[TensorSpec, ...], Field(min_length=1)]
    fixed: tuple[FixedSpec, ...] = ()
    outputs: Annotated[tuple[TensorSpec, ...], Field(min_length=1)]
    max_batch: Annotated[int, Field(ge=1, le=65536)]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of every input and output; a named axis counts as 1."""
        return self.row_bytes_with({})

    def row_bytes_with(self, lengths: Mapping[str, int]) -> int:
        """Bytes of one row of every input and output where the named axes have these lengths."""
        return sum(math.prod(spec.row_shape_with(lengths)) * ITEM_BYTES[spec.dtype] for spec in (*self.inputs, *self.outputs))

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        named = {axis for spec in self.fixed for axis in spec.shape if isinstance(axis, str)}
        for spec in (*self.inputs, *self.outputs):
            if unknown := {axis for axis in spec.shape[1:] if isinstance(axis, str)} - named:
                raise ValueError(f"{self.graph}: {spec.name} has the axes {sorted(unknown)}, which no fixed input has")
        taken = [spec.name for spec in self.inputs] + [spec.name for spec in self.fixed]
        for names in (taken, [spec.name for spec in self.outputs]):
            if len(set(names)) != len(names):
                raise ValueError(f"{self.graph}: two inputs or two outputs have one name: {names}")
        return self
