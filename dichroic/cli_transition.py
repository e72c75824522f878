"""The commands of the transition room: transitions and plan."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from dichroic.cli_files import FileError, check_output, read_arrays, write_answer
from dichroic.cli_mechanism import Adding
from dichroic.cli_show import ProgressLine, as_json, plan_text
from dichroic.client import Client
from dichroic.wire import NDArray

STATES = ("beam_xy_angstrom", "neighbours_xy_angstrom", "dwell_s", "current_na", "voltage_kv", "atoms_xy_angstrom", "atomic_numbers")
ATOMS = ("atoms_xy_angstrom", "atomic_numbers")


def add_transition_commands(commands: argparse._SubParsersAction[Any], add: Adding) -> None:
    """The commands, as `dichroic --help` lists them."""
    transitions = add(commands, "transitions", _transitions, "Where a dopant goes under the beam: rates, the first hop, the end of the dwell.")
    plan = add(commands, "plan", _plan, "Where to put the beam next, and how long, to bring a dopant to a goal.")
    for sub in (transitions, plan):
        sub.add_argument("name", metavar="NAME", help="the model's name")
        sub.add_argument("--model-version", type=int, default=0, metavar="N", help="default: the highest")
        sub.add_argument("--dopant", type=int, metavar="I", help="which atom is meant, from 0; default: the only dopant")
        sub.add_argument("--current-na", type=float, metavar="I", help="beam current, nA; default: what the model was trained at")
        sub.add_argument("--voltage-kv", type=float, metavar="U", help="acceleration voltage, kV; default: what the model was trained at")
    transitions.add_argument(
        "data", type=Path, metavar="STATES.npz", help=f"arrays named as the API's fields, in angstrom, s, nA, kV: {', '.join(STATES)}"
    )
    transitions.add_argument("--dwell-s", type=float, metavar="S", help="how long the beam stays, for every row; default: the file's dwell_s")
    transitions.add_argument("--out", type=Path, required=True, metavar="OUT.npz", help="where the answer goes")
    plan.add_argument(
        "data", type=Path, metavar="ATOMS.npz", help="atoms_xy_angstrom (m, 2) and atomic_numbers (m,); it may hold goals_xy_angstrom (g, 2)"
    )
    plan.add_argument("--goal", type=float, nargs=2, action="append", metavar=("X", "Y"), help="angstrom, in the atoms' frame; once for each goal")
    plan.add_argument("--forbidden", type=int, nargs="+", metavar="I", help="atoms on whose sites no dopant may come, from 0")
    plan.add_argument("--image-s", type=float, default=0.0, metavar="S", help="what an image takes; default 2")
    plan.add_argument("--deadline-s", type=float, default=0.0, metavar="S", help="from now until when success counts; default 600")
    plan.add_argument("--risk-aversion", type=float, default=0.0, metavar="K", help="standard deviations over the members; default 0")
    plan.add_argument("--out", type=Path, metavar="OUT.npz", help="where the answer goes too")
    plan.add_argument("--json", action="store_true", help="print JSON")


def _transitions(chosen: argparse.Namespace, client: Client) -> None:
    check_output(chosen.out)
    given = {name: values for name, values in read_arrays(chosen.data).items() if name in STATES}
    # Over what the file says, so that one file can be asked of at another dwell or current.
    given |= {name: np.asarray(value) for name in ("dwell_s", "current_na", "voltage_kv") if (value := getattr(chosen, name)) is not None}
    _check(chosen.data, given, ("beam_xy_angstrom", "dwell_s"))
    progress = ProgressLine("transitions")
    try:
        answer = client.predict_transitions(
            chosen.name,
            given["beam_xy_angstrom"],
            given.get("neighbours_xy_angstrom"),
            dwell_s=given["dwell_s"],
            current_na=given.get("current_na"),
            voltage_kv=given.get("voltage_kv"),
            atoms_xy_angstrom=given.get("atoms_xy_angstrom"),
            atomic_numbers=given.get("atomic_numbers"),
            dopant_index=chosen.dopant,
            version=chosen.model_version,
            timeout_s=chosen.timeout_s,
            progress=progress,
        )
    finally:
        progress.close()
    write_answer(chosen.out, answer)


def _plan(chosen: argparse.Namespace, client: Client) -> None:
    if chosen.out is not None:
        check_output(chosen.out)
    arrays = read_arrays(chosen.data)
    if chosen.goal is not None:
        arrays["goals_xy_angstrom"] = np.asarray(chosen.goal)
    _check(chosen.data, arrays, (*ATOMS, "goals_xy_angstrom"))
    answer = client.plan(
        chosen.name,
        arrays["atoms_xy_angstrom"],
        arrays["atomic_numbers"],
        arrays["goals_xy_angstrom"],
        forbidden_index=chosen.forbidden,
        dopant_index=chosen.dopant,
        current_na=chosen.current_na or 0.0,
        voltage_kv=chosen.voltage_kv or 0.0,
        image_s=chosen.image_s,
        deadline_s=chosen.deadline_s,
        risk_aversion=chosen.risk_aversion,
        version=chosen.model_version,
        timeout_s=chosen.timeout_s,
    )
    if chosen.out is not None:
        write_answer(chosen.out, answer)
    print(as_json(answer) if chosen.json else plan_text(answer))


def _check(path: Path, given: dict[str, NDArray], needed: tuple[str, ...]) -> None:
    for name in needed:
        if name not in given:
            hint = {"dwell_s": " Or give --dwell-s.", "goals_xy_angstrom": " Or give --goal."}.get(name, "")
            raise FileError(f"{path} holds no array {name}; it holds {', '.join(given) or 'nothing'} of what is needed.{hint}")
