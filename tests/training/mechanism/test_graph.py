from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from tests.training.mechanism.structures import FORMS, points, posterior
from training.mechanism.export_graph import posterior_onnx
from training.mechanism.graph import POSTERIOR_INPUTS, PosteriorGraph, posterior_arrays
from training.mechanism.posterior import Posterior, Prediction

# The others are run with --long.
TRIED = ("additive", "scaled")
OUTPUTS = ("mean", "covariance", "factor", "factor_variance", "total_mean", "total_variance")


def run(session: onnxruntime.InferenceSession, latents: np.ndarray, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    return session.run(None, {"latents": latents, **arrays})


@cache  # an export takes seconds
def session_of(form: str) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(posterior_onnx(posterior(form)), providers=["CPUExecutionProvider"])


def largest_difference(found: list[np.ndarray], wanted: Prediction) -> float:
    return max(float(np.abs(array - getattr(wanted, name)).max()) for array, name in zip(found, OUTPUTS, strict=True))


@pytest.mark.parametrize("form", [pytest.param(form, marks=() if form in TRIED else pytest.mark.slow) for form in sorted(FORMS)])
def test_onnx_graph_equals_the_float64_reference(form: str) -> None:
    given, new = posterior(form), points(9, seed=5)
    found = run(session_of(form), new, posterior_arrays(given))
    assert all(array.dtype == np.float64 for array in found)
    assert largest_difference(found, given.predict(new)) < 1e-10


def test_rows_are_told_apart_at_every_batch_size() -> None:
    given = posterior("scaled")
    session, arrays, new = session_of("scaled"), posterior_arrays(given), points(33, seed=5)
    whole = run(session, new, arrays)
    for rows in (slice(0, 1), slice(7, 8), slice(3, 33)):
        for part, all_rows in zip(run(session, new[rows], arrays), whole, strict=True):
            assert np.abs(part - all_rows[rows]).max() < 1e-10


def test_the_posterior_is_an_input_new_points_need_no_new_graph() -> None:
    """A graph made of 40 points answers of 41 when it is given their arrays."""
    given, new = posterior("additive"), points(9, seed=5)
    latents, y = points(41, seed=9), np.random.default_rng(9).normal(size=41)
    more = Posterior(given.structure, latents, y, np.full(41, 0.05), np.full(41, 1 / 41))
    found = run(session_of("additive"), new, posterior_arrays(more))
    assert largest_difference(found, more.predict(new)) < 1e-10


def test_rows_of_zeros_in_the_posterior_change_nothing() -> None:
    """A session's arrays are padded to its capacity."""
    given, new = posterior("scaled"), points(9, seed=5)
    padded: dict[str, Any] = {}
    for name, array in posterior_arrays(given).items():
        grown = (
            array if name in {"gauge_mean", "gauge_variance"} else np.pad(array, [(0, 24)] + [(0, 24 if name == "inverse" else 0)] * (array.ndim - 1))
        )
        padded[name] = np.ascontiguousarray(grown)
    assert largest_difference(run(session_of("scaled"), new, padded), given.predict(new)) < 1e-10


def test_names_of_the_arrays_are_the_graphs_inputs() -> None:
    given = posterior("additive")
    assert tuple(posterior_arrays(given)) == POSTERIOR_INPUTS
    assert [spec.name for spec in session_of("additive").get_inputs()] == ["latents", *POSTERIOR_INPUTS]


def test_graph_says_the_same_in_torch() -> None:
    given, new = posterior("scaled"), points(9, seed=5)
    with torch.no_grad():
        found = PosteriorGraph(given)(torch.from_numpy(new), *(torch.from_numpy(array) for array in posterior_arrays(given).values()))
    assert largest_difference([tensor.numpy() for tensor in found], given.predict(new)) < 1e-10
