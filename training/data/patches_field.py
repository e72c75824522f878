"""Patches × field × ageing: three mechanisms whose parts in y are known exactly (science 3.3 (a)).

Additive: y = a_c + h(s) + g(t) + ε. Scaled: y = b_c h(s) + g(t) + ε. A mechanism's input is an image of its class c, a place s, or an age t; the
three are independent. All constants of the generator stand here; changing one changes every figure that was ever measured with it.
"""

from __future__ import annotations

import math
from functools import cache, partial

import numpy as np

from training.data.cards import draw_poses
from training.data.dataset import Array, DataSet, hash_arrays
from training.data.drawing import random_stream, require_option
from training.data.suits import SUITS

STREAMS = ("train", "validation", "test")
_require = partial(require_option, "Patches and field")
FORMS = ("additive", "scaled")
CLASSES = SUITS  # spade, heart, diamond, club: as many of each
# a_c of the additive form: unevenly spaced, in no order that the shapes suggest. Mean 0.1, standard deviation 0.791.
LEVEL = (-0.9, 0.6, -0.4, 1.1)
# b_c > 0 of the scaled form. Mean 1, mean square 1.165.
FACTOR = (0.5, 1.1, 0.8, 1.6)
# h(s) = sin(2π s1) cos(2π s2) + BUMP exp(−|s − s0|²/BUMP_SQUARE) on [0, 1]²: standard deviation 0.508.
BUMP_CENTRE = (0.65, 0.25)
BUMP = 0.5
BUMP_SQUARE = 0.02
# g(t) = AGEING exp(−t/AGEING_TIME) on [0, 1], fast at first and then hardly at all, as a film that tires: standard deviation 0.387.
AGEING = 1.5
AGEING_TIME = 0.3
# The cards leave room for shifts; patches have none, so that their suits are drawn larger, and still lie inside at ±10° of shear.
SIZE = 1.35


def field(position: Array) -> Array:
    """h(s): (n, 2) → (n,)."""
    s1, s2 = position[:, 0], position[:, 1]
    apart = (s1 - BUMP_CENTRE[0]) ** 2 + (s2 - BUMP_CENTRE[1]) ** 2
    h: Array = np.sin(2 * np.pi * s1) * np.cos(2 * np.pi * s2) + BUMP * np.exp(-apart / BUMP_SQUARE)
    return h


def ageing(age: Array) -> Array:
    """g(t): any shape."""
    g: Array = AGEING * np.exp(-age / AGEING_TIME)
    return g


@cache
def population_sd(form: str) -> float:
    """The standard deviation of f over everything the generator can draw: classes in equal shares, s and t uniform, all independent.

    Additive: var a + var h + var g. Scaled: E[b²] E[h²] − E[b]² E[h]² + var g. The integrals of h are Gauss–Legendre's with 128 nodes an axis, those
    of g are closed: exact to 1e-14, and no sample's. So the noise of a set depends neither on its size nor on its seed.
    """
    nodes, weights = np.polynomial.legendre.leggauss(128)
    axis, share = (nodes + 1) / 2, weights / 2
    h = field(np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)).reshape(128, 128)
    h_mean, h_square = float(share @ h @ share), float(share @ h**2 @ share)
    g_mean = AGEING * AGEING_TIME * -math.expm1(-1 / AGEING_TIME)
    g_square = AGEING**2 * AGEING_TIME / 2 * -math.expm1(-2 / AGEING_TIME)
    if form == "additive":
        patch_and_field = float(np.var(LEVEL)) + h_square - h_mean**2
    else:
        patch_and_field = float(np.mean(np.square(FACTOR))) * h_square - float(np.mean(FACTOR)) ** 2 * h_mean**2
    return math.sqrt(patch_and_field + g_square - g_mean**2)


