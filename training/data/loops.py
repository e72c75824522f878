"""Measured hysteresis loops on a grid: read, judged, turned into figures, and into mechanisms that do not see what they are to predict.

A file of loops is HDF5 in the pyNSID layout: two axes of places in a unit of length and one spectral axis in volts. Where the sweep's last sample is
not its first, one straight segment closes it (`training.data.loop_scalars`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data import loop_scalars
from training.data.dataset import Array, DataSet, hash_arrays
from training.data.neighbours import neighbour_patches
from training.data.readers.files import read_as_stored
from training.errors import InputError

# A fit that went wrong gives responses far beyond any other's: flagged above this many times the median peak-to-peak response of all loops.
FAILED_TIMES_MEDIAN = 10.0
_VOLTS = {"v": 1.0, "volt": 1.0, "volts": 1.0, "mv": 1e-3}


@dataclass(frozen=True)
class MeasuredLoops:
    """The loops of one file, row by row of the grid.

    Attributes:
        response: (n, points) float64, in `unit`.
        voltage_v: (points,) float64, V, in the order of the sweep, as measured: not closed.
        position_um: (n, 2) float64, µm, x right and y down.
        grid: rows and columns; n is their product.
        failed: (n,) bool: the loop's fit went wrong, by `flag_failed`.
        unit: of the response, such as "a.u.".
        source: the file's name.
        sha256: of the file's bytes.
    """

    response: Array
    voltage_v: Array
    position_um: Array
    grid: tuple[int, int]
    failed: Array
    unit: str
    source: str
    sha256: str


def _of_opening(figure: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    def of_loop(voltage: Array, response: Array) -> Array:
        axis, wide = loop_scalars.opening(voltage, response)
        return figure(axis, np.clip(wide, 0, None))

    return of_loop


def _sides(axis: Array, curves: Array) -> Array:
    return loop_scalars.peak_ratio(axis, curves, (axis[0], 0.0), (0.0, axis[-1]))


def _log_area(voltage: Array, response: Array) -> Array:
    area = loop_scalars.loop_area(voltage, response)
    logarithm: Array = np.log10(area, out=np.full_like(area, np.nan), where=area > 0)
    return logarithm


# Figures of loops by name: the function of (voltage, response), and its unit, in which "R" stands for the response's. The last three are those of
# the loop's opening max(0, R_down(V) − R_up(V)): noise that exchanges the branches of a narrow loop has no weight in its centre. The ratio is of the
# opening's peak at V <= 0 to that at V >= 0.
SCALARISERS: dict[str, tuple[Callable[[Array, Array], Array], str]] = {
    "loop_area": (loop_scalars.loop_area, "V·R"),
    # Areas of one map spread over decades, and so does what is not known of them.
    "log_loop_area": (_log_area, "log10 V·R"),
    "coercive_voltage": (loop_scalars.coercive_drive, "V"),
    "imprint": (loop_scalars.imprint, "V"),
    "remanence": (loop_scalars.remanence, "R"),
    "peak_position": (_of_opening(loop_scalars.peak_position), "V"),
    "peak_ratio": (_of_opening(_sides), "1"),
    "centre_of_mass": (_of_opening(loop_scalars.centre_of_mass), "V"),
}


def read_loops(path: Path | str, channel: str | None = None) -> MeasuredLoops:
    """Reads a grid of loops.

    Args:
        path: a file whose axes are labelled, such as HDF5 in the pyNSID layout.
        channel: name of the dataset; None where the file has one alone.

    Raises:
        InputError: NOT_LOOPS when the channel is no grid of spectra over volts; CHANNEL_REQUIRED, UNREADABLE_FILE, ... as `read_data`.
    """
    path = Path(path)
    whole, stored = read_as_stored(path, channel)
    if "spectra" not in whole.arrays or stored.sweep is None:
        raise InputError("NOT_LOOPS", f"{path.name} holds no loops on a grid: two axes of places and a spectral axis were expected.")
    factor = _VOLTS.get(stored.sweep.unit.strip().lower())
    if factor is None or "position_um" not in whole.arrays:
        raise InputError(
            "NOT_LOOPS",
            f"{path.name}: loops need a sweep in volts and places in a unit of length; the sweep's unit is {stored.sweep.unit or 'missing'!r}.",
        )
    response, position = stored.arrays["spectra"].astype(np.float64), whole.arrays["position_um"]
    rows = len(np.unique(position[:, 1]))
    grid = (rows, len(position) // rows)
    sweep = stored.sweep.positions.astype(np.float64) * factor
    return MeasuredLoops(response, sweep, position, grid, flag_failed(response), whole.unit, path.name, whole.sha256)


def flag_failed(response: Array, times_median: float = FAILED_TIMES_MEDIAN) -> Array:
    """Which loops (n, points) → (n,) bool have a peak-to-peak response above `times_median` times the median of all loops'."""
    spread = np.ptp(response, axis=1)
    failed: Array = spread > times_median * np.median(spread)
    return failed


