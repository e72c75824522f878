"""Lengths as files write them, in nanometres; and one pixel size from the spacing of two axes."""

from __future__ import annotations

import numpy as np

from training.data.dataset import Array

_NM = {"m": 1e9, "cm": 1e7, "mm": 1e6, "um": 1e3, "micron": 1e3, "microns": 1e3, "micrometer": 1e3, "nm": 1.0, "nanometer": 1.0}
_NM |= {"a": 0.1, "å": 0.1, "angstrom": 0.1, "pm": 1e-3}


def nm_per(unit: str) -> float | None:
    """Nanometres in one `unit`; None when it is no length.

    Case matters nowhere in microscopy files except for M (mega), which no file uses for a length; the micro sign has two code points.
    """
    plain = unit.strip().replace("\\u00B5", "µ").lower().replace("µ", "u").replace("μ", "u")
    return _NM.get(plain)


def axis_spacing_nm(positions: Array, unit: str) -> float | None:
    """Spacing of an axis from its positions (k,); None when the unit is no length, or the spacing is not even."""
    factor = nm_per(unit)
    if factor is None or positions.ndim != 1 or len(positions) < 2:
        return None
    steps = np.diff(positions.astype(np.float64))
    mean = float(steps.mean())
    if mean == 0 or not np.isfinite(mean) or np.abs(steps - mean).max() > 0.01 * abs(mean):
        return None
    return abs(mean) * factor


def pixel_size(down_nm: float | None, right_nm: float | None) -> tuple[dict[str, Array], tuple[str, ...]]:
    """The array `pixel_size_nm` () float64 when both spacings are known and alike, and a note when they are not."""
    if down_nm is None or right_nm is None:
        return {}, ("The file gives no pixel size in a unit of length.",)
    # One number stands for both axes: beyond 1 % a turned object would be visibly sheared.
    if abs(down_nm - right_nm) > 0.01 * max(down_nm, right_nm):
        return {}, (f"Pixels are not square ({right_nm:.4g} nm across, {down_nm:.4g} nm down): no pixel size is kept, angles are those of the grid.",)
    return {"pixel_size_nm": np.array((down_nm + right_nm) / 2)}, ()
