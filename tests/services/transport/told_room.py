"""A mechanism room that notes what it is asked and answers by rule, so that both transports can be compared with it field by field."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from dichroic.errors import DichroicError
from services.engine.model import Identity
from services.mechanism.answers import Observed, Predicted, SessionDeleted, SessionMade, Suggested

MODEL = Identity("toy", 1, "d" * 64)
PREDICTED = Predicted(
    model=MODEL,
    session_id="s1",
    revision=4,
    part_names=("constant", "patch"),
    part_mean=np.array([[0.1, 1 / 3], [-2.5, 1e-300]]),
    part_variance=np.array([[0.0, 0.5], [0.25, 1e300]]),
    part_covariance=np.arange(8.0).reshape(2, 2, 2) / 7,
    factor=np.array([[1, 0.75], [1, 2.0]]),
    factor_variance=np.array([[0, 0.125], [0, 0.0]]),
    total_mean=np.array([0.1 + 0.25, np.pi]),
    total_variance=np.array([2.0, 3.0]),
    noise_included=True,
    quantile_probabilities=np.array([0.05, 0.25, 0.5, 0.75, 0.95]),
    quantiles=np.linspace(-1, 1, 10).reshape(2, 5),
    outside=np.array([[False, True], [False, False]]),
    unit="pm",
)
SUGGESTED = Suggested(MODEL, "s1", 4, np.array([7, 0]), np.array([2.5, 1.5]), np.array([0.5, 0.25]), np.array([1.0, 0.5]), np.array([0.0, 0.0]))
MADE = SessionMade(MODEL, "s1", 1, 20, 2, 4096, 1.75e9 + 0.125)
OBSERVED = Observed(MODEL, "s1", 5, np.array([1.0, 0.125]), np.array([False, True]), 22, repeated=True)
DELETED = SessionDeleted(MODEL, "s1", 5)


@dataclass
class ToldRoom:
    """`asked` holds what each method was called with, by the names of its arguments; `error` is raised in place of an answer."""

    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    error: DichroicError | None = None
    kinds: dict[str, str] = field(default_factory=dict)

    async def section_of(self, session_id: str) -> Any:
        if isinstance(self.error, DichroicError):
            raise self.error
        return SimpleNamespace(mechanisms=[SimpleNamespace(name=name, kind=kind) for name, kind in self.kinds.items()])

    async def predict(self, model_name: str, model_version: int, given: Any, deadline: float, **options: Any) -> Predicted:
        self._note("predict", model_name=model_name, model_version=model_version, given=given, deadline=deadline, **options)
        return PREDICTED

    async def suggest(self, deadline: float, **options: Any) -> Suggested:
        self._note("suggest", deadline=deadline, **options)
        return SUGGESTED

    async def create_session(self, model_name: str, model_version: int, deadline: float, **options: Any) -> SessionMade:
        self._note("create_session", model_name=model_name, model_version=model_version, deadline=deadline, **options)
        return MADE

    async def observe(self, session_id: str, deadline: float, **options: Any) -> Observed:
        self._note("observe", session_id=session_id, deadline=deadline, **options)
        return OBSERVED

    async def delete_session(self, session_id: str, deadline: float) -> SessionDeleted:
        self._note("delete_session", session_id=session_id, deadline=deadline)
        return DELETED

    async def close(self) -> None:
        """Nothing was opened."""

    def last(self, method: str) -> dict[str, Any]:
        """What the method was last called with, without the deadline."""
        name, options = self.asked[-1]
        assert name == method
        return {key: value for key, value in options.items() if key != "deadline"}

    def _note(self, method: str, **options: Any) -> None:
        self.asked.append((method, options))
        if self.error is not None:
            raise self.error
