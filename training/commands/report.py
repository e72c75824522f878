"""`python -m training report BUNDLE`: figures of a bundle, drawn from its graphs."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.errors import InputError
from training.report.bound import draw_bound
from training.report.canvas import drawing
from training.report.classes import draw_class_gallery, draw_confusion
from training.report.graphs import LatentGraphs
from training.report.manifold import draw_manifold
from training.report.maps import draw_maps
from training.report.poses import draw_poses
from training.report.reconstructions import draw_errors, draw_reconstructions
from training.report.subjects import Subjects, fresh_subjects, subjects_from_file
from training.report.traversals import draw_traversals


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """BUNDLE, --data, --channel, --out, --seed."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="BUNDLES/NAME/VERSION, or BUNDLES/NAME for its newest version")
    parser.add_argument("--data", type=Path, metavar="FILE", help="images to draw it on (default: fresh ones, if its training data was drawn)")
    parser.add_argument("--channel", metavar="QUANTITY", help="which channel of FILE")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: report-NAME-VERSION)")
    parser.add_argument("--seed", type=int, default=1, help="of the fresh images (default %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Draws and writes the figures, and says which could not be drawn and why. Returns 0.

    Raises:
        InputError: the bundle, the data or the folder cannot be used.
    """
    graphs = LatentGraphs(arguments.bundle)
    folder = arguments.out or Path(f"report-{graphs.manifest.name}-{graphs.manifest.version}")
    _prepare(folder, graphs.folder)
    given = subjects_from_file(graphs, arguments.data, arguments.channel) if arguments.data else fresh_subjects(graphs, arguments.seed)
    with drawing():
        own = [*draw_manifold(graphs, folder), *draw_traversals(graphs, folder)]
        if given is None:
            own += draw_class_gallery(graphs, folder)
        if graphs.history is not None and graphs.history.epochs:
            own.append(draw_bound(graphs, graphs.history, folder))
        for path in [*own, *(_draw_on(graphs, given, folder) if given is not None else [])]:
            print(path)
    if graphs.history is None:
        print("No elbo.png: the bundle holds no history of its fit (bundles written before 0.1.0 of Dichroic, and those of other writers).")
    if given is None:
        print("Poses, reconstructions and errors need images: the training data was not drawn here, so give some with --data FILE.")
    return 0


def _draw_on(graphs: LatentGraphs, given: Subjects, folder: Path) -> list[Path]:
    encoded, answers = graphs.encode(given.images), graphs.reconstruct(given.images)
    written = draw_class_gallery(graphs, folder, encoded.get("class_probabilities"))
    written += draw_poses(graphs, given, encoded, folder)
    written += [draw_reconstructions(graphs, given, answers, folder), draw_errors(graphs, given, answers["error"], folder)]
    written += draw_confusion(graphs, given, encoded, folder)
    if given.scan is not None:
        written.append(draw_maps(graphs, given.scan, encoded, answers["error"], folder))
    return written


def _prepare(folder: Path, bundle: Path) -> None:
    # A bundle with a file that its manifest does not list is refused by every server.
    if folder.resolve().is_relative_to(bundle.resolve()):
        raise InputError("CANNOT_WRITE", f"{folder} lies in the bundle, which must not change; choose another folder with --out.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("CANNOT_WRITE", f"{folder} cannot be made ({error.strerror}); choose another folder with --out.") from error
