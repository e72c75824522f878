"""A small transition bundle made with onnx.helper alone, whose answers numpy can tell: for tests of everything that serves, without torch.

Member m: rate_j = PEAK_m · current / 0.02 · exp(−|beam − 0.9 n_j|² / 2 WIDTH²), so that rotations and reflections permute the rates. The first hop
follows from the rates and the dwell. Of those that hop to j, a share AGAIN is thought to hop once more, to j's other neighbours, and a share LOST
to be elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from dichroic.bundle import FORMAT_VERSION, Manifest, Signature, TensorSpec, TrainingData, TransitionSection, write_bundle
from dichroic.bundle.arrays import Arrays, pack
from dichroic.bundle.files import GOLDEN_NAME, README_NAME
from dichroic.bundle.manifest import Calibration, FileEntry, HopCalibration, Producer, ReliabilityBin, TrainedRange
from dichroic.bundle.transition_section import STATE_INPUTS
from dichroic.honeycomb import surroundings
from tests.services.transition.graphene import nearest, patch

NDArray = np.ndarray[Any, np.dtype[Any]]
BOND, WIDTH, CURRENT, VOLTAGE = 1.42, 0.5, 0.02, 60.0
AGAIN, LOST = 0.1, 0.01
SITES = surroundings(2)
UNITS = {"beam_xy_angstrom": "angstrom", "neighbours_xy_angstrom": "angstrom", "dwell_s": "s", "current_na": "nA", "voltage_kv": "kV"}


@dataclass(frozen=True)
class ToyTransition:
    """The toy's numbers, and what it must answer. `currents`: its trained range."""

    peaks: tuple[float, ...] = (0.3, 0.4, 0.5)
    currents: tuple[float, float] = (CURRENT, CURRENT)
    host: int = 6

    @property
    def spread(self) -> NDArray:
        """(4, S + 1) from the first hop's outcomes to sites."""
        found = np.zeros((4, len(SITES) + 1))
        found[0, 0] = 1
        for hop in (1, 2, 3):
            found[hop, hop], found[hop, -1] = 1 - AGAIN - LOST, LOST
            beyond = [site for site in SITES.neighbour[hop] if site != 0]
            found[hop, beyond] = AGAIN / len(beyond)
        return found

    def rates(self, inputs: Arrays) -> Arrays:
        """What the graph `rates` answers."""
        far = ((inputs["beam_xy_angstrom"][:, None] - 0.9 * inputs["neighbours_xy_angstrom"]) ** 2).sum(axis=2)
        bump = np.exp(-far / (2 * WIDTH**2)) * (inputs["current_na"] / CURRENT)[:, None] + 1e-9
        return {"member_rates": bump[:, None] * np.array(self.peaks)[:, None]}

    def predict(self, inputs: Arrays) -> Arrays:
        """What the graph `predict` answers."""
        told = dict(zip(("rates", "first_hop", "occupancy"), self._told(inputs), strict=True))
        found = {f"{name}_mean": values.mean(axis=1) for name, values in told.items()}
        return found | {f"{name}_sd": values.std(axis=1) for name, values in told.items()}

    def _told(self, inputs: Arrays) -> tuple[NDArray, NDArray, NDArray]:
        rates = self.rates(inputs)["member_rates"]
        total = rates.sum(axis=2, keepdims=True)
        stay = np.exp(-total * inputs["dwell_s"][:, None, None])
        first_hop = np.concatenate([stay, rates / total * (1 - stay)], axis=2)
        return rates, first_hop, first_hop @ self.spread

    @property
    def section(self) -> TransitionSection:
        return TransitionSection(
            lattice="graphene",
            host=self.host,
            dopant=14,
            bond_length_angstrom=BOND,
            model="equivariant",
            likelihood="end_of_dwell",
            spread="ensemble",
            members=len(self.peaks),
            shells=2,
            beam_radius_angstrom=3.0,
            dwell_s=TrainedRange(low=0.0, high=5.0),
            current_na=TrainedRange(low=self.currents[0], high=self.currents[1]),
            voltage_kv=TrainedRange(low=VOLTAGE, high=VOLTAGE),
            neighbour_distance_angstrom=TrainedRange(low=1.1, high=2.0),
        )