def draw_patches_field(
    count: int,
    *,
    form: str = "additive",
    noise: float = 0.1,
    angle_deg: float = 180.0,
    shear_deg: float = 10.0,
    patch_noise: float = 0.1,
    side: int = 24,
    seed: int,
    stream: str = "train",
) -> DataSet:
    """Draws points.

    Args:
        count: points, >= 1; the four classes take turns.
        form: "additive" or "scaled".
        noise: sd(ε) as a share of `population_sd(form)`, >= 0; 0, 0.05, 0.1, 0.2 and 0.5 are the benchmark's. The same seed draws the same
            ε times this.
        angle_deg: patches are turned by angles uniform in ±this, degrees, 0 to 180.
        shear_deg: and sheared by angles uniform in ±this, degrees, 0 to below 60.
        patch_noise: standard deviation of the pixels' noise, of a contrast of 1, >= 0.
        side: height and width of a patch, pixels, >= 8.
        seed: the same seed gives the same data; a longer set begins with the shorter one.
        stream: "train", "validation" or "test": independent random streams of one seed.

    Returns:
        Mechanisms: `patch` (n, side, side) float32, brightness, about 0 to 1; `position` (n, 2) float64, s in [0, 1]², without unit;
        `age` (n, 1) float64, t in [0, 1], without unit. `y` (n,) float64. Truth, (n,) float64, in the generator's own gauge, no part centred:
        `truth_f` = y − ε, `truth_patch` = a_c (additive) or the factor b_c (scaled), `truth_position` = h(s), `truth_age` = g(t);
        `truth_noise_sd` () float64, sd(ε). `labels` (n,) int64, index into CLASSES.

    Raises:
        InputError: INVALID_OPTION.
    """
    _require(count >= 1, f"count is at least 1, not {count}")
    _require(form in FORMS, f"form is one of {', '.join(FORMS)}, not {form!r}")
    _require(0 <= noise < math.inf and 0 <= patch_noise < math.inf, f"noise is 0 or more, not {noise:g} and {patch_noise:g}")
    _require(0 <= angle_deg <= 180, f"angle_deg lies in 0 to 180, not at {angle_deg:g}")
    _require(0 <= shear_deg < 60, f"shear_deg lies in 0 to below 60, not at {shear_deg:g}")
    _require(side >= 8, f"side is at least 8 px, not {side}")
    _require(stream in STREAMS, f"stream is one of {', '.join(STREAMS)}, not {stream!r}")
    # The spawn key separates streams, and within one the inputs, the pixels' noise and ε: each is drawn row by row.
    inputs, pixels, errors = (random_stream(seed, STREAMS.index(stream), part) for part in range(3))
    labels = np.arange(count, dtype=np.int64) % len(CLASSES)
    drawn = inputs.random((count, 5))
    position, age = drawn[:, :2].copy(), drawn[:, 2:3].copy()
    none = np.zeros(count)
    patch = draw_poses(
        labels,
        angle_rad=np.radians(angle_deg) * (2 * drawn[:, 3] - 1),
        shear_rad=np.radians(shear_deg) * (2 * drawn[:, 4] - 1),
        scale=np.full(count, SIZE),
        shift_down_px=none,
        shift_right_px=none,
        side=side,
    )
    patch += np.float32(patch_noise) * pixels.standard_normal(patch.shape, dtype=np.float32)
    h, g = field(position), ageing(age[:, 0])
    own = np.array(LEVEL if form == "additive" else FACTOR)[labels]
    f = own + h + g if form == "additive" else own * h + g
    noise_sd = noise * population_sd(form)
    arrays: dict[str, Array] = {
        "patch": patch,
        "position": position,
        "age": age,
        "y": f + noise_sd * errors.standard_normal(count),
        "labels": labels,
        "truth_f": f,
        "truth_patch": own,
        "truth_position": h,
        "truth_age": g,
        "truth_noise_sd": np.array(noise_sd),
    }
    source = (
        f"draw_patches_field(count={count}, form={form!r}, noise={noise:g}, angle_deg={angle_deg:g}, shear_deg={shear_deg:g}, "
        f"patch_noise={patch_noise:g}, side={side}, seed={seed}, stream={stream!r})"
    )
    return DataSet(arrays, unit="1", quantity=f"patches and field, {form}", source=source, sha256=hash_arrays(arrays))
