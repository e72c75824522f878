"""Latent maps of a frame: the dense encoder once over the frame against the same model patch by patch. `python -m benchmarks.dense`.

Needs the extra `training`. One thread of the CPU, one run: a 1024 × 1024 frame of uint8, windows of 64 px at a stride of 8 px, the three graphs of
one bundle in ONNX Runtime: `dense_1` (frame in, maps out), `frame_1` (windows cut inside the graph from one frame) and `encode` (windows cut before,
which is not counted). `--fit`: held-out figures of the dense encoders beside the MLP's on drawn cards, in place of speed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).resolve().parent / "results" / "latent"
SIDE, WINDOW, STRIDE = 1024, 64, 8
# Least times faster than the quicker way patch by patch.
TARGETS = {"moments": 25.0, "full": 10.0}
# Greatest difference, of an output's range.
AGREEMENT = 1e-5
_DENSE_RUNS = 9
CHANNELS, WIDTHS = (16, 32, 32), (64,)
Array = np.ndarray[Any, np.dtype[Any]]
Graphs = dict[str, Callable[[], dict[str, Array]]]


def main() -> int:
    parser = argparse.ArgumentParser(description="Times a dense latent map against patch by patch, or compares what the encoders learn.")
    parser.add_argument("--fit", action="store_true", help="fit the encoders on drawn cards and compare their held-out figures")
    parser.add_argument("--quick", action="store_true", help="a small frame, or a smoke test of the fits; writes nothing")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each, of which the median counts (default: 5)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of --fit (default: 0 1 2)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON files (default: benchmarks/results/latent)")
    arguments = parser.parse_args()
    if arguments.fit:
        from benchmarks.dense_fit import compare  # noqa: PLC0415

        return compare(arguments.seeds, arguments.out, quick=arguments.quick)
    side = WINDOW + 20 * STRIDE if arguments.quick else SIDE
    rows = [measured(head, side, 1 if arguments.quick else arguments.repeats) for head in TARGETS]
    print(table(rows))
    met = all(row["times_faster"] >= row["target"] and row["difference"] <= AGREEMENT for row in rows)
    print(f"targets {'met' if met else 'NOT met'}")
    if not arguments.quick:
        arguments.out.mkdir(parents=True, exist_ok=True)
        facts = {"frame_px": side, "window_px": WINDOW, "stride_px": STRIDE, "dtype": "uint8", "threads": 1, "repeats": arguments.repeats}
        (arguments.out / "dense.json").write_text(json.dumps({**facts, "heads": rows}, indent=1) + "\n", encoding="utf-8")
    return 0 if met or arguments.quick else 1


def measured(head: str, side: int, repeats: int) -> dict[str, Any]:
    """Seconds of each way, by turns, and how far the answers are apart."""
    runs, windows = graphs_of(head, side)
    answers = {name: run() for name, run in runs.items()}  # warm
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            # The dense one is over before another process has had its turn: one run of it tells little on a shared machine.
            for _ in range(_DENSE_RUNS if name == "dense" else 1):
                began = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    apart = max(difference(answers["dense"], answers[name]) for name in ("frame", "encode"))
    return {
        "head": head,
        "windows": windows,
        "seconds": {name: round(value, 4) for name, value in medians.items()},
        "all_seconds": {name: [round(value, 4) for value in taken] for name, taken in seconds.items()},
        "times_faster": round(min(medians["frame"], medians["encode"]) / medians["dense"], 2),
        "target": TARGETS[head],
        "difference": apart,
        "encoder_channels": list(CHANNELS),
        "encoder_widths": list(WIDTHS),
    }


def graphs_of(head: str, side: int) -> tuple[Graphs, int]:
    """The three ways to encode one drawn frame with one model of random weights, and how many windows there are."""
    import torch  # noqa: PLC0415

    from dichroic.bundle import Preprocessing  # noqa: PLC0415
    from training.data.windows import grid_axis  # noqa: PLC0415
    from training.export.dense_graphs import maps_core  # noqa: PLC0415
    from training.export.frame_graphs import frame_graphs  # noqa: PLC0415
    from training.export.frame_models import FrameModels, StageModel  # noqa: PLC0415
    from training.export.frame_specs import frame_signatures  # noqa: PLC0415
    from training.export.graphs import to_graph, with_front  # noqa: PLC0415
    from training.export.modules import Encode  # noqa: PLC0415
    from training.export.probes import smooth_pictures  # noqa: PLC0415
    from training.export.sessions import GraphRunner  # noqa: PLC0415
    from training.export.specs import normalised_in, signatures  # noqa: PLC0415
    from training.export.weights import share_weights  # noqa: PLC0415
    from training.latent.model import InvariantVAE  # noqa: PLC0415
    from training.latent.specification import ModelSpecification  # noqa: PLC0415

    torch.manual_seed(0)
    specification = ModelSpecification(
        WINDOW, WINDOW, invariances=("rotation", "translation"), angle_symmetry=1, encoder_channels=CHANNELS, encoder_widths=WIDTHS, dense_head=head
    )  # type: ignore[arg-type]
    model = InvariantVAE(specification).eval()
    scale = Preprocessing(unit="1", input_low=(0.0,), input_high=(1.0,), clip=True, integer_images="full_scale")
    frames = FrameModels((StageModel(model, float(WINDOW)),))
    declared = signatures(specification, scale) | frame_signatures(frames, scale)
    encode = to_graph(Encode(model, scale), [normalised_in(specification)], declared["encode.float32"].outputs)
    wanted = {name: declared[name] for name in ("frame_1.uint8", "dense_1.uint8")}
    graphs = frame_graphs(frames, {"encode": encode, "reconstruct": encode, "dense": maps_core(model, scale)}, scale, wanted)
    graphs["encode.uint8"] = with_front(encode, declared["encode.uint8"].inputs[0], scale)
    files, weights = share_weights(graphs, {})
    names = [spec.name for spec in declared["encode.uint8"].outputs]
    runners = {name: GraphRunner(data, weights, names) for name, data in files.items()}
    frame = smooth_pictures((1, side, side, 1), (WINDOW, WINDOW), "uint8", scale, np.random.default_rng(0))[0, :, :, 0]
    along = grid_axis(side, WINDOW, STRIDE)
    centres = np.stack(np.meshgrid(along, along, indexing="ij"), axis=2).reshape(-1, 2).astype(np.float32)
    cut = np.lib.stride_tricks.sliding_window_view(frame, (WINDOW, WINDOW))[::STRIDE, ::STRIDE].reshape(-1, WINDOW, WINDOW)
    window = np.full(len(centres), WINDOW, np.float32)
    rows = {name: declared[name].max_batch for name in ("frame_1.uint8", "encode.uint8")}

    def by_rows(name: str, inputs: dict[str, Array], fixed: dict[str, Array]) -> dict[str, Array]:
        parts = [
            runners[name].run({key: values[at : at + rows[name]] for key, values in inputs.items()} | fixed)
            for at in range(0, len(centres), rows[name])
        ]
        return {output: np.concatenate([part[output] for part in parts]) for output in names}

    def dense() -> dict[str, Array]:
        maps = runners["dense_1.uint8"].run({"frames": frame[None], "window_px": window[:1]})
        return {output: values.reshape(len(centres), *values.shape[3:]) for output, values in maps.items()}

    return {
        "dense": dense,
        "frame": lambda: by_rows("frame_1.uint8", {"centre_px": centres, "window_px": window}, {"frame": frame}),
        "encode": lambda: by_rows("encode.uint8", {"images": cut}, {}),
    }, len(centres)


def difference(first: dict[str, Array], second: dict[str, Array]) -> float:
    """The greatest over the outputs, of each one's range; of angles the short way round."""
    found = 0.0
    for name, values in first.items():
        apart = np.asarray(values, np.float64) - second[name]
        whole = 2 * np.pi if name == "angle_rad" else float(max(values.max(), 0) - min(values.min(), 0))
        found = max(found, float(np.abs(np.angle(np.exp(1j * apart)) if name == "angle_rad" else apart).max()) / whole)
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """One line for each head."""
    lines = [
        "| head | windows | dense, s | frame, s | patches, s | times faster | target | greatest difference |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        taken = " | ".join(f"{row['seconds'][name]:.3f}" for name in ("dense", "frame", "encode"))
        lines.append(f"| {row['head']} | {row['windows']} | {taken} | {row['times_faster']:.1f} | {row['target']:.0f} | {row['difference']:.1e} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
