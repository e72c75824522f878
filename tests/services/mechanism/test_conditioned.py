"""A session's posterior, point by point, is the posterior of all points at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.mechanism.conditioned import SessionPosterior
from services.mechanism.posterior import posterior_inputs
from services.mechanism.state import FIRST_ROOM, Block, Measured, Start, posterior_bytes
from tests.services.mechanism.world import SIGMA2, NDArray, World, places
from training.mechanism.posterior import Posterior, Prediction
from training.mechanism.robust import Outliers

SD_Y = 1.0
EVERY_FORM = pytest.mark.parametrize("form", ["additive", "product", "mixed", "scaled", "offset_scaled"])


def session_of(world: World) -> SessionPosterior:
    return SessionPosterior(Start.of(world.section, posterior_inputs(world.bundle, world.rows), world.structure.mean))


def measured(world: World, session: SessionPosterior, latents: NDArray, y: NDArray) -> Measured:
    told = world.rows(latents, np.concatenate((session.points(), latents)))
    return Measured(latents, y, world.posterior._factor_variance(latents), told["rows"], told["factor"], told["prior"])


def observe(world: World, session: SessionPosterior, latents: NDArray, y: NDArray) -> Block:
    block = session.plan(measured(world, session, latents, y))
    session.apply(block)
    return block


def afresh(world: World, latents: NDArray, y: NDArray, noise: NDArray) -> Posterior:
    """Training's posterior of all points; the gauge's reference stays where it was."""
    given = world.posterior
    together = (np.concatenate(pair) for pair in ((given.latents, latents), (given.y, y), (given.noise_variance, noise)))
    return Posterior(world.structure, *together, np.concatenate((given.reference, np.zeros(len(y)))))


def predict(world: World, session: SessionPosterior, latents: NDArray) -> dict[str, NDArray]:
    given = world.given(latents)
    return world.predict(given.values | session.fixed())


def differs(found: dict[str, NDArray], wanted: Prediction) -> float:
    pairs = (
        ("part_mean", wanted.mean),
        ("part_covariance", wanted.covariance),
        ("total_mean", wanted.total_mean),
        ("total_variance", wanted.total_variance),
    )
    return max(float(np.abs(found[name] - value).max()) for name, value in pairs)


@EVERY_FORM
def test_a_session_predicts_as_the_posterior_of_all_points_afresh(form: str) -> None:
    world = World(form=form)
    session, latents, y = session_of(world), places(9, 5), np.random.default_rng(2).normal(size=9)
    for part in (slice(0, 1), slice(1, 5), slice(5, 9)):
        observe(world, session, latents[part], y[part])
    new = places(11, 6)
    wanted = afresh(world, latents, y, np.full(9, SIGMA2)).predict(new)
    assert differs(predict(world, session, new), wanted) < 1e-9 * SD_Y
    assert np.abs(wanted.total_mean - world.posterior.predict(new).total_mean).max() > 0.05  # it did make a difference


@pytest.mark.parametrize("form", ["additive", "scaled"])
def test_a_truncated_session_stays_within_its_certified_bound(form: str) -> None:
    world = World(form=form, wide=3, count=200, rank_tolerance=1e-6)
    truncation = world.section.truncation
    assert truncation is not None
    session, latents, y = session_of(world), places(30, 5), np.random.default_rng(2).normal(size=30)
    # Far outside as well, where the low rank knows nothing.
    latents[::3] *= 4
    observe(world, session, latents[:10], y[:10])
    observe(world, session, latents[10:], y[10:])
    new = places(40, 6) * np.repeat([1, 4], 20)[:, None]
    new[:, :2] = new[:, :2].astype(np.float32)
    found, wanted = predict(world, session, new), afresh(world, latents, y, np.full(30, SIGMA2)).predict(new)
    assert session.rank == truncation.rank + 30
    signal = sum(values.variance for values in world.structure.terms) * float(np.max(world.posterior.factor_scales**2))
    assert np.abs(found["part_covariance"] - wanted.covariance).max() <= 2 * truncation.bound * signal + 1e-12
    assert np.abs(found["part_mean"] - wanted.mean).max() < 1e-9 * SD_Y  # means do not change at all


def test_inducing_points_are_conditioned_as_any_gaussian_process() -> None:
    world = World(kind="inducing")
    session, latents, y = session_of(world), places(4, 5), np.array([1.0, -1.0, 2.0, 0.5])
    new = places(6, 6)
    start = session.start.arrays

    def covariance(first: NDArray, second: NDArray) -> NDArray:
        halves = [start["inverse"] @ world.kernel(start["points"], each) for each in (first, second)]
        return np.asarray(world.kernel(first, second) - halves[0].T @ halves[1])

    def mean(at: NDArray) -> NDArray:
        return np.asarray(world.structure.mean + world.kernel(at, start["points"]) @ start["alpha"])

    gain = covariance(new, latents) @ np.linalg.inv(covariance(latents, latents) + SIGMA2 * np.eye(4))
    observe(world, session, latents, y)
    found = predict(world, session, new)
    assert np.abs(found["total_mean"] - (mean(new) + gain @ (y - mean(latents)))).max() < 1e-9
    assert np.abs(found["total_variance"] - np.diag(covariance(new, new) - gain @ covariance(latents, new))).max() < 1e-9


@EVERY_FORM
def test_k_points_at_once_are_k_points_one_by_one(form: str) -> None:
    world = World(form=form, outliers=True)
    latents, y = places(8, 5), np.random.default_rng(2).normal(size=8) * 3
    at_once, one_by_one = session_of(world), session_of(world)
    whole = observe(world, at_once, latents, y)
    single = [observe(world, one_by_one, latents[j : j + 1], y[j : j + 1]) for j in range(8)]
    for name, array in at_once.fixed().items():
        assert np.abs(array - one_by_one.fixed()[name]).max() < 1e-10
    assert np.abs(whole.weight - np.concatenate([block.weight for block in single])).max() < 1e-10
    assert 0 < whole.weight.min() < 0.1 < whole.weight.max() <= 1


def test_outliers_are_weighed_by_what_was_known_before_them() -> None:
    world = World(outliers=True)
    session, latents = session_of(world), np.tile(places(1, 5), (3, 1))
    told = world.posterior.predict(latents[:1])
    # The first is believed, the second is far from it, the third near.
    y = told.total_mean[0] + np.array([0.0, 30.0, 0.05])
    block = observe(world, session, latents, y)
    assert block.weight[0] > 0.5
    assert block.weight[1] == pytest.approx(SIGMA2 / 4.0, rel=1e-6)
    assert block.weight[2] > block.weight[0]  # by then the place is known better
    plain = session_of(World())
    assert observe(World(), plain, latents, y).weight.tolist() == [1, 1, 1]
    found = [float(predict(world, each, latents[:1])["total_mean"][0]) for each in (session, plain)]
    assert abs(found[0] - told.total_mean[0]) < 0.5 < abs(found[1] - told.total_mean[0])


def test_what_is_unknown_of_the_factors_speaks_for_a_point_that_is_far_off() -> None:
    world = World(form="scaled", outliers=True)
    session, latents = session_of(world), places(40, 5)
    told = world.posterior.predict(latents)
    of_factors = np.sum(told.factor_variance * told.mean**2, axis=1)
    # Where that is most of the variance.
    chosen = int(np.argmax(of_factors / told.total_variance))
    y = told.total_mean[[chosen]] + 0.7
    rule = Outliers(0.2, 4.0)
    wanted, without = (
        1 / rule.noise_weight(rule.good(np.array([0.7]), variance, SIGMA2), SIGMA2)
        for variance in (told.total_variance[[chosen]], told.total_variance[[chosen]] - of_factors[chosen])
    )
    weight = session.plan(measured(world, session, latents[[chosen]], y)).weight
    assert weight == pytest.approx(wanted, rel=1e-6)
    assert abs(wanted - without) > 0.01


def test_duplicates_are_told_and_count() -> None:
    world = World()
    session, latents = session_of(world), places(4, 5)
    latents[1] = latents[0] + 5e-10
    latents[2] = world.posterior.latents[7]
    latents[3] = latents[0] + 1e-7
    before = predict(world, session, latents)["total_variance"]
    block = observe(world, session, latents, np.ones(4))
    assert block.duplicate.tolist() == [False, True, True, False]
    assert observe(world, session, latents[3:], np.ones(1)).duplicate.tolist() == [True]
    after = predict(world, session, latents)["total_variance"]
    assert (after < before).all()
    # Three measurements in one place, as good as one of a third of the noise.
    single = session_of(replace(world))
    observe(world, single, latents[:1], np.ones(1))
    assert after[0] < predict(world, single, latents)["total_variance"][0] < before[0]
    assert afresh(world, latents[[0, 1, 2, 3, 3]], np.ones(5), np.full(5, SIGMA2)).predict(latents).total_variance == pytest.approx(after, abs=1e-9)


def test_inducing_points_were_never_measured_and_are_nobodys_duplicate() -> None:
    world = World(kind="inducing")
    session = session_of(world)
    there = session.points()[:1].copy()
    assert observe(world, session, there, np.ones(1)).duplicate.tolist() == [False]
    assert observe(world, session, there, np.ones(1)).duplicate.tolist() == [True]


def test_room_doubles_and_changes_nothing() -> None:
    world = World()
    session, latents, y = session_of(world), places(70, 5), np.random.default_rng(2).normal(size=70)
    bundle = {name: array.copy() for name, array in session.start.arrays.items()}
    lengths, new = [], places(3, 6)
    for j in range(0, 70, 10):
        observe(world, session, latents[j : j + 10], y[j : j + 10])
        lengths.append(len(session.fixed()["points"]))
        assert session.memory_bytes == posterior_bytes(session.start, session.added)
    assert lengths == [world.count + FIRST_ROOM] * 6 + [world.count + 2 * FIRST_ROOM]
    wanted = afresh(world, latents, y, np.full(70, SIGMA2)).predict(new)
    assert differs(predict(world, session, new), wanted) < 1e-9 * SD_Y
    # The bundle's own arrays are everybody's.
    assert all(np.array_equal(bundle[name], array) for name, array in session.start.arrays.items())


def test_the_graphs_inputs_are_one_object_until_something_is_observed() -> None:
    world = World()
    session = session_of(world)
    first = session.fixed()
    assert session.fixed() is first
    observe(world, session, places(1, 5), np.ones(1))
    assert session.fixed() is not first
    assert all(array.flags.c_contiguous for array in session.fixed().values())


def test_a_block_for_another_state_is_refused() -> None:
    world = World()
    session = session_of(world)
    block = session.plan(measured(world, session, places(1, 5), np.ones(1)))
    session.apply(block)
    with pytest.raises(ValueError, match="40 points, the session has 41"):
        session.apply(block)


def test_far_outside_the_variance_is_the_priors() -> None:
    world = World()
    session = session_of(world)
    observe(world, session, places(3, 5), np.ones(3))
    far = np.full((1, 5), 1e4)
    found = predict(world, session, far)
    assert found["total_variance"][0] == pytest.approx(sum(values.variance for values in world.structure.terms))
    assert found["total_mean"][0] == pytest.approx(world.structure.mean)
