from __future__ import annotations

import numpy as np
import pytest

from training.mechanism.acquisition import STRATEGIES, Candidates, Strategy, picks

COUNT, NOISE = 40, 0.05


def drawn(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latents (C, 2), prior covariance of f, and that of its part along the first latent."""
    x = np.random.default_rng(seed).random((COUNT, 2))
    along = np.exp(-0.5 * ((x[:, None] - x) / 0.3) ** 2)
    return x, along[..., 0] + 0.5 * along[..., 1], along[..., 0]


def candidates(seed: int = 0) -> Candidates:
    _, kernel, part = drawn(seed)
    return Candidates(kernel, np.full(COUNT, NOISE), part)


def posterior(prior: np.ndarray, with_f: np.ndarray, kernel: np.ndarray, measured: list[int]) -> np.ndarray:
    """prior − cov(·, f(Z)) Σ⁻¹ cov(f(Z), ·), by hand."""
    rows = with_f[:, measured]
    return prior - rows @ np.linalg.solve(kernel[np.ix_(measured, measured)] + NOISE * np.eye(len(measured)), rows.T)


def test_what_is_known_after_some_points_is_the_posterior() -> None:
    _, kernel, part = drawn()
    measured = [3, 17, 5, 3]  # one of them twice
    found = candidates()
    for index in measured:
        found.observe(index)
    np.testing.assert_allclose(found.covariance, posterior(kernel, kernel, kernel, measured), atol=1e-12)
    centre = np.eye(COUNT) - 1 / COUNT
    wanted = posterior(centre @ part @ centre, centre @ part, kernel, measured)
    assert found.part_variance is not None
    np.testing.assert_allclose(found.part_variance, np.diag(wanted), atol=1e-12)


def test_many_points_at_once_are_the_same_as_one_after_another() -> None:
    first, second = candidates(), candidates()
    for index in (3, 17, 5):
        first.observe(index)
    second.condition([3, 17, 5])
    np.testing.assert_allclose(first.covariance, second.covariance, atol=1e-12)
    for strategy in ("total_sd", "part_sd", "mean_variance"):
        np.testing.assert_allclose(first.scores(strategy), second.scores(strategy), atol=1e-12)


def test_a_point_that_is_forgotten_is_as_one_never_measured() -> None:
    found, wanted = candidates(), candidates()
    found.condition([3, 17, 5])
    found.forget(17)
    wanted.condition([3, 5])
    np.testing.assert_allclose(found.covariance, wanted.covariance, atol=1e-12)


def test_the_mean_variance_falls_by_what_was_said() -> None:
    found = candidates()
    found.condition([1, 2])
    scores, before = found.scores("mean_variance"), np.trace(found.covariance)
    found.observe(9)
    assert before - np.trace(found.covariance) == pytest.approx(scores[9])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_candidate_is_picked_twice_and_all_are_picked_in_the_end(strategy: Strategy) -> None:
    latents, _, _ = drawn()
    measured = [0, 7]
    found = picks(strategy, candidates(), latents, measured, COUNT - 2, np.random.default_rng(0))
    assert sorted([*found, *measured]) == list(range(COUNT))


def test_picks_are_the_greatest_scores_each_after_those_before() -> None:
    latents, kernel, _ = drawn()
    found = picks("total_sd", candidates(), latents, [0], 6, np.random.default_rng(0))
    for place in range(6):
        measured = [0, *found[:place]]
        variance = np.diag(posterior(kernel, kernel, kernel, measured)).copy()
        variance[measured] = -1
        assert found[place] == np.argmax(variance)


def test_space_is_filled_from_what_is_measured() -> None:
    line = np.arange(9.0)[:, None]
    assert picks("space_filling", candidates(), line, [0], 3, np.random.default_rng(0)) == [8, 4, 2]


def test_a_batch_spreads_where_the_best_single_points_are_neighbours() -> None:
    x = np.array([0.0, 0.01, 0.02, 1.0])[:, None]
    kernel = np.diag([1.0, 1.02, 1.01, 0.9]) ** 0.5 @ np.exp(-0.5 * ((x - x.T) / 0.2) ** 2) @ np.diag([1.0, 1.02, 1.01, 0.9]) ** 0.5
    assert picks("total_sd", Candidates(kernel, np.full(4, 0.01)), x, [], 2, np.random.default_rng(0)) == [1, 3]
