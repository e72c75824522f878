"""Golden answers of a mechanism bundle: drawn inputs with the graphs' own answers, which the parity check has found right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dichroic.bundle import Signature
from dichroic.bundle.arrays import pack
from training.export.mechanism_parity import examples
from training.export.sessions import GraphRunner
from training.mechanism.encoders import Encoder

Array = np.ndarray[Any, np.dtype[Any]]

# Of an output's scale. A network in float32 adds in another order on another processor; the posterior's arrays are made anew at load, by
# another Cholesky factorisation than the one at export.
TOLERANCE_LEARNED, TOLERANCE = 1e-4, 1e-6
_ROWS_OF_LATENTS = 2
_SQUARES, _IN_UNIT = frozenset({"part_covariance", "total_variance", "rows", "prior"}), frozenset({"part_mean", "total_mean", "features"})
# The least that a variance, or a mean, is compared with: a share of the prior's, or of sd(y).
_OF_PRIOR, _OF_SD = 1e-2, 1e-1


def golden_answers(
    encoders: Sequence[Encoder],
    declared: Mapping[str, Signature],
    graphs: Mapping[str, bytes],
    weights: bytes,
    fixed: Mapping[str, Array],
    *,
    sd: float,
    prior: float,
) -> bytes:
    """The bytes of golden.safetensors: `<signature>/in|out/<tensor>` and `<signature>/atol/<tensor>` (1,) float64.

    `sd`: of y; `prior`: the parts' prior variances in sum. Each tensor has a tolerance in its own unit: whatever y is measured in, a wrong variance
    is found as a wrong mean is.
    """
    arrays: dict[str, Array] = {}
    learned = any(encoder.learned for encoder in encoders)
    latents = np.zeros(0)
    for name, signature in sorted(declared.items()):
        capability, _, dtype = name.partition(".")
        raw = capability in ("encode", "predict")
        inputs = examples(encoders, dtype) if raw else {"latents": latents}
        own = {spec.name: fixed[spec.name] for spec in signature.fixed}
        answers = GraphRunner(graphs[name], weights, [spec.name for spec in signature.outputs]).run({**inputs, **own})
        if capability == "encode":
            latents = answers["latents"][:_ROWS_OF_LATENTS]
        arrays |= {f"{name}/in/{tensor}": values for tensor, values in inputs.items()}
        for tensor, values in answers.items():
            arrays[f"{name}/out/{tensor}"] = values
            # A variance is a small difference of large numbers.
            least = _OF_PRIOR * prior if tensor in _SQUARES else _OF_SD * sd if tensor in _IN_UNIT else 1.0
            scale = max(float(np.max(np.abs(values))), least)
            arrays[f"{name}/atol/{tensor}"] = np.array([(TOLERANCE_LEARNED if learned and raw else TOLERANCE) * scale])
    return pack(arrays)
