"""The blocking client's calls of the mechanism room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from dichroic.client.answers import ModelInfo
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
from dichroic.client.sending import BlockingChannel
from dichroic.client.session import Session
from dichroic.errors import DichroicError

Told = TypeVar("Told", Prediction, Suggestion, Observation)


class MechanismCalls(BlockingChannel):
    """What Client asks of the mechanism room.

    Mechanisms are given as a dictionary, by name, or both: `{"patch": images, "field": volts}` or `patch=images, field=volts`. Images and spectra
    always have the batch axis; of coordinates, parameters and categories one row without it stands for every row, a single column may go as
    (n,), and a category as its index or its name. What the model takes in float64 is converted, from lists and float32 too.
    """

    def predict(
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
        """Mechanisms to f, part by part, with variances.

        Args:
            model_name: such as "loops"; with session_id the session's.
            inputs: every mechanism of the model, n rows each; see the class.
            session_id: of the session to predict with; empty: the model as it was trained.
            units: of the mechanisms, by name. What is declared must be the model's unit; what is not is taken to be.
            include_noise: variance and quantiles of a measurement y, not of f.
            include_covariance: also the parts' covariance, (n, P, P).
            version: >= 1; 0 is the highest that is ready, in a session the session's.
            frame_id: your name for the frame, echoed.
            acquisition_time_unix_ns: when it was taken, nanoseconds since 1970-01-01T00:00:00 UTC, echoed; 0 is unknown.
            timeout_s: seconds for the whole call, retries included; None is no limit.
            progress: called with (rows done, rows in all) after each message.
            mechanisms: as inputs, by name.

        Raises:
            InvalidTensorError: dtype, shape, different n, no rows, NaN or infinity; `row` says which.
            InvalidFieldError: no mechanism is given, or one twice.
            UnknownMechanismError: the model has no such mechanism.
            MissingMechanismError: the model has one more.
            UnitMismatchError: a unit was declared that is not the model's.
            UnknownCategoryError: the model has no such category; `row` says which.
            UnknownModelError: the server has no such model.
            UnknownVersionError: the model has no such version.
            UnsupportedCapabilityError: the model is none of mechanisms.
            UnknownSessionError: there is no such session.
            SessionExpiredError: there was, and it expired.
            SessionModelChangedError: the model it was made of no longer serves.
            SessionConflictError: the session observed something while a large batch was answered.
            ModelChangedError: the version was replaced during the call.
        """
        deadline = self._deadline(timeout_s)
        given = gathered(inputs, mechanisms)
        key = self._key(model_name, version, session_id)
        with self._of(key, deadline) as info:
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
            return self._met(self._run_until(call, deadline, progress))

    def suggest(
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
        """Ranks candidates: where to measure next.

        Args:
            model_name: such as "loops"; with session_id it may be left out.
            candidates: every mechanism of the model, one row for each candidate; None: those that the session was made with.
            strategy: "total_sd", "part_sd", "mean_variance", "ucb", "ei" or "thompson".
            session_id: of the session that ranks; empty: the model as it was trained.
            part: of "part_sd", which part.
            count: how many to pick, each as if those before it had been measured.
            kappa: of "ucb", how many standard deviations; 0 is 2.
            goal: of "ucb", "ei" and "thompson": "maximise" (the default) or "minimise".
            incumbent: of "ei", the best value so far, in the unit of y; None: the best posterior mean among the candidates.
            units: as predict.
            version: as predict.
            timeout_s: seconds for the whole call, retries included; None is no limit.

        Raises:
            InvalidFieldError: a strategy, part, count, kappa or goal that is none, or no candidates.
            MessageTooLargeError: the candidates do not fit into one message.
            DichroicError: as predict.
        """
        deadline = self._deadline(timeout_s)
        given = candidates or {}
        key = self._key(model_name, version, session_id)
        with self._of(key if given else ("", 0), deadline) as info:
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
            return self._met(suggestion_of(self._once(self._stubs().mechanism.Suggest, request, deadline)))

    def create_session(
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
        """Makes a session: a copy of a model's posterior that observes. `session` is the same with less to carry about.

        Args:
            model_name: such as "loops".
            candidates: every mechanism of the model, one row for each place that may be measured; encoded once, for Suggest and Observe.
            units: as predict.
            expires_after_s: seconds without a call after which it may be dropped; 0 is the server's own.
            seed: of what "thompson" draws, 0 or more.
            version: as predict.
            request_id: your name for this request; a repeat with the same one makes no second session. Empty: a fresh one, used for retries.
            timeout_s: seconds for the whole call, retries included; None is no limit.

        Raises:
            SessionMemoryError: it would not fit into what the server allows sessions.
            MessageTooLargeError: the candidates do not fit into one message.
            DichroicError: as predict.
        """
        deadline = self._deadline(timeout_s)
        given = candidates or {}
        with self._of((model_name, version) if given else ("", 0), deadline) as info:
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
            made = made_of(self._once(self._stubs().mechanism.CreateSession, request, deadline))
        self._sessions[made.session_id] = (made.model.name, made.model.version)
        return made

    def observe(
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
        """Conditions a session on new measurements. The answer comes once they are safe on the server's disk.

        Sent again after a failure of the network it carries the same request_id, so that nothing is ever observed twice; also by you, with the same
        values, after a call that ended in an error.

        Args:
            session_id: as create_session answered it.
            y: (n,) measured values, n at most 512, or one, in the unit of the model's quantity.
            inputs: every mechanism where they were measured, n rows each; or
            candidate_index: (n,) which of the candidates that the session was made with.
            units: as predict.
            y_unit: the unit of y; it must be the model's. Empty: not declared.
            expected_revision: the revision that you believe the session to be at; 0 is any.
            request_id: your name for this request; a repeat with the same one observes nothing anew. Empty: a fresh one, used for retries, and
                again when the same values come after a call that failed.
            model_name: the session's model; of use where this client did not make the session, so that values become what the model takes.
                The version is the session's; where no answer has told it yet and a category is given by its name, predict is asked first.
            timeout_s: seconds for the whole call, retries included; None is no limit.
            mechanisms: as inputs, by name.

        Raises:
            SessionConflictError: the session is at another revision than expected_revision; nothing was observed.
            SessionMemoryError: the session would outgrow what the server allows sessions.
            DichroicError: as predict.
        """
        deadline = self._deadline(timeout_s)
        given = gathered(inputs, mechanisms) if inputs or mechanisms else {}
        if model_name and session_id and session_id not in self._sessions and has_names(given):
            # A name is another index in another version, and which one the session is of only an answer tells.
            self.predict(model_name, given, session_id=session_id, units=units, timeout_s=deadline.remaining_s())
        key = self._key(model_name, 0, session_id)
        with self._of(key if given else ("", 0), deadline) as info:
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
                seen = observation_of(self._once(self._stubs().mechanism.Observe, request, deadline))
        return self._met(seen)

    def delete_session(self, session_id: str, *, timeout_s: float | None = 30.0) -> SessionDeleted:
        """Ends a session; what it observed is gone.

        Raises:
            UnknownSessionError: there is no such session.
            SessionExpiredError: there was, and it expired.
        """
        request = delete_request(session_id)
        deleted = deleted_of(self._once(self._stubs().mechanism.DeleteSession, request, self._deadline(timeout_s)))
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
    ) -> Session:
        """A session for a `with` block, which remembers what each call must carry.

            with client.session("loops", candidates={"patch": images, "field": volts}) as session:
                pick = session.suggest(strategy="total_sd").candidate_index
                session.observe(measure(pick), candidate_index=pick)

        The block makes the session, and ends it; after an error it is left on the server, and session_id takes it up again.

        Args:
            model_name: as create_session.
            candidates: as create_session.
            session_id: of a session to take up again, in place of making one; candidates and the other options are then not used.
            keep: leave the session on the server in any case.
            units: as create_session.
            expires_after_s: as create_session.
            seed: as create_session.
            version: as create_session.
            timeout_s: of making and ending it.
        """

        def make() -> SessionMade:
            return self.create_session(
                model_name, candidates, units=units, expires_after_s=expires_after_s, seed=seed, version=version, timeout_s=timeout_s
            )

        return Session(self, model_name, make, session_id=session_id, keep=keep, timeout_s=timeout_s)

    def _key(self, model_name: str, version: int, session_id: str) -> tuple[str, int]:
        """Which model's signatures say how values are sent: of a session this client made, or has had an answer of, its own version's."""
        made = self._sessions.get(session_id)
        return made if made is not None and model_name in ("", made[0]) else (model_name, version)

    def _met(self, answer: Told) -> Told:
        """The answer, after noting which model and version its session is of."""
        if answer.session_id:
            self._sessions[answer.session_id] = (answer.model.name, answer.model.version)
        return answer

    @contextmanager
    def _of(self, key: tuple[str, int], deadline: Deadline) -> Iterator[ModelInfo | None]:
        """What a model takes; None where no name is known. Forgotten when what was made of it is refused: the model may be another."""
        name, version = key
        try:
            yield (self._known.get(key) or self._info(name, version, deadline)) if name else None
        except DichroicError as error:
            if error.status == "INVALID_ARGUMENT":
                self._known.pop(key, None)
            raise
