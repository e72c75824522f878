"""What the client hands back of the mechanism room: named numpy arrays with their units."""

from __future__ import annotations

from dataclasses import dataclass

from dichroic.client.answers import ModelIdentity
from dichroic.wire import NDArray


@dataclass(frozen=True, eq=False)
class Prediction:
    """f at n rows and its P parts, in their order. All arrays but `outside` are float64.

    Attributes:
        model: which model answered, for every row.
        frame_id: as given with the call.
        acquisition_time_unix_ns: as given with the call, nanoseconds since 1970-01-01T00:00:00 UTC; 0 is unknown.
        session_id: as given with the call; empty without a session.
        revision: how far the session has observed, >= 1; 0 without a session.
        part_names: the P parts, as the manifest's `mechanism.parts`; the first is the constant.
        part_mean: (n, P), in `unit`, posterior mean of each part. total_mean is the sum over parts of factor x part_mean.
        part_variance: (n, P), in `unit` squared, its posterior variance, without noise.
        factor: (n, P), unit 1, what each part is multiplied by in this row; 1 where it has no factors.
        factor_variance: (n, P), unit 1, the factor's variance; 0 where the part has none.
        total_mean: (n,), in `unit`, posterior mean of f, which is also that of y.
        total_variance: (n,), in `unit` squared, posterior variance of f, or of y where noise_included.
        noise_included: whether total_variance and quantiles are those of a measurement y.
        quantile_probabilities: (5,), 0.05, 0.25, 0.5, 0.75, 0.95.
        quantiles: (n, 5), in `unit`, of f, or of y where noise_included.
        outside: (n, M) bool, whether a value lies beyond the mechanism's trained range; mechanisms in the manifest's order.
        unit: of the measured quantity.
        part_covariance: (n, P, P), in `unit` squared, posterior covariance of the parts of one row, without noise. None unless asked for.
    """

    model: ModelIdentity
    frame_id: str
    acquisition_time_unix_ns: int
    session_id: str
    revision: int
    part_names: tuple[str, ...]
    part_mean: NDArray
    part_variance: NDArray
    factor: NDArray
    factor_variance: NDArray
    total_mean: NDArray
    total_variance: NDArray
    noise_included: bool
    quantile_probabilities: NDArray
    quantiles: NDArray
    outside: NDArray
    unit: str
    part_covariance: NDArray | None = None


@dataclass(frozen=True, eq=False)
class Suggestion:
    """Where to measure next: k candidates, the best first.

    Attributes:
        model: which model answered.
        session_id: as given with the call; empty without a session.
        revision: how far the session has observed, >= 1; 0 without a session.
        candidate_index: (k,) int64, which of the candidates, from 0.
        score: (k,) float64, the strategy's own figure when the pick was made; larger is better; in the unit of y, of "mean_variance" in its square.
        total_mean: (k,) float64, in the unit of y, posterior mean of f.
        total_sd: (k,) float64, in the unit of y, standard deviation of f, without noise, as if the earlier picks had been measured.
        part_sd: (k,) float64, likewise of the part asked for; zeros unless the strategy is "part_sd".
    """

    model: ModelIdentity
    session_id: str
    revision: int
    candidate_index: NDArray
    score: NDArray
    total_mean: NDArray
    total_sd: NDArray
    part_sd: NDArray


@dataclass(frozen=True)
class SessionMade:
    """A session of a model.

    Attributes:
        model: which model it was made of.
        session_id: what other calls name it by.
        revision: how far it has observed: 1.
        points: how many points its posterior holds.
        candidates: how many candidates are registered.
        memory_bytes: what it takes of the memory that the server allows sessions.
        expires_time_s: when it expires unless it is called before, seconds since 1970-01-01T00:00:00 UTC.
    """

    model: ModelIdentity
    session_id: str
    revision: int
    points: int
    candidates: int
    memory_bytes: int
    expires_time_s: float


@dataclass(frozen=True, eq=False)
class Observation:
    """How n measurements were taken.

    Attributes:
        model: which model the session is of.
        session_id: as given with the call.
        revision: of the session with these measurements in it.
        weight: (n,) float64 in (0, 1], how far each was believed; 1 is a whole measurement.
        duplicate: (n,) bool, whether the same latents were there already.
        points: how many points the session's posterior now holds.
        repeated: whether this is the answer to an earlier request of the same request_id.
    """

    model: ModelIdentity
    session_id: str
    revision: int
    weight: NDArray
    duplicate: NDArray
    points: int
    repeated: bool


@dataclass(frozen=True)
class SessionDeleted:
    """A session that is no more; `revision` is its last."""

    model: ModelIdentity
    session_id: str
    revision: int
