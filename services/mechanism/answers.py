"""The mechanism room's answers, field for field what protos/dichroic/v1/mechanism.proto describes.

n: rows of a request. P: parts, the constant first. M: mechanisms. k: picks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from services.engine.model import Identity

Float64 = np.ndarray[Any, np.dtype[np.float64]]
Int64 = np.ndarray[Any, np.dtype[np.int64]]
Bool = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Predicted:
    """What the posterior says of n points, in the unit of y (variances and covariances: squared).

    Attributes:
        model: which bundle answered.
        session_id: empty where the bundle's own posterior did.
        revision: of the session; 0 without one.
        part_names: P of them, the constant first.
        part_mean: (n, P) float64; total = Σ_p factor_p · part_p.
        part_variance: (n, P) float64, never with noise.
        part_covariance: (n, P, P) float64 of a point's parts; None where it was not asked for.
        factor: (n, P) float64 what each part is multiplied by; 1 where it has no factor.
        factor_variance: (n, P) float64; 0 where it has none.
        total_mean: (n,) float64.
        total_variance: (n,) float64 of f, or of a measured y where `noise_included`.
        noise_included: whether total_variance and quantiles are those of a measured y.
        quantile_probabilities: (5,) float64.
        quantiles: (n, 5) float64 of f, or of y where noise is included: then of the mixture where the noise has outliers.
        outside: (n, M) bool, beyond the range any column of the mechanism had in training. The variance there returns to the prior's.
        unit: of y.
    """

    model: Identity
    session_id: str
    revision: int
    part_names: tuple[str, ...]
    part_mean: Float64
    part_variance: Float64
    part_covariance: Float64 | None
    factor: Float64
    factor_variance: Float64
    total_mean: Float64
    total_variance: Float64
    noise_included: bool
    quantile_probabilities: Float64
    quantiles: Float64
    outside: Bool
    unit: str


@dataclass(frozen=True)
class SessionMade:
    """A session. `points`: that its posterior holds; `memory_bytes`: of its own arrays; `expires_time_s`: if it is not used, s since 1970, UTC."""

    model: Identity
    session_id: str
    revision: int
    points: int
    candidates: int
    memory_bytes: int
    expires_time_s: float


@dataclass(frozen=True)
class Observed:
    """n points now part of the session's posterior.

    Attributes:
        model: which bundle the session was made from.
        session_id: the session.
        revision: after these points.
        weight: (n,) float64 in (0, 1], σ² over the noise variance that each point was given: 1 for one that is no outlier.
        duplicate: (n,) bool, a point with the same latents was there already; both count.
        points: that the posterior now holds.
        repeated: this answer was given before, to the same request_id; nothing was observed again.
    """

    model: Identity
    session_id: str
    revision: int
    weight: Float64
    duplicate: Bool
    points: int
    repeated: bool


@dataclass(frozen=True)
class Suggested:
    """k picks in their order.

    Attributes:
        model: which bundle answered.
        session_id: empty where the bundle's own posterior did.
        revision: of the session; 0 without one.
        candidate_index: (k,) int64, each once.
        score: (k,) float64, by which the candidate was the best when it was picked: greater is better, whatever the goal. In the unit of y; of
            mean_variance in its square.
        total_mean: (k,) float64 of f.
        total_sd: (k,) float64 of f, given that the picks before it are measured (thompson: as it is now).
        part_sd: (k,) float64 of the part asked for, likewise; zeros unless the strategy is part_sd.
    """

    model: Identity
    session_id: str
    revision: int
    candidate_index: Int64
    score: Float64
    total_mean: Float64
    total_sd: Float64
    part_sd: Float64


@dataclass(frozen=True)
class SessionDeleted:
    """A session that is no more. `revision`: the last one it had."""

    model: Identity
    session_id: str
    revision: int
