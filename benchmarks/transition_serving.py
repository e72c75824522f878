"""PredictTransitions and Plan of the demo's bundle through the service, beside the same in process and a bare grpc.aio echo of as many bytes.

`python -m benchmarks.transition_serving [--quick] [--out benchmarks/results/transition/serving.json]`

The service, the echoes and this client are processes of the same machine; every graph runs on one thread. In each round the service and an echo take
turns call by call, then comes the same in process. A call of the service is a client's: its message is made, sent, and the answer parsed; an echo's
bytes are ready. *Above the echo*: the service's median in a round, less the echo's. Figures are medians of the rounds'.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnxruntime as ort

from benchmarks.echo import LIMIT, METHOD
from benchmarks.processes import machine_facts, start_echo, start_service
from benchmarks.transition_planning import lines, scenes
from benchmarks.turns import Call, turn_by_turn
from dichroic.bundle import TransitionSection, read_bundle
from dichroic.bundle.arrays import Arrays, unpack
from dichroic.bundle.files import WEIGHTS_NAME
from dichroic.v1 import transition_pb2, transition_pb2_grpc
from dichroic.wire import from_array, put_array
from services.engine.device import ChosenDevice
from services.engine.graph import open_session
from services.transition.arrays import Float64
from services.transition.chain import Chain
from services.transition.planning import Planned, plan
from services.transition.table import LONGEST_DWELL_S, SHELLS, ActionTable, tabulate
from training.data.dune.rates import HumanPrior
from training.data.dune.transitions import draw_transitions
from training.local_service import ROOT

BUNDLES, MODEL, VERSION = ROOT / "bundles", "dune-prior", 1
RESULT = ROOT / "benchmarks" / "results" / "transition" / "serving.json"
ROUNDS, CALLS, STATES, PLANS, WARM_UP = 5, 400, 256, 120, 20
# Drawn messages of states, which take turns.
SEED, MESSAGES = 5401, 16
# Issue 5's, ms: of the median.
TARGETS = {
    "one state": {"in_process": 0.2, "above_echo": 0.6},
    "plan": {"in_process": 20.0, "service": 20.0},
}
# float32 networks are the same to this whatever rows go with them.
SAME = 1e-5
PACKAGES = ("numpy", "onnxruntime", "grpcio", "protobuf", "bentoml")


@dataclass(frozen=True)
class Case:
    """What is compared.

    Attributes:
        name: of the row.
        states: in a message; 0: none are counted.
        calls: a round.
        in_process: the same without a service.
        service: asks the service.
        request: the same as bytes, by the turn.
        answer_bytes: that the service answers.
    """

    name: str
    states: int
    calls: int
    in_process: Call
    service: Call
    request: Callable[[int], bytes]
    answer_bytes: int


@dataclass(frozen=True)
class Graph:
    """The bundle's graphs in bare sessions, one thread."""

    sessions: dict[str, ort.InferenceSession]
    section: TransitionSection
    digest: str
    outputs: tuple[str, ...]

    @classmethod
    def opened(cls, folder: Path) -> Graph:
        """From a bundle's folder."""
        bundle = read_bundle(folder)
        signatures, section = bundle.manifest.signatures, bundle.manifest.transition
        if section is None:
            raise SystemExit(f"{folder} holds no transition model")
        weights, device = unpack(bundle.files[WEIGHTS_NAME], path=WEIGHTS_NAME), ChosenDevice("cpu", False, 1)
        sessions = {name: open_session(name, bundle.files[each.graph], each, weights, device) for name, each in signatures.items()}
        return cls(sessions, section, bundle.manifest.digest, tuple(spec.name for spec in signatures["predict"].outputs))

    def run(self, inputs: Mapping[str, Any]) -> Arrays:
        """All outputs of `predict`."""
        return dict(zip(self.outputs, self.sessions["predict"].run(self.outputs, inputs), strict=True))

    def table(self) -> ActionTable:
        """The action table that the service makes of `rates`."""
        section = self.section

        def rates(beam: Float64, neighbours: Float64, context: Float64) -> Float64:
            current, voltage = np.ascontiguousarray(context.T)
            given = {"beam_xy_angstrom": beam, "neighbours_xy_angstrom": neighbours, "current_na": current, "voltage_kv": voltage}
            found: Float64 = self.sessions["rates"].run(["member_rates"], given)[0]
            return found

        return tabulate(
            Chain(rates, SHELLS),
            (section.current_na.low, section.voltage_kv.low),
            bond_length=section.bond_length_angstrom,
            beam_radius=section.beam_radius_angstrom,
            longest_dwell_s=min(LONGEST_DWELL_S, section.dwell_s.high),
        )


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="two rounds of a few calls; nothing is written")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    load = os.getloadavg()
    with ExitStack() as stack:
        service = start_service(stack, BUNDLES)
        measured = asyncio.run(measure(stack, service, 2 if arguments.quick else arguments.rounds, quick=arguments.quick))
    found = {
        **machine_facts(PACKAGES, load),
        **measured,
    }
    print(table_of(found))
    if not arguments.quick:
        arguments.out.write_text(lines(found), encoding="utf-8")
        print(f"written to {arguments.out}")


