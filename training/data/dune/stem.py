"""From a STEM image to atoms and back: a dark-field image drawn from atoms, and the atoms that scikit-image's peak finder sees in one.

An atom is a Gaussian spot whose height goes with Z^1.7, the contrast of a high-angle detector: silicon is four times as bright as carbon.
Positions are Å from the upper left corner of the image, x right and y down; pixel (row, column) is centred at ((column + ½) p, (row + ½) p).
"""

from __future__ import annotations

import math

import numpy as np

from training.data.dataset import Array
from training.data.drawing import random_stream
from training.data.dune.lattice import CARBON, SILICON
from training.data.dune.rates import BOND_LENGTH
from training.errors import InputError

CONTRAST_POWER = 1.7
PROBE_ANGSTROM = 0.4  # standard deviation of a spot
# Between carbon's brightness, 1, and silicon's, 4.2: their geometric mean.
SILICON_BRIGHTNESS = math.sqrt((SILICON / CARBON) ** CONTRAST_POWER)
# Peaks lower than this share of carbon's brightness are noise.
FAINTEST = 0.4
COARSEST_PIXEL = 0.5  # Å
_SMOOTHING_ANGSTROM = 0.35
_TOP_ANGSTROM = 0.15  # within which a peak is the highest


def draw_stem(
    atoms_xy_angstrom: Array,
    atomic_numbers: Array,
    *,
    field_of_view_angstrom: float,
    side: int = 128,
    noise: float = 0.1,
    background: float = 0.2,
    seed: int = 0,
) -> Array:
    """Draws an image.

    Args:
        atoms_xy_angstrom: (m, 2) float64, Å.
        atomic_numbers: (m,) int64, > 0.
        field_of_view_angstrom: side, Å, > 0.
        side: px, >= 16.
        noise: standard deviation of the pixels, in units of a carbon atom's height, >= 0.
        background: level, the same units.
        seed: of the noise.

    Returns:
        (side, side) float32.

    Raises:
        InputError: INVALID_OPTION or UNSUPPORTED_SHAPE.
    """
    if atoms_xy_angstrom.shape != (len(atomic_numbers), 2):
        raise InputError("UNSUPPORTED_SHAPE", f"Atoms are (m, 2) Å with m atomic numbers, not {atoms_xy_angstrom.shape}.")
    if not (0 < field_of_view_angstrom < math.inf and side >= 16 and 0 <= noise < math.inf):
        raise InputError("INVALID_OPTION", "An image has at least 16 px, a field of view above 0 Å, and noise of 0 or more.")
    centres = (np.arange(side) + 0.5) * field_of_view_angstrom / side
    # A spot is a product of a column's and a row's, so that the image is a product of matrices.
    spots = np.exp(-((centres[:, None, None] - atoms_xy_angstrom) ** 2) / (2 * PROBE_ANGSTROM**2))
    heights = (np.asarray(atomic_numbers) / CARBON) ** CONTRAST_POWER
    image = background + (spots[..., 1] * heights) @ spots[..., 0].T
    image += noise * random_stream(seed, 0).standard_normal(image.shape)
    found: Array = image.astype(np.float32)
    return found


def find_atoms(image: Array, pixel_size_angstrom: float, *, bond_length: float = BOND_LENGTH) -> tuple[Array, Array]:
    """Finds the atoms of an image of graphene in which most atoms are carbon.

    Args:
        image: (h, w) real, atoms bright, of any brightness and background.
        pixel_size_angstrom: Å, above 0 and at most 0.5.
        bond_length: Å; peaks nearer to each other than half of it are one.

    Returns:
        Positions (m, 2) float64, Å, and atomic numbers (m,) int64, 14 where an atom is brighter than twice the carbon ones, 6 elsewhere.
        Atoms whose centre is in the outermost pixels are not found.

    Raises:
        InputError: MISSING_PACKAGE without scikit-image; UNSUPPORTED_SHAPE, NON_FINITE, INVALID_OPTION; NO_ATOMS.
    """
    try:
        from skimage.feature import peak_local_max  # noqa: PLC0415 (slow to import, and only images need it)
        from skimage.filters import gaussian, laplace  # noqa: PLC0415
    except ImportError as error:
        raise InputError("MISSING_PACKAGE", "Finding atoms in images needs scikit-image: pip install 'dichroic[readers]'.") from error
    if image.ndim != 2 or min(image.shape) < 16:
        raise InputError("UNSUPPORTED_SHAPE", f"An image is (h, w), of at least 16 × 16 px, not of shape {image.shape}.")
    if not np.isfinite(image).all():
        raise InputError("NON_FINITE", "The image has pixels that are not finite.")
    if not 0 < pixel_size_angstrom <= COARSEST_PIXEL:
        raise InputError(
            "INVALID_OPTION", f"Pixels are above 0 and at most {COARSEST_PIXEL} Å wide to tell atoms apart, not {pixel_size_angstrom:g}."
        )
    # Its curvature, not the image: in the image a carbon atom beside the silicon one is but a shoulder of it, and the background has a level.
    sharp = laplace(gaussian(image.astype(np.float64), sigma=_SMOOTHING_ANGSTROM / pixel_size_angstrom, mode="nearest"))
    apart = max(1, round(_TOP_ANGSTROM / pixel_size_angstrom))
    peaks = peak_local_max(sharp, min_distance=apart, threshold_abs=0.0, exclude_border=1)
    heights = sharp[*peaks.T]
    # Noise has many low peaks; carbon is the median of those that reach half the height of the brightest but the outliers.
    bright = heights > 0.5 * np.quantile(heights, 0.75) if len(peaks) else np.zeros(0, bool)
    if not bright.any() or heights.max() <= 1e-9 * np.abs(image).max():
        raise InputError("NO_ATOMS", "No atoms are seen in the image: atoms are bright spots on a dark ground.")
    brightness = heights / float(np.median(heights[bright]))
    seen = brightness > FAINTEST
    peaks, brightness = _apart(peaks[seen], brightness[seen], bond_length / 2 / pixel_size_angstrom)
    xy = (_refine(sharp, peaks)[:, ::-1] + 0.5) * pixel_size_angstrom
    return xy, np.where(brightness > SILICON_BRIGHTNESS, SILICON, CARBON).astype(np.int64)


def _apart(peaks: Array, brightness: Array, distance: float) -> tuple[Array, Array]:
    """Those peaks (m, 2) that have no brighter one within a distance (px), and their brightness."""
    order = np.argsort(-brightness, kind="stable")
    peaks, brightness = peaks[order], brightness[order]
    alone = np.array([(((peaks[:rank] - peak) ** 2).sum(axis=1) > distance**2).all() for rank, peak in enumerate(peaks)], dtype=bool)
    return peaks[alone], brightness[alone]


def _refine(image: Array, peaks: Array) -> Array:
    """(m, 2) rows and columns → where the parabola through a peak and its two neighbours, along either axis, has its top."""
    refined = peaks.astype(np.float64)
    for axis, step in enumerate(np.eye(2, dtype=np.int64)):
        before, at, after = (image[*(peaks + shift * step).T] for shift in (-1, 0, 1))
        curvature = before - 2 * at + after
        refined[:, axis] += np.divide(before - after, 2 * curvature, out=np.zeros(len(peaks)), where=curvature < 0).clip(-0.5, 0.5)
    return refined
