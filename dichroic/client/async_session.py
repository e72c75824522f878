"""A session as an `async with` block: what Session does, awaited."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from dichroic.client.conversion import Classes, Numbers
from dichroic.client.mechanism_answers import Observation, Prediction, SessionMade, Suggestion
from dichroic.client.mechanism_inputs import Mechanisms, Units, Values, gathered
from dichroic.client.messages import Progress
from dichroic.errors import SessionExpiredError, UnknownSessionError

if TYPE_CHECKING:  # it imports this module
    from dichroic.client.async_mechanism_calls import AsyncMechanismCalls


class AsyncSession:
    """What AsyncClient.session gives: Session, awaited. Not for several tasks at once.

    Attributes: as Session's.
    """

    def __init__(
        self,
        client: AsyncMechanismCalls,
        model_name: str,
        make: Callable[[], Awaitable[SessionMade]],
        *,
        session_id: str,
        keep: bool,
        timeout_s: float | None,
    ) -> None:
        """Nothing is sent yet. `make` makes the session where session_id is empty."""
        self.model_name = model_name
        self.session_id = session_id
        self.revision = 0
        self._client = client
        self._make = make
        self._keep = keep
        self._timeout_s = timeout_s

    async def __aenter__(self) -> Self:
        if not self.session_id:
            made = await self._make()
            self.session_id, self.revision = made.session_id, made.revision
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # What a night has measured is not thrown away because its script broke.
        if kind is None and not self._keep:
            await self.delete()

    async def predict(
        self,
        inputs: Mechanisms | None = None,
        *,
        units: Units | None = None,
        include_noise: bool = False,
        include_covariance: bool = False,
        frame_id: str = "",
        acquisition_time_unix_ns: int = 0,
        timeout_s: float | None = 30.0,
        progress: Progress | None = None,
        **mechanisms: Values,
    ) -> Prediction:
        """Mechanisms to f, as far as the session has observed; see Session.predict."""
        answer = await self._client.predict(
            self.model_name,
            gathered(inputs, mechanisms),
            session_id=self.session_id,
            units=units,
            include_noise=include_noise,
            include_covariance=include_covariance,
            frame_id=frame_id,
            acquisition_time_unix_ns=acquisition_time_unix_ns,
            timeout_s=timeout_s,
            progress=progress,
        )
        self.revision = answer.revision
        return answer

    async def suggest(
        self,
        candidates: Mechanisms | None = None,
        *,
        strategy: str,
        part: str = "",
        count: int = 1,
        kappa: float = 0.0,
        goal: str = "",
        incumbent: Numbers | None = None,
        units: Units | None = None,
        timeout_s: float | None = 30.0,
    ) -> Suggestion:
        """Where to measure next, of the candidates given here or of those the session was made with; see Session.suggest."""
        answer = await self._client.suggest(
            self.model_name,
            candidates,
            strategy=strategy,
            session_id=self.session_id,
            part=part,
            count=count,
            kappa=kappa,
            goal=goal,
            incumbent=incumbent,
            units=units,
            timeout_s=timeout_s,
        )
        self.revision = answer.revision
        return answer

    async def observe(
        self,
        y: Numbers,
        inputs: Mechanisms | None = None,
        *,
        candidate_index: Classes | None = None,
        units: Units | None = None,
        y_unit: str = "",
        request_id: str = "",
        timeout_s: float | None = 30.0,
        **mechanisms: Values,
    ) -> Observation:
        """Conditions the session on new measurements, at the revision it knows of; see Session.observe."""
        given = gathered(inputs, mechanisms) if inputs or mechanisms else None
        if not self.revision:
            # Taken up again, and nothing answered yet. Expecting any revision, a measurement whose answer was lost could be taken twice.
            if given is None:
                await self.suggest(strategy="total_sd", timeout_s=timeout_s)
            else:
                await self.predict(given, units=units, timeout_s=timeout_s)
        answer = await self._client.observe(
            self.session_id,
            y,
            given,
            candidate_index=candidate_index,
            units=units,
            y_unit=y_unit,
            expected_revision=self.revision,
            request_id=request_id,
            model_name=self.model_name,
            timeout_s=timeout_s,
        )
        # The answer to an earlier request may tell of an earlier revision.
        self.revision = max(self.revision, answer.revision)
        return answer

    async def delete(self) -> None:
        """Ends the session on the server, if it has not ended by itself."""
        with suppress(UnknownSessionError, SessionExpiredError):
            await self._client.delete_session(self.session_id, timeout_s=self._timeout_s)