async def measure(stack: ExitStack, service: str, rounds: int, *, quick: bool) -> dict[str, Any]:
    """The three comparisons. `stack` ends the echoes."""
    graph = Graph.opened(BUNDLES / MODEL / str(VERSION))
    async with AsyncExitStack() as channels:

        async def channel_to(address: str) -> grpc.aio.Channel:
            return await channels.enter_async_context(grpc.aio.insecure_channel(address, options=LIMIT))

        stub = transition_pb2_grpc.TransitionServiceStub(await channel_to(service))
        states = [await prediction("one state", 1, graph, stub), await prediction(f"{STATES} states", STATES, graph, stub)]
        planned, prepared = await planning(graph, stub, 3 if quick else PLANS)
        told: dict[str, Any] = {"model": MODEL, "digest": graph.digest, **prepared, "cases": [], "rounds": []}
        for case in (*states, planned):
            echo = (await channel_to(start_echo(stack, case.answer_bytes))).unary_unary(METHOD)
            calls = min(case.calls, 40) if quick else case.calls
            of_case = [await one_round(case, lambda turn, echo=echo, case=case: echo(case.request(turn)), calls) for _ in range(rounds)]
            told["cases"].append({"case": case.name, "states": case.states, "calls": calls, "answer_bytes": case.answer_bytes, **summary(of_case)})
            told["rounds"] += [{"case": case.name, **each} for each in of_case]
        return told


async def one_round(case: Case, echo: Call, calls: int) -> dict[str, float]:
    """Medians and 95th percentiles, ms, and the service's median above the echo's. The first calls are not counted."""
    both = {"service": case.service, "echo": echo}
    await turn_by_turn(both, WARM_UP)
    took = await turn_by_turn(both, calls)
    took |= await turn_by_turn({"in_process": case.in_process}, calls)
    found = {f"{name}_p{q}_ms": float(np.percentile(ms, q)) for name, ms in took.items() for q in (50, 95)}
    return found | {"above_echo_p50_ms": found["service_p50_ms"] - found["echo_p50_ms"]}


