"""The `dichroic` command: the client, from a shell.

Exit codes: 0 done; 2 what was given cannot be used (a file, an array, a model's name); 3 the server failed or did not answer; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path

import numpy as np

from dichroic.cli_files import FileError, check_output, read_arrays, read_images, write_arrays
from dichroic.cli_show import ProgressLine, as_json, model_text, models_table
from dichroic.client import Client, Decoding, Encoding, Reconstruction
from dichroic.errors import DichroicError, MessageTooLargeError
from dichroic.wire import NDArray

OK, BAD_INPUT, SERVER_FAILED, INTERRUPTED = 0, 2, 3, 130
LATENTS = ("content", "angle_rad", "scale", "shift_down_px", "shift_right_px")
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
        ours = error.status in {"INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED"} or isinstance(error, MessageTooLargeError)
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

    models = command("models", _models, "List the models of the server.")
    model = command("model", _model, "Show one model: what it takes and gives, and its model card.")
    encode = command("encode", _encode, "Images to pose and content.")
    decode = command("decode", _decode, "Pose and content to images.")
    reconstruct = command("reconstruct", _reconstruct, "Images to themselves by way of the latents, with each image's error.")
    load = command("load", _load, "Load a version from the server's bundle folder (needs DICHROIC_ADMIN_TOKEN).")
    unload = command("unload", _unload, "Take a version, or all of a model, out of service (needs DICHROIC_ADMIN_TOKEN).")
    for sub in (model, encode, decode, reconstruct, load, unload):
        sub.add_argument("name", metavar="NAME", help="the model's name")
        sub.add_argument("--model-version", type=int, default=0, metavar="N", help="default: the highest")
    for sub in (models, model):
        sub.add_argument("--json", action="store_true", help="print JSON")
    for sub in (encode, reconstruct):
        sub.add_argument("images", type=Path, metavar="IN", help=".npy or .npz with images (n, h, w) or (n, h, w, c)")
        sub.add_argument("--array", metavar="NAME", help="which array of an .npz holds the images")
    for sub in (encode, decode, reconstruct):
        sub.add_argument("--out", type=Path, required=True, metavar="OUT.npz", help="where the answer goes")
    decode.add_argument("latents", type=Path, nargs="?", metavar="LATENTS.npz", help=f"arrays named as `encode` writes them: {', '.join(LATENTS)}")
    decode.add_argument("--content", type=float, nargs="+", metavar="Z", help="content latents, for every row")
    decode.add_argument("--angle-rad", type=float, nargs="+", metavar="A", help="radians counter-clockwise: one for every row, or one each")
    decode.add_argument("--scale", type=float, nargs="+", metavar="S", help="> 0: one for every row, or one each")
    decode.add_argument("--shift-down-px", type=float, nargs="+", metavar="D", help="pixels: one for every row, or one each")
    decode.add_argument("--shift-right-px", type=float, nargs="+", metavar="R", help="pixels: one for every row, or one each")
    return parser


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


def _encode(chosen: argparse.Namespace) -> None:
    check_output(chosen.out)
    images = read_images(chosen.images, chosen.array)
    progress = ProgressLine("encode")
    with _client(chosen) as client:
        try:
            answer = client.encode(chosen.name, images, version=chosen.model_version, timeout_s=chosen.timeout_s, progress=progress)
        finally:
            progress.close()
    _write(chosen.out, answer)


def _reconstruct(chosen: argparse.Namespace) -> None:
    check_output(chosen.out)
    images = read_images(chosen.images, chosen.array)
    progress = ProgressLine("reconstruct")
    with _client(chosen) as client:
        try:
            answer = client.reconstruct(chosen.name, images, version=chosen.model_version, timeout_s=chosen.timeout_s, progress=progress)
        finally:
            progress.close()
    _write(chosen.out, answer)


def _decode(chosen: argparse.Namespace) -> None:
    check_output(chosen.out)
    given = _latents(chosen)
    progress = ProgressLine("decode")
    with _client(chosen) as client:
        try:
            answer = client.decode(
                chosen.name,
                content=given.get("content"),
                angle_rad=given.get("angle_rad"),
                scale=given.get("scale"),
                shift_down_px=given.get("shift_down_px"),
                shift_right_px=given.get("shift_right_px"),
                version=chosen.model_version,
                timeout_s=chosen.timeout_s,
                progress=progress,
            )
        finally:
            progress.close()
    _write(chosen.out, answer)


def _latents(chosen: argparse.Namespace) -> dict[str, NDArray]:
    """From the file, and over it what the options say: so one file can be decoded at another angle."""
    given = {} if chosen.latents is None else {name: values for name, values in read_arrays(chosen.latents).items() if name in LATENTS}
    if chosen.latents is not None and not given:
        raise FileError(f"{chosen.latents} holds none of {', '.join(LATENTS)}.")
    for name in LATENTS:
        values = getattr(chosen, name)
        if values is not None:
            # A single number stands for every row; content's numbers are those of one row.
            given[name] = np.asarray(values if name == "content" or len(values) > 1 else values[0])
    return given


def _load(chosen: argparse.Namespace) -> None:
    with _client(chosen) as client:
        model = client.load_model(chosen.name, version=chosen.model_version, timeout_s=chosen.timeout_s or 300.0)
    print(f"{model.name} version {model.version} serves, digest {model.digest}")


def _unload(chosen: argparse.Namespace) -> None:
    with _client(chosen) as client:
        models = client.unload_model(chosen.name, version=chosen.model_version, timeout_s=chosen.timeout_s or 30.0)
    for model in models:
        print(f"{model.name} version {model.version} no longer serves")


def _write(path: Path, answer: Encoding | Decoding | Reconstruction) -> None:
    """Every attribute under its own name, without those the model does not have; the model as model_name, model_version, model_digest."""
    found = {field.name: getattr(answer, field.name) for field in fields(answer) if field.name != "model"}
    arrays = {name: np.asarray(value) for name, value in found.items() if value is not None}
    model = {"model_name": answer.model.name, "model_version": answer.model.version, "model_digest": answer.model.digest}
    write_arrays(path, arrays | {name: np.asarray(value) for name, value in model.items()})
    print(f"{path}: {', '.join(f'{name} {values.shape}' for name, values in arrays.items() if values.ndim)}", file=sys.stderr)