def perfect(angle: float = 0.3) -> NDArray:
    """(3, 2) Å: neighbours of the perfect lattice, counter-clockwise from `angle`."""
    turn = angle + 2 * np.pi / 3 * np.arange(3)
    return BOND * np.stack([np.cos(turn), np.sin(turn)], axis=1)


def states(count: int, seed: int = 0) -> Arrays:
    """Inputs of the graphs: (n,) states around lattices that are a little out of shape."""
    rng = np.random.default_rng(seed)
    neighbours = np.stack([perfect(angle) for angle in rng.uniform(0, 2 * np.pi, count)]) + 0.03 * rng.standard_normal((count, 3, 2))
    return {
        "beam_xy_angstrom": rng.uniform(-2, 2, (count, 2)),
        "neighbours_xy_angstrom": neighbours,
        "dwell_s": rng.uniform(0.5, 5, count),
        "current_na": np.full(count, CURRENT),
        "voltage_kv": np.full(count, VOLTAGE),
    }


def image(side: float = 24.0, noise: float = 0.0) -> tuple[NDArray, NDArray]:
    """Atoms (m, 2) Å of a patch, and their atomic numbers (m,): silicon in its middle. `noise`: of positions, Å."""
    atoms = patch(side, noise=noise)
    numbers = np.full(len(atoms), 6, np.int64)
    numbers[nearest(atoms, np.zeros(2))] = 14
    return atoms, numbers


def write_toy_transition(bundles: Path, toy: ToyTransition = ToyTransition(), *, name: str = "dune") -> Path:
    """Writes the next version of the toy. Returns the version's folder."""
    outputs: dict[str, dict[str, tuple[int, ...]]] = {
        "rates": {"member_rates": (len(toy.peaks), 3)},
        "predict": {
            f"{what}_{of}": (size,) for what, size in (("rates", 3), ("first_hop", 4), ("occupancy", len(SITES) + 1)) for of in ("mean", "sd")
        },
    }
    signatures = {
        key: Signature(
            graph=f"{key}.onnx",
            inputs=tuple(_spec(each, shape, UNITS[each]) for each, shape in STATE_INPUTS[key].items()),
            outputs=tuple(_spec(each, shape, "1/s" if "rates" in each else "1") for each, shape in shapes.items()),
            max_batch=256,
        )
        for key, shapes in outputs.items()
    }
    golden: Arrays = {}
    inputs = states(5, seed=7)
    for key in signatures:
        golden |= {f"{key}/in/{each}": inputs[each] for each in STATE_INPUTS[key]}
        for each, values in getattr(toy, key)(inputs).items():
            golden |= {f"{key}/out/{each}": values, f"{key}/atol/{each}": np.array([1e-12])}
    files = {signature.graph: _graph(toy, key, signature) for key, signature in signatures.items()}
    files |= {GOLDEN_NAME: pack(golden), README_NAME: b"# Toy\n\nMade by the tests.\n"}
    hops = HopCalibration(count=10, split="none", expected_calibration_error=0.1, bins=(ReliabilityBin(predicted=0.5, observed=0.4, count=10),))
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        name=name,
        version=1,
        kind="transition",
        created_time="2026-01-01T00:00:00Z",
        producer=Producer(git_commit="", packages={}),
        files=tuple(FileEntry(path=path, sha256="0" * 64, size_bytes=0) for path in files),
        signatures=signatures,
        calibration=Calibration(hop_calibration=hops),
        training_data=TrainingData(source="none", licence="MIT", sha256=("0" * 64,)),
        transition=toy.section,
    )
    return write_bundle(bundles, manifest, files)[0]