def summary(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Medians of the rounds, and between which the difference from the echo lay."""
    found = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    above = [each["above_echo_p50_ms"] for each in rounds]
    return found | {"above_echo_least_ms": min(above), "above_echo_most_ms": max(above)}


async def prediction(name: str, states: int, graph: Graph, stub: Any) -> Case:
    """So many states in a message, others with every turn; current and voltage are the model's own."""
    drawn = draw_transitions(MESSAGES * states, rates=HumanPrior(), seed=SEED).arrays
    inputs = [
        {spec.name: np.ascontiguousarray(drawn[spec.name][start : start + states]) for spec in graph.sessions["predict"].get_inputs()}
        for start in range(0, len(drawn["dwell_s"]), states)
    ]

    def request(turn: int) -> transition_pb2.PredictTransitionsRequest:
        sent = ("beam_xy_angstrom", "neighbours_xy_angstrom", "dwell_s")
        return filled(transition_pb2.PredictTransitionsRequest(model_name=MODEL), {key: inputs[turn % len(inputs)][key] for key in sent})

    async def in_process(turn: int) -> None:
        graph.run(inputs[turn % len(inputs)])

    ready = [request(turn).SerializeToString() for turn in range(len(inputs))]
    sender = stub.PredictTransitions
    answer = await sender(request(0))
    difference = np.abs(from_array(answer.occupancy, field="occupancy") - graph.run(inputs[0])["occupancy_mean"]).max()
    if not difference < SAME:
        raise SystemExit(f"the service's occupancy differs from the graph's by {difference:.2g}")
    return Case(name, states, CALLS, in_process, lambda turn: sender(request(turn)), lambda turn: ready[turn % len(ready)], answer.ByteSize())


async def planning(graph: Graph, stub: Any, count: int) -> tuple[Case, dict[str, float]]:
    """Plans for so many dopants and goals on one lattice, and what it took to prepare them, s: the first call, and the table in process."""
    atoms_xy, pairs = scenes(count)
    section = graph.section
    distances = section.neighbour_distance_angstrom.low, section.neighbour_distance_angstrom.high

    def request(turn: int) -> transition_pb2.PlanRequest:
        numbers, goals_xy = pairs[turn % len(pairs)]
        arrays = {"atoms_xy_angstrom": atoms_xy, "atomic_numbers": numbers, "goals_xy_angstrom": goals_xy}
        return filled(transition_pb2.PlanRequest(model_name=MODEL), arrays)

    began = time.perf_counter()
    await stub.Plan(request(0))
    first = time.perf_counter()
    table = graph.table()
    prepared = {"atoms": len(atoms_xy), "first_plan_s": first - began, "table_in_process_s": time.perf_counter() - first}

    def planned(turn: int) -> Planned:
        numbers, goals_xy = pairs[turn % len(pairs)]
        return plan(atoms_xy, numbers, goals_xy, table, dopant_number=section.dopant, distances=distances)

    async def in_process(turn: int) -> None:
        planned(turn)

    answers = [await stub.Plan(request(turn)) for turn in range(len(pairs))]
    for turn, answer in enumerate(answers):
        own = planned(turn)
        if answer.dwell_s != own.dwell_s or not np.allclose(from_array(answer.beam_xy_angstrom, field="beam_xy_angstrom"), own.beam_xy):
            raise SystemExit(f"the service's plan {turn} differs from the one made in process")
    ready = [request(turn).SerializeToString() for turn in range(len(pairs))]
    size = round(statistics.median(answer.ByteSize() for answer in answers))
    case = Case("plan", 0, len(pairs), in_process, lambda turn: stub.Plan(request(turn)), lambda turn: ready[turn % len(ready)], size)
    return case, prepared


def filled(request: Any, arrays: Mapping[str, Any]) -> Any:
    """The message with its arrays."""
    for name, values in arrays.items():
        put_array(getattr(request, name), values)
    return request


def table_of(found: Mapping[str, Any]) -> str:
    """Markdown: medians with 95th percentiles, and which of the targets were met."""
    told = [
        f"{found['cpus']} CPUs, load {found['load_before'][0]:.1f} before and {found['load_after'][0]:.1f} after. The first plan took "
        f"{found['first_plan_s']:.1f} s, its table {found['table_in_process_s']:.1f} s in process; {found['atoms']} atoms.",
        "",
        "| p50 (p95), ms | in process | service | echo | above the echo (rounds) | states/s in process; served | targets, ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found["cases"]:
        times = [f"{row[f'{name}_p50_ms']:.3g} ({row[f'{name}_p95_ms']:.3g})" for name in ("in_process", "service", "echo")]
        above = f"{row['above_echo_p50_ms']:.3g} ({row['above_echo_least_ms']:.3g} to {row['above_echo_most_ms']:.3g})"
        rates = [f"{1e3 * row['states'] / row[f'{name}_p50_ms']:.0f}" for name in ("in_process", "service")] if row["states"] else []
        told.append(f"| {row['case']} | {' | '.join(times)} | {above} | {'; '.join(rates)} | {judged(row)} |")
    return "\n".join(told)


def judged(row: Mapping[str, Any]) -> str:
    """Each target of a case, and whether its median met it."""
    targets = TARGETS.get(row["case"], {})
    met = {name: "met" if row[f"{name}_p50_ms"] <= most else "missed" for name, most in targets.items()}
    return "; ".join(f"{name.replace('_', ' ')} ≤ {most:g}: {met[name]}" for name, most in targets.items())


if __name__ == "__main__":
    main()
