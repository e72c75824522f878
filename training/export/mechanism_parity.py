"""The graphs of a mechanism bundle say what the float64 reference says of the graph's own latents, and a batch says what its rows say alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dichroic.bundle import Signature
from training.export.parity import Parity, ParityError
from training.export.sessions import GraphRunner
from training.mechanism.encoders import Encoder
from training.mechanism.posterior import StructuredPosterior
from training.mechanism.truncate import LowRank

Array = np.ndarray[Any, np.dtype[Any]]

# Of sd(y), or of its square for a variance.
EXACT = 1e-9
_BATCHED = 1e-10


def check_mechanism_parity(  # noqa: PLR0917 - one order, one caller
    posterior: StructuredPosterior,
    truncated: LowRank | None,
    encoders: Sequence[Encoder],
    declared: Mapping[str, Signature],
    graphs: Mapping[str, bytes],
    weights: bytes,
    fixed: Mapping[str, Array],
    sd: float,
) -> Parity:
    """Compares every `predict` with the posterior at the latents of its `encode`, and `rows` with the prior.

    Covariances in low rank may differ by the certified bound more.

    Raises:
        ParityError: a difference of more than 1e-9 of sd(y).
    """
    worst = Parity(0.0, "")
    scale = posterior.factor_scales
    prior = np.array([values.variance for values in posterior.structure.terms]) * scale**2
    bound = 0.0 if truncated is None else truncated.bound * max(float(prior.max()), float(prior.sum()))
    for name in (each for each in declared if each.startswith("predict.")):
        dtype = name.partition(".")[2]
        inputs = examples(encoders, dtype)
        encode = GraphRunner(graphs[f"encode.{dtype}"], weights, ["latents"])
        predict = GraphRunner(graphs[name], weights, [spec.name for spec in declared[name].outputs])
        latents = encode.run(inputs)["latents"]
        told, wanted = predict.run({**inputs, **fixed}), posterior.predict(latents)
        # All factors are of one point: a total takes them with it.
        carried = float(np.max(np.abs(wanted.factor))) ** 2 * len(wanted.names)
        pairs: dict[str, tuple[Array, float, float]] = {
            "part_mean": (wanted.mean, sd, 0.0),
            "factor": (wanted.factor, 1.0, 0.0),
            "factor_variance": (wanted.factor_variance, 1.0, 0.0),
            "total_mean": (wanted.total_mean, sd, 0.0),
            "part_covariance": (wanted.covariance, sd**2, 2 * bound),
            "total_variance": (wanted.total_variance, sd**2, carried * bound),
        }
        for tensor, (reference, unit, allowed) in pairs.items():
            apart = float(np.max(np.abs(told[tensor] - reference)))
            if not apart <= EXACT * unit + allowed:
                raise ParityError(f"{name}: {tensor} differs from the float64 reference by {apart:.3g}, more than {EXACT * unit + allowed:.3g}")
            if apart / unit > worst.worst:
                worst = Parity(apart / unit, f"{name}/{tensor}, {len(latents)} rows")
        for row in range(len(latents)):
            one = predict.run({**{key: values[row : row + 1] for key, values in inputs.items()}, **fixed})
            # An encoder in float32 may round otherwise in a batch; what follows from that is its own affair.
            if np.array_equal(one["latents"][0], told["latents"][row]):
                _same(name, one, told, row, sd)
    return _rows_parity(worst, posterior, graphs["rows"], weights, latents, sd)


def _rows_parity(worst: Parity, posterior: StructuredPosterior, graph: bytes, weights: bytes, latents: Array, sd: float) -> Parity:  # noqa: PLR0917
    """Prior covariances, which sessions are made of, at some latents."""
    told = GraphRunner(graph, weights, ["rows", "factor", "prior"]).run({"latents": latents, "points": posterior.latents})
    for index, values in enumerate(posterior.structure.terms):
        scale = posterior.factor_scales[index]
        wanted = {
            "rows": posterior.structure.covariance(values, latents, posterior.latents, bare=True) * scale,
            "prior": posterior.structure.prior(values, latents) * scale**2,
            "factor": posterior.structure.factor(values.term, latents) / scale,
        }
        for tensor, reference in wanted.items():
            unit = 1.0 if tensor == "factor" else sd**2
            apart = float(np.max(np.abs(told[tensor][:, index] - reference)))
            if not apart <= EXACT * unit:
                raise ParityError(f"rows: {tensor} of {values.term.name} differs from the prior's by {apart:.3g}, more than {EXACT * unit:.3g}")
            if apart / unit > worst.worst:
                worst = Parity(apart / unit, f"rows/{tensor}, {len(latents)} rows")
    return worst


def _same(name: str, one: Mapping[str, Array], told: Mapping[str, Array], row: int, sd: float) -> None:
    for tensor, values in one.items():
        apart = float(np.max(np.abs(values[0] - told[tensor][row])))
        unit = sd**2 if tensor in ("part_covariance", "total_variance") else sd if tensor in ("part_mean", "total_mean") else 1.0
        if not apart <= _BATCHED * max(unit, float(np.max(np.abs(values)))):
            raise ParityError(f"{name}: {tensor} of row {row} differs by {apart:.3g} between a batch and the row alone")


def examples(encoders: Sequence[Encoder], dtype: str) -> dict[str, Array]:
    """Some rows of every mechanism's input, as many of each: drawn or random."""
    found = {encoder.name: encoder.examples[dtype if "" not in encoder.examples else ""] for encoder in encoders}
    rows = min(len(values) for values in found.values())
    return {name: np.ascontiguousarray(values[:rows]) for name, values in found.items()}
