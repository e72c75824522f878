from __future__ import annotations

import pytest

from training.latent.schedule import falling, weights_at
from training.recipe import Training


@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.9])
def test_content_weighs_beta_throughout_unless_a_start_is_given(fraction: float) -> None:
    weights = weights_at(Training(beta=4.0), fraction)
    assert (weights.pose_beta, weights.content_beta) == (4.0, 4.0)


@pytest.mark.parametrize(("fraction", "content"), [(0.0, 20.0), (0.2, 12.0), (0.4, 4.0), (0.9, 4.0)])
def test_content_falls_from_its_start_to_beta(fraction: float, content: float) -> None:
    weights = weights_at(Training(beta=4.0, content_beta_start=20.0, content_beta_until=0.4), fraction)
    assert weights.content_beta == pytest.approx(content)
    assert weights.pose_beta == 4.0


def test_learning_rate_stays_up_then_falls_to_its_end() -> None:
    training = Training(learning_rate=1e-2, learning_rate_end=1e-4)
    assert weights_at(training, 0.6).learning_rate == pytest.approx(1e-2)
    assert weights_at(training, 0.8).learning_rate == pytest.approx(1e-3)
    assert weights_at(training, 1.0).learning_rate == pytest.approx(1e-4)


def test_falling_weight_reaches_nought_and_stays_there() -> None:
    assert [falling(4.0, 0.8, fraction) for fraction in (0.0, 0.4, 0.8, 0.9)] == [4.0, 2.0, 0.0, 0.0]
