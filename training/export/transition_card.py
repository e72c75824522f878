"""The README.md of a transition bundle: what the model is and what it is not, its figures, written from the manifest's own numbers."""

from __future__ import annotations

from collections.abc import Sequence

from dichroic.bundle import Metric, TrainingData, TransitionSection
from dichroic.bundle.manifest import Calibration, TrainedRange
from training.export.model_card import data_section, framed, metrics_table
from training.recipe_sections import Card

_MODELS = {
    "equivariant": "one function of the beam in each neighbour's own frame: turned and reflected states have the same rates by construction",
    "canonical": "the published frame, turned so that the neighbour next to the beam lies on +x: exact for rotations, not for reflections",
}
_LIKELIHOODS = {
    "end_of_dwell": "where the atom was at the end of the dwell, so that second hops and returns are in it",
    "first_hop": "the first hop within the dwell",
}


def transition_card(
    card: Card,
    name: str,
    section: TransitionSection,
    training_data: TrainingData,
    notes: str,
    *,
    metrics: Sequence[Metric],
    calibration: Calibration,
) -> str:
    """Markdown. Holds no date, version or timing: those are no part of what a bundle answers."""
    spread = f"{section.members} members, each trained on a bootstrap sample of its own"
    if section.spread == "student":
        spread = f"a student of the ensemble, which learned the mean and the spread of its log rates and is asked as {section.members} members"
    radius, longest = section.beam_radius_angstrom, section.dwell_s.high
    use = [
        f"- Model `{name}` tells how a silicon atom in {section.lattice} changes places with its three neighbours under the beam.",
        f"- In: beam and three neighbours in Å relative to the atom, dwell (s), current (nA), voltage (kV). Neighbours' distances of "
        f"{section.neighbour_distance_angstrom.low:g} to {section.neighbour_distance_angstrom.high:g} Å; others are mistakes of unit, or no lattice.",
        "- Out, in the order of the neighbours given: rates (1/s), the first hop, and where the atom is at the end of the dwell, among "
        f"{section.sites} sites up to {section.shells} hops away, or elsewhere; each with its spread.",
        f"- Rates: {_MODELS[section.model]}.",
        f"- Learned from: {_LIKELIHOODS[section.likelihood]}.",
        f"- Spread: {spread}.",
        f"- Trained with the beam up to {radius:.3g} Å from the atom, dwells up to {longest:.3g} s, {_range(section.current_na, 'nA')}, "
        f"{_range(section.voltage_kv, 'kV')}. What did not vary in training does not change the answer.",
        "- Multi-hop probabilities ask for rates at the sites around, where the beam may be farther than that; they go on from the shape learned.",
    ]
    return framed(
        card,
        use="\n".join(use),
        data=data_section(training_data, notes),
        measured_on="transitions",
        figures=metrics_table(metrics),
        calibration=_calibration(calibration),
    )


def _range(trained: TrainedRange, unit: str) -> str:
    ends = f"{trained.low:.3g}" if trained.low == trained.high else f"{trained.low:.3g} to {trained.high:.3g}"
    return f"{ends} {unit}"


def _calibration(calibration: Calibration) -> str:
    hops = calibration.hop_calibration
    assert hops is not None  # noqa: S101 - the manifest refuses such a bundle
    rows = [f"| {each.predicted:.3f} | {each.observed:.3f} | {each.count} |" for each in hops.bins]
    told = f"P(hop), of {hops.count} transitions ({hops.split}), is off by {hops.expected_calibration_error:.4f} in the mean over bins."
    return "\n".join([told, "", "| told | hopped | transitions |", "|---|---|---|", *rows])
