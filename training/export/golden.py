"""Golden answers: drawn inputs with the torch model's outputs and a tolerance, replayed at every load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from dichroic.bundle import Preprocessing, Signature
from training.export.modules import Normalise
from training.export.parity import output_range, torch_answer
from training.export.probes import probe_inputs
from training.latent.model import InvariantVAE

Array = np.ndarray[Any, np.dtype[Any]]

ROWS = 4
# Of an output's range. Ten times the parity bound: another processor or a GPU adds in another order.
TOLERANCE = 1e-4
# Angles, and content on circles, this close to the jump at ±pi (for a symmetry of order m at ±pi/m) could replay on its other side.
CLEAR_OF_JUMP_RAD = 3.0
# Two classes or two angle bins of nearly one probability could replay in the other order.
CLEAR_OF_TIE = 1e-3
_TRIES = 100
_SEED = 7


def golden_answers(
    model: InvariantVAE, preprocessing: Preprocessing, signatures: Mapping[str, Signature], drawn: Preprocessing | None = None
) -> dict[str, Array]:
    """The arrays of golden.safetensors: `<signature>/in|out/<tensor>` and `<signature>/atol/<tensor>` (1,) float64."""
    arrays: dict[str, Array] = {}
    for name, signature in signatures.items():
        inputs = _clear_of_jump(model, preprocessing, name, signature)
        outputs = torch_answer(model, preprocessing, name, signature, inputs, drawn)
        arrays |= {f"{name}/in/{tensor}": values for tensor, values in inputs.items()}
        for spec in signature.outputs:
            arrays[f"{name}/out/{spec.name}"] = outputs[spec.name]
            arrays[f"{name}/atol/{spec.name}"] = np.array([TOLERANCE * output_range(spec, outputs[spec.name])])
    return arrays


def _clear_of_jump(model: InvariantVAE, preprocessing: Preprocessing, name: str, signature: Signature) -> dict[str, Array]:
    has_angle = any(spec.name == "angle_rad" for spec in signature.outputs)
    circles = {spec.name: list(model.specification.circle_columns(spec.name)) for spec in signature.outputs}
    wraps = has_angle or any(circles.values())
    chooses = model.specification.is_mixture and name.partition(".")[0].partition("_")[0] not in ("decode", "regress")
    inputs = probe_inputs(signature, model.specification, preprocessing, _TRIES if wraps or chooses else ROWS, _SEED)
    if wraps or chooses:
        bad = np.zeros(_TRIES)
        answers = torch_answer(model, preprocessing, name, signature, inputs) if wraps else {}
        if has_angle:
            bad += np.abs(answers["angle_rad"]) > CLEAR_OF_JUMP_RAD / max(1, model.specification.angle_symmetry)
        for tensor, columns in circles.items():
            if columns:
                bad += (np.abs(answers[tensor][:, columns]) > CLEAR_OF_JUMP_RAD).any(axis=1)
        if chooses:
            bad += _margin(model, preprocessing, name, inputs) < CLEAR_OF_TIE
        rows = np.argsort(bad, kind="stable")[:ROWS]
        inputs = {tensor: np.ascontiguousarray(values[rows]) for tensor, values in inputs.items()}
    return inputs


def _margin(model: InvariantVAE, preprocessing: Preprocessing, name: str, inputs: Mapping[str, Array]) -> Array:
    kind = model.specification.input_kind
    values = Normalise(preprocessing, name.partition(".")[2], kind)(torch.from_numpy(inputs[kind]))
    return margin(model, torch.clamp(values, 0.0, 1.0) if preprocessing.clip else values)


@torch.no_grad()
def margin(model: InvariantVAE, values: torch.Tensor) -> Array:
    """By how much the log-probability of the most probable class, and of its most probable bin, exceeds that of the next (n,); the lesser.

    `values`: normalised images (n, h, w, c), of a model with classes or bins.
    """
    log_q = model.posterior(values).log_q
    of_class = torch.logsumexp(log_q, dim=2)
    of_bin = log_q[torch.arange(len(log_q)), of_class.argmax(dim=1)]
    ranked = [torch.sort(part, dim=1, descending=True).values for part in (of_class, of_bin) if part.shape[1] > 1]
    return torch.stack([part[:, 0] - part[:, 1] for part in ranked]).amin(dim=0).numpy()
