"""Drawn images with known answers across length scales: stripes of one period at any phase and direction, and white noise."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from training.data.dataset import Array, DataSet, hash_arrays
from training.data.drawing import random_stream, require_option

_stripes_require, _noise_require = partial(require_option, "Stripes"), partial(require_option, "Noise")


def draw_stripes(
    count: int = 8,
    *,
    side: int = 128,
    period_px: float = 16.0,
    angle_deg: float | None = None,
    noise: float = 0.1,
    pixel_size_nm: float | None = None,
    seed: int = 0,
) -> DataSet:
    """Draws images of endless stripes, cos(2π x/L + φ) at the pixels' middles, each at a phase of its own.

    Windows of length w of stripes along one axis have two principal components, the cosine and the sine about the middle, whose variances share
    as (1 ± sinc(2w/L))/2 with sinc(x) = sin(πx)/(πx): they are alike at w = L/2.

    Args:
        count: images, >= 1.
        side: height and width, pixels, >= 16.
        period_px: L, pixels, >= 4.
        angle_deg: direction in which the stripes run, degrees counter-clockwise from the rows, −90 to 90; None: each image its own.
        noise: standard deviation of every pixel's Gaussian noise, of stripes between −1 and 1, >= 0.
        pixel_size_nm: > 0; None: not known.
        seed: the same seed gives the same images.

    Returns:
        `images` (n, side, side) float32, `truth_angle_rad` (n,) float64 in [−π/2, π/2), `truth_phase_rad` (n,) float64 of the image's middle, and
        `pixel_size_nm` () where it was given.

    Raises:
        InputError: INVALID_OPTION.
    """
    _stripes_require(4 <= period_px < math.inf, f"period_px is at least 4, not {period_px:g}")
    _stripes_require(angle_deg is None or -90 <= angle_deg <= 90, f"angle_deg lies in −90 to 90, not at {angle_deg}")
    _check(_stripes_require, count, side, noise, pixel_size_nm)
    drawn = random_stream(seed, 0).random((count, 2))
    angle = math.pi * (drawn[:, 0] - 0.5) if angle_deg is None else np.full(count, math.radians(angle_deg))
    phase = 2 * math.pi * drawn[:, 1]
    middle = np.arange(side) + 0.5 - side / 2
    up, right = -middle[:, None], middle[None]
    across = up * np.cos(angle)[:, None, None] - right * np.sin(angle)[:, None, None]
    images = np.cos(2 * math.pi / period_px * across + phase[:, None, None]) + noise * random_stream(seed, 1).standard_normal((count, side, side))
    arrays = {"images": images.astype(np.float32), "truth_angle_rad": angle, "truth_phase_rad": phase}
    told = "" if angle_deg is None else f"angle_deg={angle_deg:g}, "
    return _data_set(
        arrays, f"draw_stripes(count={count}, side={side}, period_px={period_px:g}, {told}noise={noise:g}", "stripes", pixel_size_nm, seed
    )


def draw_noise(count: int = 8, *, side: int = 128, sd: float = 1.0, pixel_size_nm: float | None = None, seed: int = 0) -> DataSet:
    """Draws images of white noise: the variance of a mean over w × w pixels falls as w⁻², and nothing in a window tells of anything else.

    Args:
        count: images, >= 1.
        side: height and width, pixels, >= 16.
        sd: standard deviation of every pixel, > 0.
        pixel_size_nm: > 0; None: not known.
        seed: the same seed gives the same images.

    Returns:
        `images` (n, side, side) float32, and `pixel_size_nm` () where it was given.

    Raises:
        InputError: INVALID_OPTION.
    """
    _check(_noise_require, count, side, sd, pixel_size_nm)
    _noise_require(sd > 0, f"sd is above 0, not {sd:g}")
    arrays: dict[str, Array] = {"images": (sd * random_stream(seed, 2).standard_normal((count, side, side))).astype(np.float32)}
    return _data_set(arrays, f"draw_noise(count={count}, side={side}, sd={sd:g}", "noise", pixel_size_nm, seed)


def _check(require: partial[None], count: int, side: int, noise: float, pixel_size_nm: float | None) -> None:
    require(count >= 1, f"count is at least 1, not {count}")
    require(side >= 16, f"side is at least 16 px, not {side}")
    require(0 <= noise < math.inf, f"the noise's standard deviation is 0 or more, not {noise:g}")
    require(pixel_size_nm is None or 0 < pixel_size_nm < math.inf, f"pixel_size_nm is above 0 or left out, not {pixel_size_nm}")


def _data_set(arrays: dict[str, Array], call: str, quantity: str, pixel_size_nm: float | None, seed: int) -> DataSet:
    if pixel_size_nm is not None:
        arrays, call = arrays | {"pixel_size_nm": np.array(pixel_size_nm)}, f"{call}, pixel_size_nm={pixel_size_nm:g}"
    return DataSet(arrays, unit="1", quantity=quantity, source=f"{call}, seed={seed})", sha256=hash_arrays(arrays))
