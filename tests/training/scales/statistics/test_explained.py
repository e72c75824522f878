"""Explained fractions, and the stripes' known answer by exact principal components of float64 descriptors."""

import numpy as np
import pytest

from training.scales.statistics.explained import (
    axes_explained,
    explained_fraction,
    explained_of_each,
    second_axis_share,
    stripes_second_axis_share,
)

PHASES = 64


def striped_descriptors(window, period, size=16):
    """(PHASES, size, size) block means of vertical stripes, phases evenly over one turn; window a multiple of size."""
    columns = np.arange(window) + 0.5
    phase = 2 * np.pi * np.arange(PHASES) / PHASES
    rows = np.cos(2 * np.pi * columns / period + phase[:, None])
    blocks = rows.reshape(PHASES, size, window // size).mean(axis=2)
    return np.repeat(blocks[:, None, :], size, axis=1)


def first_components(descriptors, count):
    """Latents of a linear model: scores of the first principal components."""
    rows = descriptors.reshape(len(descriptors), -1)
    left, singular, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    return left[:, :count] * singular[:count]


def test_a_perfect_reconstruction_explains_all_and_the_mean_descriptor_nothing():
    x = np.random.default_rng(0).normal(3, 2, (50, 4, 4))
    assert explained_fraction(x, x) == 1
    assert explained_fraction(x, np.broadcast_to(x.mean(axis=0), x.shape)) == pytest.approx(0)
    assert explained_fraction(x, x.mean(axis=0) + 0.5 * (x - x.mean(axis=0))) == pytest.approx(0.75)
    assert explained_fraction(x, np.zeros_like(x)) < 0
    assert np.isnan(explained_fraction(np.ones((5, 3)), np.ones((5, 3))))


def test_of_each_window_the_variance_is_about_its_own_mean_and_a_constant_window_has_none():
    x = np.array([[[0.0, 2.0]], [[5.0, 5.0]], [[0.0, 4.0]]])
    drawn = np.array([[[1.0, 1.0]], [[5.0, 6.0]], [[0.0, 4.0]]])
    assert explained_of_each(x, drawn).tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("turned", [False, True], ids=["as they are", "turned, scaled and moved"])
def test_the_axes_of_a_linear_models_latents_are_the_principal_components(turned):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 6)) @ np.diag([3.0, 2.0, 1.0, 0.5, 0.2, 0.1])
    expected = np.linalg.eigvalsh(np.cov(x.T))[::-1][:3] / np.trace(np.cov(x.T))
    latents = first_components(x, 3)
    latents = latents @ rng.normal(size=(3, 3)) + 7 if turned else latents
    assert axes_explained(latents, x.reshape(400, 2, 3)) == pytest.approx(expected, rel=1e-9)


def test_latents_that_say_nothing_explain_nothing():
    x = np.random.default_rng(2).normal(size=(100, 5))
    assert axes_explained(np.zeros((100, 2)), x).tolist() == [0.0, 0.0]
    assert np.isnan(axes_explained(x[:, :2], np.ones((100, 5)))).all()
    assert axes_explained(x, x[:, :2])[2:] == pytest.approx(np.zeros(3), abs=1e-12)  # more latents than there is to explain
    assert axes_explained(x, x[:, :2]).sum() == pytest.approx(1)


@pytest.mark.parametrize("period", [40.0, 64.0, 100.0])
def test_stripes_give_the_known_share_of_the_second_axis(period):
    windows = np.arange(16, 129, 16)
    found = []
    for window in windows:
        x = striped_descriptors(window, period)
        shares = axes_explained(first_components(x, 2), x)
        assert shares.sum() == pytest.approx(1)
        found.append(second_axis_share(shares))
        # of 16 blocks in place of a continuous window: Dirichlet's kernel
        kernel = np.sin(2 * np.pi * window / period) / (16 * np.sin(2 * np.pi * window / period / 16))
        assert found[-1] == pytest.approx((1 - abs(kernel)) / 2, abs=1e-9)
    assert found == pytest.approx(stripes_second_axis_share(windows, period), abs=0.03)


def test_the_second_axis_of_stripes_first_reaches_a_half_at_half_a_period():
    windows = np.arange(16, 97, 16)
    found = [second_axis_share(axes_explained(first_components(x, 2), x)) for x in (striped_descriptors(w, 96.0) for w in windows)]
    assert (np.diff(found[:3]) > 0).all()
    assert found[2] == pytest.approx(0.5, abs=1e-9)  # w = 48
    assert stripes_second_axis_share(48.0, 96.0) == pytest.approx(0.5)
    assert stripes_second_axis_share(np.array([1e-9]), 96.0) == pytest.approx(0.0)


def test_a_share_without_two_axes_is_not_known():
    assert np.isnan(second_axis_share(np.array([0.5])))
    assert np.isnan(second_axis_share(np.array([0.0, 0.0])))
    assert second_axis_share(np.array([0.6, 0.2])) == pytest.approx(0.25)


def test_rows_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        explained_fraction(np.zeros((3, 4)), np.zeros((3, 5)))
    with pytest.raises(ValueError, match="3 rows of latents for 4"):
        axes_explained(np.zeros((3, 2)), np.zeros((4, 5)))
