"""Candidates kept up to date by columns, greedy batches and paths, against the posterior of everything afresh."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from services.mechanism import paths as paths_module
from services.mechanism.candidates import Candidates, candidate_bytes
from services.mechanism.conditioned import SessionPosterior
from services.mechanism.paths import Paths
from services.mechanism.state import Block
from services.mechanism.strategies import Batch, Wish
from tests.services.mechanism.test_conditioned import afresh, measured, observe, session_of
from tests.services.mechanism.world import FEATURES, SIGMA2, NDArray, World, places
from training.mechanism.posterior import Posterior

COUNT = 25
EVERY_FORM = pytest.mark.parametrize("form", ["additive", "product", "mixed", "scaled", "offset_scaled"])


def told(world: World, session: SessionPosterior, latents: NDArray, *, seed: int | None = None) -> Candidates:
    """In two pieces, as the room does."""
    view = session.view()
    paths = None if seed is None else Paths(seed, len(view.centred), FEATURES, len(latents))
    candidates = Candidates(latents, world.posterior._factor_variance(latents), view, paths)
    for start, end in ((0, 10), (10, len(latents))):
        candidates.fill(start, world.rows(latents[start:end], view.points), view)
    if paths is not None:
        paths.prior[:] = paths.values(world.random_features(latents), candidates.factor.T)
        paths.measure(at(world, paths, view.points), view)
    return candidates


def at(world: World, paths: Paths, points: NDArray) -> NDArray:
    return paths.values(world.random_features(points), world.rows(points, points[:1])["factor"])


def advance(world: World, candidates: Candidates, block: Block) -> None:
    added = candidates.added
    candidates.advance(block, world.rows(candidates.latents, block.latents)["rows"])
    if candidates.paths is not None:
        candidates.paths.advance(block, at(world, candidates.paths, block.latents), added)


def differs(candidates: Candidates, wanted: Posterior) -> float:
    found = wanted.predict(candidates.latents)
    parts = np.diagonal(found.covariance, axis1=1, axis2=2)[:, 1:]
    return max(
        float(np.abs(candidates.total_mean() - found.total_mean).max()),
        float(np.abs(candidates.variance_left + candidates.of_factors() - found.total_variance).max()),
        float(np.abs(candidates.part_variance_left.T - parts).max()),
    )


@EVERY_FORM
def test_candidates_told_once_are_as_if_told_afresh(form: str) -> None:
    world = World(form=form)
    session, latents, y = session_of(world), places(9, 5), np.random.default_rng(2).normal(size=9)
    candidates = told(world, session, places(COUNT, 8))
    assert differs(candidates, world.posterior) < 1e-9
    for part in (slice(0, 1), slice(1, 6), slice(6, 9)):
        advance(world, candidates, observe(world, session, latents[part], y[part]))
    wanted = afresh(world, latents, y, np.full(9, SIGMA2))
    assert differs(candidates, wanted) < 1e-9
    assert differs(told(world, session, candidates.latents), wanted) < 1e-9  # told by the session as it is now


def test_candidates_in_low_rank_stay_near() -> None:
    world = World(wide=3, count=200, rank_tolerance=1e-6)
    session, latents, y = session_of(world), places(20, 5), np.random.default_rng(2).normal(size=20)
    candidates = told(world, session, places(COUNT, 8))
    for j in range(20):
        block = observe(world, session, latents[j : j + 1], y[j : j + 1])
        advance(world, candidates, block.for_candidates(session.start.arrays["basis"]))
    assert differs(candidates, afresh(world, latents, y, np.full(20, SIGMA2))) < 1e-5


def test_memory_is_as_foretold() -> None:
    world = World()
    session = session_of(world)
    candidates = told(world, session, places(COUNT, 8), seed=1)
    advance(world, candidates, observe(world, session, places(70, 5), np.ones(70)))
    foretold = candidate_bytes(COUNT, 3, 5, rank=world.count, added=70, features=FEATURES)
    assert foretold == candidates.memory_bytes - candidates._centred.nbytes


def brute_force(world: World, base: Posterior, candidates: NDArray, picks: list[int]) -> tuple[NDArray, NDArray]:
    """Variances of f and of the parts with the picks measured: their y do not matter to them."""
    latents, y = candidates[picks], np.zeros(len(picks))
    noise = np.full(len(picks), SIGMA2)
    together = (np.concatenate(pair) for pair in ((base.latents, latents), (base.y, y), (base.noise_variance, noise)))
    found = Posterior(base.structure, *together, np.concatenate((base.reference, np.zeros(len(picks))))).predict(candidates)
    of_f = np.einsum("ns,nst,nt->n", found.factor, found.covariance, found.factor)
    return of_f, np.diagonal(found.covariance, axis1=1, axis2=2)[:, 1:]


def picked(world: World, session: SessionPosterior, candidates: Candidates, wish: Wish) -> Batch:
    batch = Batch(candidates, wish, session.view(), SIGMA2)
    for _ in range(wish.count):
        index = batch.pick()
        if batch.conditions:
            batch.condition(index, world.rows(candidates.latents, candidates.latents[index : index + 1])["rows"][:, :, 0])
    return batch


@EVERY_FORM
@pytest.mark.parametrize("strategy", ["total_sd", "part_sd", "ucb", "ei"])
def test_a_greedy_batch_is_that_of_conditioning_anew_after_every_pick(form: str, strategy: str) -> None:
    world = World(form=form)
    session, latents, y = session_of(world), places(3, 5), np.array([1.0, 0.0, -1.0])
    candidates = told(world, session, places(COUNT, 8))
    advance(world, candidates, observe(world, session, latents, y))
    before = (candidates.variance_left.copy(), candidates.mean.copy(), candidates.half.copy())
    now = afresh(world, latents, y, np.full(3, SIGMA2))
    said = now.predict(candidates.latents)
    part = len(world.structure.terms) - 1
    wish = Wish(strategy, part=part, count=6, kappa=1.5, sign=-1)
    batch = picked(world, session, candidates, wish)
    taken: list[int] = []
    for pick in batch.picks:
        of_f, of_parts = brute_force(world, now, candidates.latents, taken)
        sd = np.sqrt(of_f + np.sum(said.factor_variance * said.mean**2, axis=1))
        gain = -said.total_mean - (-said.total_mean).max()
        scores = {
            "total_sd": sd,
            "part_sd": np.sqrt(of_parts[:, part]),
            "ucb": -said.total_mean + 1.5 * sd,
            "ei": gain * norm.cdf(gain / sd) + sd * norm.pdf(gain / sd),
        }[strategy]
        scores[taken] = -np.inf
        assert pick.index == int(np.argmax(scores))
        assert pick.score == pytest.approx(scores[pick.index], rel=1e-6, abs=1e-12)
        assert pick.total_sd == pytest.approx(sd[pick.index], rel=1e-8)
        assert pick.part_sd == pytest.approx(np.sqrt(of_parts[pick.index, part]) if strategy == "part_sd" else 0, rel=1e-8)
        assert pick.total_mean == pytest.approx(said.total_mean[pick.index], abs=1e-9)
        taken.append(pick.index)
    assert len(set(taken)) == 6
    # A question changes nothing.
    assert all(np.array_equal(old, new) for old, new in zip(before, (candidates.variance_left, candidates.mean, candidates.half), strict=True))


def test_a_batch_spreads_where_single_picks_would_huddle() -> None:
    world = World()
    session = session_of(world)
    latents = places(COUNT, 8)
    latents[1:4] = latents[0] = 6.0  # four times the same place, where least is known
    candidates = told(world, session, latents)
    picks = [pick.index for pick in picked(world, session, candidates, Wish("total_sd", count=3)).picks]
    assert picks[0] in range(4)
    assert not set(picks[1:]) & set(range(4))


def test_every_candidate_is_picked_once_even_where_nothing_is_left_to_gain() -> None:
    world = World()
    session = session_of(world)
    candidates = told(world, session, places(COUNT, 8))
    hopeless = Wish("ei", count=COUNT, incumbent=1e6)
    batch = picked(world, session, candidates, hopeless)
    assert sorted(pick.index for pick in batch.picks) == list(range(COUNT))
    # All improvements are 0 in float64: the one fewest standard deviations short comes first.
    short = (1e6 - candidates.total_mean()) / np.sqrt(candidates.variance_left)
    assert batch.picks[0].index == int(np.argmin(short))


@pytest.mark.parametrize("sign", [1, -1])
def test_an_incumbent_is_what_there_is_to_improve_on(sign: int) -> None:
    world = World()
    session = session_of(world)
    candidates = told(world, session, places(COUNT, 8))
    found = picked(world, session, candidates, Wish("ei", sign=sign, incumbent=0.3)).picks[0]
    sd, gain = np.sqrt(candidates.variance_left), sign * (candidates.total_mean() - 0.3)
    improvement = gain * norm.cdf(gain / sd) + sd * norm.pdf(gain / sd)
    assert found.index == int(np.argmax(improvement))
    assert found.score == pytest.approx(improvement.max())


@pytest.mark.parametrize("kind", ["exact", "inducing"])
@pytest.mark.parametrize("when", ["before", "after", "told late"])
def test_paths_have_the_posteriors_mean_and_covariance(kind: str, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths_module, "POOL", 5_000)
    world = World(kind=kind)
    session, latents, y = session_of(world), places(3, 5), np.array([1.0, 0.0, -1.0])
    at_places = np.concatenate((places(5, 8), latents[:1]))
    if when == "told late":
        observe(world, session, latents, y)
    at_places = np.concatenate((at_places, places(5, 9)))
    candidates = told(world, session, at_places, seed=3)
    if when == "after":
        advance(world, candidates, observe(world, session, latents[:1], y[:1]))
        advance(world, candidates, observe(world, session, latents[1:], y[1:]))
    batch = Batch(candidates, Wish("thompson", count=5_000), session.view(), SIGMA2)
    drawn = batch._drawn()
    view = session.view()
    halves = view.root @ world.kernel(view.points, at_places)
    covariance = world.kernel(at_places, at_places) - halves.T @ halves
    assert np.abs(drawn.mean(axis=0) - candidates.total_mean()).max() < 0.08
    # 5000 draws: 2 % of the prior's variance; 512 features of each kernel: 4 %.
    prior = world.kernel(at_places, at_places)[0, 0]
    assert np.abs(np.cov(drawn.T) - covariance).max() < 0.12 * prior
    assert np.abs(np.cov(candidates.paths.prior.T) - covariance).max() > 0.3 * prior  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["exact", "inducing"])
@pytest.mark.parametrize("late", [False, True])
def test_paths_are_measured_with_noise_as_the_points_were(kind: str, late: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths_module, "POOL", 5_000)
    world = World(kind=kind, sigma2=1.0)
    session, latents = session_of(world), places(3, 5)
    block = session.plan(measured(world, session, latents, np.ones(3)))
    if late:
        session.apply(block)
    candidates = told(world, session, places(11, 8), seed=3)
    if not late:
        advance(world, candidates, block)
    assert candidates.paths is not None
    # A v is white if v holds its noise, and the less the more of it is missing.
    spread = np.var(candidates.paths.loads, axis=0)
    assert spread.shape == (session.start.root.shape[0] + 3,)
    assert abs(spread.mean() - 1) < 0.08
    assert np.abs(spread[-3:] - 1).max() < 0.2


def test_paths_come_from_the_seed_alone_and_every_pick_takes_another() -> None:
    world = World()
    session = session_of(world)
    first, again, other = (told(world, session, places(COUNT, 8), seed=seed) for seed in (3, 3, 4))
    block = observe(world, session, places(2, 5), np.ones(2))
    for candidates in (first, again, other):
        advance(world, candidates, block)
    view = session.view()
    drawn = [Batch(candidates, Wish("thompson", count=8), view, SIGMA2)._drawn() for candidates in (first, again, other)]
    assert np.array_equal(drawn[0], drawn[1])
    assert np.abs(drawn[0] - drawn[2]).max() > 0.1
    assert len({float(path[0]) for path in drawn[0]}) == 8
    batch = picked(world, session, first, Wish("thompson", count=8, first_path=2, sign=-1))
    assert [pick.index for pick in batch.picks][:1] == [int(np.argmin(drawn[0][2]))]
    assert len({pick.index for pick in batch.picks}) == 8


def test_the_same_blocks_give_the_same_candidates_to_the_last_bit() -> None:
    world = World(form="scaled")
    session = session_of(replace(world))
    early = told(world, session, places(COUNT, 8), seed=1)
    late = told(world, session, places(COUNT, 8), seed=1)
    blocks = []
    for j in range(3):
        blocks.append(observe(world, session, places(2, 10 + j), np.ones(2)))
        advance(world, early, blocks[-1])
    for block in blocks:
        advance(world, late, block)
    for name in ("mean", "variance_left", "part_variance_left", "columns", "half"):
        assert np.array_equal(getattr(early, name), getattr(late, name))
    assert np.array_equal(early.paths.loads, late.paths.loads)  # type: ignore[union-attr]
