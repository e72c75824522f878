"""Alignment of latents that are known to be the same, or to share nothing."""

import numpy as np
import pytest

from training.scales.statistics.alignment import align, alignments


def latents(columns, rows=2000, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, columns))


def turned(z, seed=9):
    """Turned, mirrored and reordered."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(z.shape[1], z.shape[1])))
    return (z @ q)[:, ::-1] * np.array([-1.0, *([1.0] * (z.shape[1] - 1))])


def test_latents_turned_moved_and_scaled_are_the_same():
    z = latents(4)
    found = align(z, 2.5 * turned(z) + 3)
    assert found.residual == pytest.approx(0, abs=1e-12)
    assert found.correlations == pytest.approx(np.ones(4))
    assert found.mean_correlation == pytest.approx(1)


def test_a_linear_map_keeps_the_canonical_correlations_but_not_the_shape():
    z = latents(3)
    found = align(z, z @ np.array([[1.0, 0.8, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 0.2]]))
    assert found.correlations == pytest.approx(np.ones(3))
    assert found.residual > 0.05


def test_canonical_correlations_are_those_the_latents_were_drawn_with():
    z, own = latents(3, 40_000), latents(3, 40_000, seed=1)
    rho = np.array([0.9, 0.6, 0.2])
    second = rho * z + np.sqrt(1 - rho**2) * own
    assert align(turned(z), turned(second, seed=4)).correlations == pytest.approx(rho, abs=0.02)


def test_independent_latents_show_no_more_than_chance():
    found = align(latents(4), latents(4, seed=1))
    assert np.sqrt((found.correlations**2).mean()) == pytest.approx(found.chance, rel=0.5)
    assert found.chance == pytest.approx(np.sqrt(4 / 1999))
    assert found.residual > 0.95


def test_a_stage_that_keeps_one_of_two_equal_latents_leaves_half_of_them():
    z, _ = np.linalg.qr(latents(2) - latents(2).mean(axis=0))
    assert align(z, z[:, :1], least_variance=0).residual == pytest.approx(0.5)


def test_units_that_are_not_active_take_no_part():
    z, own = latents(2), latents(2, seed=1)
    noise = 0.02 * latents(3, seed=2)  # variance 4e-4, and the same in both stages
    found = align(np.hstack([z, noise]), np.hstack([own, noise]))
    assert len(found.correlations) == 2
    assert found.mean_correlation < 0.1
    assert align(np.hstack([z, noise]), np.hstack([own, noise]), least_variance=0).correlations[:3] == pytest.approx(np.ones(3), abs=1e-3)


def test_a_stage_without_active_units_has_no_correlations():
    found = align(latents(2), np.zeros((2000, 3)))
    assert len(found.correlations) == 0
    assert np.isnan(found.mean_correlation)
    assert found.residual == 1


def test_nothing_changes_when_either_stage_is_turned():
    first, second = latents(3), latents(4, seed=1)
    second[:, :2] += first[:, :2]
    plain, other = align(first, second), align(turned(first), turned(second, seed=5))
    assert other.residual == pytest.approx(plain.residual)
    assert other.correlations == pytest.approx(plain.correlations)
    assert align(second, first).residual == pytest.approx(plain.residual)


def test_the_matrix_compares_every_two_stages():
    first = latents(2)
    correlation, residual = alignments([first, turned(first), latents(2, seed=3)])
    assert correlation[:2, :2] == pytest.approx(np.ones((2, 2)))
    assert np.diag(correlation) == pytest.approx(np.ones(3))
    assert (correlation == correlation.T).all()
    assert correlation[0, 2] < 0.1
    assert np.diag(residual) == pytest.approx(np.zeros(3), abs=1e-12)
    assert residual[2, 0] > 0.9


@pytest.mark.parametrize("rows", [2, 5])
def test_rows_that_do_not_belong_together_are_refused(rows):
    with pytest.raises(ValueError, match="same 3 centres"):
        align(latents(2, 2), latents(2, rows))
