"""Golden answers of a transition bundle: drawn states with the graphs' own answers, which the parity check has found right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dichroic.bundle import Signature, TransitionSection
from dichroic.bundle.arrays import pack
from training.export.sessions import GraphRunner
from training.export.transition_parity import drawn_states

Array = np.ndarray[Any, np.dtype[Any]]

# Of an output's largest value: float64 on every processor, sums of few terms, in another order at most.
TOLERANCE = 1e-9
_ROWS, _SEED = 4, 7


def golden_answers(section: TransitionSection, declared: Mapping[str, Signature], graphs: Mapping[str, bytes], weights: bytes) -> bytes:
    """The bytes of golden.safetensors: `<signature>/in|out/<tensor>` and `<signature>/atol/<tensor>` (1,) float64."""
    arrays: dict[str, Array] = {}
    inputs = drawn_states(section, _ROWS, _SEED)
    for name, signature in sorted(declared.items()):
        own = {spec.name: inputs[spec.name] for spec in signature.inputs}
        answers = GraphRunner(graphs[name], weights, [spec.name for spec in signature.outputs]).run(own)
        arrays |= {f"{name}/in/{tensor}": values for tensor, values in own.items()}
        for tensor, values in answers.items():
            arrays[f"{name}/out/{tensor}"] = values
            arrays[f"{name}/atol/{tensor}"] = np.array([TOLERANCE * max(float(np.max(np.abs(values))), TOLERANCE)])
    return pack(arrays)