def flag_spiked(response: Array, share: float = 0.5) -> Array:
    """Which loops (n, points) → (n,) bool have a lone sample, off both its neighbours by more than `share` of the loop's peak-to-peak response.

    Off means: from the median of itself and its two neighbours in the closed sweep. Switching from one sample to the next is no spike, and figures
    that integrate (area, coercive voltage) bear one; those that take a greatest value do not.
    """
    three = np.stack([np.roll(response, 1, axis=1), response, np.roll(response, -1, axis=1)])
    off = np.abs(response - np.median(three, axis=0)).max(axis=1)
    spiked: Array = off > share * np.ptp(response, axis=1)
    return spiked


def scalarise(loops: MeasuredLoops, name: str) -> tuple[Array, str]:
    """A figure of every loop, failed ones too: (n,) float64, NaN where the figure does not exist, as of a loop that does not switch; and its unit.

    Raises:
        InputError: INVALID_OPTION.
    """
    if name not in SCALARISERS:
        raise InputError("INVALID_OPTION", f"A figure of a loop is one of {', '.join(SCALARISERS)}, not {name!r}.")
    figure, unit = SCALARISERS[name]
    return figure(loops.voltage_v, loops.response), unit.replace("R", loops.unit)


def loop_mechanisms(loops: MeasuredLoops, target: str, *, neighbours: str | None = None, half_width: int = 2, keep_failed: bool = False) -> DataSet:
    """Position and neighbourhood as mechanisms of a figure of the loop.

    Args:
        loops: as read.
        target: the figure that is `y`, one of SCALARISERS.
        neighbours: the figure whose map the patches show; the target's own by default: each place sees it of its neighbours, never of itself.
        half_width: of a patch, pixels.
        keep_failed: whether places whose own fit failed are kept. No patch shows a failed fit either way.

    Returns:
        `position_um` (n, 2) float64, µm; `neighbours` (n, k, k) float32, in the figure's unit; `y` (n,) float64; `failed` and `spiked`
        (n,) bool, by `flag_failed` and `flag_spiked`; `place` (n,) int64, index into the grid, for `neighbours.split_places`; `grid` (2,)
        int64. Places without `y`, or with too few neighbours, are left out.

    Raises:
        InputError: INVALID_OPTION; NO_DATA when no place is left.
    """
    y, unit = scalarise(loops, target)
    shown, shown_unit = scalarise(loops, neighbours or target)
    patches, enough = neighbour_patches(shown.reshape(loops.grid), half_width, loops.failed.reshape(loops.grid))
    place = np.flatnonzero(np.isfinite(y) & enough & (keep_failed | ~loops.failed))
    if not len(place):
        raise InputError("NO_DATA", f"No loop of {loops.source} has a {target} and enough neighbours; choose another figure or a smaller patch.")
    arrays: dict[str, Array] = {
        "position_um": loops.position_um[place],
        "neighbours": patches[place].astype(np.float32),
        "y": y[place],
        "failed": loops.failed[place],
        "spiked": flag_spiked(loops.response)[place],
        "place": place,
        "grid": np.array(loops.grid),
    }
    source = (
        f"{loops.source} ({target} in {unit}; patches of {neighbours or target} in {shown_unit}, half-width {half_width}, keep_failed={keep_failed})"
    )
    left = int((~loops.failed).sum()) if not keep_failed else len(y)
    notes = (
        f"{int(loops.failed.sum())} of {len(y)} fits failed (peak-to-peak above {FAILED_TIMES_MEDIAN:g} × the median).",
        f"{left - len(place)} further places have no {target} or too few neighbours.",
    )
    return DataSet(arrays, unit=unit, quantity=target, source=source, sha256=hash_arrays(arrays), notes=notes)
