"""The strategy mean_variance against full covariances of f, by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from services.mechanism import references as module
from services.mechanism.candidates import Candidates
from services.mechanism.conditioned import SessionPosterior
from services.mechanism.references import MOST_REFERENCES, References, reference_bytes, reference_index
from services.mechanism.strategies import Batch, Wish
from tests.services.mechanism.test_candidates import COUNT, EVERY_FORM, advance, told
from tests.services.mechanism.test_conditioned import observe, session_of
from tests.services.mechanism.world import SIGMA2, Lab, NDArray, World, places, soon


def covariance(world: World, candidates: NDArray, observed: NDArray) -> NDArray:
    """(C, C) posterior covariance of f at the candidates, given the bundle's points and those observed since."""
    points = np.concatenate((world.posterior.latents, observed))
    noise = np.concatenate((world.posterior.noise_variance, np.full(len(observed), SIGMA2)))
    across = world.kernel(points, candidates)
    explained = across.T @ np.linalg.solve(world.kernel(points, points) + np.diag(noise), across)
    return np.asarray(world.kernel(candidates, candidates) - explained)


def scores(posterior: NDArray, references: Sequence[int] | NDArray) -> NDArray:
    """(C,) by how much the variance of f, averaged over the references, falls: before and after a measurement at each candidate."""
    variance, found = np.diag(posterior), []
    for at, column in zip(variance, posterior, strict=True):
        left = variance - column**2 / (at + SIGMA2)
        found.append(np.mean((variance - left)[references]))
    return np.array(found)


def references_of(world: World, candidates: Candidates) -> References:
    """In two pieces, as the room does."""
    references = References(candidates)
    for start, end in ((0, 10), (10, len(candidates))):
        references.fill(start, world.rows(candidates.latents[start:end], references.latents))
    return references


def batch_of(world: World, session: SessionPosterior, candidates: Candidates, count: int) -> Batch:
    batch = Batch(candidates, Wish("mean_variance", count=count), session.view(), SIGMA2, references_of(world, candidates))
    for _ in range(count):
        index = batch.pick()
        batch.condition(index, world.rows(candidates.latents, candidates.latents[index : index + 1])["rows"][:, :, 0])
    return batch


