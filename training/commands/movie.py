"""`python -m training movie MOVIE --model NAME --out MAPS.zarr`: latent maps of every frame, or latents of positions against time."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from training.commands.options import INTERRUPTED

if TYPE_CHECKING:
    from training.movies.pipeline import Written

_EPILOG = (
    "MOVIE is a stack (t, h, w) or (t, h, w, c) in a zarr store, an HDF5 or NSID file, a .npy file or a TIFF; it is never read as a whole. Without "
    "--server a service is started on --bundles for as long as the command runs. Ctrl-C, or a kill, leaves a file that --resume goes on with: frames "
    "that are done are not encoded again. docs/movies.md says what the file holds."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = _EPILOG
    parser.add_argument("movie", type=Path, metavar="MOVIE", help="zarr, HDF5 or NSID, .npy or TIFF")
    parser.add_argument("--model", type=_model, required=True, metavar="NAME[:VERSION]", help="which model encodes it (default version: the highest)")
    parser.add_argument("--out", type=Path, required=True, metavar="MAPS", help="where to write: a name ending in .zarr, .h5 or .hdf5")
    parser.add_argument("--channel", metavar="QUANTITY", help="which channel of MOVIE, where several have frames")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--server", metavar="HOST:PORT", help="a service that runs")
    where.add_argument("--bundles", type=Path, default=Path("bundles"), metavar="DIR", help="or the bundles to start one on (default: %(default)s)")
    windows = parser.add_mutually_exclusive_group()
    windows.add_argument(
        "--window-px", type=_length, nargs="+", default=[], metavar="W", help="window lengths, pixels of the frame (default: the model's own)"
    )
    windows.add_argument("--window-nm", type=_length, nargs="+", default=[], metavar="W", help="or nm, where the pixel size is known")
    places = parser.add_mutually_exclusive_group()
    places.add_argument("--stride-px", type=_length, metavar="S", help="grid step, pixels (default: the dense encoder's, or a quarter of the window)")
    places.add_argument("--positions", type=Path, metavar="TRACKS", help=".npz or .npy: (p, 2) or (t, p, 2), (row, column) in pixels, NaN: absent")
    parser.add_argument("--pixel-size-nm", type=_length, metavar="SIZE", help="side of a pixel (default: as the file says)")
    parser.add_argument("--resume", action="store_true", help="go on with MAPS, which an interrupted run left")
    parser.add_argument("--no-picture", action="store_true", help="do not draw MAPS.png")
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of the table")


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; 0 done, 130 interrupted.

    Raises:
        InputError: anything the user can change.
    """
    # The client and the file formats are not loaded for the other commands.
    from training.movies.asked import Wish  # noqa: PLC0415
    from training.movies.pipeline import Interrupted, Request, encode_movie  # noqa: PLC0415

    name, version = arguments.model
    request = Request(
        movie=arguments.movie,
        out=arguments.out,
        model_name=name,
        model_version=version,
        channel=arguments.channel,
        server=arguments.server,
        bundles=arguments.bundles,
        wish=Wish(tuple(arguments.window_px), tuple(arguments.window_nm), arguments.stride_px, arguments.pixel_size_nm),
        positions=arguments.positions,
        resume=arguments.resume,
    )
    try:
        written = encode_movie(request)
    except Interrupted as error:
        kept = f"{error.done} of {error.frames} frames are done and kept in {error.out}; run the same command with --resume to go on"
        print(f"\nInterrupted; {kept if error.done else 'no frame is done yet'}.", file=sys.stderr)
        return INTERRUPTED
    picture = None
    if not arguments.no_picture:
        from training.report.movie_maps import draw_movie  # noqa: PLC0415 - matplotlib, and only at the end

        picture = draw_movie(written.out, written.out.with_suffix(".png"))
    print(json.dumps(_facts(written, picture), indent=1) if arguments.json else _table(written, picture))
    return 0


def _facts(written: Written, picture: Path | None) -> dict[str, object]:
    return {
        "out": str(written.out),
        "picture": None if picture is None else str(picture),
        "frames": written.frames,
        "encoded": written.encoded,
        "invalid_windows": written.invalid_windows,
        "positions": written.positions,
        "absent_positions": written.absent_positions,
        "seconds": written.seconds,
        **written.facts,
    }


def _table(written: Written, picture: Path | None) -> str:
    facts = written.facts
    lines = [*written.notes]
    lengths = ", ".join(f"{px:.4g}" for px in facts["lengths_px"])
    lines.append(f"{facts['model_name']} version {facts['model_version']}, digest {facts['model_digest']}; windows of {lengths} px")
    rate = f" in {written.seconds:.1f} s ({written.encoded / written.seconds:.1f} a second)" if written.encoded and written.seconds else ""
    lines.append(f"{written.frames} frames, {written.encoded} of them encoded now{rate}")
    absent = f"; absent positions: {written.absent_positions} of {written.positions}" if written.positions else ""
    lines.append(f"windows that touch NaN or infinity: {written.invalid_windows}{absent}")
    lines.append(f"wrote {written.out}" + (f" and {picture}" if picture else ""))
    return "\n".join(lines)


def _model(text: str) -> tuple[str, int]:
    name, _, version = text.partition(":")
    if not name or (version and not (version.isascii() and version.isdecimal() and int(version) > 0)) or text.endswith(":"):
        raise argparse.ArgumentTypeError(f"NAME or NAME:VERSION was expected, with a version from 1, not {text!r}")
    return name, int(version or 0)


def _length(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"a number above 0 was expected, not {text!r}")
    return value
