"""Golden answers: drawn inputs with the torch model's outputs and a tolerance, replayed at every load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dichroic.bundle import Preprocessing, Signature
from dichroic.bundle.arrays import pack
from training.export.parity import output_range, torch_answer
from training.export.probes import probe_inputs
from training.latent.model import InvariantVAE

Array = np.ndarray[Any, np.dtype[Any]]

ROWS = 4
# Of an output's range. Ten times the parity bound: another processor or a GPU adds in another order.
TOLERANCE = 1e-4
# Angles this close to the jump at ±pi (for a symmetry of order m at ±pi/m) could replay on its other side.
_CLEAR_OF_JUMP_RAD = 3.0
_TRIES = 100
_SEED = 7


def golden_answers(model: InvariantVAE, preprocessing: Preprocessing, signatures: Mapping[str, Signature]) -> bytes:
    """The bytes of golden.safetensors: `<signature>/in|out/<tensor>` and `<signature>/atol/<tensor>` (1,) float64."""
    arrays: dict[str, Array] = {}
    for name, signature in signatures.items():
        inputs, outputs = _clear_of_jump(model, preprocessing, name, signature)
        arrays |= {f"{name}/in/{tensor}": values for tensor, values in inputs.items()}
        for spec in signature.outputs:
            arrays[f"{name}/out/{spec.name}"] = outputs[spec.name]
            arrays[f"{name}/atol/{spec.name}"] = np.array([TOLERANCE * output_range(spec, outputs[spec.name])])
    return pack(arrays)


def _clear_of_jump(model: InvariantVAE, preprocessing: Preprocessing, name: str, signature: Signature) -> tuple[dict[str, Array], dict[str, Array]]:
    has_angle = any(spec.name == "angle_rad" for spec in signature.outputs)
    inputs = probe_inputs(signature, model.specification, preprocessing, _TRIES if has_angle else ROWS, _SEED)
    if has_angle:
        angles = torch_answer(model, preprocessing, name, signature, inputs)["angle_rad"]
        rows = np.argsort(np.abs(angles) > _CLEAR_OF_JUMP_RAD / max(1, model.specification.angle_symmetry), kind="stable")[:ROWS]
        inputs = {tensor: np.ascontiguousarray(values[rows]) for tensor, values in inputs.items()}
    return inputs, torch_answer(model, preprocessing, name, signature, inputs)
