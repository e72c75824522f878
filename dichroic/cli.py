"""The `dichroic` command: the client, from a shell.

Exit codes: 0 done; 2 what was given cannot be used (a file, an array, a model's name); 3 the server failed or did not answer; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from dichroic.cli_files import FileError, check_output, read_arrays, read_data, write_answer
from dichroic.cli_frames import add_frame_commands
from dichroic.cli_mechanism import Run, add_mechanism_commands
from dichroic.cli_show import ProgressLine, as_json, model_text, models_table
from dichroic.cli_transition import add_transition_commands
from dichroic.client import Client
from dichroic.errors import (
    DichroicError,
    EdgeSiteError,
    ForbiddenSiteError,
    GoalUnreachableError,
    MessageTooLargeError,
    NotThreeFoldError,
    RequestIdReusedError,
    SessionConflictError,
)
from dichroic.wire import NDArray

OK, BAD_INPUT, SERVER_FAILED, INTERRUPTED = 0, 2, 3, 130
LATENTS = ("content", "angle_rad", "scale", "shift_down_px", "shift_right_px", "class_index", "conditions", "targets")
# Of these the option's numbers are one row, for every row.
ROWS = ("content", "conditions", "targets")
# What the caller can mend, whatever its status.
OF_OURS = (
    MessageTooLargeError,
    SessionConflictError,
    RequestIdReusedError,
    EdgeSiteError,
    NotThreeFoldError,
    ForbiddenSiteError,
    GoalUnreachableError,
)
# For a shell a refused connection is an answer; a server that restarts is waited for this long.
RETRY_FOR_S = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    chosen = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], None] = chosen.run
    try:
        run(chosen)
    except KeyboardInterrupt:
        return _say("interrupted; nothing was written.", INTERRUPTED)
    except FileError as error:
        return _say(str(error), BAD_INPUT)
    except DichroicError as error:
        ours = error.status in {"INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED"} or isinstance(error, OF_OURS)
        return _say(f"{error.reason}: {error.message}", BAD_INPUT if ours else SERVER_FAILED)
    except BrokenPipeError:
        # `dichroic models | head`: the reader has what it wanted. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return OK


def _say(text: str, code: int) -> int:
    print(f"dichroic: {text}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dichroic", description="Ask a Dichroic model server.", epilog=__doc__.splitlines()[2] if __doc__ else "")
    parser.add_argument("--version", action="version", version=f"dichroic {version('dichroic')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    server = argparse.ArgumentParser(add_help=False)
    server.add_argument(
        "--server",
        default=os.environ.get("DICHROIC_SERVER", "127.0.0.1:50051"),
        metavar="HOST:PORT",
        help="default: DICHROIC_SERVER, or 127.0.0.1:50051",
    )
    server.add_argument("--timeout-s", type=_seconds, metavar="S", help="deadline of the whole command; default 30, none for work on files")
    server.add_argument("--tls-root-certificates", type=Path, metavar="PEM", help="connect with TLS and trust these authorities")

    def command(name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, parents=[server])
        sub.set_defaults(run=run)
        return sub

    def asking(where: argparse._SubParsersAction[Any], name: str, run: Run, text: str) -> argparse.ArgumentParser:
        def connected(chosen: argparse.Namespace) -> None:
            with _client(chosen) as client:
                run(chosen, client)

        sub: argparse.ArgumentParser = where.add_parser(name, help=text, description=text, parents=[server])
        sub.set_defaults(run=connected)
        return sub

    models = command("models", _models, "List the models of the server.")
    model = command("model", _model, "Show one model: what it takes and gives, and its model card.")
    encode = command("encode", _of_data("encode"), "Images or spectra to pose, content and class.")
    decode = command("decode", _decode, "Pose, content and class to images or spectra.")
    reconstruct = command("reconstruct", _of_data("reconstruct"), "Images or spectra to themselves by way of the latents, with each one's error.")
    classify = command("classify", _of_data("classify"), "Which class each image or spectrum shows.")
    regress = command("regress", _of_data("regress"), "The targets of each image or spectrum.")
    manifold = command("manifold", _manifold, "A grid of decoded images or spectra over two content latents.")
    add_frame_commands(commands, asking)
    add_mechanism_commands(commands, asking)
    add_transition_commands(commands, asking)
    load = command("load", _load, "Load a version from the server's bundle folder (needs DICHROIC_ADMIN_TOKEN).")
    unload = command("unload", _unload, "Take a version, or all of a model, out of service (needs DICHROIC_ADMIN_TOKEN).")
    for sub in (model, encode, decode, reconstruct, classify, regress, manifold, load, unload):
        sub.add_argument("name", metavar="NAME", help="the model's name")
        sub.add_argument("--model-version", type=int, default=0, metavar="N", help="default: the highest")
    for sub in (models, model):
        sub.add_argument("--json", action="store_true", help="print JSON")
    for sub in (encode, reconstruct, classify, regress):
        sub.add_argument("data", type=Path, metavar="IN", help=".npy or .npz with images (n, h, w) or (n, h, w, c), or spectra (n, l) or (n, l, c)")
        sub.add_argument("--array", metavar="NAME", help="which array of an .npz holds them")
        sub.add_argument("--spectra", action="store_true", help="IN holds spectra, not images")
    for sub in (encode, reconstruct):
        sub.add_argument("--conditions", type=float, nargs="+", metavar="C", help="the model's conditions, for every row")
        sub.add_argument("--conditions-array", metavar="NAME", help="which array of IN, an .npz, holds conditions (n, k), one row each")
    for sub in (encode, decode, reconstruct, classify, regress, manifold):
        sub.add_argument("--out", type=Path, required=True, metavar="OUT.npz", help="where the answer goes")
    decode.add_argument("latents", type=Path, nargs="?", metavar="LATENTS.npz", help=f"arrays named as `encode` writes them: {', '.join(LATENTS)}")
    _add_latents(decode, "one for every row, or one each")
    _add_latents(manifold, "for the whole grid")
    manifold.add_argument("--axes", type=int, nargs=2, default=(0, 1), metavar=("I", "J"), help="content latents, from 0: down and to the right")
    manifold.add_argument("--counts", type=int, nargs=2, default=(12, 12), metavar=("M", "N"), help="steps down and to the right; default 12 12")
    manifold.add_argument("--range-1", type=float, nargs=2, metavar=("LOW", "HIGH"), help="default: the prior's 5 %% and 95 %% quantiles")
    manifold.add_argument("--range-2", type=float, nargs=2, metavar=("LOW", "HIGH"), help="as --range-1")
    manifold.add_argument("--spacing", choices=("quantile", "value"), default="quantile", help="equal steps of the prior's probability, or of value")
    return parser


def _add_latents(sub: argparse.ArgumentParser, rows: str) -> None:
    sub.add_argument("--content", type=float, nargs="+", metavar="Z", help="content latents, for every row")
    sub.add_argument("--angle-rad", type=float, nargs="+", metavar="A", help=f"radians counter-clockwise: {rows}")
    sub.add_argument("--scale", type=float, nargs="+", metavar="S", help=f"> 0: {rows}")
    sub.add_argument("--shift-down-px", type=float, nargs="+", metavar="D", help=f"pixels: {rows}")
    sub.add_argument("--shift-right-px", type=float, nargs="+", metavar="R", help=f"pixels: {rows}")
    sub.add_argument("--class-index", type=int, nargs="+", metavar="K", help=f"the class, from 0: {rows}")
    sub.add_argument("--conditions", type=float, nargs="+", metavar="C", help="the model's conditions, for every row")
    sub.add_argument("--targets", type=float, nargs="+", metavar="T", help="the model's targets, in their units, for every row")


def _seconds(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not a time above 0 s")
    return value


def _client(chosen: argparse.Namespace) -> Client:
    certificates: bytes | None = None
    if chosen.tls_root_certificates is not None:
        try:
            certificates = chosen.tls_root_certificates.read_bytes()
        except OSError as error:
            raise FileError(f"{chosen.tls_root_certificates} cannot be read: {error.strerror}.") from error
    # Not an option: other users of the machine can read a command's arguments.
    token = os.environ.get("DICHROIC_ADMIN_TOKEN") if chosen.run in {_load, _unload} else None
    return Client(chosen.server, token=token or None, tls_root_certificates=certificates, retry_for_s=RETRY_FOR_S)


def _models(chosen: argparse.Namespace) -> None:
    with _client(chosen) as client:
        found = client.models(timeout_s=chosen.timeout_s or 30.0)
    print(as_json(found) if chosen.json else models_table(found))


def _model(chosen: argparse.Namespace) -> None:
    with _client(chosen) as client:
        info = client.model(chosen.name, version=chosen.model_version, timeout_s=chosen.timeout_s or 30.0)
    print(as_json(info) if chosen.json else model_text(info))


def _of_data(capability: str) -> Callable[[argparse.Namespace], None]:
    """What a command does that takes a file of images or spectra: encode, reconstruct, classify or regress."""

    def run(chosen: argparse.Namespace) -> None:
        check_output(chosen.out)
        kind = "spectra" if chosen.spectra else "images"
        given: dict[str, NDArray] = {kind: read_data(chosen.data, chosen.array, kind)}
        if getattr(chosen, "conditions", None) is not None:
            given["conditions"] = np.asarray(chosen.conditions)
        elif getattr(chosen, "conditions_array", None) is not None:
            given["conditions"] = read_data(chosen.data, chosen.conditions_array, "conditions")
        progress = ProgressLine(capability)
        with _client(chosen) as client:
            ask = getattr(client, capability)
            try:
                answer = ask(chosen.name, **given, version=chosen.model_version, timeout_s=chosen.timeout_s, progress=progress)
            finally:
                progress.close()
        write_answer(chosen.out, answer)

    return run


def _manifold(chosen: argparse.Namespace) -> None:
    check_output(chosen.out)
    given = _options(chosen)
    with _client(chosen) as client:
        answer = client.decode_manifold(
            chosen.name,
            axes=tuple(chosen.axes),
            counts=tuple(chosen.counts),
            range_1=chosen.range_1 and tuple(chosen.range_1),
            range_2=chosen.range_2 and tuple(chosen.range_2),
            spacing=chosen.spacing,
            version=chosen.model_version,
            timeout_s=chosen.timeout_s,
            **given,
        )
    write_answer(chosen.out, answer)


def _decode(chosen: argparse.Namespace) -> None:
    check_output(chosen.out)
    given = _latents(chosen)
    progress = ProgressLine("decode")
    with _client(chosen) as client:
        try:
            answer = client.decode(chosen.name, version=chosen.model_version, timeout_s=chosen.timeout_s, progress=progress, **given)
        finally:
            progress.close()
    write_answer(chosen.out, answer)


def _latents(chosen: argparse.Namespace) -> dict[str, NDArray]:
    """From the file, and over it what the options say: so one file can be decoded at another angle."""
    given = {} if chosen.latents is None else {name: values for name, values in read_arrays(chosen.latents).items() if name in LATENTS}
    if chosen.latents is not None and not given:
        raise FileError(f"{chosen.latents} holds none of {', '.join(LATENTS)}.")
    return given | _options(chosen)


def _options(chosen: argparse.Namespace) -> dict[str, NDArray]:
    """The latents that options give. A single number stands for every row; those of ROWS are one row."""
    given = {name: getattr(chosen, name) for name in LATENTS if getattr(chosen, name) is not None}
    return {name: np.asarray(values if name in ROWS or len(values) > 1 else values[0]) for name, values in given.items()}


def _load(chosen: argparse.Namespace) -> None:
    with _client(chosen) as client:
        model = client.load_model(chosen.name, version=chosen.model_version, timeout_s=chosen.timeout_s or 300.0)
    print(f"{model.name} version {model.version} serves, digest {model.digest}")


def _unload(chosen: argparse.Namespace) -> None:
    with _client(chosen) as client:
        models = client.unload_model(chosen.name, version=chosen.model_version, timeout_s=chosen.timeout_s or 30.0)
    for model in models:
        print(f"{model.name} version {model.version} no longer serves")
