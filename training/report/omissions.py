"""Which figures a report does not have, and why: a line each."""

from __future__ import annotations

from training.report.graphs import LatentGraphs
from training.report.mechanism_graphs import HELD_OUT_NAME, MechanismGraphs
from training.report.settings import MOST_SETTINGS, Told
from training.report.subjects import Subjects
from training.report.transition_graphs import TransitionGraphs


def not_drawn(graphs: LatentGraphs, subjects: Subjects | None, told: Told) -> list[str]:
    """What a reader may look for in vain, with what would bring it."""
    lines = []
    latent = graphs.latent
    if graphs.history is None:
        lines.append("No elbo.png: the bundle holds no history of its fit (bundles written before 0.1.0 of Dichroic, and those of other writers).")
    if told.unknown:
        lines.append(
            f"No manifold, traversals or classes: the bundle does not say where {', '.join(told.unknown)} lay in training; "
            f"give a file that knows with --data FILE."
        )
    if told.combinations > MOST_SETTINGS:
        lines.append(f"The manifold is drawn for the first {MOST_SETTINGS} of {told.combinations} combinations of categories.")
    if latent.targets and not graphs.draws_by_targets:
        lines.append("No targets.png: this bundle's decoder does not draw by its targets.")
    if subjects is None:
        what = "Predictions" if graphs.translates else "Reconstructions"
        regressed = ", and regression," if latent.targets else ""
        lines.append(f"Poses, {what.lower()} and errors{regressed} need {latent.input_kind}: {_no_fresh(graphs)}, so give some with --data FILE.")
        return lines
    if graphs.translates and subjects.outputs is None:
        lines.append(f"No errors.png: {subjects.name} holds no {latent.output_kind}, which the predictions would be compared with.")
    if latent.targets and subjects.targets is None:
        lines.append(f"No regression.png: {subjects.name} holds no array 'targets' (n, {len(latent.targets)}) of whole {latent.input_kind}.")
    return lines


def not_drawn_of_mechanism(graphs: MechanismGraphs) -> list[str]:
    """The same of a mechanism bundle."""
    if not graphs.held_out:
        return [f"No calibration, predicted or learning.png: the bundle holds no {HELD_OUT_NAME}; one that `fit` writes does."]
    lines = []
    known = {name.removeprefix("truth_") for name in graphs.held_out if name.startswith("truth_")}
    if unknown := [part.name for part in graphs.section.parts[1:] if part.name not in known]:
        lines.append(f"Without a truth beside them: {', '.join(unknown)}; the data has no arrays truth_NAME of them, as measured data have none.")
    if "residual" not in graphs.stored:
        lines.append("No learning.png: the posterior is told by inducing points, and the bundle does not hold the measured ones.")
    return lines


def not_drawn_of_transition(graphs: TransitionGraphs) -> list[str]:
    """The same of a transition bundle."""
    if graphs.truth is None:
        return ["Without a truth beside the model: its training data was not drawn by `draw_dune`, and nobody knows the rates behind measured hops."]
    return []


def _no_fresh(graphs: LatentGraphs) -> str:
    return "the training data was not drawn here" + (", or not with its conditions" if graphs.latent.conditions else "")
