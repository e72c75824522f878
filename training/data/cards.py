"""The cards benchmark (science 1.5): four drawn suits in a pose that is known exactly."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from tqdm import tqdm

from training.data.dataset import Array, DataSet, hash_arrays
from training.data.drawing import random_stream, require_option
from training.data.suits import SUITS, SYMMETRY_ORDER, inside

__all__ = ["STREAMS", "SUITS", "SYMMETRY_ORDER", "draw_cards", "draw_poses"]

STREAMS = ("train", "validation", "test", "labelled")
_require = partial(require_option, "Cards")
# Half the suit's height as a share of the image's side: 0.26 keeps a suit shifted by 0.1 of the side, sheared by 20° and 1.3 × enlarged inside.
HALF_HEIGHT = 0.26
_SUPERSAMPLING = 4
_CHUNK = 32


def draw_cards(
    n_per_suit: int,
    *,
    angle_deg: float,
    shear_deg: float,
    shift: float,
    scale: tuple[float, float] = (1.0, 1.0),
    side: int = 48,
    noise: float = 0.0,
    seed: int,
    stream: str = "train",
) -> DataSet:
    """Draws 4 n_per_suit cards; the suits take turns, so that every prefix of the set is balanced.

    Args:
        n_per_suit: images of each suit, >= 1.
        angle_deg: angles are uniform in ±this, degrees counter-clockwise, 0 to 180.
        shear_deg: shears are uniform in ±this, degrees, 0 to below 60; a positive shear leans the top to the right.
        shift: shifts are uniform in ±this along each axis, as a fraction of the side, 0 to 0.5.
        scale: scales are uniform between these two, > 0; 1 is a suit of about half the side.
        side: height and width, pixels, >= 8.
        noise: standard deviation of every pixel's Gaussian noise, of a contrast of 1, >= 0; with noise, values leave [0, 1].
        seed: chooses poses; the same seed gives the same images.
        stream: "train", "validation", "test" or "labelled": independent random streams of one seed.

    Returns:
        `images` (n, side, side) float32 in [0, 1], `labels` (n,) int64 (index into SUITS), and the truth (n,) float64: `truth_angle_rad`,
        `truth_scale`, `truth_shift_down_px`, `truth_shift_right_px`, `truth_shear_rad`.

    Raises:
        InputError: INVALID_OPTION.
    """
    _require(n_per_suit >= 1, f"n_per_suit is at least 1, not {n_per_suit}")
    _require(0 <= angle_deg <= 180, f"angle_deg lies in 0 to 180, not at {angle_deg}")
    _require(0 <= shear_deg < 60, f"shear_deg lies in 0 to below 60, not at {shear_deg}")
    _require(0 <= shift <= 0.5, f"shift is a fraction of the side, 0 to 0.5, not {shift}")
    _require(0 < scale[0] <= scale[1], f"scale is a range LOW HIGH with 0 < LOW <= HIGH, not {scale[0]} {scale[1]}")
    _require(side >= 8, f"side is at least 8 px, not {side}")
    _require(0 <= noise < math.inf, f"noise is 0 or more, not {noise}")
    _require(stream in STREAMS, f"stream is one of {', '.join(STREAMS)}, not {stream!r}")
    generator = random_stream(seed, STREAMS.index(stream))
    labels = np.arange(4 * n_per_suit, dtype=np.int64) % 4
    # One row for each image, so that a longer set begins with the shorter one.
    drawn = generator.random((len(labels), 5)) * 2 - 1
    angle = np.radians(angle_deg) * drawn[:, 0]
    shear = np.radians(shear_deg) * drawn[:, 1]
    right, down = shift * side * drawn[:, 2], shift * side * drawn[:, 3]
    size = (scale[0] + scale[1]) / 2 + (scale[1] - scale[0]) / 2 * drawn[:, 4]
    arrays = {
        "images": draw_poses(labels, angle_rad=angle, shear_rad=shear, scale=size, shift_down_px=down, shift_right_px=right, side=side),
        "labels": labels,
        "truth_angle_rad": angle,
        "truth_scale": size,
        "truth_shift_down_px": down,
        "truth_shift_right_px": right,
        "truth_shear_rad": shear,
    }
    if noise:
        # A stream of its own: the poses are those of the cards without noise.
        pixels = random_stream(seed, STREAMS.index(stream), 1)
        arrays["images"] += np.float32(noise) * pixels.standard_normal(arrays["images"].shape, dtype=np.float32)
    source = (
        f"draw_cards(n_per_suit={n_per_suit}, angle_deg={angle_deg:g}, shear_deg={shear_deg:g}, shift={shift:g}, "
        f"scale=({scale[0]:g}, {scale[1]:g}), side={side}, "
        f"{f'noise={noise:g}, ' if noise else ''}seed={seed}, stream={stream!r})"
    )
    return DataSet(arrays, unit="1", quantity="brightness", source=source, sha256=hash_arrays(arrays))


def draw_poses(
    labels: Array, *, angle_rad: Array, shear_rad: Array, scale: Array, shift_down_px: Array, shift_right_px: Array, side: int = 48
) -> Array:
    """Draws suits in given poses: sheared, then scaled, then turned about the image's centre, then shifted.

    Args:
        labels: (n,) integer, index into SUITS.
        angle_rad: (n,) counter-clockwise, row 0 at the top.
        shear_rad: (n,) the top leans right by this angle.
        scale: (n,) > 0.
        shift_down_px: (n,) towards higher rows.
        shift_right_px: (n,) towards higher columns.
        side: height and width, pixels.

    Returns:
        (n, side, side) float32 in [0, 1]: the share of each pixel that the suit covers, from 4 × 4 points.
    """
    images = np.empty((len(labels), side, side), dtype=np.float32)
    # Points within pixels, about the image's centre (side - 1)/2, in pixels.
    fine = side * _SUPERSAMPLING
    offsets = (np.arange(fine, dtype=np.float32) + 0.5) / _SUPERSAMPLING - side / 2
    down, right = np.meshgrid(offsets, offsets, indexing="ij")
    with tqdm(total=len(labels), desc="drawing cards", unit="image", delay=2, disable=None) as bar:
        for suit_index, suit in enumerate(SUITS):
            rows = np.flatnonzero(np.asarray(labels) == suit_index)
            for start in range(0, len(rows), _CHUNK):
                chunk = rows[start : start + _CHUNK]
                pose = [np.asarray(a, dtype=np.float64)[chunk].astype(np.float32)[:, None, None] for a in (angle_rad, shear_rad, scale)]
                dx = right - np.asarray(shift_right_px, dtype=np.float32)[chunk][:, None, None]
                dy = np.asarray(shift_down_px, dtype=np.float32)[chunk][:, None, None] - down
                covered = inside(suit, *_to_object(dx, dy, *pose, unit_px=HALF_HEIGHT * side))
                images[chunk] = covered.reshape(len(chunk), side, _SUPERSAMPLING, side, _SUPERSAMPLING).mean(axis=(2, 4), dtype=np.float32)
                bar.update(len(chunk))
    return images


def _to_object(dx: Array, dy: Array, angle: Array, shear: Array, scale: Array, *, unit_px: float) -> tuple[Array, Array]:
    """Image points (right, up from the object's centre, px) to the object's frame: the inverses, last step first."""
    cos, sin = np.cos(angle), np.sin(angle)
    y = (cos * dy - sin * dx) / (scale * np.float32(unit_px))
    x = (cos * dx + sin * dy) / (scale * np.float32(unit_px))
    return x - np.tan(shear) * y, y
