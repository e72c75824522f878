"""Where a caller looks in a frame: window lengths, the stage that encodes each, and the centres.

A window of length w, pixels of the frame, at the centre (r, c) covers the rows [r - w/2, r + w/2); pixel (i, j) covers [i, i + 1) x [j, j + 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dichroic.bundle.frames_section import Frames, FrameStage
from dichroic.errors import InvalidFieldError, InvalidTensorError
from services.latent.inputs import NDArray

Float64 = np.ndarray[Any, np.dtype[np.float64]]

# How far a window may reach over the frame's border by rounding, pixels.
INSIDE_PX = 1e-6
# A grid's step may be so many of the dense encoder's: what is computed in vain is then still cheaper than window by window.
MAX_DENSE_STEPS = 4
# Steps that differ by rounding in float32 are the same.
SAME_STEP = 1e-6
# The dense encoder sees the whole frame enlarged by so much at most: by more it is too large, and window by window is cheaper.
MAX_ENLARGED = 2
# More than any answer could hold; a guard for the arithmetic alone.
MAX_ALONG_AXIS = 1 << 24
# Pixel sizes beyond are no microscope's, nm.
LEAST_NM, MOST_NM = 1e-12, 1e12
FLOAT32_MAX = float(np.finfo(np.float32).max)
# A frame that any window fits, for checks before there is one.
ANY_SIDE = 1 << 62
# Lengths in one request.
MOST_WINDOWS = 256
# Windows of a spectrum that names none.
SPECTRUM_WINDOWS = 16


@dataclass(frozen=True)
class Wanted:
    """What a caller asks for. Zero, and empty, mean that it was not said; units and defaults as EncodeFrameRequest's fields of the same name.

    Attributes:
        pixel_size_nm: side of the frame's pixels, nm; 0: unknown.
        window_px: lengths, pixels of the frame.
        window_nm: lengths, nm, instead.
        stride_px: grid step, pixels of the frame.
        centres_px: (n, 2) float64, (row, column), pixels of the frame, instead of a grid.
        stage: which one encodes every window, 1 to K; 0: the nearest in log length.
        explain: whether each window's explained fraction is told, for which it is drawn again.
    """

    pixel_size_nm: float = 0.0
    window_px: tuple[float, ...] = ()
    window_nm: tuple[float, ...] = ()
    stride_px: float = 0.0
    centres_px: NDArray | None = None
    stage: int = 0
    explain: bool = False


@dataclass(frozen=True)
class Window:
    """One length: `px` pixels of the frame, `nm` (0: unknown), encoded by `stage`, 1 to K."""

    px: float
    nm: float
    stage: int


@dataclass(frozen=True)
class Places:
    """Where one window goes.

    Attributes:
        window: its length and stage.
        rows: of the grid; 0 where centres were given.
        columns: of the grid; 0 where centres were given.
        stride_px: of the grid, pixels of the frame; 0 where centres were given.
        given: (n, 2) float64, the centres that were given; None for a grid.
        dense_steps: every how many-th value of the dense encoder's map the grid is; 0: it is not on that map.
    """

    window: Window
    rows: int
    columns: int
    stride_px: float
    given: Float64 | None
    dense_steps: int

    @property
    def count(self) -> int:
        """How many windows."""
        return self.rows * self.columns if self.given is None else len(self.given)

    def centres(self) -> Float64:
        """(n, 2) float64, (row, column), pixels of the frame, row after row."""
        if self.given is not None:
            return self.given
        down, right = (self.window.px / 2 + self.stride_px * np.arange(count) for count in (self.rows, self.columns))
        return np.stack([np.repeat(down, self.columns), np.tile(right, self.rows)], axis=1)


def windows_of(frames: Frames, wanted: Wanted, height: int, width: int) -> tuple[Window, ...]:
    """The lengths, in the order of the request, with the stage of each.

    Raises:
        InvalidFieldError: a length that is not above 0 or larger than the frame, lengths in both units, no pixel size where one is needed, a stage
            that is none.
    """
    size = wanted.pixel_size_nm
    if size and not LEAST_NM <= size <= MOST_NM:  # also true for NaN
        message = f"pixel_size_nm is {size:g}; give the side of a pixel in nm, above 0 ({LEAST_NM:g} to {MOST_NM:g}), or 0 for unknown."
        raise InvalidFieldError(message, field="pixel_size_nm")
    if not 0 <= wanted.stage <= len(frames.stages):
        message = f"stage is {wanted.stage}; this model's are 1 to {len(frames.stages)}, and 0 takes the nearest."
        raise InvalidFieldError(message, field="stage")
    if wanted.window_px and wanted.window_nm:
        raise InvalidFieldError("window_px and window_nm are both given; give lengths in one unit.", field="window_nm")
    field = "window_nm" if wanted.window_nm else "window_px"
    if wanted.window_nm and not size:
        message = "pixel_size_nm is missing; windows in nm need the side of the frame's pixels. Give it, or window_px."
        raise InvalidFieldError(message, field="pixel_size_nm")
    if max(len(wanted.window_px), len(wanted.window_nm)) > MOST_WINDOWS:
        raise InvalidFieldError(f"{field} has more than {MOST_WINDOWS} lengths, the most of one request; send fewer.", field=field)
    for length in (*wanted.window_px, *wanted.window_nm):
        if not (math.isfinite(length) and _rounded(length / (size if wanted.window_nm else 1)) > 0):
            raise InvalidFieldError(f"{field} holds {length:g}; a window's length is above 0.", field=field)
    if lengths := wanted.window_px or tuple(length / size for length in wanted.window_nm):
        rounded = [_rounded(px) for px in lengths]
        found = tuple(Window(px, px * size, wanted.stage or nearest_stage(frames, px, size)) for px in rounded)
    else:
        own = ((_rounded(_own(stage, size)), number) for number, stage in enumerate(frames.stages, 1) if wanted.stage in (0, number))
        found = tuple(Window(px, px * size, number) for px, number in own)
    largest = max(window.px for window in found)
    if largest > min(height, width) + INSIDE_PX:
        what = f"{largest:g} px" + (f" ({largest * size:g} nm)" if size else "")
        raise InvalidFieldError(f"{field}: a window of {what} is larger than the frame of {height} x {width} px; give smaller ones.", field=field)
    return found


def nearest_stage(frames: Frames, px: float, pixel_size_nm: float) -> int:
    """The stage, 1 to K, whose window is nearest in the logarithm of length; in nm where both sides tell it. The first of two that are as near.

    Raises:
        InvalidFieldError: the stages' lengths are in nm alone, and the pixel size is not known.
    """
    in_nm = [stage.window_nm for stage in frames.stages if stage.window_nm is not None]
    if pixel_size_nm and len(in_nm) == len(frames.stages):
        distances = [abs(math.log(px * pixel_size_nm / length)) for length in in_nm]
    else:
        distances = [abs(math.log(px / _own(stage, pixel_size_nm))) for stage in frames.stages]
    return 1 + distances.index(min(distances))


def _rounded(px: float) -> float:
    """As the graphs get it: a grid counted with other digits could have another number of rows than theirs."""
    return float(np.float32(max(-FLOAT32_MAX, min(px, FLOAT32_MAX))))


def _own(stage: FrameStage, pixel_size_nm: float) -> float:
    """A stage's window in pixels of the frame."""
    if stage.window_nm is not None and pixel_size_nm:
        return stage.window_nm / pixel_size_nm
    if stage.window_px is None:
        message = "pixel_size_nm is missing; this model's windows are in nm. Give the side of the frame's pixels, or window_px and stage."
        raise InvalidFieldError(message, field="pixel_size_nm")
    return stage.window_px


