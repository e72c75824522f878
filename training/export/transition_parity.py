"""The graphs of a transition bundle say what the float64 reference says, turned states the same, and a batch what its rows say alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from dichroic.bundle import Signature, TransitionSection
from training.export.parity import Parity, ParityError
from training.export.sessions import GraphRunner
from training.transition.figures import Served
from training.transition.predict import Predict, Rates

Array = np.ndarray[Any, np.dtype[Any]]

# Of an output's largest value: both are float64, in other orders of operations.
EXACT = 1e-10
_BATCHED = 1e-10
_ROWS, _SEED = 64, 20240229
_LONGEST = 3.0  # dwells of the trained range's end


def check_transition_parity(
    served: Served, section: TransitionSection, declared: Mapping[str, Signature], graphs: Mapping[str, bytes], weights: bytes
) -> Parity:
    """Compares both graphs with the network at drawn states, some of them outside of what was trained, and each batch with its rows alone.

    Raises:
        ParityError: a difference above EXACT of an output's largest value, or an answer that is not finite.
    """
    worst = Parity(0.0, "")
    states = drawn_states(section, _ROWS, _SEED)
    references = {"rates": Rates(served.network), "predict": Predict(served.network, served.shells)}
    for name, signature in declared.items():
        inputs = {spec.name: states[spec.name] for spec in signature.inputs}
        runner = GraphRunner(graphs[name], weights, [spec.name for spec in signature.outputs])
        told = runner.run(inputs)
        with torch.no_grad():
            reference = references[name](*map(torch.from_numpy, inputs.values()))
        alone = [runner.run({key: values[row : row + 1] for key, values in inputs.items()}) for row in range(_ROWS)]
        for spec, wanted in zip(signature.outputs, reference, strict=True):
            scale = max(float(wanted.abs().max()), np.finfo(np.float64).tiny)
            apart = float(np.max(np.abs(told[spec.name] - wanted.numpy()))) / scale
            if not apart <= EXACT:  # NaN included
                raise ParityError(f"{name}: {spec.name} differs from the float64 reference by {apart:.3g} of its largest value")
            batched = float(np.max(np.abs(told[spec.name] - np.concatenate([each[spec.name] for each in alone])))) / scale
            if not batched <= _BATCHED:
                raise ParityError(f"{name}: {spec.name} differs by {batched:.3g} of its largest value between a batch and its rows alone")
            worst = max(worst, Parity(apart, f"{name}/{spec.name}, {_ROWS} rows"), key=lambda each: each.worst)
    return worst


def drawn_states(section: TransitionSection, count: int, seed: int) -> dict[str, Array]:
    """Random states by the names of the graphs' inputs: lattices at any angle, a little distorted, and beams up to twice the trained radius."""
    rng = np.random.default_rng(seed)
    near, far = section.neighbour_distance_angstrom.low, section.neighbour_distance_angstrom.high
    bond = section.bond_length_angstrom
    distance = bond + 0.2 * min(bond - near, far - bond) * rng.uniform(-1, 1, (count, 3))
    angle = 2 * math.pi * (rng.random((count, 1)) + np.arange(3) / 3 + 0.02 * rng.uniform(-1, 1, (count, 3)))
    reach, towards = 2 * section.beam_radius_angstrom * np.sqrt(rng.random(count)), 2 * math.pi * rng.random(count)
    return {
        "beam_xy_angstrom": reach[:, None] * np.stack([np.cos(towards), np.sin(towards)], axis=1),
        "neighbours_xy_angstrom": distance[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=2),
        "dwell_s": _LONGEST * section.dwell_s.high * rng.random(count),
        "current_na": rng.uniform(section.current_na.low, section.current_na.high, count),
        "voltage_kv": rng.uniform(section.voltage_kv.low, section.voltage_kv.high, count),
    }