@EVERY_FORM
@pytest.mark.parametrize("most", [MOST_REFERENCES, 7])
def test_scores_are_how_much_the_mean_variance_falls(form: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_REFERENCES", most)
    monkeypatch.setattr(module, "CHUNK_CANDIDATES", 10)
    world = World(form=form)
    session, latents = session_of(world), places(COUNT, 8)
    candidates, observed = told(world, session, latents), places(3, 5)
    advance(world, candidates, observe(world, session, observed, np.array([1.0, 0.0, -1.0])))
    before = [array.copy() for array in (candidates.variance_left, candidates.mean, candidates.half, candidates.columns)]
    references, taken = reference_index(COUNT), []
    assert len(references) == min(most, COUNT)
    batch = batch_of(world, session, candidates, 6)
    for pick in batch.picks:
        posterior = covariance(world, latents, np.concatenate((observed, latents[taken])))
        wanted = scores(posterior, references)
        assert pick.score == pytest.approx(wanted[pick.index], rel=1e-8)
        wanted[taken] = -np.inf
        assert pick.index == int(np.argmax(wanted))
        taken.append(pick.index)
    assert np.allclose(batch._scores(), scores(covariance(world, latents, np.concatenate((observed, latents[taken]))), references), rtol=1e-8)
    # A question changes nothing.
    after = (candidates.variance_left, candidates.mean, candidates.half, candidates.columns)
    assert all(np.array_equal(old, new) for old, new in zip(before, after, strict=True))


def test_of_inducing_points_it_is_what_they_leave() -> None:
    world = World(kind="inducing")
    session, latents = session_of(world), places(COUNT, 8)
    view = session.view()
    halves = view.root @ world.kernel(view.points, latents)
    wanted = scores(world.kernel(latents, latents) - halves.T @ halves, range(COUNT))
    batch = batch_of(world, session, told(world, session, latents), 1)
    assert batch.picks[0].index == int(np.argmax(wanted))
    assert batch.picks[0].score == pytest.approx(wanted.max(), rel=1e-8)


def test_every_candidate_is_picked_once() -> None:
    world = World()
    session = session_of(world)
    batch = batch_of(world, session, told(world, session, places(COUNT, 8)), COUNT)
    assert sorted(pick.index for pick in batch.picks) == list(range(COUNT))
    assert all(pick.score > 0 for pick in batch.picks)


def test_it_goes_where_many_are_and_not_where_least_is_known() -> None:
    world = World()
    session, latents = session_of(world), places(COUNT, 8)
    latents[0] = 50.0  # far from all others: to know f there tells of nothing else
    latents[1:20] = 4.0 + 0.05 * places(19, 9)
    candidates = told(world, session, latents)
    assert int(np.argmax(candidates.variance_left)) == 0
    assert batch_of(world, session, candidates, 1).picks[0].index in range(1, 20)


def test_references_are_spread_over_the_candidates_and_always_the_same() -> None:
    assert reference_index(MOST_REFERENCES).tolist() == list(range(MOST_REFERENCES))
    assert reference_index(1).tolist() == [0]
    found = reference_index(128 * 128)
    assert np.array_equal(found, reference_index(128 * 128))
    assert len(set(found.tolist())) == MOST_REFERENCES
    # Of a raster 64 are expected in every quarter of its lines and of its columns, give or take 7, and most columns have at least one.
    assert all(30 < count < 98 for count in np.bincount(found // 128 // 32))
    assert all(30 < count < 98 for count in np.bincount(found % 128 // 32))
    assert len(set((found % 128).tolist())) > 90


@pytest.mark.parametrize("count", [COUNT, MOST_REFERENCES + 30])
def test_memory_is_as_foretold(count: int) -> None:
    world = World()
    session = session_of(world)
    candidates = told(world, session, places(count, 8))
    advance(world, candidates, observe(world, session, places(3, 5), np.ones(3)))
    references = References(candidates)
    taken = sum(array.nbytes for array in vars(references).values() if isinstance(array, np.ndarray))
    assert reference_bytes(count, len(session.view().root)) == taken


async def test_a_batch_foretells_single_picks_and_a_session_follows_what_it_observes(lab: Lab) -> None:
    world, latents = World(), places(20, 8)
    given = world.given(latents)
    made = await lab.room.create_session("divide", 0, soon(), candidates=given)
    registered = await lab.room.suggest(soon(), session_id=made.session_id, strategy="mean_variance", count=4)
    stateless = await lab.room.suggest(soon(), model_name="divide", candidates=given, strategy="mean_variance", count=4)
    assert np.array_equal(registered.candidate_index, stateless.candidate_index)
    assert np.allclose(registered.score, stateless.score, rtol=1e-10)
    assert np.allclose(registered.total_sd, stateless.total_sd, rtol=1e-10)
    for turn, (index, score) in enumerate(zip(registered.candidate_index, registered.score, strict=True)):
        single = await lab.room.suggest(soon(), session_id=made.session_id, strategy="mean_variance")
        brought = await lab.room.suggest(soon(), session_id=made.session_id, candidates=given, strategy="mean_variance")
        wanted = scores(covariance(world, latents, latents[registered.candidate_index[:turn]]), range(20))
        assert single.candidate_index.tolist() == brought.candidate_index.tolist() == [index] == [np.argmax(wanted)]
        assert single.score[0] == pytest.approx(score, rel=1e-8)
        assert brought.score[0] == pytest.approx(score, rel=1e-8)
        assert wanted.max() == pytest.approx(score, rel=1e-8)
        await lab.room.observe(made.session_id, soon(), candidate_index=single.candidate_index, y=np.array([turn - 2.0]))
