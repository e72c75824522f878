"""The commands of the mechanism room: predict, suggest, and sessions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dichroic.cli_files import FileError, check_output, read_arrays, write_answer
from dichroic.cli_show import ProgressLine, as_json, picks_table
from dichroic.client import Client
from dichroic.wire import NDArray

STRATEGIES = ("total_sd", "part_sd", "mean_variance", "ucb", "ei", "thompson")
# What a command does with what was typed, and a client.
Run = Callable[[argparse.Namespace, Client], None]
# Adds a command to those of a parser: (where, name, what it does, text).
Adding = Callable[["argparse._SubParsersAction[Any]", str, Run, str], argparse.ArgumentParser]


def add_mechanism_commands(commands: argparse._SubParsersAction[Any], add: Adding) -> None:
    """The commands, as `dichroic --help` lists them."""
    predict = add(commands, "predict", _predict, "Mechanisms to a measured quantity, part by part, with variances.")
    suggest = add(commands, "suggest", _suggest, "Where to measure next: candidates, the best first.")
    session = commands.add_parser(
        "session", help="Make, feed and end sessions that observe.", description="Make, feed and end sessions that observe."
    )
    sessions = session.add_subparsers(required=True, metavar="COMMAND")
    create = add(sessions, "create", _create, "Make a session of a model; prints its id.")
    observe = add(sessions, "observe", _observe, "Condition a session on new measurements.")
    delete = add(sessions, "delete", _delete, "End a session.")
    for sub in (predict, suggest, create, observe):
        sub.add_argument("name", metavar="NAME", help="the model's name; of a session, its model's")
    for sub in (predict, suggest, create):
        sub.add_argument("--model-version", type=int, default=0, metavar="N", help="default: the highest")
    for sub in (observe, delete):
        sub.add_argument("session", metavar="SESSION", help="its id, as `dichroic session create` printed it")
    predict.add_argument("data", type=Path, metavar="IN", help=".npz with one array for each mechanism, by its name; .npy where the model has one")
    observe.add_argument("data", type=Path, metavar="IN", help=".npz with `y` (n,), and one array for each mechanism or `candidate_index` (n,)")
    for sub in (suggest, create):
        text = "candidates: .npz with one array for each mechanism, by its name, one row each"
        sub.add_argument("candidates", type=Path, nargs="?", metavar="CANDIDATES", help=text)
    for sub in (predict, suggest, create, observe):
        sub.add_argument("--unit", type=_unit, action="append", default=[], metavar="NAME=UNIT", help="the unit of a mechanism; may be repeated")
    for sub in (predict, suggest):
        sub.add_argument("--session", metavar="SESSION", default="", help="of a session; default: the model as it was trained")
    predict.add_argument("--noise", action="store_true", help="variance and quantiles of a measurement, noise included")
    predict.add_argument("--covariance", action="store_true", help="also the covariance of the parts")
    predict.add_argument("--out", type=Path, required=True, metavar="OUT.npz", help="where the answer goes")
    suggest.add_argument("--strategy", choices=STRATEGIES, default="total_sd", help="default: total_sd")
    suggest.add_argument("--part", default="", help="of part_sd: which part")
    suggest.add_argument("--count", type=int, default=1, metavar="K", help="how many to pick; default 1")
    suggest.add_argument("--kappa", type=float, default=0.0, help="of ucb: how many standard deviations; default 2")
    suggest.add_argument("--goal", choices=("maximise", "minimise"), default="", help="of ucb, ei and thompson; default: maximise")
    suggest.add_argument("--incumbent", type=float, metavar="Y", help="of ei: the best value so far")
    suggest.add_argument("--out", type=Path, metavar="OUT.npz", help="where the answer goes too")
    create.add_argument("--expires-after-s", type=float, default=0.0, metavar="S", help="seconds without a call; default: the server's")
    create.add_argument("--seed", type=int, default=0, metavar="N", help="of what thompson draws")
    observe.add_argument("--y-unit", default="", metavar="UNIT", help="the unit of y")
    observe.add_argument("--expected-revision", type=int, default=0, metavar="R", help="refuse where the session is at another; default: any")
    observe.add_argument("--request-id", default="", metavar="ID", help="the same for a repeat, which then observes nothing anew")
    for sub in (suggest, create, observe, delete):
        sub.add_argument("--json", action="store_true", help="print JSON")


def _unit(text: str) -> tuple[str, str]:
    name, _, unit = text.partition("=")
    if not name or not unit:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=UNIT")
    return name, unit


def _predict(chosen: argparse.Namespace, client: Client) -> None:
    check_output(chosen.out)
    given = _mechanisms(chosen.data, chosen, client)
    progress = ProgressLine("predict")
    try:
        answer = client.predict(
            chosen.name,
            given,
            session_id=chosen.session,
            units=dict(chosen.unit),
            include_noise=chosen.noise,
            include_covariance=chosen.covariance,
            version=getattr(chosen, "model_version", 0),
            timeout_s=chosen.timeout_s,
            progress=progress,
        )
    finally:
        progress.close()
    write_answer(chosen.out, answer)


def _suggest(chosen: argparse.Namespace, client: Client) -> None:
    if chosen.out is not None:
        check_output(chosen.out)
    answer = client.suggest(
        chosen.name,
        chosen.candidates and _mechanisms(chosen.candidates, chosen, client),
        strategy=chosen.strategy,
        session_id=chosen.session,
        part=chosen.part,
        count=chosen.count,
        kappa=chosen.kappa,
        goal=chosen.goal,
        incumbent=chosen.incumbent,
        units=dict(chosen.unit),
        version=chosen.model_version,
        timeout_s=chosen.timeout_s,
    )
    if chosen.out is not None:
        write_answer(chosen.out, answer)
    print(as_json(answer) if chosen.json else picks_table(answer))


def _create(chosen: argparse.Namespace, client: Client) -> None:
    made = client.create_session(
        chosen.name,
        chosen.candidates and _mechanisms(chosen.candidates, chosen, client),
        units=dict(chosen.unit),
        expires_after_s=chosen.expires_after_s,
        seed=chosen.seed,
        version=chosen.model_version,
        timeout_s=chosen.timeout_s,
    )
    if not chosen.json:
        told = f"{made.model.name} version {made.model.version}, {made.points} points, {made.candidates} candidates, {made.memory_bytes} bytes"
        print(told, file=sys.stderr)
    print(as_json(made) if chosen.json else made.session_id)


def _observe(chosen: argparse.Namespace, client: Client) -> None:
    arrays = read_arrays(chosen.data)
    if "y" not in arrays:
        raise FileError(f"{chosen.data} holds no array y, the measured values; it holds {', '.join(arrays) or 'nothing'}.")
    index = arrays.get("candidate_index")
    seen = client.observe(
        chosen.session,
        arrays["y"],
        None if index is not None else _mechanisms(chosen.data, chosen, client),
        candidate_index=index,
        units=dict(chosen.unit),
        y_unit=chosen.y_unit,
        expected_revision=chosen.expected_revision,
        request_id=chosen.request_id,
        model_name=chosen.name,
        timeout_s=chosen.timeout_s,
    )
    if chosen.json:
        print(as_json(seen))
        return
    repeated = ", as answered before" if seen.repeated else ""
    print(f"revision {seen.revision}, {seen.points} points{repeated}; weights {' '.join(f'{weight:.3g}' for weight in seen.weight)}")


def _delete(chosen: argparse.Namespace, client: Client) -> None:
    deleted = client.delete_session(chosen.session, timeout_s=chosen.timeout_s)
    print(as_json(deleted) if chosen.json else f"{deleted.session_id} ended at revision {deleted.revision}")


def _mechanisms(path: Path, chosen: argparse.Namespace, client: Client) -> dict[str, NDArray]:
    """The arrays of the file that are the model's mechanisms; a file of one array is the model's only mechanism."""
    info = client.model(chosen.name, version=getattr(chosen, "model_version", 0), timeout_s=chosen.timeout_s or 30.0)
    names = [mechanism["name"] for mechanism in info.manifest.get("mechanism", {}).get("mechanisms", [])]
    arrays = read_arrays(path)
    if path.suffix == ".npy" and len(names) == 1:
        return {names[0]: next(iter(arrays.values()))}
    # What else a file of measurements holds, such as positions, is not for the model; a model of another kind says so itself.
    found = {name: values for name, values in arrays.items() if name in names} if names else arrays
    if not found:
        raise FileError(f"{path} holds {', '.join(arrays) or 'nothing'}, none of the model's mechanisms: {', '.join(names)}.")
    return found
