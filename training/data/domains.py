"""A drawn ferroelectric domain scan: what a piezoresponse amplitude image of a tetragonal film looks like, with one damaged spot.

Nothing of a measured scan is in it; only the magnitudes (median 1.4e-10 m, stripes of 10–20 px, noise of 2e-11 m) are of that kind.
"""

from __future__ import annotations

import numpy as np

from training.data.dataset import Array, DataSet, hash_arrays
from training.errors import InputError

MEDIAN_M = 1.4e-10
NOISE_M = 1.2e-11
PIXEL_SIZE_NM = 2000 / 255
# Stripes run along two pairs of directions at right angles, as {101} ferroelastic walls do; degrees counter-clockwise from the rows.
STRIPE_ANGLES_DEG = (-42.0, 48.0, -36.0, 41.0)


def draw_domains(side: int = 256, seed: int = 0, *, period_px: tuple[float, float] = (10.0, 18.0), damaged_spots: int = 1) -> DataSet:
    """Draws one scan.

    Args:
        side: height and width, pixels, >= 64.
        seed: the same seed gives the same scan.
        period_px: least and greatest stripe period, pixels, >= 4.
        damaged_spots: places of a granular texture that is found nowhere else in the scan, 0 to 4.

    Returns:
        `images` (1, side, side) float32, metres, 0 to about 8e-10, median 1.4e-10; `pixel_size_nm` () float64; `truth_damage`
        (1, side, side) bool, true where the surface is damaged.

    Raises:
        InputError: INVALID_OPTION.
    """
    if side < 64 or not 4 <= period_px[0] <= period_px[1] or not 0 <= damaged_spots <= 4:
        raise InputError(
            "INVALID_OPTION",
            f"Domains need side >= 64 px, a period range LOW HIGH with 4 <= LOW <= HIGH px, and 0 to 4 damaged spots, "
            f"not side {side}, period {period_px[0]:g} {period_px[1]:g}, spots {damaged_spots}.",
        )
    generator = np.random.default_rng(seed)
    region, wall = _regions(side, generator)
    amplitude = _stripes(side, region, period_px, generator)
    amplitude *= 1 - 0.45 * np.exp(-((wall / 1.5) ** 2))
    island, outline = _islands(side, generator)
    # Within an island the polarisation points the other way: the same stripes, weaker; at its outline the amplitude goes to zero.
    amplitude *= np.where(island, 0.62, 1.0) * (1 - 0.9 * np.exp(-((outline / 1.3) ** 2)))
    amplitude *= np.exp(0.38 * _smooth(side, side / 6, generator))
    amplitude *= _scan_lines(side, generator)
    damage = _damage(side, damaged_spots, generator)
    amplitude = np.where(damage, _grains(side, generator), amplitude)
    amplitude *= MEDIAN_M / np.median(amplitude)
    # Detection noise grows a little with the signal; the amplitude of a lock-in is never negative.
    amplitude = np.abs(amplitude + (NOISE_M + 0.05 * amplitude) * generator.standard_normal((side, side)))
    arrays: dict[str, Array] = {
        "images": amplitude[None].astype(np.float32),
        "pixel_size_nm": np.array(PIXEL_SIZE_NM),
        "truth_damage": damage[None],
    }
    source = f"draw_domains(side={side}, seed={seed}, period_px=({period_px[0]:g}, {period_px[1]:g}), damaged_spots={damaged_spots})"
    return DataSet(arrays, unit="m", quantity="Amplitude", source=source, sha256=hash_arrays(arrays))


def _grid(side: int) -> tuple[Array, Array]:
    """Right and up, pixels from the image's centre."""
    axis = np.arange(side) - (side - 1) / 2
    return np.meshgrid(axis, -axis)


def _smooth(side: int, length_px: float, generator: np.random.Generator) -> Array:
    """Gaussian random field of this correlation length, mean 0, standard deviation 1."""
    # Drawn on twice the side and cut, so that opposite edges are not alike as the Fourier filter would make them.
    frequency = np.fft.fftfreq(2 * side)
    k2 = frequency[:, None] ** 2 + frequency[None, : side + 1] ** 2
    spectrum = np.fft.rfft2(generator.standard_normal((2 * side, 2 * side))) * np.exp(-2 * (np.pi * length_px) ** 2 * k2)
    field: Array = np.fft.irfft2(spectrum, s=(2 * side, 2 * side))[:side, :side]
    standard: Array = (field - field.mean()) / field.std()
    return standard


