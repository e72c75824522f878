"""Puts a rate model's bundle together, checks its graphs against the float64 reference, and writes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dichroic.bundle import README_NAME, Metric, TrainingData, TransitionSection
from dichroic.bundle.files import GOLDEN_NAME, WEIGHTS_NAME
from dichroic.bundle.manifest import Calibration, TrainedRange
from training.export.transition_card import transition_card
from training.export.transition_golden import golden_answers
from training.export.transition_graphs import transition_graphs
from training.export.transition_parity import check_transition_parity
from training.export.transition_specs import signatures
from training.export.weights import share_weights
from training.export.written import Written, write
from training.recipe_sections import Card
from training.transition.distil import Student
from training.transition.figures import Served
from training.transition.networks import BOND_LENGTH, Canonical
from training.transition.states import NEIGHBOUR_DISTANCES

_PACKAGES = ("numpy", "onnx", "onnxruntime", "onnxscript", "safetensors", "scipy", "torch")
_CARBON, _SILICON = 6, 14


@dataclass(frozen=True)
class TransitionFacts:
    """What the manifest says beside what can be read off the fit.

    Attributes:
        name: the bundle's name.
        card: the recipe's texts.
        training_data: source, licence and hashes.
        notes: about the data, for the card; may be empty.
        metrics: figures on held-out data.
        calibration: with `hop_calibration`.
        timings_s: how long each step took; no part of the digest.
    """

    name: str
    card: Card
    training_data: TrainingData
    notes: str
    metrics: tuple[Metric, ...]
    calibration: Calibration
    timings_s: dict[str, float]


def write_transition_bundle(bundles: Path, served: Served, facts: TransitionFacts) -> Written:
    """Exports the graphs, checks them, and writes `bundles/<name>/<version>/`.

    Raises:
        ParityError: a graph disagrees with the network; nothing is written.
        OSError: the folder cannot be written.
    """
    section = transition_section(served)
    declared = signatures(section)
    parameters = {name: values.detach().numpy() for name, values in served.network.named_parameters()}
    graphs, weights = share_weights(transition_graphs(served.network, served.shells, declared), parameters)
    parity = check_transition_parity(served, section, declared, graphs, weights)
    files = {declared[name].graph: data for name, data in graphs.items()}
    files[WEIGHTS_NAME] = weights
    files[GOLDEN_NAME] = golden_answers(section, declared, graphs, weights)
    card = transition_card(facts.card, facts.name, section, facts.training_data, facts.notes, metrics=facts.metrics, calibration=facts.calibration)
    files[README_NAME] = card.encode("utf-8")
    return write(
        bundles,
        files,
        parity,
        kind="transition",
        name=facts.name,
        packages=_PACKAGES,
        timings_s=facts.timings_s,
        signatures=declared,
        metrics=facts.metrics,
        calibration=facts.calibration,
        training_data=facts.training_data,
        transition=section,
    )


def transition_section(served: Served) -> TransitionSection:
    """The manifest's section about the model itself."""
    ranges, (near, far) = served.fitted.ranges, NEIGHBOUR_DISTANCES
    dwell, current, voltage = ((0.0, ranges.dwell_s_max), ranges.current_na, ranges.voltage_kv)
    return TransitionSection(
        lattice="graphene",
        host=_CARBON,
        dopant=_SILICON,
        bond_length_angstrom=BOND_LENGTH,
        model="canonical" if isinstance(served.network, Canonical) else "equivariant",
        likelihood=served.likelihood,
        spread="student" if isinstance(served.network, Student) else "ensemble",
        members=served.network.members,
        shells=served.shells,
        beam_radius_angstrom=ranges.beam_radius_angstrom,
        dwell_s=TrainedRange(low=dwell[0], high=dwell[1]),
        current_na=TrainedRange(low=current[0], high=current[1]),
        voltage_kv=TrainedRange(low=voltage[0], high=voltage[1]),
        neighbour_distance_angstrom=TrainedRange(low=near, high=far),
    )
