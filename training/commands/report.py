"""`python -m training report BUNDLE`: figures of a bundle, drawn from its graphs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from training.errors import InputError
from training.report.answers import answer
from training.report.bound import draw_bound
from training.report.calibration import draw_calibration, draw_predicted
from training.report.canvas import drawing
from training.report.classes import draw_class_gallery, draw_confusion
from training.report.components import draw_components
from training.report.errors import draw_errors
from training.report.graphs import LatentGraphs
from training.report.hops import draw_hop_calibration, draw_outcomes
from training.report.learning import draw_learning
from training.report.manifold import draw_manifold
from training.report.maps import draw_maps
from training.report.mechanism_graphs import MechanismGraphs
from training.report.omissions import not_drawn, not_drawn_of_mechanism, not_drawn_of_transition
from training.report.opened import opened, version_folder
from training.report.poses import draw_poses
from training.report.rate_maps import draw_rate_maps, draw_spread
from training.report.reconstructions import draw_reconstructions
from training.report.regression import draw_regression
from training.report.scale_graphs import ScaleGraphs
from training.report.scale_manifolds import draw_scale_manifolds
from training.report.scale_points import Points, draw_scale_points, read_points
from training.report.scale_report import draw_scales, scales_not_drawn, stage_count
from training.report.settings import Told, told_row, told_to
from training.report.strips import draw_strips
from training.report.subjects import Subjects, fresh_subjects, subjects_from_file
from training.report.transition_graphs import TransitionGraphs
from training.report.traversals import draw_traversals


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """BUNDLE, --data, --channel, --points, --labels, --out, --seed."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="BUNDLES/NAME/VERSION, or BUNDLES/NAME for its newest version")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="images or spectra, with conditions and targets, to draw it on (default: fresh ones, if its training data was drawn)",
    )
    parser.add_argument("--channel", metavar="QUANTITY", help="which channel of FILE")
    parser.add_argument(
        "--points",
        type=Path,
        metavar="FILE",
        help=".npz with centres_px (n, 2) and classes: from which window length on can points of the image be told apart",
    )
    parser.add_argument("--labels", metavar="NAME", default="labels", help="the array of --points with the classes (default %(default)s)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: report-NAME-VERSION)")
    parser.add_argument("--seed", type=int, default=1, help="of the fresh data (default %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Draws and writes the figures, and says which could not be drawn and why. Returns 0.

    Raises:
        InputError: the bundle, the data or the folder cannot be used.
    """
    found = version_folder(arguments.bundle)
    manifest = opened(found).manifest
    folder = arguments.out or Path(f"report-{manifest.name}-{manifest.version}")
    if manifest.kind != "latent":
        return (_report_mechanism if manifest.kind == "mechanism" else _report_transition)(arguments, found, folder)
    graphs = LatentGraphs(found)
    given = subjects_from_file(graphs, arguments.data, arguments.channel) if arguments.data else fresh_subjects(graphs, arguments.seed)
    points = _points(arguments, given)
    _prepare(folder, found)
    told = told_to(graphs) if given is None else told_to(graphs, given.conditions, given.targets, given.name)
    with drawing():
        written = _draw_own(graphs, told, folder)
        written += draw_class_gallery(graphs, folder, None, told.settings()) if given is None else _draw_on(graphs, given, told, folder)
        # Of one length a drawn scan has maps.png, which tells as much.
        if given is not None and given.frame is not None and stage_count(graphs) > (0 if arguments.data else 1):
            written += draw_scales(graphs, given.frame, folder)
        if given is not None and given.frame is not None and points is not None:
            written.append(draw_scale_points(ScaleGraphs(graphs, given.frame), points, folder))
    for path in written:
        print(path)
    for line in (*not_drawn(graphs, given, told), *scales_not_drawn(graphs, None if given is None else given.frame)):
        print(line)
    return 0


def _points(arguments: argparse.Namespace, given: Subjects | None) -> Points | None:
    """The labelled points, read before anything is drawn; None: none were given.

    Raises:
        InputError: DATA_NOT_USED: there is no image to look at them in; those of read_points.
    """
    if arguments.points is None:
        return None
    if given is None or given.frame is None:
        raise InputError("DATA_NOT_USED", "--points are places in one whole image; give it with --data FILE.")
    return read_points(arguments.points, arguments.labels, given.frame)


def _report_mechanism(arguments: argparse.Namespace, found: Path, folder: Path) -> int:
    """Parts, calibration, predictions and learning curves, all from what the bundle holds."""
    if _has_data(arguments):
        message = "A mechanism bundle is drawn on the held-out points it holds itself; leave out --data, --channel and --points."
        raise InputError("DATA_NOT_USED", message)
    graphs = MechanismGraphs(found)
    _prepare(folder, found)
    draws = (draw_components, draw_calibration, draw_predicted, draw_learning)
    return _written((partial(draw, graphs, folder) for draw in draws), not_drawn_of_mechanism(graphs))


def _report_transition(arguments: argparse.Namespace, found: Path, folder: Path) -> int:
    """Rate maps, spread, calibration and outcomes, all from what the bundle holds."""
    if _has_data(arguments):
        message = "A transition bundle is drawn from its graphs and its own figures; leave out --data, --channel and --points."
        raise InputError("DATA_NOT_USED", message)
    graphs = TransitionGraphs(found)
    _prepare(folder, found)
    draws = (draw_rate_maps, draw_spread, draw_hop_calibration, draw_outcomes)
    return _written((partial(draw, graphs, folder) for draw in draws), not_drawn_of_transition(graphs))


def _has_data(arguments: argparse.Namespace) -> bool:
    return any(given is not None for given in (arguments.data, arguments.channel, arguments.points))


def _written(draws: Iterable[Callable[[], list[Path]]], omitted: Sequence[str]) -> int:
    with drawing():
        for draw in draws:
            for path in draw():
                print(path)
    for line in omitted:
        print(line)
    return 0


def _draw_own(graphs: LatentGraphs, told: Told, folder: Path) -> list[Path]:
    """What the decoder and the history tell without any data."""
    settings = told.settings()
    written = [*draw_manifold(graphs, folder, settings), *draw_scale_manifolds(graphs, folder), *draw_traversals(graphs, folder, settings)]
    if settings:
        written += [*draw_strips(graphs, told, settings[0], "conditions", folder), *draw_strips(graphs, told, settings[0], "targets", folder)]
    if graphs.history is not None and graphs.history.epochs:
        written.append(draw_bound(graphs, graphs.history, folder))
    return written


def _draw_on(graphs: LatentGraphs, given: Subjects, told: Told, folder: Path) -> list[Path]:
    answers = answer(graphs, given)
    written = draw_class_gallery(graphs, folder, answers.encoded.get("class_probabilities"), told.settings())
    written += draw_poses(graphs, given, answers.encoded, folder)
    written += [draw_reconstructions(graphs, given, answers, folder), *draw_errors(graphs, given, answers, folder)]
    written += draw_confusion(graphs, given, answers.encoded, folder)
    written += draw_regression(graphs, given, answers, folder)
    if given.scan is not None:
        at = "" if given.conditions is None else ", at " + told_row(graphs, given.conditions[0]).replace("\n", ", ")
        written.append(draw_maps(graphs, given.scan, answers.encoded, answers.error, folder, at))
    return written


def _prepare(folder: Path, bundle: Path) -> None:
    # A bundle with a file that its manifest does not list is refused by every server.
    if folder.resolve().is_relative_to(bundle.resolve()):
        raise InputError("CANNOT_WRITE", f"{folder} lies in the bundle, which must not change; choose another folder with --out.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("CANNOT_WRITE", f"{folder} cannot be made ({error.strerror}); choose another folder with --out.") from error
