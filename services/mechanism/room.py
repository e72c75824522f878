"""The mechanism room's capabilities: from what a caller tells of mechanisms to parts, variances and the next measurement."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dichroic.bundle import MechanismSection
from dichroic.errors import InvalidFieldError, SessionConflictError
from services.engine.graph import empty_inputs
from services.engine.lanes import Lanes
from services.engine.model import ServingModel
from services.engine.repository import Repository
from services.mechanism.answers import Float64, Int64, Observed, Predicted, SessionDeleted, SessionMade, Suggested
from services.mechanism.candidates import candidate_bytes
from services.mechanism.conditioned import SessionPosterior
from services.mechanism.graphs import Described, describe
from services.mechanism.inputs import Checked, Given, checked
from services.mechanism.journal import Journal, ObservationRow, SessionRow
from services.mechanism.lanes import Call, finished
from services.mechanism.observing import plan, points_of
from services.mechanism.records import identity_of, made_of, made_text, observed_bytes, observed_of, predicted, suggested
from services.mechanism.requests import check_same, digest_of
from services.mechanism.session import Session, packed_candidates, session_bytes
from services.mechanism.sessions import InUse, Sessions
from services.mechanism.state import Start, View
from services.mechanism.strategies import Pick, Wish, batch_bytes
from services.mechanism.suggesting import features_of, pick, tell
from services.mechanism.wishes import check_wish, checked_wish

# Seeds of SQLite's integers.
MOST_SEED = 2**63 - 1


class MechanismRoom:
    """The mechanism capability over a repository.

    In every method `model_name` is the bundle's name, `model_version` ≥ 1 or 0 for the highest that serves, `deadline` in the event loop's time,
    seconds, and the errors are those that MechanismService's comment in the proto lists.

    Args:
        repository: of the bundles that serve.
        folder: of the journal of sessions; made when the first session is.
        expiry_s: after its last use, where CreateSession does not say.
        max_bytes: that all sessions together may take in memory.
        clock: seconds since 1970, UTC.
    """

    def __init__(self, repository: Repository, folder: Path, *, expiry_s: float, max_bytes: int, clock: Callable[[], float] = time.time) -> None:
        self._repository = repository
        self._expiry_s, self._clock = expiry_s, clock
        self._lanes = Lanes("mechanism")
        self._journal = Journal(folder, clock)
        self._sessions = Sessions(repository, self._journal, self._lanes, max_bytes, clock)

    @property
    def sessions_in_memory(self) -> int:
        """Those that the next call need not read from the journal."""
        return self._sessions.memory.sessions

    @property
    def session_bytes(self) -> int:
        """What these take."""
        return self._sessions.memory.taken_bytes

    async def close(self) -> None:
        """After the last request: ends the threads and closes the journal."""
        self._lanes.close()
        await self._journal.close()

    async def section_of(self, session_id: str) -> MechanismSection:
        """What the session's model takes, for whoever has yet to read its inputs."""
        return await self._sessions.section(session_id)

    async def predict(
        self,
        model_name: str,
        model_version: int,
        given: Given,
        deadline: float,
        *,
        session_id: str = "",
        include_noise: bool = False,
        include_covariance: bool = False,
    ) -> Predicted:
        """Parts and total with their variances.

        Args:
            model_name: see the class; with a session, the session's or empty.
            model_version: see the class; with a session, the session's or 0.
            given: every mechanism of the model.
            deadline: see the class.
            session_id: by whose posterior; empty: the bundle's own.
            include_noise: total_variance and quantiles of a measured y, not of f.
            include_covariance: the parts' covariances as well.
        """
        if not session_id:
            with self._repository.lease_with(MechanismSection, model_name, model_version) as (model, section):
                found = checked(model, section, given)
                outputs = await model.run(f"predict.{found.dtype}", found.inputs, deadline)
                told_by = (model.identity, "", 0)
                return predicted(told_by, section, found, outputs, noise=include_noise, covariance=include_covariance)
        async with self._sessions.use(session_id, deadline) as use:
            _check_model(use, model_name, model_version)
            found = checked(use.call.model, use.call.section, given)
            outputs = await use.call.model.run(f"predict.{found.dtype}", found.inputs, deadline, use.session.posterior.fixed())
            return predicted(use.told_by, use.call.section, found, outputs, noise=include_noise, covariance=include_covariance)

    async def create_session(
        self,
        model_name: str,
        model_version: int,
        deadline: float,
        *,
        candidates: Given | None = None,
        expires_after_s: float = 0.0,
        seed: int = 0,
        request_id: str = "",
    ) -> SessionMade:
        """A session of its own posterior, which is the bundle's until something is observed.

        Args:
            model_name: see the class.
            model_version: see the class.
            deadline: see the class.
            candidates: places that Suggest chooses among and Observe names by their index; encoded once. None: none.
            expires_after_s: seconds after its last use; 0: the server's default.
            seed: of everything drawn at random in it, 0 or more.
            request_id: a repeat gets the first answer, another request is refused; empty: every call makes a session.
        """
        if not (math.isfinite(expires_after_s) and expires_after_s >= 0):
            raise InvalidFieldError(f"expires_after_s is {expires_after_s:g}; it is 0 (the server's default) or more.", field="expires_after_s")
        if not 0 <= seed <= MOST_SEED:
            raise InvalidFieldError(f"seed is {seed}; it is 0 to 2^63 − 1.", field="seed")
        await self._journal.prepare()
        await self._sessions.purge()
        asked = {"model_name": model_name, "model_version": model_version, "expires_after_s": float(expires_after_s), "seed": seed}
        digest = await self._lanes.run(deadline, digest_of, asked, candidates, {}) if request_id else ""
        if request_id and (there := await self._journal.session_of_request(request_id)):
            check_same(request_id, there.request_digest, digest, "made a session")
            return made_of(there)
        with self._repository.lease_with(MechanismSection, model_name, model_version) as (model, section):
            described, mean = await self._described(model, section, candidates, deadline)
            start = Start.of(section, model.fixed, mean)
            session_id, now = secrets.token_hex(16), self._clock()
            needed = session_bytes(start, described, 0, features_of(model))
            self._sessions.reserve_bytes(session_id, needed)
            lasts_s = expires_after_s or self._expiry_s
            made = SessionMade(
                model.identity, session_id, 1, section.points, 0 if described is None else len(described.latents), needed, now + lasts_s
            )
            kept = packed_candidates(described), made_text(made)
            row = SessionRow(session_id, request_id, digest, *_facts(model), mean, now, lasts_s, now + lasts_s, seed, *kept)
            try:
                session = Session(row, await self._lanes.run(deadline, SessionPosterior, start), described, features_of(model))
                if described is not None:
                    await session.told(Call(model, section, deadline, self._lanes))
                stored = await finished(self._journal.add_session(row))
            except BaseException:
                self._sessions.memory.release(session_id)
                raise
            if stored.id != session_id:  # another call with this request_id was quicker
                self._sessions.memory.release(session_id)
                check_same(request_id, stored.request_digest, digest, "made a session")
                return made_of(stored)
            self._sessions.add(session)
            return made

    async def observe(
        self,
        session_id: str,
        deadline: float,
        *,
        given: Given | None = None,
        candidate_index: Int64 | None = None,
        y: Float64,
        y_unit: str = "",
        request_id: str = "",
        expected_revision: int = 0,
    ) -> Observed:
        """Conditions a session on n measured points, one after the other, and answers when that is on the disk.

        Args:
            session_id: the session.
            deadline: see the class; what has begun when it passes is finished.
            given: every mechanism of the model at the points; or
            candidate_index: (n,) int64, which registered candidates they are.
            y: (n,) float64 measured.
            y_unit: its unit as declared; empty: not declared.
            request_id: a repeat gets the first answer, `repeated`, and other values are refused; empty: every call observes.
            expected_revision: that the session must have; 0: not checked.
        """
        if (given is None) == (candidate_index is None):
            both = "both" if given is not None else "neither"
            raise InvalidFieldError(f"Of the mechanisms' values and candidate_index {both} were given; give one of them.", field="candidate_index")
        async with self._sessions.use(session_id, deadline) as use:
            where = {} if candidate_index is None else {"candidate_index": candidate_index}
            digest = await use.call.run(digest_of, {"y_unit": y_unit}, given, {"y": y} | where) if request_id else ""
            if request_id and (there := await self._journal.observation_of_request(session_id, request_id)):
                check_same(request_id, there.request_digest, digest, "observed in this session")
                return observed_of(use.session.row, there.answer, repeated=True)
            revision = use.session.revision
            if expected_revision not in {0, revision}:
                message = f"The session has revision {revision}, not {expected_revision}: somebody observed meanwhile. Predict again, then decide."
                facts = {"expected_revision": str(expected_revision), "revision": str(revision), "session_id": session_id}
                raise SessionConflictError(message, field="expected_revision", metadata=facts)
            points = await points_of(use.call, use.session, given, candidate_index, y, y_unit)
            return await finished(self._take(use, points, y, (request_id, digest)))

    async def suggest(
        self,
        deadline: float,
        *,
        model_name: str = "",
        model_version: int = 0,
        session_id: str = "",
        candidates: Given | None = None,
        strategy: str,
        part: str = "",
        count: int = 1,
        kappa: float = 0.0,
        goal: str = "",
        incumbent: Float64 | None = None,
    ) -> Suggested:
        """Which candidates to measure next.

        Args:
            deadline: see the class.
            model_name: whose posterior; or
            model_version: see the class.
            session_id: by which session's posterior.
            candidates: every mechanism at the candidates; None: those registered with the session.
            strategy: one of strategies.STRATEGIES.
            part: of part_sd.
            count: picks, 1 or more.
            kappa: of ucb, mean + kappa · sd; 0: 2.
            goal: "maximise" or "minimise", of ucb, ei and thompson; empty: "maximise".
            incumbent: (1,) of ei, the value to improve on; None: the best posterior mean among the candidates.
        """
        wished = partial(checked_wish, strategy=strategy, part=part, count=count, kappa=kappa, goal=goal, incumbent=incumbent)
        if bool(model_name) == bool(session_id):
            both = "both" if model_name else "neither"
            raise InvalidFieldError(f"Of model_name and session_id {both} were given; give one of them.", field="model_name")
        if session_id:
            async with self._sessions.use(session_id, deadline) as use:
                session, view = use.session, use.session.posterior.view()
                wish = wished(use.call.section, first_path=session.posterior.added)
                if candidates is not None:
                    return suggested(use.told_by, await self._among(use.call, candidates, view, wish, session.row.seed))
                if session.described is None:
                    raise InvalidFieldError("The session has no candidates. Send some, or name them in CreateSession.", field="candidates")
                check_wish(use.call.model, wish, session.candidate_count)
                with self._sessions.borrowed(batch_bytes(wish, session.candidate_count, view)):
                    told = await session.told(use.call)
                    return suggested(use.told_by, await pick(use.call, told, wish, view))
        with self._repository.lease_with(MechanismSection, model_name, model_version) as (model, section):
            wish = wished(section)
            if candidates is None:
                raise InvalidFieldError("candidates are missing; send every mechanism's values at them, or name a session.", field="candidates")
            _, mean = await self._described(model, section, None, deadline)
            view = Start.of(section, model.fixed, mean).view()
            # Nothing is remembered between two such calls, so every one draws anew.
            call = Call(model, section, deadline, self._lanes)
            return suggested((model.identity, "", 0), await self._among(call, candidates, view, wish, secrets.randbits(62)))

    async def delete_session(self, session_id: str, deadline: float) -> SessionDeleted:
        """Forgets a session, here and in the journal."""
        async with self._sessions.lock(session_id, deadline) as held:
            observed = len(await self._journal.observations(session_id)) if held.session is None else held.session.revision - 1
            await finished(self._journal.delete(session_id))
            self._sessions.forget(held)
            return SessionDeleted(identity_of(held.row), session_id, observed + 1)

    async def _described(
        self, model: ServingModel, section: MechanismSection, candidates: Given | None, deadline: float
    ) -> tuple[Described | None, float]:
        """The candidates as the encoders see them, and μ of the model."""
        if candidates is not None:
            found = checked(model, section, candidates, "candidates.")
            described = await describe(model, section, found, deadline)
            return described, described.mean
        name = next(name for name in sorted(model.manifest.signatures) if name.startswith("predict."))
        empty = Checked(name.partition(".")[2], empty_inputs(model.signature(name), 1), 1)
        return None, (await describe(model, section, empty, deadline)).mean

    async def _take(self, use: InUse, points: Described, y: Float64, request: tuple[str, str]) -> Observed:
        """Works a block out, stores it, and only then takes it in. `request`: its request_id and digest."""
        session, row = use.session, use.session.row
        self._sessions.reserve(session, len(y))
        block, stored = await plan(use.call, session.posterior, points, y)
        revision, held_points = session.revision + 1, session.posterior.count + len(block)
        answer = observed_bytes(block, revision, held_points)
        expires_s = self._sessions.expires_s(row)
        await self._journal.add_observation(ObservationRow(row.id, revision, *request, stored, answer), expires_s)
        use.held.stored_s = expires_s
        try:
            await self._lanes.run(math.inf, session.take, block)
        except BaseException:
            use.held.session = None  # the journal knows better than what is left of it here
            raise
        return observed_of(row, answer, repeated=False)

    async def _among(self, call: Call, candidates: Given, view: View, wish: Wish, seed: int) -> list[Pick]:
        """Picks among candidates that come with the request."""
        found = checked(call.model, call.section, candidates, "candidates.")
        check_wish(call.model, wish, found.rows)
        drawn, terms, rank = wish.strategy == "thompson", len(view.centred), len(view.root)
        features = features_of(call.model) if drawn else 0
        needed = candidate_bytes(found.rows, terms, view.points.shape[1], rank=rank, added=0, features=features, kept=False)
        with self._sessions.borrowed(needed + batch_bytes(wish, found.rows, view)):
            described = await describe(call.model, call.section, found, call.deadline)
            told = await tell(call, described, view, seed if drawn else None)
            return await pick(call, told, wish, view)


def _facts(model: ServingModel) -> tuple[str, int, str]:
    identity = model.identity
    return identity.name, identity.version, identity.digest


def _check_model(use: InUse, model_name: str, model_version: int) -> None:
    row = use.session.row
    if (model_name and model_name != row.model_name) or (model_version and model_version != row.model_version):
        asked = f"{model_name or row.model_name!r}" + (f" version {model_version}" if model_version else "")
        message = f"The session is of model {row.model_name} version {row.model_version}, the request names {asked}. Leave the model out."
        raise InvalidFieldError(message, field="model_name")
