"""Scalarisers against curves whose figures follow from a formula."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from training.data.dataset import Array
from training.data.loop_scalars import (
    asymmetry,
    centre_of_mass,
    close_sweep,
    coercive_drive,
    coercive_points,
    imprint,
    loop_area,
    opening,
    peak_position,
    peak_ratio,
    remanence,
    remanences,
    switchable,
)
from training.errors import InputError

# 0 → 8 → −8 → just short of 0, as a measured sweep is: the last segment is missing.
SWEEP = np.concatenate([np.linspace(0, 8, 65), np.linspace(8, -8, 129)[1:], np.linspace(-8, 0, 65)[1:-1]])


def tanh_loop(coercive: float, shift: float, height: float, offset: float = 0.0, width: float = 0.4) -> Array:
    """R = offset + height tanh((V ∓ coercive − shift)/width), on the sweep above."""
    way = np.sign(np.diff(SWEEP, append=0.0))
    loop: Array = offset + height * np.tanh((SWEEP - shift - way * coercive) / width)
    return loop


def parallelogram(coercive: float, shift: float) -> Array:
    """Slope 1 on both branches, R = V − shift ± coercive: every figure is exact, but the corners are not closed."""
    way = np.sign(np.diff(SWEEP, append=0.0))
    loop: Array = SWEEP - shift - way * coercive
    return loop


LOOPS = np.stack([tanh_loop(3.0, 0.5, 2.0), tanh_loop(2.0, -1.0, 0.5, offset=7.0), tanh_loop(1.5, 0.0, 1.0, offset=-0.2)])


def test_an_unclosed_sweep_is_closed_by_one_straight_segment() -> None:
    drive, response = close_sweep(SWEEP, LOOPS)
    assert drive.shape == response.shape == (3, len(SWEEP) + 1)
    np.testing.assert_array_equal(response[:, -1], LOOPS[:, 0])
    assert (drive[:, -1] == 0).all()


def test_the_area_of_a_loop_is_four_times_height_times_coercive_drive() -> None:
    # ∫ [tanh(x + c) − tanh(x − c)] dx over all x is 4 c.
    np.testing.assert_allclose(loop_area(SWEEP, LOOPS), [4 * 2 * 3, 4 * 0.5 * 2, 4 * 1.5], rtol=1e-3)
    np.testing.assert_allclose(loop_area(SWEEP[::-1], LOOPS[:, ::-1]), -loop_area(SWEEP, LOOPS), rtol=1e-12)
    np.testing.assert_allclose(loop_area(np.broadcast_to(SWEEP, LOOPS.shape), LOOPS), loop_area(SWEEP, LOOPS), rtol=0)


def test_the_area_does_not_depend_on_where_the_cycle_begins() -> None:
    drive, response = close_sweep(SWEEP, LOOPS)
    for shift in (3, 70, 200):
        moved = np.roll(drive[0, :-1], shift), np.roll(response[:, :-1], shift, axis=1)
        np.testing.assert_allclose(loop_area(*moved), loop_area(SWEEP, LOOPS), rtol=1e-12)
        np.testing.assert_allclose(coercive_drive(*moved), coercive_drive(SWEEP, LOOPS), rtol=1e-12)
        np.testing.assert_allclose(remanence(*moved), remanence(SWEEP, LOOPS), rtol=1e-12)


def test_coercive_drive_and_imprint_are_half_sum_and_half_difference_of_the_crossings() -> None:
    up, down = coercive_points(SWEEP, LOOPS, level=np.array([0.0, 7.0, -0.2]))
    np.testing.assert_allclose(up, [3.5, 1.0, 1.5], atol=1e-3)
    np.testing.assert_allclose(down, [-2.5, -3.0, -1.5], atol=1e-3)
    np.testing.assert_allclose(coercive_drive(SWEEP, LOOPS), [3, 2, 1.5], atol=2e-3)
    np.testing.assert_allclose(imprint(SWEEP, LOOPS), [0.5, -1.0, 0.0], atol=4e-3)  # tanh is not quite 1 at V = 0


def test_the_default_level_takes_out_an_offset_of_the_response() -> None:
    np.testing.assert_allclose(coercive_drive(SWEEP, LOOPS + 100), coercive_drive(SWEEP, LOOPS), rtol=1e-9)
    assert np.isnan(coercive_drive(SWEEP, LOOPS + 100, level=0.0)).all()


def test_crossings_of_straight_branches_are_exact() -> None:
    loop = parallelogram(2.3, 0.4)[None]
    up, down = coercive_points(SWEEP, loop, level=0.0)
    # The closing segment and the turns join the branches off their lines; none of them crosses the level.
    assert (up[0], down[0]) == (pytest.approx(2.7, abs=1e-9), pytest.approx(-1.9, abs=1e-9))


def test_several_crossings_are_weighed_by_how_long_the_response_lies_on_either_side() -> None:
    drive = np.array([-2.0, -1, 0, 1, 2, 1, 0, -1])
    response = np.array([[-1.0, 1, -1, 1, 1, 1, 1, 1]])
    up, down = coercive_points(drive, response, level=0.0)
    # Upwards below 0 for a half, then for two halves: −2 + 1.5. Downwards above 0 until the middle of the last segment.
    assert up.tolist() == [-0.5]
    assert down.tolist() == [-1.5]


def test_a_loop_that_does_not_switch_has_no_coercive_drive() -> None:
    flat = np.zeros((1, len(SWEEP)))
    inverted = -tanh_loop(2, 0, 1)[None]
    for loop in (flat, inverted):
        assert np.isnan(coercive_drive(SWEEP, loop)).all()
        assert np.isnan(imprint(SWEEP, loop)).all()


def test_remanences_are_read_at_zero_drive_on_each_way() -> None:
    plus, minus = remanences(SWEEP, LOOPS)
    np.testing.assert_allclose(plus[0], 2 * np.tanh((3 - 0.5) / 0.4), rtol=1e-9)
    np.testing.assert_allclose(minus[0], 2 * np.tanh((-3 - 0.5) / 0.4), rtol=1e-9)
    np.testing.assert_allclose(remanence(SWEEP, LOOPS), (plus - minus) / 2)
    np.testing.assert_allclose(switchable(SWEEP, LOOPS), plus - minus)
    np.testing.assert_allclose(asymmetry(SWEEP, LOOPS), (plus + minus) / (plus - minus))
    assert np.isnan(asymmetry(SWEEP, np.ones((1, len(SWEEP))))).all()


def test_remanences_are_interpolated_where_no_sample_lies_at_zero() -> None:
    drive = np.array([-1.5, -0.5, 0.5, 1.5, 0.5, -0.5])
    plus, minus = remanences(drive, np.array([[-3.0, -2, -1, 4, 3, 1]]))
    assert (plus.tolist(), minus.tolist()) == ([2.0], [-1.5])


def test_the_opening_of_a_loop_is_the_distance_of_its_branches() -> None:
    axis, wide = opening(SWEEP, LOOPS)
    assert (axis[0], axis[-1]) == (-8, 8)
    expected = 2 * (np.tanh((axis - 0.5 + 3) / 0.4) - np.tanh((axis - 0.5 - 3) / 0.4))
    np.testing.assert_allclose(wide[0, 1:-1], expected[1:-1], atol=1e-9)
    np.testing.assert_allclose(np.trapezoid(wide, axis, axis=1), loop_area(SWEEP, LOOPS), rtol=1e-3)
    # A symmetric opening has its centre of mass at the imprint.
    np.testing.assert_allclose(centre_of_mass(axis, wide)[[0, 2]], [0.5, 0.0], atol=1e-3)


def test_figures_of_peaks_on_analytic_curves() -> None:
    axis = np.linspace(0, 10, 101) ** 1.1
    two = np.exp(-((axis - 3) ** 2) / 0.5) + 0.25 * np.exp(-((axis - 8) ** 2) / 0.5)
    parabola = 5 - (axis - 4.321) ** 2
    place = peak_position(axis, np.stack([two, parabola]))
    assert place.tolist() == [pytest.approx(3, abs=2e-3), pytest.approx(4.321, abs=1e-9)]
    assert peak_ratio(axis, two[None], (2, 4), (7, 9))[0] == pytest.approx(4, rel=0.01)
    assert centre_of_mass(axis, two[None])[0] == pytest.approx((3 + 0.25 * 8) / 1.25, rel=1e-3)
    assert peak_position(axis, axis[None]).tolist() == [axis[-1]]
    assert np.isnan(centre_of_mass(axis, -two[None])).all()
    assert np.isnan(peak_ratio(axis, np.zeros((1, 101)), (2, 4), (7, 9))).all()


@pytest.mark.parametrize(
    ("reason", "call"),
    [
        ("UNSUPPORTED_SHAPE", lambda: loop_area(SWEEP, LOOPS[0])),
        ("UNSUPPORTED_SHAPE", lambda: loop_area(SWEEP[:-1], LOOPS)),
        ("NON_FINITE", lambda: loop_area(SWEEP, LOOPS * np.nan)),
        ("NOT_ONE_CYCLE", lambda: loop_area(np.tile(SWEEP, 2), np.tile(LOOPS, 2))),
        ("NOT_ONE_CYCLE", lambda: remanence(SWEEP + 9, LOOPS)),
        ("UNSUPPORTED_SHAPE", lambda: opening(np.broadcast_to(SWEEP, LOOPS.shape), LOOPS)),
        ("UNSUPPORTED_SHAPE", lambda: peak_position(SWEEP, LOOPS)),
        ("INVALID_OPTION", lambda: peak_ratio(np.arange(4.0), np.ones((1, 4)), (0, 1), (7, 9))),
    ],
)
def test_what_is_no_loop_or_no_curve_is_refused(reason: str, call: Callable[[], object]) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.reason == reason
