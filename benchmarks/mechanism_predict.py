"""Prediction from latents: the exported graph beside GPyTorch, in one run on one thread. `python -m benchmarks.mechanism_predict`.

N = 1 000 points, three additive mechanisms, float64. Ours answers every part's mean, all covariances between parts, and the total, exactly and, where
the certified rank is at most N/2, in low rank; GPyTorch, with Cholesky forced, the total alone, and with `fast_pred_var` beside it. Errors are
against the float64 reference. Turn by turn, medians. Two cases: four spread latents for the patch, and four classes (low rank).
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from training.mechanism.export_graph import posterior_onnx
from training.mechanism.graph import posterior_arrays
from training.mechanism.posterior import Posterior
from training.mechanism.structure import Mechanism, Structure, TermValues, additive
from training.mechanism.truncate import LowRank, low_rank

warnings.filterwarnings("ignore", category=DeprecationWarning)
import gpytorch  # noqa: E402

RESULT = Path(__file__).resolve().parent / "results" / "mechanism_predict.json"
MECHANISMS = (Mechanism("patch", 0, 4), Mechanism("position", 4, 2), Mechanism("age", 6, 1))
BATCHES = (1, 4, 16, 64, 256, 1024, 4096)


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cases = {name: case(drawn_posterior(arguments.points, classes=name == "classes"), arguments.repeats) for name in ("spread", "classes")}
    found = {"points": arguments.points, "date": time.strftime("%Y-%m-%d"), "machine": platform.machine(), "threads": 1, "cases": cases}
    arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for name, told in cases.items():
        print(f"{name}: rank {told['rank']}, bound {told['bound']}")
        names = list(told["rows"][0]["ms"])
        print(f"{'batch':>6}" + "".join(f"{each + ' ms':>18}" for each in names) + "   exact/ours, fast/ours; errors in the same order")
        for row in told["rows"]:
            ms, best = row["ms"], min(row["ms"][each] for each in names if each.startswith("ours"))
            ratios = f"{ms['gpytorch exact'] / best:.1f}, {ms['fast_pred_var'] / best:.1f}"
            print(
                f"{row['batch']:>6}"
                + "".join(f"{ms[each]:>18.2f}" for each in names)
                + f"   {ratios}; {', '.join(f'{e:.0e}' for e in row['error'].values())}"
            )


def case(posterior: Posterior, repeats: int) -> dict[str, Any]:
    """Times and errors at every batch size."""
    calls = {"ours exact": graph_of(posterior, None)}
    truncated = low_rank(posterior)
    if truncated is not None:
        calls["ours low rank"] = graph_of(posterior, truncated)
    calls |= {"gpytorch exact": gpytorch_of(posterior, fast=False), "fast_pred_var": gpytorch_of(posterior, fast=True)}
    rows = []
    for batch in BATCHES:
        new = new_latents(batch, posterior)
        wanted = posterior.predict(new[:256])
        took = side_by_side(calls, new, max(3, repeats // (1 + batch // 256)))
        errors = {}
        for name, call in calls.items():
            mean, variance = call(new)
            errors[name] = max(float(np.abs(mean[:256] - wanted.total_mean).max()), float(np.abs(variance[:256] - wanted.total_variance).max()))
        rows.append({"batch": batch, "ms": {name: seconds * 1e3 for name, seconds in took.items()}, "error": errors})
    return {"rank": None if truncated is None else truncated.rank, "bound": None if truncated is None else truncated.bound, "rows": rows}


def new_latents(batch: int, posterior: Posterior) -> Any:
    """Points like the training points."""
    rng = np.random.default_rng(batch)
    kinds = posterior.latents[rng.integers(len(posterior.latents), size=batch), :4]
    return np.column_stack((kinds, rng.normal(size=(batch, 3))))


def drawn_posterior(points: int, *, classes: bool) -> Posterior:
    """Of a sum of smooth functions with noise 0.1; `classes`: the patch's latents stand at four places."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(points, 7))
    if classes:
        z[:, :4] = 2 * np.eye(4)[rng.integers(4, size=points)]
    y = np.sin(z[:, 0]) + z[:, 1] * z[:, 2] / 2 + np.cos(2 * z[:, 4]) * z[:, 5] + z[:, 6] + 0.1 * rng.normal(size=points)
    lengths = (np.array([1.0, 1.2, 1.4, 1.1]), np.array([0.6, 0.9]), np.array([0.8]))
    terms = tuple(
        TermValues(term, 1.0, {mechanism.name: length})
        for term, mechanism, length in zip(additive("patch", "position", "age"), MECHANISMS, lengths, strict=True)
    )
    return Posterior(Structure(MECHANISMS, terms, 0.0), z, y, np.full(points, 0.01), np.full(points, 1 / points))


def graph_of(posterior: Posterior, truncated: LowRank | None) -> Callable[[Any], tuple[Any, Any]]:
    """The exported graph on one thread, its posterior bound once."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(posterior_onnx(posterior, truncated=truncated is not None), options, providers=["CPUExecutionProvider"])
    fixed = {
        name: onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array)) for name, array in posterior_arrays(posterior, truncated).items()
    }
    names = [output.name for output in session.get_outputs()]

    def call(latents: Any) -> tuple[Any, Any]:
        answers = session.run_with_ort_values(names, {"latents": onnxruntime.OrtValue.ortvalue_from_numpy(latents), **fixed})
        arrays = {name: answer.numpy() for name, answer in zip(names, answers, strict=True)}
        return arrays["total_mean"], arrays["total_variance"]

    return call


def gpytorch_of(posterior: Posterior, *, fast: bool) -> Callable[[Any], tuple[Any, Any]]:
    """The same posterior in GPyTorch: total mean and variance. Its caches are filled before anything is timed."""
    kernel: Any = None
    for mechanism, values in zip(MECHANISMS, posterior.structure.terms, strict=True):
        active = tuple(range(mechanism.start, mechanism.start + mechanism.size))
        base = gpytorch.kernels.RBFKernel(ard_num_dims=mechanism.size, active_dims=active)
        scaled = gpytorch.kernels.ScaleKernel(base).double()
        base.lengthscale, scaled.outputscale = torch.from_numpy(values.lengthscales[mechanism.name]), values.variance
        kernel = scaled if kernel is None else kernel + scaled

    class Peer(gpytorch.models.ExactGP):
        def forward(self, latents: torch.Tensor) -> Any:
            return gpytorch.distributions.MultivariateNormal(torch.zeros(latents.shape[:-1], dtype=latents.dtype), kernel(latents))

    likelihood = gpytorch.likelihoods.FixedNoiseGaussianLikelihood(torch.from_numpy(posterior.noise_variance))
    model = Peer(torch.from_numpy(posterior.latents), torch.from_numpy(posterior.y), likelihood).double().eval()

    def call(latents: Any) -> tuple[Any, Any]:
        exact = gpytorch.settings.fast_computations(covar_root_decomposition=fast, log_prob=False, solves=False)
        with torch.no_grad(), exact, gpytorch.settings.max_cholesky_size(1_000_000), gpytorch.settings.fast_pred_var(fast):
            told = model(torch.from_numpy(latents))
            return told.mean.numpy(), told.variance.numpy()

    call(posterior.latents[:2])
    return call


def side_by_side(calls: dict[str, Callable[[Any], Any]], latents: Any, repeats: int) -> dict[str, float]:
    """Median seconds of each, turn by turn."""
    took: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call(latents)
            if turn:
                took[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in took.items()}


if __name__ == "__main__":
    main()
