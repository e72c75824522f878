"""Drawn patches of a ferroelectric with one domain wall, each with the hysteresis loop that a tip at its centre would record.

Structure decides the loop: near the wall switching is easier (a domain is there to grow), so that coercive voltage and amplitude fall; the side
of the wall decides the sign of the imprint; a wall along the polar axis switches more sharply than one across it. Image brightness and the wall's
width vary too and do not matter to the loop. Nothing of a measured data set is in it; the constants below are all there is to know.
"""

from __future__ import annotations

import numpy as np

from training.data.dataset import Array, DataSet, hash_arrays
from training.data.drawing import random_stream
from training.errors import InputError

STREAMS = ("train", "validation", "test")
VOLTAGE_V = 10.0  # the sweep runs from -10 V to 10 V and back
COERCIVE_V = 5.0  # far from the wall
COERCIVE_DROP = 0.5  # share of it that is missing on the wall
AMPLITUDE_PM = 20.0  # far from the wall
AMPLITUDE_DROP = 0.4
REACH = 0.25  # of the wall's influence, as a share of the side
IMPRINT_V = 1.5  # far from the wall, positive where the centre lies in the bright domain
SHARPNESS_V = 0.8  # of the switching, wall along the polar axis (the image's columns)
BLUNTING = 1.0  # by how much that grows for a wall across it, as a share
SLOPE_PM_PER_V = 0.15  # of the linear response beneath the loop
_FARTHEST = 0.45  # of the wall from the patch's centre, as a share of the side


def draw_patch_spectra(
    count: int, *, side: int = 24, points: int = 64, image_noise: float = 0.05, spectrum_noise: float = 0.03, seed: int, stream: str = "train"
) -> DataSet:
    """Draws patches and their loops.

    Args:
        count: patches, >= 1.
        side: height and width, pixels, >= 8.
        points: of a loop, an even number, >= 16: half of them up, half of them down.
        image_noise: standard deviation, of a contrast of about 1 either way.
        spectrum_noise: standard deviation, as a share of the amplitude far from the wall.
        seed: chooses structures and noise; the same seed gives the same data.
        stream: "train", "validation" or "test": independent random streams of one seed.

    Returns:
        `images` (n, side, side) float32, unit 1, about -1 to 1; `spectra` (n, points) float32, pm; and the truth, (n,) each:
        `truth_wall_distance_px` of the centre from the wall, positive in the bright domain, `truth_wall_angle_rad` from the rows' direction to the
        bright domain, counter-clockwise with row 0 at the top, `truth_coercive_v`, `truth_imprint_v`, `truth_amplitude_pm`, `truth_sharpness_v`;
        `truth_voltage_v` (points,).

    Raises:
        InputError: INVALID_OPTION.
    """
    _require(count >= 1, f"count is at least 1, not {count}")
    _require(side >= 8, f"side is at least 8 px, not {side}")
    _require(points >= 16 and points % 2 == 0, f"points is an even number of at least 16, not {points}")
    _require(image_noise >= 0 and spectrum_noise >= 0, f"noise is 0 or more, not {image_noise:g} and {spectrum_noise:g}")
    _require(stream in STREAMS, f"stream is one of {', '.join(STREAMS)}, not {stream!r}")
    # The spawn key, not the seed, separates the streams, as with the cards; noise has streams of its own.
    structure, noise = (random_stream(seed, STREAMS.index(stream), part) for part in (0, 1))
    drawn = structure.random((count, 4))
    distance = _FARTHEST * side * (2 * drawn[:, 0] - 1)
    angle = np.pi * (2 * drawn[:, 1] - 1)
    width_px, brightness = 1.0 + 1.5 * drawn[:, 2], 0.8 + 0.4 * drawn[:, 3]
    axis = np.arange(side) - (side - 1) / 2
    right, up = np.meshgrid(axis, -axis)
    # Signed distance of each pixel from the wall; the bright domain lies along `angle`.
    across = distance[:, None, None] + right * np.cos(angle)[:, None, None] + up * np.sin(angle)[:, None, None]
    images = brightness[:, None, None] * np.tanh(across / width_px[:, None, None]) + image_noise * noise.standard_normal((count, side, side))
    near = np.exp(-np.square(distance / (REACH * side)))
    coercive, amplitude = COERCIVE_V * (1 - COERCIVE_DROP * near), AMPLITUDE_PM * (1 - AMPLITUDE_DROP * near)
    imprint = IMPRINT_V * np.tanh(distance / (REACH * side))
    sharpness = SHARPNESS_V * (1 + BLUNTING * np.square(np.sin(angle)))
    spectra, voltage = _loops(coercive, imprint, amplitude, sharpness, points)
    spectra = spectra + spectrum_noise * AMPLITUDE_PM * noise.standard_normal((count, points))
    arrays: dict[str, Array] = {
        "images": images.astype(np.float32),
        "spectra": spectra.astype(np.float32),
        "truth_wall_distance_px": distance,
        "truth_wall_angle_rad": angle,
        "truth_coercive_v": coercive,
        "truth_imprint_v": imprint,
        "truth_amplitude_pm": amplitude,
        "truth_sharpness_v": sharpness,
        "truth_voltage_v": voltage,
    }
    source = (
        f"draw_patch_spectra(count={count}, side={side}, points={points}, image_noise={image_noise:g}, "
        f"spectrum_noise={spectrum_noise:g}, seed={seed}, stream={stream!r})"
    )
    return DataSet(arrays, unit="1", quantity="piezoresponse", source=source, sha256=hash_arrays(arrays))


def _loops(coercive_v: Array, imprint_v: Array, amplitude_pm: Array, sharpness_v: Array, points: int) -> tuple[Array, Array]:
    """Responses (n, points) in pm over the voltages (points,) in V, which rise and then fall."""
    up = np.linspace(-VOLTAGE_V, VOLTAGE_V, points // 2)
    voltage = np.concatenate([up, up[::-1]])
    # Upwards the switch comes at +V_c, downwards at −V_c.
    way = np.repeat([1.0, -1.0], points // 2)
    switch = way * coercive_v[:, None] - imprint_v[:, None]
    response: Array = amplitude_pm[:, None] * np.tanh((voltage - switch) / sharpness_v[:, None]) + SLOPE_PM_PER_V * voltage
    return response, voltage


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InputError("INVALID_OPTION", f"{message}.")
