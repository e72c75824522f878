"""The commands of whole images: map, spectrum and stream."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from dichroic.cli_files import FileError, check_output, read_data, write_answer, write_arrays
from dichroic.cli_mechanism import Adding
from dichroic.cli_show import ProgressLine, as_json, spectrum_table
from dichroic.client import Client, LatentMap, ModelIdentity, StreamedFrame
from dichroic.wire import NDArray

# Of a map, one number for each window; all else is an array.
FACTS = ("window_px", "window_nm", "stage", "rows", "columns", "invalid_count", "evaluated")


def add_frame_commands(commands: argparse._SubParsersAction[Any], add: Adding) -> None:
    """The commands, as `dichroic --help` lists them."""
    whole = add(commands, "map", _map, "A whole image to latent maps, one for each window length.")
    spectrum = add(commands, "spectrum", _spectrum, "Points of a whole image through windows of many lengths.")
    stream = add(commands, "stream", _stream, "Many whole images over one stream, to latent maps.")
    for sub in (whole, spectrum, stream):
        sub.add_argument("name", metavar="NAME", help="the model's name")
        sub.add_argument("--model-version", type=int, default=0, metavar="N", help="default: the highest")
        sub.add_argument("--array", metavar="NAME", help="which array of an .npz holds it")
        sub.add_argument("--window-px", type=float, nargs="+", metavar="W", help="window lengths, pixels of the frame; default: the model's own")
        sub.add_argument("--window-nm", type=float, nargs="+", metavar="W", help="window lengths, nm; they need --pixel-size-nm")
        sub.add_argument("--pixel-size-nm", type=float, metavar="P", help="side of the frame's pixels, nm")
        sub.add_argument("--stage", type=int, default=0, metavar="K", help="which stage encodes every window, from 1; default: the nearest")
    for sub in (whole, stream):
        sub.add_argument("--stride-px", type=float, metavar="S", help="grid step, pixels; default: the dense encoder's, or a quarter of the window")
        sub.add_argument("--out", type=Path, required=True, metavar="OUT.npz", help="where the maps go")
    for sub in (whole, spectrum):
        sub.add_argument("data", type=Path, metavar="FRAME", help=".npy or .npz with one frame, (h, w) or (h, w, c)")
        sub.add_argument("--centre", type=float, nargs=2, action="append", metavar=("ROW", "COLUMN"), help="pixels of the frame; once for each")
        sub.add_argument("--centres", type=Path, metavar="CENTRES", help=".npy or .npz (centres_px) with centres (n, 2), (row, column)")
    whole.add_argument("--explain", action="store_true", help="tell how much of each window its reconstruction explains; takes much longer")
    spectrum.add_argument("--labels", metavar="NAME", help="which array of CENTRES, an .npz, holds each point's class (n,), -1 where not known")
    spectrum.add_argument("--out", type=Path, metavar="OUT.npz", help="where the answer goes too")
    spectrum.add_argument("--json", action="store_true", help="print JSON")
    stream.add_argument("data", type=Path, metavar="FRAMES", help=".npy or .npz with frames (t, h, w) or (t, h, w, c); an .npy is read as it goes")
    stream.add_argument("--drop-oldest", action="store_true", help="let the server drop frames that it cannot encode in time")
    stream.add_argument("--max-in-flight", type=int, default=8, metavar="N", help="frames that may be unanswered, 1 to 64; default 8")


def _map(chosen: argparse.Namespace, client: Client) -> None:
    check_output(chosen.out)
    frame = read_data(chosen.data, chosen.array, "frame")
    answer = client.encode_frame(
        chosen.name,
        frame,
        **_looked(chosen),
        stride_px=chosen.stride_px,
        centres_px=_centres(chosen),
        explain=chosen.explain,
        timeout_s=chosen.timeout_s,
    )
    write_arrays(chosen.out, _of_maps(answer.maps) | _of_model(answer.model))
    for number, each in enumerate(answer.maps, 1):
        where = f"{each.rows} x {each.columns}" if each.rows else f"{len(each.valid)} windows"
        print(f"{chosen.out}: map {number}, {each.window_px:g} px, stage {each.stage}, {where}, {each.invalid_count} not valid")


def _spectrum(chosen: argparse.Namespace, client: Client) -> None:
    if chosen.out is not None:
        check_output(chosen.out)
    centres = _centres(chosen)
    if centres is None:
        raise FileError("Give the points: --centre ROW COLUMN, once for each, or --centres.")
    labels = None
    if chosen.labels is not None:
        if chosen.centres is None:
            raise FileError("--labels names an array of --centres, which is missing.")
        labels = read_data(chosen.centres, chosen.labels, "labels")
    frame = read_data(chosen.data, chosen.array, "frame")
    answer = client.scale_spectrum(chosen.name, frame, centres, labels=labels, **_looked(chosen), timeout_s=chosen.timeout_s)
    if chosen.out is not None:
        write_answer(chosen.out, answer)
    print(as_json(answer) if chosen.json else spectrum_table(answer))


def _stream(chosen: argparse.Namespace, client: Client) -> None:
    check_output(chosen.out)
    frames = _frames(chosen)
    progress = ProgressLine("stream")
    answers: list[StreamedFrame] = []
    mode = "drop_oldest" if chosen.drop_oldest else "block"
    looked = _looked(chosen) | {"stride_px": chosen.stride_px, "timeout_s": chosen.timeout_s}
    streamed = client.stream_encode(chosen.name, iter(frames), mode=mode, max_in_flight=chosen.max_in_flight, **looked)
    try:
        for answer in streamed:
            if answer.error is not None:
                answer.error.message = f"frame {answer.sequence} of {len(frames)}: {answer.error.message}"
                raise answer.error
            answers.append(answer)
            progress(answer.sequence, len(frames))
    finally:
        progress.close()
    write_arrays(chosen.out, _over_time(answers))
    dropped = answers[-1].dropped_count
    print(f"{chosen.out}: {len(answers)} frames" + (f", {dropped} dropped" if dropped else ""))


def _looked(chosen: argparse.Namespace) -> dict[str, Any]:
    given = {name: getattr(chosen, name) for name in ("window_px", "window_nm", "pixel_size_nm", "stage")}
    return given | {"version": chosen.model_version}


def _centres(chosen: argparse.Namespace) -> NDArray | None:
    if chosen.centre is not None and chosen.centres is not None:
        raise FileError("--centre and --centres are both given; give one of them.")
    if chosen.centre is not None:
        return np.asarray(chosen.centre)
    return None if chosen.centres is None else read_data(chosen.centres, None, "centres_px")


def _frames(chosen: argparse.Namespace) -> NDArray:
    frames = read_data(chosen.data, chosen.array, "frames", mapped=True)
    if frames.ndim not in (3, 4) or not len(frames):
        raise FileError(f"{chosen.data} holds an array of shape {frames.shape}; a stream takes frames (t, h, w) or (t, h, w, c).")
    return frames


def _of_maps(maps: tuple[LatentMap, ...]) -> dict[str, NDArray]:
    """One number each of FACTS, (k,), and every array under its name and the map's number from 1, as a picture where there is a grid."""
    found: dict[str, NDArray] = {name: np.array([getattr(each, name) for each in maps]) for name in FACTS}
    for number, each in enumerate(maps, 1):
        found |= {f"{name}_{number}": each.on_grid(values) if each.rows else values for name, values in _arrays(each)}
    return found


def _over_time(answers: list[StreamedFrame]) -> dict[str, NDArray]:
    """As _of_maps, with the frames as first axis; `sequence` (t,) says which they are, from 1."""
    of_each = [_of_maps(answer.maps) for answer in answers]
    changing = {"invalid_count"}
    found = {name: np.stack([each[name] for each in of_each]) for name in of_each[0] if name not in FACTS or name in changing}
    found |= {name: values for name, values in of_each[0].items() if name not in found}
    last = answers[-1].model
    return found | {"sequence": np.array([answer.sequence for answer in answers])} | ({} if last is None else _of_model(last))


def _arrays(each: LatentMap) -> Iterator[tuple[str, NDArray]]:
    for field in fields(each):
        value = getattr(each, field.name)
        if isinstance(value, np.ndarray):
            yield field.name, value


def _of_model(model: ModelIdentity) -> dict[str, NDArray]:
    facts = {"model_name": model.name, "model_version": model.version, "model_digest": model.digest}
    return {name: np.asarray(value) for name, value in facts.items()}
