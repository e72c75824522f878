"""The asynchronous client's calls of the mechanism room."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from dichroic.client.answers import ModelInfo
from dichroic.client.async_session import AsyncSession
from dichroic.client.awaiting import AwaitedChannel
from dichroic.client.conversion import Classes, Numbers
from dichroic.client.mechanism_answers import Observation, Prediction, SessionDeleted, SessionMade, Suggestion
from dichroic.client.mechanism_inputs import (
    Mechanisms,
    Units,
    Values,
    checked_index,
    checked_measurements,
    checked_mechanisms,
    checked_units,
    gathered,
    has_names,
    taken_by,
)
from dichroic.client.mechanism_requests import (
    check_size,
    create_request,
    delete_request,
    deleted_of,
    made_of,
    observation_of,
    observe_request,
    predict_call,
    suggest_request,
    suggestion_of,
)
from dichroic.client.messages import Progress
from dichroic.client.requests import Echo
from dichroic.client.retry import Deadline
from dichroic.errors import DichroicError

Told = TypeVar("Told", Prediction, Suggestion, Observation)


class AsyncMechanismCalls(AwaitedChannel):
    """What AsyncClient asks of the mechanism room. Arguments, answers and errors are those of MechanismCalls, method by method."""

    async def predict(
        self,
        model_name: str,
        inputs: Mechanisms | None = None,
        *,
        session_id: str = "",
        units: Units | None = None,
        include_noise: bool = False,
        include_covariance: bool = False,
        version: int = 0,
        frame_id: str = "",
        acquisition_time_unix_ns: int = 0,
        timeout_s: float | None = 30.0,
        progress: Progress | None = None,
        **mechanisms: Values,
    ) -> Prediction:
        """Mechanisms to f, part by part, with variances; see Client.predict."""
        deadline = self._deadline(timeout_s)
        given = gathered(inputs, mechanisms)
        key = self._key(model_name, version, session_id)
        async with self._of(key, deadline) as info:
            call = predict_call(
                key[0],
                checked_mechanisms(given, taken_by(info)),
                checked_units(units, given),
                model_version=key[1],
                session_id=session_id,
                include_noise=include_noise,
                include_covariance=include_covariance,
                echo=Echo(frame_id, acquisition_time_unix_ns),
            )
            return self._met(await self._run_until(call, deadline, progress))

    async def suggest(
        self,
        model_name: str = "",
        candidates: Mechanisms | None = None,
        *,
        strategy: str,
        session_id: str = "",
        part: str = "",
        count: int = 1,
        kappa: float = 0.0,
        goal: str = "",
        incumbent: Numbers | None = None,
        units: Units | None = None,
        version: int = 0,
        timeout_s: float | None = 30.0,
    ) -> Suggestion:
        """Ranks candidates: where to measure next; see Client.suggest."""
        deadline = self._deadline(timeout_s)
        given = candidates or {}
        key = self._key(model_name, version, session_id)
        async with self._of(key if given else ("", 0), deadline) as info:
            request = suggest_request(
                model_name,
                checked_mechanisms(given, taken_by(info)),
                checked_units(units, given),
                model_version=version,
                session_id=session_id,
                strategy=strategy,
                part=part,
                count=count,
                kappa=kappa,
                goal=goal,
                incumbent=incumbent,
            )
            check_size(request, info)
            return self._met(suggestion_of(await self._once(self._stubs().mechanism.Suggest, request, deadline)))

    async def create_session(
        self,
        model_name: str,
        candidates: Mechanisms | None = None,
        *,
        units: Units | None = None,
        expires_after_s: float = 0.0,
        seed: int = 0,
        version: int = 0,
        request_id: str = "",
        timeout_s: float | None = 30.0,
    ) -> SessionMade:
        """Makes a session that observes; see Client.create_session."""
        deadline = self._deadline(timeout_s)
        given = candidates or {}
        async with self._of((model_name, version) if given else ("", 0), deadline) as info:
            request = create_request(
                model_name,
                checked_mechanisms(given, taken_by(info)),
                checked_units(units, given),
                model_version=version,
                expires_after_s=expires_after_s,
                seed=seed,
                request_id=request_id,
            )
            check_size(request, info)
            made = made_of(await self._once(self._stubs().mechanism.CreateSession, request, deadline))
        self._sessions[made.session_id] = (made.model.name, made.model.version)
        return made

    async def observe(
        self,
        session_id: str,
        y: Numbers,
        inputs: Mechanisms | None = None,
        *,
        candidate_index: Classes | None = None,
        units: Units | None = None,
        y_unit: str = "",
        expected_revision: int = 0,
        request_id: str = "",
        model_name: str = "",
        timeout_s: float | None = 30.0,
        **mechanisms: Values,
    ) -> Observation:
        """Conditions a session on new measurements; see Client.observe."""
        deadline = self._deadline(timeout_s)
        given = gathered(inputs, mechanisms) if inputs or mechanisms else {}
        if model_name and session_id and session_id not in self._sessions and has_names(given):
            # A name is another index in another version, and which one the session is of only an answer tells.
            await self.predict(model_name, given, session_id=session_id, units=units, timeout_s=deadline.remaining_s())
        key = self._key(model_name, 0, session_id)
        async with self._of(key if given else ("", 0), deadline) as info:
            request = observe_request(
                session_id,
                checked_measurements(y),
                checked_mechanisms(given, taken_by(info)),
                None if candidate_index is None else checked_index(candidate_index),
                checked_units(units, given),
                y_unit=y_unit,
                request_id=request_id,
                expected_revision=expected_revision,
            )
            check_size(request, info)
            with self._unanswered.named(request):
                seen = observation_of(await self._once(self._stubs().mechanism.Observe, request, deadline))
        return self._met(seen)

    async def delete_session(self, session_id: str, *, timeout_s: float | None = 30.0) -> SessionDeleted:
        """Ends a session; see Client.delete_session."""
        request = delete_request(session_id)
        deleted = deleted_of(await self._once(self._stubs().mechanism.DeleteSession, request, self._deadline(timeout_s)))
        self._sessions.pop(session_id, None)
        return deleted

    def session(
        self,
        model_name: str,
        candidates: Mechanisms | None = None,
        *,
        session_id: str = "",
        keep: bool = False,
        units: Units | None = None,
        expires_after_s: float = 0.0,
        seed: int = 0,
        version: int = 0,
        timeout_s: float | None = 30.0,
    ) -> AsyncSession:
        """A session for an `async with` block; see Client.session."""

        async def make() -> SessionMade:
            return await self.create_session(
                model_name, candidates, units=units, expires_after_s=expires_after_s, seed=seed, version=version, timeout_s=timeout_s
            )

        return AsyncSession(self, model_name, make, session_id=session_id, keep=keep, timeout_s=timeout_s)

    def _key(self, model_name: str, version: int, session_id: str) -> tuple[str, int]:
        """Which model's signatures say how values are sent: of a session this client made, or has had an answer of, its own version's."""
        made = self._sessions.get(session_id)
        return made if made is not None and model_name in ("", made[0]) else (model_name, version)

    def _met(self, answer: Told) -> Told:
        """The answer, after noting which model and version its session is of."""
        if answer.session_id:
            self._sessions[answer.session_id] = (answer.model.name, answer.model.version)
        return answer

    @asynccontextmanager
    async def _of(self, key: tuple[str, int], deadline: Deadline) -> AsyncIterator[ModelInfo | None]:
        """What a model takes; None where no name is known. Forgotten when what was made of it is refused: the model may be another."""
        name, version = key
        try:
            yield (self._known.get(key) or await self._info(name, version, deadline)) if name else None
        except DichroicError as error:
            if error.status == "INVALID_ARGUMENT":
                self._known.pop(key, None)
            raise