def places_of(frames: Frames, wanted: Wanted, windows: Sequence[Window], height: int, width: int) -> tuple[Places, ...]:
    """The centres of each window: those given, or a grid. Nothing is allocated yet.

    Raises:
        InvalidFieldError: a stride that is not above 0, or centres beside a stride.
        InvalidTensorError: as checked_centres.
    """
    stride = checked_stride(wanted)
    if wanted.centres_px is not None:
        given = checked_centres(wanted.centres_px, max(window.px for window in windows), height, width)
        return tuple(Places(window, 0, 0, 0.0, given, 0) for window in windows)
    return tuple(_grid(frames, window, stride, height, width) for window in windows)


def checked_stride(wanted: Wanted) -> float:
    """The grid's step that is asked for, pixels of the frame; 0: none is.

    Raises:
        InvalidFieldError: not above 0, or beside centres.
    """
    stride = wanted.stride_px
    if not (math.isfinite(stride) and stride >= 0):
        raise InvalidFieldError(f"stride_px is {stride:g}; give a step above 0 in pixels of the frame, or 0 for the default.", field="stride_px")
    if stride and wanted.centres_px is not None:
        raise InvalidFieldError("stride_px and centres_px are both given; give a grid's step, or centres.", field="stride_px")
    return stride


def _grid(frames: Frames, window: Window, stride: float, height: int, width: int) -> Places:
    dense = frames.dense if window.px * MAX_ENLARGED >= frames.descriptor_px else None
    own = dense.stride_px * window.px / frames.descriptor_px if dense is not None else 0.0
    step = stride or own or window.px / 4
    steps = round(step / own) if own and step / own < MAX_DENSE_STEPS + 1 else 0
    on_map = 1 <= steps <= MAX_DENSE_STEPS and math.isclose(step, steps * own, rel_tol=SAME_STEP)
    step = steps * own if on_map else step
    counts = []
    for length in (height, width):
        along = (max(0.0, length - window.px) + INSIDE_PX) / step
        if along >= MAX_ALONG_AXIS:
            raise InvalidFieldError(f"stride_px is {step:g}; that is too many windows for one request. Raise it.", field="stride_px")
        counts.append(math.floor(along) + 1)
    return Places(window, counts[0], counts[1], step, None, steps if on_map else 0)


