"""One ONNX session and its own thread: runs batches, keeps one caller's bad rows from its neighbours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime as ort

from dichroic.bundle import Signature, TensorSpec
from dichroic.bundle.arrays import Arrays
from dichroic.bundle.tensors import ITEM_BYTES
from dichroic.errors import InvalidTensorError
from services.engine.batch import Segment, SegmentResult, ShapeError, joined, parted
from services.engine.placed import Placed

NDArray = np.ndarray[Any, np.dtype[Any]]


# Most bytes of inputs and outputs of one run.
MAX_RUN_BYTES = 256 << 20
# Most rows that a CPU is warmed up with: what a run allocates at first is there then, and a bundle of many graphs does not take long.
WARM_ROWS = 256
# So many times the rows of other runs where a fixed input, such as a frame, comes with the request.
WHOLE_READS = 16


class Runtime:
    """Runs one signature's graph. `run_segments` is called on `lane` only, one at a time."""

    def __init__(
        self,
        name: str,
        session: ort.InferenceSession,
        signature: Signature,
        *,
        max_batch: int,
        pad: bool,
        max_run_bytes: int = MAX_RUN_BYTES,
        place_on: str = "",
    ) -> None:
        """place_on: the device, as ONNX Runtime calls it, on which fixed inputs stay between runs; empty: they are where the runs are."""
        self.name = name
        self.signature = signature
        self._max_run_bytes = max_run_bytes
        self._row_bytes = signature.row_bytes
        # Every run of such a graph reads the whole frame anew, however few windows it is asked about.
        most = max_batch * WHOLE_READS if signature.asks_for_fixed else max_batch
        self.max_batch = max(1, min(most, signature.max_batch, max_run_bytes // self._row_bytes))
        self.lane = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"lane-{name}")
        self._session = session
        self._placed = Placed(session, place_on) if place_on and signature.fixed else None
        self._output_names = [spec.name for spec in signature.outputs]
        self._float_inputs = [spec for spec in signature.inputs if spec.dtype.startswith("float") and not spec.takes_non_finite]
        self._float_outputs = [spec.name for spec in signature.outputs if spec.dtype.startswith("float")]
        # A GPU tunes its kernels anew for every batch size it meets, so there only a few sizes occur; a CPU would only waste the padding.
        self._pad = pad
        self._held: tuple[Arrays, dict[str, int]] = {}, {}
        self._named = any(isinstance(axis, str) for spec in signature.inputs for axis in spec.shape[1:])
        # Of a row whose outputs are as long as they come out: their bytes over those of the inputs, the most that was seen.
        self._bytes_out = 0.0
        self.buckets = buckets_to(self.max_batch)

    def hold(self, fixed: Arrays) -> None:
        """Keeps the bundle's own fixed inputs, of which the signature takes what it names. Of rows that are longer by them a run takes fewer.

        Raises:
            ShapeError: one is missing, or has another dtype or shape.
        """
        self._held = self._fixed(fixed)
        if self._placed is not None:
            self._placed.hold(self._held[0])
        self._row_bytes = self.signature.row_bytes_with(self._held[1])
        self.max_batch = self.most_rows(None)
        self.buckets = buckets_to(self.max_batch)

    def row_bytes(self, fixed: Arrays | None, inputs: Arrays | None = None) -> int:
        """What one row of inputs and outputs takes.

        Args:
            fixed: the fixed inputs; None: those that are held.
            inputs: rows whose named axes are as long as they are; None: those count as 1. Outputs whose length only the outcome tells are taken
                to be to the inputs as those of runs before, of which the golden example is the first.
        """
        if not self._named or inputs is None:
            return self._row_bytes if fixed is None else self.signature.row_bytes_with(self._lengths(fixed))
        lengths = (self._held[1] if fixed is None else self._lengths(fixed)) | dict(self.lengths(inputs))
        taken = self.signature.row_bytes_with(lengths)
        return taken + int(self._bytes_out * _input_bytes(self.signature, lengths)) if self.signature.free_axes else taken

    def lengths(self, inputs: Arrays) -> tuple[tuple[str, int], ...]:
        """How long the named axes of these rows are: rows run together only where this is equal."""
        if not self._named:
            return ()
        found: dict[str, int] = {}
        for spec in self.signature.inputs:
            found |= {axis: length for axis, length in zip(spec.shape[1:], inputs[spec.name].shape[1:], strict=False) if isinstance(axis, str)}
        return tuple(sorted(found.items()))

    def fixed_bytes(self, fixed: Arrays | None) -> int:
        """What the fixed inputs take themselves; None: those that are held."""
        arrays = self._held[0] if fixed is None else fixed
        return sum(arrays[spec.name].nbytes for spec in self.signature.fixed if spec.name in arrays)

    def most_rows(self, fixed: Arrays | None, inputs: Arrays | None = None) -> int:
        """Of one run with these fixed inputs and rows as long as these, 1 or more: where rows are longer than with those that are held, fewer."""
        return max(1, min(self.max_batch, self._max_run_bytes // self.row_bytes(fixed, inputs)))

    def run(self, inputs: Arrays, options: ort.RunOptions | None = None, fixed: Arrays | None = None) -> Arrays:
        """The graph as it is, on the calling thread: one row of every output for each row of the inputs.

        Args:
            inputs: by name, with their rows.
            options: of ONNX Runtime.
            fixed: the fixed inputs; None: those that are held.

        Raises:
            ShapeError: an output, or a fixed input, has another shape than the signature says. Rows could then not be told apart.
        """
        rows = len(next(iter(inputs.values())))
        # What comes with each request is never held: without it, it is missing.
        held, lengths = self._held if fixed is None and not self.signature.asks_for_fixed else self._fixed(fixed or {})
        lengths = lengths | dict(self.lengths(inputs))
        outputs: Arrays = {}
        if self._placed is None:
            answers = self._session.run(self._output_names, {**inputs, **held}, options)
        else:
            answers = self._placed.run(self._output_names, inputs, fixed, held, options)
        for spec, answer in zip(self.signature.outputs, answers, strict=True):
            # A free axis has the length of the first output that has it.
            if len(answer) != rows or not spec.lengths_of(answer.shape, lengths):
                wanted = (rows, *(lengths.get(axis, axis) if isinstance(axis, str) else axis for axis in spec.shape[1:]))
                raise ShapeError(f"{self.name}: {spec.name} came out as {answer.shape}, not {wanted}")
            outputs[spec.name] = answer
        if self.signature.free_axes:
            bytes_in = _input_bytes(self.signature, lengths)
            self._bytes_out = max(self._bytes_out, sum(array.nbytes for array in outputs.values()) / rows / bytes_in)
        return outputs

    def _fixed(self, arrays: Arrays) -> tuple[Arrays, dict[str, int]]:
        """What the signature takes of them, and how long its named axes are."""
        lengths: dict[str, int] = {}
        for spec in self.signature.fixed:
            array = arrays.get(spec.name)
            if array is None or not spec.fits(array.dtype.name, array.shape, lengths):
                found = "missing" if array is None else f"{array.dtype.name}{array.shape}"
                raise ShapeError(f"{self.name}: the fixed input {spec.name} is {found}; expected {spec.dtype}{spec.shape} with {lengths}")
        return {spec.name: arrays[spec.name] for spec in self.signature.fixed}, lengths

    def _lengths(self, arrays: Arrays) -> dict[str, int]:
        """How long the named axes are, of arrays that a run has yet to check."""
        lengths: dict[str, int] = {}
        for spec in self.signature.fixed:
            if spec.name in arrays:
                axes = zip(spec.shape, arrays[spec.name].shape, strict=False)
                lengths |= {axis: length for axis, length in axes if isinstance(axis, str)}
        return lengths

    @property
    def warm_up_rows(self) -> list[int]:
        """Batch sizes to run before the first request: a GPU tunes its kernels for each one that will occur; a CPU has nothing to tune."""
        return self.buckets if self._pad else sorted({1, min(self.max_batch, WARM_ROWS)})

    def padded(self, rows: int) -> int:
        """The batch size that `rows` rows run at."""
        return next(size for size in self.buckets if size >= rows) if self._pad else rows

    def run_segments(self, segments: list[Segment]) -> list[SegmentResult]:
        """Runs every segment whose rows are finite, together; if the run fails, each alone, so that only the one at fault fails."""
        good: list[Segment] = []
        results: list[SegmentResult] = []
        for segment in segments:
            problem = self._non_finite_input(segment)
            if problem is None:
                good.append(segment)
            else:
                results.append(SegmentResult(segment, None, problem))
        return results + self._run_together(good)

    def _run_together(self, segments: list[Segment]) -> list[SegmentResult]:
        if not segments:
            return []
        rows = sum(segment.rows for segment in segments)
        try:
            # The batcher puts no two works together that have different ones.
            outputs = self.run(joined(segments, self.padded(rows)), fixed=segments[0].work.fixed)
        except Exception as error:
            if len(segments) == 1:
                return [SegmentResult(segments[0], None, error)]
            return [result for segment in segments for result in self._run_together([segment])]
        return [self._checked(segment, part) for segment, part in zip(segments, parted(segments, outputs), strict=True)]

    def _checked(self, segment: Segment, outputs: Arrays) -> SegmentResult:
        # Finite input, infinite output: the values overflowed float32 on the way. A wrong answer must not leave the server.
        for name in self._float_outputs:
            row = first_non_finite_row(outputs[name])
            if row is not None:
                message = (
                    f"Row {segment.start + row}: its values are so far outside what the model was trained on that {name} overflows. "
                    "Check the unit (GetModel tells it) and the image's range."
                )
                error = InvalidTensorError(message, field=self.signature.inputs[0].name, row=segment.start + row)
                return SegmentResult(segment, None, error)
        return SegmentResult(segment, outputs, None)

    def _non_finite_input(self, segment: Segment) -> InvalidTensorError | None:
        for spec in self._float_inputs:
            row = first_non_finite_row(segment.work.inputs[spec.name][segment.start : segment.stop])
            if row is not None:
                return _non_finite(spec, segment.start + row)
        return None


def _input_bytes(signature: Signature, lengths: Mapping[str, int]) -> int:
    return sum(math.prod(spec.row_shape_with(lengths)) * ITEM_BYTES[spec.dtype] for spec in signature.inputs)


def buckets_to(largest: int) -> list[int]:
    """Batch sizes 1, 2, 3, 4, 6, 8, 12, 16, … up to and with `largest`: padding wastes a third at most."""
    sizes = {largest}
    power = 1
    while power < largest:
        sizes |= {power, min(largest, power + power // 2)}
        power *= 2
    return sorted(sizes)


def first_non_finite_row(array: NDArray) -> int | None:
    """Index of the first row with a NaN or an infinity, or None."""
    finite = np.isfinite(array)
    if finite.all():
        return None
    return int(np.argmin(finite.reshape(len(array), -1).all(axis=1)))


def _non_finite(spec: TensorSpec, row: int) -> InvalidTensorError:
    return InvalidTensorError(
        f"{spec.name}: row {row} holds NaN or infinity. Every value must be finite: mask or repair the row, or leave it out.",
        field=spec.name,
        row=row,
    )
