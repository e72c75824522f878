"""Which figures a report does not have, and why: a line each."""

from __future__ import annotations

from training.report.graphs import LatentGraphs
from training.report.settings import MOST_SETTINGS, Told
from training.report.subjects import Subjects


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


def _no_fresh(graphs: LatentGraphs) -> str:
    return "the training data was not drawn here" + (", or not with its conditions" if graphs.latent.conditions else "")