def checked_centres(centres: NDArray, largest: float, height: int, width: int) -> Float64:
    """(n, 2) float64, (row, column): centres at which a window of the length `largest` lies inside the frame.

    Raises:
        InvalidTensorError: another dtype or shape, none, not finite, outside the frame, or too near its border; names the row.
    """
    if centres.dtype != np.float64 or centres.ndim != 2 or centres.shape[1] != 2 or not len(centres):
        found = f"{centres.dtype.name} of shape {centres.shape}"
        raise InvalidTensorError(f"centres_px is {found}; send float64 (n, 2), (row, column) in pixels of the frame.", field="centres_px")
    finite = np.isfinite(centres).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise InvalidTensorError(f"centres_px: row {row} holds NaN or infinity; leave it out.", field="centres_px", row=row)
    longest = reach(centres, height, width)
    outside = longest < -2 * INSIDE_PX
    if outside.any():
        row = int(np.argmax(outside))
        message = (
            f"centres_px: centre {row} (counted from 0), row {centres[row, 0]:g} and column {centres[row, 1]:g}, is outside the frame of "
            f"{height} x {width} px. Rows are 0 to {height}, columns 0 to {width}, pixels of the frame: mend the centre, or leave it out."
        )
        raise InvalidTensorError(message, field="centres_px", row=row)
    too_near = longest < largest - 2 * INSIDE_PX
    if too_near.any():
        row = int(np.argmax(too_near))
        where = f"({centres[row, 0]:g}, {centres[row, 1]:g})"
        message = (
            f"centres_px: at row {row}, {where}, a window of {largest:g} px reaches over the border of the frame of {height} x {width} px. "
            "Windows must lie inside it: leave the centre out, or give smaller windows."
        )
        raise InvalidTensorError(message, field="centres_px", row=row)
    return centres


def reach(centres: Float64, height: int, width: int) -> Float64:
    """(n,) float64: the longest window at each centre that lies inside the frame, pixels; negative outside."""
    longest: Float64 = 2 * np.minimum(centres, np.array([height, width]) - centres).min(axis=1)
    return longest


def spectrum_windows(frames: Frames, centres: Float64, pixel_size_nm: float, height: int, width: int) -> tuple[float, ...]:
    """16 lengths, pixels, at equal steps of the logarithm: from half the least stage's to the greatest, as far as the frame allows.

    Beyond the greatest no stage has learned what it would see.

    Raises:
        InvalidTensorError: not even the least lies inside the frame at every centre.
        InvalidFieldError: the stages' lengths are in nm, and the pixel size is not known.
    """
    own = [_own(stage, pixel_size_nm) for stage in frames.stages]
    longest = reach(centres, height, width)
    low, high = min(own) / 2, min(max(own), float(longest.min()))
    if high < low:
        row = int(np.argmin(longest))
        message = f"centres_px: no window of {low:g} px or more, which this model needs, lies inside the frame at row {row}. Leave it out."
        raise InvalidTensorError(message, field="centres_px", row=row)
    return tuple(np.geomspace(low, high, SPECTRUM_WINDOWS).tolist())