def _spec(name: str, row_shape: tuple[int, ...], unit: str) -> TensorSpec:
    shape: Any = ("n", *row_shape)
    return TensorSpec(name=name, dtype="float64", shape=shape, axes=("state", *("axis",) * len(row_shape)), unit=unit, meaning="as the toy says")


def _graph(toy: ToyTransition, kind: str, signature: Signature) -> bytes:
    node = helper.make_node
    constants = {
        "reach": np.array(0.9),
        "half": np.array(-1 / (2 * WIDTH**2)),
        "reference": np.array(CURRENT),
        "tiny": np.array(1e-9),
        "one": np.array(1.0),
        "zero": np.array(0.0),
        "peaks": np.array(toy.peaks)[None, :, None],
        "spread": toy.spread,
        "axis_1": np.array([1], np.int64),
        "axes_12": np.array([1, 2], np.int64),
        "axis_2": np.array([2], np.int64),
    }
    nodes = [
        # The toy knows of no voltage, but a graph uses all of its inputs.
        node("Mul", ["voltage_kv", "zero"], ["nothing"]),
        node("Unsqueeze", ["beam_xy_angstrom", "axis_1"], ["beam"]),
        node("Mul", ["neighbours_xy_angstrom", "reach"], ["centre"]),
        node("Sub", ["beam", "centre"], ["from"]),
        node("Mul", ["from", "from"], ["square"]),
        node("ReduceSum", ["square", "axis_2"], ["far"], keepdims=0),
        node("Mul", ["far", "half"], ["exponent"]),
        node("Exp", ["exponent"], ["shape"]),
        node("Div", ["current_na", "reference"], ["current"]),
        node("Add", ["current", "nothing"], ["share"]),
        node("Unsqueeze", ["share", "axis_1"], ["shares"]),
        node("Mul", ["shape", "shares"], ["scaled"]),
        node("Add", ["scaled", "tiny"], ["bump"]),
        node("Unsqueeze", ["bump", "axis_1"], ["bumps"]),
        node("Mul", ["bumps", "peaks"], ["rates"]),
    ]
    hops = [
        node("ReduceSum", ["rates", "axis_2"], ["total"]),
        node("Unsqueeze", ["dwell_s", "axes_12"], ["dwells"]),
        node("Mul", ["total", "dwells"], ["hops"]),
        node("Neg", ["hops"], ["minus"]),
        node("Exp", ["minus"], ["stay"]),
        node("Sub", ["one", "stay"], ["go"]),
        node("Div", ["rates", "total"], ["which"]),
        node("Mul", ["which", "go"], ["going"]),
        node("Concat", ["stay", "going"], ["first_hop"], axis=2),
        node("MatMul", ["first_hop", "spread"], ["occupancy"]),
    ]
    if kind == "rates":
        nodes += [node("Identity", ["rates"], ["member_rates"])]
    else:
        nodes += hops
        for what in ("rates", "first_hop", "occupancy"):
            nodes += [
                node("ReduceMean", [what, "axis_1"], [f"{what}_middle"]),
                node("Squeeze", [f"{what}_middle", "axis_1"], [f"{what}_mean"]),
                node("Sub", [what, f"{what}_middle"], [f"{what}_off"]),
                node("Mul", [f"{what}_off", f"{what}_off"], [f"{what}_squares"]),
                node("ReduceMean", [f"{what}_squares", "axis_1"], [f"{what}_variance"], keepdims=0),
                node("Sqrt", [f"{what}_variance"], [f"{what}_sd"]),
            ]

    def values(spec: TensorSpec) -> Any:
        return helper.make_tensor_value_info(spec.name, TensorProto.DOUBLE, list(spec.shape))

    initializers = [numpy_helper.from_array(value, key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, kind, [values(spec) for spec in signature.inputs], [values(spec) for spec in signature.outputs], initializers)
    made: bytes = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)]).SerializeToString()
    return made
