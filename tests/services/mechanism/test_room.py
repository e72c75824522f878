"""The room's capabilities over the engine: what is answered, and what is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dichroic.errors import (
    DeadlineExceededError,
    DichroicError,
    InvalidFieldError,
    InvalidTensorError,
    MissingMechanismError,
    SessionMemoryError,
    UnitMismatchError,
    UnknownModelError,
    UnsupportedCapabilityError,
)
from services.mechanism import Given
from services.mechanism.noise import quantiles
from services.mechanism.observing import MOST_POINTS
from tests.services.mechanism.test_conditioned import afresh
from tests.services.mechanism.world import SIGMA2, Lab, World, places, soon

WORLD = World()


def at(count: int, seed: int = 5) -> Given:
    return WORLD.given(places(count, seed))


async def test_predict_without_a_session_is_the_bundles_own_posterior(lab: Lab) -> None:
    told = await lab.room.predict("divide", 0, at(7), soon())
    wanted = WORLD.posterior.predict(places(7, 5))
    assert np.abs(told.total_mean - wanted.total_mean).max() < 1e-9
    assert np.abs(told.part_variance - np.diagonal(wanted.covariance, axis1=1, axis2=2)).max() < 1e-9
    assert np.allclose(np.sum(told.factor * told.part_mean, axis=1), told.total_mean)
    assert told.part_names == ("constant", "patch", "position", "age")
    assert (told.session_id, told.revision, told.unit, told.noise_included, told.part_covariance) == ("", 0, "pm/V", False, None)
    assert told.model.name == "divide"
    assert told.model.digest == lab.repository.find("divide", 1).bundle.digest
    assert not told.outside.any()
    assert told.quantile_probabilities.tolist() == [0.05, 0.25, 0.5, 0.75, 0.95]
    assert np.allclose(told.quantiles[:, 2], told.total_mean)


async def test_noise_and_covariances_come_when_asked_for(tmp_path: Path) -> None:
    world = World(outliers=True)
    lab = await Lab.open(tmp_path, divide=world)
    plain = await lab.room.predict("divide", 0, at(4), soon())
    noisy = await lab.room.predict("divide", 0, at(4), soon(), include_noise=True, include_covariance=True)
    assert noisy.noise_included
    assert np.allclose(noisy.total_variance - plain.total_variance, 0.8 * SIGMA2 + 0.2 * 4.0)
    assert np.array_equal(noisy.part_variance, plain.part_variance)
    assert noisy.part_covariance is not None
    assert np.allclose(np.diagonal(noisy.part_covariance, axis1=1, axis2=2), plain.part_variance)
    assert np.allclose(noisy.quantiles, quantiles(plain.total_mean, plain.total_variance, world.noise))
    assert np.allclose(plain.quantiles, quantiles(plain.total_mean, plain.total_variance, None))
    await lab.room.close()


async def test_far_outside_the_prior_answers_and_outside_says_so(lab: Lab) -> None:
    far = at(2)
    far.values["position"][1] = 1e3
    told = await lab.room.predict("divide", 0, far, soon())
    assert told.outside.tolist() == [[False, False, False], [False, True, False]]
    prior = WORLD.structure.terms[1].variance
    assert told.part_variance[1, 2] > 0.99 * prior > told.part_variance[0, 2]


async def test_a_session_answers_by_what_was_observed_in_it(lab: Lab) -> None:
    made = await lab.room.create_session("divide", 0, soon(), candidates=at(12, 8))
    assert (made.revision, made.points, made.candidates) == (1, 40, 12)
    assert made.expires_time_s == lab.clock.now + 100
    before = await lab.room.predict("", 0, at(3), soon(), session_id=made.session_id)
    assert np.array_equal(before.total_mean, (await lab.room.predict("divide", 0, at(3), soon())).total_mean)

    y = np.array([1.0, -1.0, 0.5])
    first = await lab.room.observe(made.session_id, soon(), given=at(2, 6), y=y[:2], y_unit="pm/V", expected_revision=1)
    second = await lab.room.observe(made.session_id, soon(), candidate_index=np.array([4]), y=y[2:])
    assert (first.revision, first.points, second.revision, second.points) == (2, 42, 3, 43)
    assert not first.repeated
    told = await lab.room.predict("divide", 1, at(3), soon(), session_id=made.session_id, include_covariance=True)
    latents = np.concatenate((places(2, 6), places(12, 8)[4:5]))
    wanted = afresh(WORLD, latents, y, np.full(3, SIGMA2)).predict(places(3, 5))
    assert (told.session_id, told.revision) == (made.session_id, 3)
    assert np.abs(told.total_mean - wanted.total_mean).max() < 1e-9
    assert np.abs(told.part_covariance - wanted.covariance).max() < 1e-9  # type: ignore[operator]
    # The bundle's own posterior never changes.
    assert np.array_equal((await lab.room.predict("divide", 0, at(3), soon())).total_mean, before.total_mean)


async def test_suggest_asks_the_session_or_the_bundle_and_any_candidates(lab: Lab) -> None:
    made = await lab.room.create_session("divide", 0, soon(), candidates=at(20, 8), seed=3)
    registered = await lab.room.suggest(soon(), session_id=made.session_id, strategy="total_sd", count=3)
    stateless = await lab.room.suggest(soon(), model_name="divide", candidates=at(20, 8), strategy="total_sd", count=3)
    assert registered.candidate_index.dtype == np.int64
    assert np.array_equal(registered.candidate_index, stateless.candidate_index)
    assert np.allclose(registered.score, stateless.score)
    assert (registered.session_id, registered.revision, stateless.session_id, stateless.revision) == (made.session_id, 1, "", 0)
    sd = np.sqrt(WORLD.posterior.predict(places(20, 8)).total_variance)
    assert registered.candidate_index[0] == np.argmax(sd)
    assert registered.total_sd[0] == pytest.approx(sd.max())
    assert not registered.part_sd.any()

    best = int(registered.candidate_index[0])
    await lab.room.observe(made.session_id, soon(), candidate_index=np.array([best]), y=np.array([0.0]))
    after = await lab.room.suggest(soon(), session_id=made.session_id, strategy="total_sd", count=2)
    assert np.array_equal(after.candidate_index, registered.candidate_index[1:])  # as the batch foretold
    assert np.allclose(after.total_sd, registered.total_sd[1:])
    brought = await lab.room.suggest(soon(), session_id=made.session_id, candidates=at(20, 8), strategy="total_sd", count=2)
    assert np.array_equal(brought.candidate_index, after.candidate_index)
    part = await lab.room.suggest(soon(), session_id=made.session_id, strategy="part_sd", part="age")
    assert part.part_sd[0] == part.score[0] > 0


async def test_goals_and_kappa_choose_the_other_end(lab: Lab) -> None:
    told = await lab.room.predict("divide", 0, at(20, 8), soon())
    sd = np.sqrt(told.total_variance)

    async def picked(**wish: Any) -> int:
        found = await lab.room.suggest(soon(), model_name="divide", candidates=at(20, 8), strategy="ucb", **wish)
        return int(found.candidate_index[0])

    assert await picked() == np.argmax(told.total_mean + 2 * sd)
    assert await picked(kappa=0.1, goal="maximise") == np.argmax(told.total_mean + 0.1 * sd)
    assert await picked(kappa=0.1, goal="minimise") == np.argmin(told.total_mean - 0.1 * sd)


async def test_thompson_in_a_session_is_its_seeds_and_goes_on_with_what_is_observed(lab: Lab) -> None:
    async def picks(seed: int) -> list[list[int]]:
        made = await lab.room.create_session("divide", 0, soon(), candidates=at(30, 8), seed=seed)
        found = []
        for _ in range(2):
            told = await lab.room.suggest(soon(), session_id=made.session_id, strategy="thompson", count=5)
            found.append(told.candidate_index.tolist())
            await lab.room.observe(made.session_id, soon(), candidate_index=told.candidate_index, y=np.zeros(5))
        return found

    first = await picks(1)
    assert first == await picks(1)
    assert first != await picks(2)
    assert first[0] != first[1]
    assert len(set(first[0])) == 5


BAD_WISHES: dict[str, tuple[type[DichroicError], str, str, dict[str, Any]]] = {
    "strategy": (InvalidFieldError, "strategy", "total_sd, part_sd, mean_variance, ucb, ei, thompson", {"strategy": "random"}),
    "part": (InvalidFieldError, "part", "patch, position, age", {"strategy": "part_sd", "part": "strain"}),
    "no part": (InvalidFieldError, "part", "patch, position, age", {"strategy": "part_sd"}),
    "the constant": (InvalidFieldError, "part", "patch, position, age", {"strategy": "part_sd", "part": "constant"}),
    "goal": (InvalidFieldError, "goal", "maximise, minimise", {"strategy": "ucb", "goal": "max"}),
    "count": (InvalidFieldError, "count", "1 or more", {"strategy": "ucb", "count": 0}),
    "too many": (InvalidFieldError, "count", "count is 13, but there are 12", {"strategy": "ucb", "count": 13}),
    "too many at once": (InvalidFieldError, "count", "512 at most", {"strategy": "ucb", "count": 513}),
    "too many paths": (InvalidFieldError, "count", "has 128", {"strategy": "thompson", "count": 129}),
    "kappa": (InvalidFieldError, "kappa", "or more", {"strategy": "ucb", "kappa": -1.0}),
    "no kappa": (InvalidFieldError, "kappa", "or more", {"strategy": "ucb", "kappa": np.nan}),
    "incumbent": (InvalidTensorError, "incumbent", "one finite", {"strategy": "ei", "incumbent": np.array([np.nan])}),
    "incumbents": (InvalidTensorError, "incumbent", "one finite", {"strategy": "ei", "incumbent": np.zeros(2)}),
}


@pytest.mark.parametrize("what", BAD_WISHES)
async def test_bad_wishes_are_refused_with_and_without_a_session(what: str, lab: Lab) -> None:
    kind, field, words, wish = BAD_WISHES[what]
    made = await lab.room.create_session("divide", 0, soon(), candidates=at(12, 8))
    for whose in ({"session_id": made.session_id}, {"model_name": "divide", "candidates": at(12, 8)}):
        with pytest.raises(kind, match=words) as refused:
            await lab.room.suggest(soon(), **whose, **wish)  # type: ignore[arg-type]
        assert refused.value.field == field


async def test_requests_that_name_two_things_or_none_are_refused(lab: Lab) -> None:
    made = await lab.room.create_session("divide", 0, soon())
    calls: list[tuple[str, str, Any]] = [
        ("candidate_index", "both", lab.room.observe(made.session_id, soon(), given=at(1), candidate_index=np.array([0]), y=np.ones(1))),
        ("candidate_index", "neither", lab.room.observe(made.session_id, soon(), y=np.ones(1))),
        ("candidate_index", "no candidates", lab.room.observe(made.session_id, soon(), candidate_index=np.array([0]), y=np.ones(1))),
        ("model_name", "both", lab.room.suggest(soon(), model_name="divide", session_id=made.session_id, strategy="ucb")),
        ("model_name", "neither", lab.room.suggest(soon(), strategy="ucb")),
        ("candidates", "no candidates", lab.room.suggest(soon(), session_id=made.session_id, strategy="ucb")),
        ("candidates", "missing", lab.room.suggest(soon(), model_name="divide", strategy="ucb")),
        ("model_name", "names 'other'", lab.room.predict("other", 0, at(1), soon(), session_id=made.session_id)),
        ("model_name", "version 7", lab.room.predict("", 7, at(1), soon(), session_id=made.session_id)),
        ("expires_after_s", "or more", lab.room.create_session("divide", 0, soon(), expires_after_s=-1)),
        ("expires_after_s", "or more", lab.room.create_session("divide", 0, soon(), expires_after_s=np.inf)),
        ("seed", "0 to", lab.room.create_session("divide", 0, soon(), seed=-1)),
        ("y", "send 512 at most", lab.room.observe(made.session_id, soon(), given=at(MOST_POINTS + 1), y=np.ones(MOST_POINTS + 1))),
    ]
    for field, words, call in calls:
        with pytest.raises(InvalidFieldError, match=words) as refused:
            await call
        assert refused.value.field == field


async def test_bad_points_leave_the_session_as_it_was(lab: Lab) -> None:
    made = await lab.room.create_session("divide", 0, soon(), candidates=at(5, 8))
    some = at(2)
    calls: list[tuple[type[DichroicError], Any]] = [
        (InvalidTensorError, {"given": some, "y": np.array([1, np.nan])}),
        (InvalidTensorError, {"given": some, "y": np.array([1, 1e200])}),
        (InvalidTensorError, {"candidate_index": np.array([1]), "y": np.array([-1e308])}),
        (UnitMismatchError, {"given": some, "y": np.ones(2), "y_unit": "V"}),
        (MissingMechanismError, {"given": Given({}), "y": np.ones(2)}),
        (InvalidTensorError, {"candidate_index": np.array([5]), "y": np.ones(1)}),
        (InvalidTensorError, {"candidate_index": np.array([1, 2]), "y": np.ones(1)}),
    ]
    for kind, request in calls:
        with pytest.raises(kind):
            await lab.room.observe(made.session_id, soon(), **request)
    assert (await lab.room.observe(made.session_id, soon(), given=some, y=np.ones(2), expected_revision=1)).revision == 2


async def test_what_is_not_finite_is_refused_before_it_is_stored(robust: Lab) -> None:
    made = await robust.room.create_session("divide", 0, soon(), candidates=at(5, 8))
    before = await robust.room.predict("", 0, at(3), soon(), session_id=made.session_id)
    graph = robust.loader.graphs["rows"]
    kept = graph.work

    def work(inputs: dict[str, Any]) -> dict[str, Any]:
        found = kept(inputs)
        found["rows"][1] *= 1e308
        return found

    graph.work = work
    with pytest.raises(InvalidTensorError, match=r"Row 1 .*not finite") as refused:
        await robust.room.observe(made.session_id, soon(), given=at(2), y=np.ones(2))
    assert (refused.value.field, refused.value.row) == ("y", 1)
    graph.work = kept
    await robust.restart()
    after = await robust.room.predict("", 0, at(3), soon(), session_id=made.session_id)
    assert (after.revision, after.total_mean.tolist()) == (1, before.total_mean.tolist())


async def test_a_model_of_another_kind_has_no_mechanisms(lab: Lab) -> None:
    model = lab.repository.find("divide", 0)
    object.__setattr__(model.bundle, "manifest", model.manifest.model_copy(update={"kind": "latent", "mechanism": None}))
    calls = [
        lab.room.predict("divide", 0, at(1), soon()),
        lab.room.create_session("divide", 0, soon()),
        lab.room.suggest(soon(), model_name="divide", candidates=at(1), strategy="ucb"),
    ]
    for call in calls:
        with pytest.raises(UnsupportedCapabilityError, match=r"kind 'latent'.*'mechanism'"):
            await call
    with pytest.raises(UnknownModelError):
        await lab.room.predict("unheard_of", 0, at(1), soon())


async def test_a_bundle_without_features_suggests_by_everything_but_thompson(tmp_path: Path) -> None:
    lab = await Lab.open(tmp_path, divide=World(features=False))
    made = await lab.room.create_session("divide", 0, soon(), candidates=at(12, 8))
    assert len((await lab.room.suggest(soon(), session_id=made.session_id, strategy="ei", count=2)).score) == 2
    with pytest.raises(UnsupportedCapabilityError, match="no random features"):
        await lab.room.suggest(soon(), session_id=made.session_id, strategy="thompson")
    await lab.room.close()


async def test_more_candidates_than_memory_are_refused_without_a_session_too(tmp_path: Path) -> None:
    lab = await Lab.open(tmp_path, max_bytes=30_000, divide=WORLD)
    with pytest.raises(SessionMemoryError, match="30000"):
        await lab.room.suggest(soon(), model_name="divide", candidates=at(50, 8), strategy="ucb")
    await lab.room.close()


async def test_what_suggest_takes_is_counted_while_it_is_answered_and_given_back(lab: Lab) -> None:
    memory = lab.room._sessions.memory
    made = await lab.room.create_session("divide", 0, soon(), candidates=at(50, 8))
    other = await lab.room.create_session("divide", 0, soon(), candidates=at(10, 8))
    before, seen = memory.taken_bytes, []
    graph = lab.loader.graphs["rows"]
    graph.before = lambda: seen.append((memory.taken_bytes - before, lab.room.sessions_in_memory))
    count, terms, rank = 20, 3, 40
    await lab.room.suggest(soon(), session_id=made.session_id, strategy="total_sd", count=count)
    assert set(seen) == {(8 * count * 50 * terms, 2)}
    seen.clear()
    for whose in ({"session_id": made.session_id}, {"model_name": "divide"}):
        await lab.room.suggest(soon(), **whose, candidates=at(30, 8), strategy="total_sd", count=count)  # type: ignore[arg-type]
    assert set(seen) == {(8 * (30 * (5 + 1 + terms * (rank + 5)) + count * 30 * terms), 2)}
    seen.clear()
    await lab.room.suggest(soon(), session_id=made.session_id, strategy="mean_variance", count=count)
    assert set(seen) == {(8 * (count * 50 * terms + 50 * (50 + 1) + 50 * (rank + 1)), 2)}
    assert memory.taken_bytes == before
    # Others give way to it, and what fails gives it back too.
    graph.before = lambda: None
    memory.max_bytes = before + 100
    await lab.room.suggest(soon(), session_id=made.session_id, strategy="total_sd", count=count)
    assert memory.taken_bytes == before - other.memory_bytes
    graph.before = lambda: 1 / 0  # type: ignore[assignment, return-value]
    with pytest.raises(Exception, match="division"):
        await lab.room.suggest(soon(), model_name="divide", candidates=at(30, 8), strategy="total_sd")
    assert memory.taken_bytes == before - other.memory_bytes
    memory.max_bytes = made.memory_bytes + 8 * count * 50 * terms - 1
    with pytest.raises(SessionMemoryError):
        await lab.room.suggest(soon(), session_id=made.session_id, strategy="total_sd", count=count)
    with pytest.raises(SessionMemoryError, match="fewer picks"):
        await lab.room.suggest(soon(), model_name="divide", candidates=at(500, 8), strategy="total_sd", count=500)


async def test_a_deadline_that_has_passed_is_told_and_nothing_is_done(lab: Lab) -> None:
    made = await lab.room.create_session("divide", 0, soon(), candidates=at(5, 8))
    past = asyncio.get_running_loop().time() - 1
    calls = [
        lab.room.predict("divide", 0, at(1), past),
        lab.room.predict("", 0, at(1), past, session_id=made.session_id),
        lab.room.observe(made.session_id, past, given=at(1), y=np.ones(1)),
        lab.room.observe(made.session_id, past, candidate_index=np.array([1]), y=np.ones(1)),
        lab.room.suggest(past, session_id=made.session_id, strategy="ucb"),
        lab.room.create_session("divide", 0, past),
    ]
    for call in calls:
        with pytest.raises(DeadlineExceededError):
            await call
    assert (await lab.room.observe(made.session_id, soon(), given=at(1), y=np.ones(1))).revision == 2
