"""Over which distance a latent map stays like itself: correlation length by autocorrelation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from training.data.dataset import Array


@dataclass(frozen=True)
class Correlation:
    """Of one map.

    Attributes:
        length_px: ξ, pixels of the frame; NaN where the autocorrelation never falls to 1/e within half the map, or the map is constant.
        length_nm: the same in nanometres; NaN where the pixel size is not known.
        distance_px: (m,) mean distance of the pairs in each ring, pixels of the frame, ascending from 0.
        autocorrelation: (m,) of the rings, 1 at distance 0.
    """

    length_px: float
    length_nm: float
    distance_px: Array
    autocorrelation: Array


def correlation_length(values: Array, stride_px: float = 1.0, pixel_size_nm: float | None = None) -> Correlation:
    """ξ: the first distance at which the radially averaged autocorrelation of a map of μ falls to 1/e, linear between rings.

    C(h) = Σ_x (μ(x) − μ̄)(μ(x + h) − μ̄) / N(h), over the N(h) pairs that both lie in the map (no wrap-around: the FFT is padded to twice the size) and
    are finite, over C(0). Rings are one stride wide; each weighs its pairs alike. Distances end at half the shorter side, beyond which few pairs are
    left. The map's own mean is taken out, which lowers C by about ξ²/area: maps much larger than ξ are needed.

    Args:
        values: (h, w) float, unit 1, h and w ≥ 2; NaN: not known. Complex for angles: exp(iθ) of each.
        stride_px: distance of neighbours in the map, pixels of the frame, > 0.
        pixel_size_nm: of the frame; None: not known.

    Raises:
        ValueError: not a map, or a stride that is not above 0.
    """
    field = np.asarray(values)
    if field.ndim != 2 or min(field.shape) < 2:
        raise ValueError(f"a map is (h, w) of at least 2 × 2, not {field.shape}")
    if not stride_px > 0:
        raise ValueError(f"a stride is above 0 px, not {stride_px}")
    distance, rings = _rings(field)
    length = _first_below(distance, rings, math.exp(-1)) * stride_px
    return Correlation(length, length * pixel_size_nm if pixel_size_nm else math.nan, distance * stride_px, rings)


def _rings(field: Array) -> tuple[Array, Array]:
    """Distance in strides and autocorrelation of each ring; all NaN for a constant map."""
    known = np.isfinite(field)
    centred = np.where(known, field - field[known].mean() if known.any() else 0, 0)
    products, pairs = _lagged(centred), np.round(_lagged(known.astype(np.float64)))
    rows, columns = (np.fft.fftfreq(2 * side, 1 / (2 * side)) for side in field.shape)
    radius = np.hypot(rows[:, None], columns[None, :])
    most = min(field.shape) // 2
    ring = np.rint(radius).astype(np.int64)
    chosen = (ring <= most) & (pairs > 0)
    count = np.bincount(ring[chosen], pairs[chosen], minlength=most + 1)
    held = count > 0
    total = np.bincount(ring[chosen], products[chosen], minlength=most + 1)[held] / count[held]
    distance = np.bincount(ring[chosen], (radius * pairs)[chosen], minlength=most + 1)[held] / count[held]
    scale = float((np.abs(field[known]) ** 2).mean()) if known.any() else 0.0
    if not len(total) or total[0] <= 1e-12 * scale:  # a constant map, up to rounding
        return distance, np.full(len(distance), np.nan)
    return distance, total / total[0]


def _lagged(field: Array) -> Array:
    """Σ_x f(x)* f(x + h) for every lag h, (2h, 2w), lags as fftfreq orders them."""
    spectrum = np.fft.fft2(field, s=tuple(2 * side for side in field.shape))
    return np.fft.ifft2(np.abs(spectrum) ** 2).real


def _first_below(distance: Array, rings: Array, level: float) -> float:
    below = np.flatnonzero(rings <= level)
    if not below.size:
        return math.nan
    after = int(below[0])
    before = after - 1
    share = (rings[before] - level) / (rings[before] - rings[after])
    return float(distance[before] + share * (distance[after] - distance[before]))
