"""The graphs say what the torch model says, in every dtype and batch size, and a batch says what its rows say alone."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dichroic.bundle import Preprocessing, Signature, TensorSpec
from training.export.modules import MODULES, Decode, Normalise
from training.export.probes import probe_inputs
from training.export.sessions import GraphRunner
from training.latent.model import InvariantVAE

Array = np.ndarray[Any, np.dtype[Any]]

BATCH_SIZES = (1, 2, 7, 64)
# Of an output's range: the promise of served float32 answers.
TOLERANCE = 1e-5
# A sharp decoder multiplies the last digit of its latents, and so does an angle where there is no direction: where the model's own float32
# arithmetic is further than that from its float64 arithmetic, a graph may be as far off as this times as much. A batch and its rows alone always
# keep the promise.
OF_ROUNDING = 3.0
# How often the model's own rounding is drawn anew, each weight a last digit off at random, before a graph is said to be wrong.
_DRAWS = 4
_SEED = 20240229


class ParityError(Exception):
    """A graph and the torch model disagree: our fault, never the user's. No bundle is written."""


@dataclass(frozen=True)
class Parity:
    """The greatest disagreement found, as a share of the output's range, and where: "<signature>/<output>, <rows> rows"."""

    worst: float
    where: str


@torch.no_grad()
def torch_answer(  # noqa: PLR0917 - one order for every caller
    model: InvariantVAE,
    preprocessing: Preprocessing,
    name: str,
    signature: Signature,
    inputs: Mapping[str, Array],
    drawn: Preprocessing | None = None,
) -> dict[str, Array]:
    """What the torch model answers to a signature's inputs, outputs by name, computed in the model's own precision."""
    tensors = [torch.from_numpy(inputs[spec.name]) for spec in signature.inputs]
    precision = model.grid.dtype
    if name.partition("_")[0] == "decode":  # of any stage
        answers: tuple[torch.Tensor, ...] = (Decode(model, drawn or preprocessing).to(precision)(*(tensor.to(precision) for tensor in tensors)),)
    else:
        kind, dtype = name.split(".")
        values = Normalise(preprocessing, dtype, model.specification.input_kind)(tensors[0]).to(precision)
        answers = MODULES[kind](model, preprocessing).to(precision)(values, *(tensor.to(precision) for tensor in tensors[1:]))
    return {spec.name: answer.numpy() for spec, answer in zip(signature.outputs, answers, strict=True)}


def check_parity(  # noqa: PLR0917 - one order for every caller
    model: InvariantVAE,
    preprocessing: Preprocessing,
    signatures: Mapping[str, Signature],
    graphs: Mapping[str, bytes],
    weights: bytes,
    drawn: Preprocessing | None = None,
) -> Parity:
    """Compares every signature in every batch size with torch, and the largest batch with its rows alone.

    `drawn`: preprocessing of what is drawn, where another kind goes in.

    Raises:
        ParityError: a difference above TOLERANCE of the output's range (and above three times the model's own rounding), or an answer that is
            not finite.
    """
    found = Parity(0.0, "")
    exact_model = copy.deepcopy(model).double()
    for name, signature in signatures.items():
        runner = GraphRunner(graphs[name], weights, [spec.name for spec in signature.outputs])
        inputs = probe_inputs(signature, model.specification, preprocessing, max(BATCH_SIZES), _SEED)
        expected = torch_answer(model, preprocessing, name, signature, inputs, drawn)
        require_finite(name, expected)
        exact = torch_answer(exact_model, preprocessing, name, signature, inputs, drawn)
        alone = [runner.run({key: value[row : row + 1] for key, value in inputs.items()}) for row in range(max(BATCH_SIZES))]
        for rows in BATCH_SIZES:
            answers = runner.run({key: value[:rows] for key, value in inputs.items()})
            for spec in signature.outputs:
                whole, circles = output_range(spec, expected[spec.name]), model.specification.circle_columns(spec.name)
                single = np.concatenate([answer[spec.name] for answer in alone[:rows]])
                touchy = allowance(spec, [expected], exact, circles, whole)
                for other, allowed in ((expected[spec.name][:rows], touchy), (single, TOLERANCE)):
                    share = difference(spec, answers[spec.name], other, circles) / whole
                    where, limit = f"{name}/{spec.name}, {rows} rows", allowed
                    if limit < share and other is not single:
                        again = (torch_answer(each, preprocessing, name, signature, inputs, drawn) for each in shaken(model))
                        limit = allowance(spec, again, exact, circles, whole)
                    if not share <= limit:  # NaN included
                        raise ParityError(f"Graph and model differ by {share:.2e} of the range in {where}; at most {limit:.2e} is allowed.")
                    found = max(found, Parity(share, where), key=lambda parity: parity.worst)
    return found


def allowance(spec: TensorSpec, rounded: Iterable[Mapping[str, Array]], exact: Mapping[str, Array], circles: Sequence[int], whole: float) -> float:
    """How far a graph's output may be off, of its range: TOLERANCE, or OF_ROUNDING times what the model's own float32 answers are at most."""
    return max(TOLERANCE, *(OF_ROUNDING * difference(spec, answers[spec.name], exact[spec.name], circles) / whole for answers in rounded))


def shaken(model: InvariantVAE) -> Iterator[InvariantVAE]:
    """Copies of a float32 model in which each weight is its neighbour above or below at random: what one rounding more or less would make of it."""
    generator = torch.Generator().manual_seed(_SEED)
    for _ in range(_DRAWS):
        other = copy.deepcopy(model)
        with torch.no_grad():
            for weight in other.parameters():
                up = torch.randint(2, weight.shape, generator=generator) * 2 - 1
                weight.copy_(torch.nextafter(weight, torch.inf * up.to(weight.dtype)))
        yield other


def require_finite(name: str, answers: Mapping[str, Array]) -> None:
    """Raises ParityError where the model itself answers NaN or infinity."""
    for output, values in answers.items():
        if not np.isfinite(values).all():
            raise ParityError(f"The model itself answers NaN or infinity in {name}/{output}: no graph can be compared with that.")


def difference(spec: TensorSpec, first: Array, second: Array, circles: Sequence[int] = ()) -> float:
    """The greatest absolute difference; of angles, and of the columns `circles`, the short way round."""
    apart = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    if spec.name == "angle_rad":
        apart = np.angle(np.exp(1j * apart))
    elif circles:
        apart[:, circles] = np.angle(np.exp(1j * apart[:, circles]))
    return float(np.max(np.abs(apart), initial=0.0))


def output_range(spec: TensorSpec, values: Array) -> float:
    """The declared range, or where it is open, the range of the values (with 0, which every open range here holds)."""
    if spec.range_low is not None and spec.range_high is not None:
        return spec.range_high - spec.range_low
    return float(max(np.max(values, initial=0.0) - np.min(values, initial=0.0), np.finfo(np.float32).tiny))