def _regions(side: int, generator: np.random.Generator) -> tuple[Array, Array]:
    """Which bundle of stripes each pixel belongs to (int), and the distance from the nearest border between two, in pixels."""
    count = 7
    right, up = _grid(side)
    # One site in each cell of a jittered 3 × 3 grid, so that no bundle takes the whole scan.
    cells = generator.permutation(9)[:count]
    sites = (np.stack([cells % 3, cells // 3], axis=1) - 1 + generator.uniform(-0.35, 0.35, (count, 2))) * side / 3
    bend_x, bend_y = (side / 40 * _smooth(side, side / 14, generator) for _ in range(2))
    # Borders prefer the diagonals: distances along and across them count differently.
    across = (right + bend_x)[..., None] - sites[:, 0], (up + bend_y)[..., None] - sites[:, 1]
    distance = np.hypot(across[0] + 0.45 * across[1], across[1] * 0.9)
    nearest = np.sort(distance, axis=-1)
    return distance.argmin(axis=-1), nearest[..., 1] - nearest[..., 0]


def _stripes(side: int, region: Array, period_px: tuple[float, float], generator: np.random.Generator) -> Array:
    """Amplitude of the stripes, about 0.2 to 1.8, each bundle with its own direction, period and contrast."""
    right, up = _grid(side)
    amplitude = np.empty((side, side))
    directions = generator.permutation(len(STRIPE_ANGLES_DEG))
    for index in range(int(region.max()) + 1):
        angle = np.radians(STRIPE_ANGLES_DEG[directions[index % len(directions)]] + generator.uniform(-4, 4))
        period = generator.uniform(*period_px)
        bend = 0.16 * period * _smooth(side, 1.6 * period, generator)
        phase = 2 * np.pi * ((up * np.cos(angle) - right * np.sin(angle) + bend) / period + generator.random())
        # a- and c-domains: flat within, steep at the walls, of unequal width.
        duty = generator.uniform(-0.45, 0.25)
        stripe = np.tanh(2.2 * (np.sin(phase) - duty)) + 0.25 * np.sin(phase)
        level, contrast = generator.uniform(0.75, 1.15), generator.uniform(0.35, 0.60)
        # A sawtooth across each bright stripe: the surface is tilted, so one edge answers more strongly than the other.
        tilt = 0.16 * np.cos(phase)
        amplitude = np.where(region == index, level * (1 + contrast * stripe + tilt), amplitude)
    return np.maximum(amplitude, 0.05)


def _islands(side: int, generator: np.random.Generator) -> tuple[Array, Array]:
    """Closed domains of opposite polarisation, and the distance from their outline, pixels (first order)."""
    field = _smooth(side, side / 22, generator) - 1.85
    slope = np.hypot(*np.gradient(field))
    return field > 0, np.abs(field) / np.maximum(slope, 1e-3)


def _scan_lines(side: int, generator: np.random.Generator) -> Array:
    """Gain of each scan line (side, 1): slow drift, small scatter, and one band where the tip had changed."""
    gain = 1 + 0.07 * _smooth(side, side / 30, generator)[:, :1] + 0.03 * generator.standard_normal((side, 1))
    top = int(generator.uniform(0.1, 0.8) * side)
    gain[top : top + side // 18] *= generator.choice([0.72, 1.3])
    return gain


def _damage(side: int, spots: int, generator: np.random.Generator) -> Array:
    """True within damaged spots: ragged discs of about a sixth of the side across, apart from each other and from the edge."""
    right, up = _grid(side)
    ragged = 0.18 * _smooth(side, side / 40, generator)
    quarter = generator.permutation(4)
    damage = np.zeros((side, side), dtype=bool)
    for index in range(spots):
        side_of = np.array([quarter[index] % 2, quarter[index] // 2]) - 0.5
        x0, y0 = (side_of + generator.uniform(-0.12, 0.12, 2)) * side / 2
        radius = generator.uniform(0.085, 0.11) * side
        damage |= np.hypot(right - x0, up - y0) < radius * (1 + ragged)
    return damage


def _grains(side: int, generator: np.random.Generator) -> Array:
    """Debris of burnt oxide: round grains of some pixels, bright rims, no stripes, no common direction."""
    count, reach = side * side // 22, 9
    sites = generator.uniform(0, side, (count, 2))
    brightness = generator.gamma(2.0, 0.95, count)
    rows, columns = np.mgrid[0:side, 0:side]
    # Distances to the nearest and second-nearest grain: their difference vanishes at the borders between grains.
    first, second = np.full((side, side), np.inf), np.full((side, side), np.inf)
    bright = np.zeros((side, side))
    for (y0, x0), value in zip(sites, brightness, strict=True):
        box = np.s_[max(0, int(y0) - reach) : int(y0) + reach, max(0, int(x0) - reach) : int(x0) + reach]
        distance = np.hypot(rows[box] - y0, columns[box] - x0)
        nearer = distance < first[box]
        second[box] = np.where(nearer, first[box], np.minimum(second[box], distance))
        bright[box] = np.where(nearer, value, bright[box])
        first[box] = np.where(nearer, distance, first[box])
    gap = np.minimum(np.where(np.isfinite(first), second, 0.0) - np.where(np.isfinite(first), first, 0.0), 3.0)
    grains: Array = 0.25 + bright * (gap / 3.0) ** 0.7
    return grains
