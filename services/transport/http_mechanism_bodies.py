"""The mechanism room's JSON requests and answers, as OpenAPI shows them. Units and shapes are those of the proto's fields of the same name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.transport.http_bodies import ModelName
from services.transport.json_arrays import JsonArray

MAX_INT64 = (1 << 63) - 1
Strategy = Literal["total_sd", "part_sd", "mean_variance", "ucb", "ei", "thompson"]
Units = Annotated[dict[str, str], Field(description="The unit of each mechanism's values, by name; it must be the model's. Default: not declared.")]
Inputs = Annotated[
    dict[str, JsonArray],
    Field(
        description="Every mechanism, by name, n rows each: image (n, h, w[, c]) uint8, uint16 or float32; spectrum (n, l[, c]) float32; coordinates "
        "and parameters (n, k) float64; category (n,) int64, the index. Finite."
    ),
]
RequestId = Annotated[str, Field(description="Your name for this request: a repeat with the same one gets the first answer.")]


class SessionBody(BaseModel):
    """What every request in a session may carry."""

    model_config = ConfigDict(extra="forbid", strict=True)

    timeout_s: Annotated[float, Field(gt=0)] | None = Field(default=None, description="Deadline of this request, seconds; default: the server's.")
    arrays: Literal["lists", "base64"] = Field(default="lists", description="How arrays come back: nested lists, or {dtype, shape, data_base64}.")


class VersionBody(SessionBody):
    """What every request to a model may carry."""

    version: Annotated[int, Field(ge=0, le=MAX_INT64)] = Field(default=0, description="Model version, 1 or more; 0 = the highest that serves.")


class PredictInSessionBody(SessionBody):
    """Where to predict, and what of it."""

    inputs: Inputs
    units: Units = {}
    include_noise: bool = Field(default=False, description="total_variance and quantiles are those of a measurement y, not of f.")
    include_covariance: bool = Field(default=False, description="part_covariance is answered.")
    frame_id: str = Field(default="", description="The caller's name for the frame, echoed.")
    acquisition_time_unix_ns: Annotated[int, Field(ge=-MAX_INT64 - 1, le=MAX_INT64)] = Field(
        default=0, description="When the frame was taken, ns since 1970-01-01T00:00:00 UTC, echoed; 0 = unknown."
    )


class PredictBody(PredictInSessionBody, VersionBody):
    """Where to predict, and what of it."""


class SuggestInSessionBody(SessionBody):
    """Which candidates to rank, and how."""

    candidates: dict[str, JsonArray] = Field(default={}, description="As inputs, one row each; default: those the session was made with.")
    units: Units = {}
    strategy: Strategy = Field(
        description="Standard deviation of f or of a part, by how much the mean variance falls, mean +- kappa sd, expected improvement, or a draw."
    )
    part: str = Field(default="", description="Of part_sd: which part.")
    count: Annotated[int, Field(ge=1, le=MAX_INT64)] = Field(default=1, description="How many to pick, each as if those before were measured.")
    kappa: Annotated[float, Field(ge=0)] = Field(default=0.0, description="Of ucb: standard deviations; 0 = 2.")
    goal: Literal["", "maximise", "minimise"] = Field(default="", description="Of ucb, ei and thompson; default: maximise.")
    incumbent: float | None = Field(
        default=None, description="Of ei: the best value so far, in the unit of y; default: the best mean among the candidates."
    )


class SuggestBody(SuggestInSessionBody, VersionBody):
    """Which candidates to rank, and how."""


class CreateSessionBody(VersionBody):
    """Which model a session is made of, and what may be measured."""

    candidates: dict[str, JsonArray] = Field(default={}, description="As inputs, one row for each place that may be measured; default: none.")
    units: Units = {}
    expires_after_s: Annotated[float, Field(ge=0)] = Field(default=0.0, description="Seconds without a call; 0 = the server's own.")
    seed: Annotated[int, Field(ge=0, le=MAX_INT64)] = Field(default=0, description="Of what thompson draws.")
    request_id: RequestId = ""


class ObserveBody(SessionBody):
    """What was measured, and where: inputs, or candidate_index."""

    inputs: dict[str, JsonArray] = Field(default={}, description="Every mechanism, by name, n rows each; or candidate_index.")
    units: Units = {}
    candidate_index: JsonArray | None = Field(default=None, description="(n,) int64: which of the session's candidates.")
    y: JsonArray = Field(description="(n,) float64, finite, n at most 512: the measured values, in the unit of the model's quantity.")
    y_unit: str = Field(default="", description="The unit of y; it must be the model's. Default: not declared.")
    request_id: RequestId = ""
    expected_revision: Annotated[int, Field(ge=0, le=MAX_INT64)] = Field(default=0, description="Refused where the session is at another; 0 = any.")


class SessionAnswer(BaseModel):
    """What every answer of the mechanism room carries."""

    model: ModelName
    session_id: str = Field(description="Empty without a session.")
    revision: int = Field(description="How far the session has observed, 1 or more; 0 without a session.")


class PredictAnswer(SessionAnswer):
    """f at each row, and its parts."""

    frame_id: str
    acquisition_time_unix_ns: int
    part_names: list[str] = Field(description="The P parts, the constant first.")
    part_mean: Any = Field(description="(n, P) posterior mean of each part, in the unit.")
    part_variance: Any = Field(description="(n, P), in the unit squared, without noise.")
    part_covariance: Any = Field(description="(n, P, P), in the unit squared, without noise; null unless asked for.")
    factor: Any = Field(description="(n, P) what each part is multiplied by; total_mean is the sum of factor x part_mean.")
    factor_variance: Any = Field(description="(n, P).")
    total_mean: Any = Field(description="(n,) posterior mean of f, in the unit.")
    total_variance: Any = Field(description="(n,) of f, or of y where noise_included, in the unit squared.")
    noise_included: bool
    quantile_probabilities: Any = Field(description="(5,) 0.05, 0.25, 0.5, 0.75, 0.95.")
    quantiles: Any = Field(description="(n, 5) of f, or of y where noise_included, in the unit.")
    outside: Any = Field(description="(n, M) true where a value lies beyond the mechanism's trained range.")
    unit: str = Field(description="Of the measured quantity.")


class SuggestAnswer(SessionAnswer):
    """The picks, best first."""

    candidate_index: Any = Field(description="(k,) which candidates, from 0.")
    score: Any = Field(description="(k,) the strategy's figure when the pick was made; larger is better. Of mean_variance squared.")
    total_mean: Any = Field(description="(k,) posterior mean of f.")
    total_sd: Any = Field(description="(k,) standard deviation of f, without noise, when the pick was made.")
    part_sd: Any = Field(description="(k,) that of the part asked for; zeros unless the strategy is part_sd.")


class CreateSessionAnswer(SessionAnswer):
    """The session."""

    points: int = Field(description="How many points its posterior holds.")
    candidates: int
    memory_bytes: int
    expires_time_s: float = Field(description="Seconds since 1970-01-01T00:00:00 UTC, unless it is called before.")


class ObserveAnswer(SessionAnswer):
    """How the measurements were taken."""

    weight: Any = Field(description="(n,) in (0, 1], how far each was believed.")
    duplicate: Any = Field(description="(n,) true where the same latents were there already.")
    points: int
    repeated: bool = Field(description="This request_id was answered before, and this is that answer.")


class DeleteSessionAnswer(SessionAnswer):
    """The session that is no more, at its last revision."""
