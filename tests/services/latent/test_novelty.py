"""The novelty p-value: exact where errors are stored, between them between, and valid for images of the held-out kind."""

from __future__ import annotations

import numpy as np
import pytest

from dichroic.bundle.manifest import Calibration, ErrorCalibration, Quantile
from services.latent.novelty import HeldOutErrors
from tests.toy_bundle import NDArray


def held_out(errors: NDArray, stored: int) -> HeldOutErrors:
    """As a bundle stores them: at evenly spaced ranks."""
    ranks = np.round(np.linspace(0, len(errors) - 1, stored)).astype(int)
    sample = tuple(float(error) for error in np.sort(errors)[ranks])
    counted = ErrorCalibration(count=len(errors), split="drawn", quantiles=(Quantile(probability=0.5, value=1.0),))
    found = HeldOutErrors.of(Calibration(reconstruction_error=counted, reconstruction_error_sample=sample))
    assert found is not None
    return found


def test_at_every_stored_error_it_is_what_counting_gives_ties_included() -> None:
    errors = np.array([1, 2, 2, 2, 5, 7], float)
    found = held_out(errors, 6).p_value(errors.astype(np.float32))
    np.testing.assert_allclose(found, [7 / 7, 6 / 7, 6 / 7, 6 / 7, 3 / 7, 2 / 7], rtol=1e-6)
    assert found.dtype == np.float32


def test_outside_the_errors_it_is_one_and_its_least_and_never_zero() -> None:
    found = held_out(np.arange(1.0, 100.0), 99).p_value(np.array([0, 0.5, 99.5, 1e30], np.float32))
    np.testing.assert_allclose(found, [1, 1, 0.01, 0.01])


def test_a_sample_tells_nearly_what_all_would() -> None:
    random = np.random.default_rng(0)
    errors = random.gamma(3, size=20_000)
    new = random.gamma(3, size=500)
    exact = (1 + (errors[None] >= new[:, None]).sum(axis=1)) / (1 + len(errors))
    np.testing.assert_allclose(held_out(errors, 1000).p_value(new.astype(np.float32)), exact, atol=1.5 / 1000)


@pytest.mark.parametrize("stored", [50, 500])
def test_an_image_of_the_held_out_kind_has_a_small_p_value_as_rarely_as_it_says(stored: int) -> None:
    random = np.random.default_rng(1)
    shares = [np.mean(held_out(random.gamma(3, size=500), stored).p_value(random.gamma(3, size=200).astype(np.float32)) <= 0.05) for _ in range(200)]
    # 40 000 draws, but each 200 share their held-out errors: the share itself scatters by about 0.01 from one of the 200 to the next.
    assert np.mean(shares) == pytest.approx(0.05, abs=0.005)


def test_a_bundle_that_stores_no_errors_has_none() -> None:
    assert HeldOutErrors.of(Calibration()) is None
