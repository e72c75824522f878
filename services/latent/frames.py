"""Whole images to latent maps: every window of a frame, cut and resampled inside the graph, or the dense encoder once over the frame."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from dichroic.bundle import LatentSection
from dichroic.bundle.arrays import Arrays
from dichroic.bundle.frames_section import Frames
from dichroic.errors import DeadlineExceededError, InvalidFieldError, InvalidTensorError, UnsupportedCapabilityError
from services.engine.model import Identity, ServingModel
from services.latent.answers import Bool, Float32, Int64, encoded_fields, most_probable
from services.latent.inputs import NDArray
from services.latent.validity import touched_before, valid_windows
from services.latent.windows import Float64, Places, Wanted, places_of, windows_of

# Most bytes of pixels that are gathered for one run, window by window: what a graph holds beside its inputs and outputs.
PIECE_BYTES = 32 << 20
# Below this looking for pixels that are not finite is over sooner than a thread is woken.
THREAD_BYTES = 1 << 20
# By the time the caller is back, some of what waits has run.
RETRY_S = 0.05
# Of each window beside the graphs' outputs: its centre and whether it is valid.
PLACE_BYTES = 17
DTYPES = ("uint8", "uint16", "float32")


@dataclass(frozen=True)
class LatentMap:
    """The windows of one length; n = rows x columns, row after row, or the centres given. Units as in the proto's message of this name.

    Rows that are not `valid` (n,) are NaN, and -1 in class_index. None where the model has no such latent, and `explained` (n,) unless asked for;
    window_px 0, centres_px None and rows and columns 0 of patches.
    """

    window_px: float
    window_nm: float
    stage: int
    rows: int
    columns: int
    centres_px: Float64 | None
    valid: Bool
    invalid_count: int
    evaluated: str
    explained: Float32 | None
    angle_rad: Float32 | None
    angle_sd_rad: Float32 | None
    scale: Float32 | None
    shift_down_px: Float32 | None
    shift_right_px: Float32 | None
    content: Float32 | None
    content_sd: Float32 | None
    latent_mean: Float32
    latent_sd: Float32
    class_probabilities: Float32 | None
    class_index: Int64 | None


@dataclass(frozen=True)
class EncodedFrame:
    """One map for each window, in the order of the request."""

    model: Identity
    maps: tuple[LatentMap, ...]


class FrameEncoder:
    """The windows of one frame, encoded by a model that is leased for as long."""

    def __init__(self, model: ServingModel, latent: LatentSection, frame: NDArray, deadline: float) -> None:
        """Checks the frame. `deadline` in the event loop's time, seconds.

        Raises:
            UnsupportedCapabilityError: the model does not encode frames.
            InvalidTensorError: a dtype the model does not take, or another shape; names the field.
        """
        if latent.frames is None:
            there = ", ".join(sorted(model.manifest.signatures))
            message = f"Model {model.manifest.name} has no signatures frame_<k>, which whole frames need; it has {there}."
            raise UnsupportedCapabilityError(message, field="model_name")
        self.frames: Frames = latent.frames
        self._model = model
        self._channels = latent.channels
        self._deadline = deadline
        self._dtype = frame.dtype.name
        if self._dtype not in DTYPES or f"frame_1.{self._dtype}" not in model.manifest.signatures:
            taken = [dtype for dtype in DTYPES if f"frame_1.{dtype}" in model.manifest.signatures]
            raise InvalidTensorError(f"frame is {self._dtype}; send {' or '.join(taken)}.", field="frame")
        spec = model.signature(f"frame_1.{self._dtype}").fixed[0]
        if not spec.fits(self._dtype, frame.shape, {}) or 0 in frame.shape:
            wanted = "(h, w)" if latent.channels == 1 else f"(h, w, {latent.channels})"
            raise InvalidTensorError(f"frame has the shape {frame.shape}; this model takes {wanted}, one frame and no batch axis.", field="frame")
        self._frame = frame
        self._fixed: Arrays = {"frame": frame}
        self.height, self.width = frame.shape[:2]

    def places(self, wanted: Wanted) -> tuple[Places, ...]:
        """Where each window goes. Raises as windows_of and places_of."""
        return places_of(self.frames, wanted, windows_of(self.frames, wanted, self.height, self.width), self.height, self.width)

    async def maps(self, places: tuple[Places, ...], *, explain: bool) -> tuple[LatentMap, ...]:
        """The latents of every window, and with `explain` how much its reconstruction explains.

        Raises:
            InvalidFieldError: more windows than the server holds answers for.
            QueueFullError: too much is waiting.
            DeadlineExceededError: the deadline passed before the last rows were taken; says how to ask for fewer windows.
        """
        with self._held(places), _in_time(places):
            heavy = self._frame.dtype.kind == "f" and self._frame.nbytes > THREAD_BYTES
            before = await asyncio.to_thread(touched_before, self._frame) if heavy else touched_before(self._frame)
            found = []
            for each in places:
                centres = each.centres()
                valid = valid_windows(before, centres, each.window.px, self.frames.descriptor_px)
                outputs = await (self._dense(each) if each.dense_steps else self._by_windows("frame", each, centres, valid))
                if explain:
                    outputs |= await self._by_windows("explain", each, centres, valid)
                found.append(self._map(each, centres, valid, outputs))
            return tuple(found)

    @contextmanager
    def _held(self, places: tuple[Places, ...]) -> Iterator[None]:
        """Counts the answer among what waits or runs, until the block ends; each run counts itself, and the frame with it."""
        signature = self._model.signature(f"frame_1.{self._dtype}")
        row_bytes = PLACE_BYTES + sum(math.prod(spec.row_shape) * 4 for spec in signature.outputs)
        count, largest = sum(each.count for each in places), max(each.count for each in places)
        budget = self._model.budget
        if (count + largest) * row_bytes + 2 * self._frame.nbytes > budget.max_bytes:
            field = "stride_px" if places[0].given is None else "centres_px"
            most = max(0, (budget.max_bytes - 2 * self._frame.nbytes) // row_bytes)
            cure = "Raise stride_px, or ask for fewer windows" if places[0].given is None else "Send fewer"
            message = f"{field}: {count} windows are too many for one request; with this frame the server holds about {most // 2}. {cure}."
            raise InvalidFieldError(message, field=field)
        budget.reserve(count * row_bytes, RETRY_S)
        try:
            yield
        finally:
            budget.release(count * row_bytes)

    async def _by_windows(self, kind: str, place: Places, centres: Float64, valid: Bool) -> Arrays:
        """What `frame_<k>` or `explain_<k>` answers at the valid windows, in pieces, so that the pixels gathered at once stay bounded."""
        name = f"{kind}_{place.window.stage}.{self._dtype}"
        pixels = (math.ceil(place.window.px) + 2) ** 2 * self._channels * 4
        piece = max(1, PIECE_BYTES // pixels)
        chosen = centres[valid].astype(np.float32)
        outputs: Arrays = {
            spec.name: np.full((len(centres), *spec.row_shape), np.nan, dtype=np.float32) for spec in self._model.signature(name).outputs
        }
        rows = np.flatnonzero(valid)
        for start in range(0, len(chosen), piece):
            some = chosen[start : start + piece]
            inputs = {"centre_px": some, "window_px": np.full(len(some), place.window.px, dtype=np.float32)}
            found = await self._model.run(name, inputs, self._deadline, self._fixed)
            for output, values in found.items():
                outputs[output][rows[start : start + piece]] = values
        return outputs

    async def _dense(self, place: Places) -> Arrays:
        """The dense encoder's map at the grid's places.

        Raises:
            RuntimeError: the graph's grid is another than its manifest says: its values could not be placed.
        """
        name = f"dense_{place.window.stage}.{self._dtype}"
        inputs = {"frames": self._frame[None], "window_px": np.array([place.window.px], dtype=np.float32)}
        found = await self._model.run(name, inputs, self._deadline)
        outputs: Arrays = {}
        for output, values in found.items():
            grid = values[0, :: place.dense_steps, :: place.dense_steps]
            if grid.shape[:2] != (place.rows, place.columns):
                raise RuntimeError(f"{name}: {output} has a grid of {grid.shape[:2]}, not {(place.rows, place.columns)}")
            outputs[output] = grid.reshape(place.count, *grid.shape[2:])
        return outputs

    def _map(self, place: Places, centres: Float64, valid: Bool, outputs: Arrays) -> LatentMap:
        invalid = len(valid) - int(np.count_nonzero(valid))
        if invalid and place.dense_steps:
            outputs = {name: np.where(valid.reshape(-1, *[1] * (values.ndim - 1)), values, np.float32(np.nan)) for name, values in outputs.items()}
        return LatentMap(
            window_px=place.window.px,
            window_nm=place.window.nm,
            stage=place.window.stage,
            rows=place.rows,
            columns=place.columns,
            centres_px=centres,
            valid=valid,
            invalid_count=invalid,
            evaluated="dense" if place.dense_steps else "windows",
            explained=outputs.get("explained"),
            class_index=_classes(outputs.get("class_probabilities"), valid),
            **encoded_fields(outputs),
        )


@contextmanager
def _in_time(places: tuple[Places, ...]) -> Iterator[None]:
    """What is late in this block is told how much it was: a frame is sent whole, but it need not be looked at everywhere."""
    try:
        yield
    except DeadlineExceededError as error:
        less = "a larger stride_px, or centres_px" if places[0].given is None else "fewer centres_px, or fewer lengths"
        count = sum(each.count for each in places)
        message = f"The deadline passed before all {count} windows were encoded. Allow more time, or ask for fewer windows: {less}."
        raise DeadlineExceededError(message) from error


def _classes(probabilities: Float32 | None, valid: Bool) -> Int64 | None:
    if probabilities is None:
        return None
    index = np.full(len(valid), -1, dtype=np.int64)
    if valid.any():
        index[valid] = most_probable(probabilities[valid])
    return index
