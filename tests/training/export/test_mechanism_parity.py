"""A graph that is off by a little is found before anything is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from dichroic.bundle import read_bundle
from dichroic.bundle.files import WEIGHTS_NAME
from tests.toy_mechanism import Made
from tests.training.conftest import FittedByCommand, ToyMechanism
from training.export.mechanism_parity import EXACT, check_mechanism_parity, examples
from training.export.parity import Parity, ParityError
from training.export.sessions import GraphRunner
from training.mechanism.graph import posterior_arrays
from training.mechanism.truncate import LowRank


@pytest.fixture(scope="module")
def made(toy_mechanism: ToyMechanism) -> Made:
    return toy_mechanism("scaled")


def check(made: Made, graphs: dict[str, bytes] | None = None, truncated: LowRank | None = None, **fixed: Any) -> Parity:
    bundle = read_bundle(made.written.folder)
    declared = bundle.manifest.signatures
    honest = {name: bundle.files[signature.graph] for name, signature in declared.items()}
    posterior = made.fitted.posterior
    arrays = posterior_arrays(posterior) | fixed
    weights, sd = bundle.files[WEIGHTS_NAME], made.facts.quantity.sd
    return check_mechanism_parity(posterior, truncated, made.facts.encoders, declared, honest | (graphs or {}), weights, arrays, sd)


def added(made: Made, name: str, output: str, value: float) -> dict[str, bytes]:
    """The graph with a number added to one of its outputs."""
    bundle = read_bundle(made.written.folder)
    model = onnx.load_from_string(bundle.files[bundle.manifest.signatures[name].graph])
    for node in model.graph.node:
        node.output[:] = [f"{each}.before" if each == output else each for each in node.output]
        node.input[:] = [f"{each}.before" if each == output else each for each in node.input]
    model.graph.initializer.append(numpy_helper.from_array(np.array(value), "off"))
    model.graph.node.append(helper.make_node("Add", [f"{output}.before", "off"], [output]))
    onnx.checker.check_model(model)
    return {name: model.SerializeToString()}


def test_honest_graphs_agree_far_better_than_they_must(made: Made) -> None:
    assert check(made).worst < EXACT / 10


@pytest.mark.parametrize("output", ["part_mean", "part_covariance", "factor", "factor_variance", "total_mean", "total_variance"])
@pytest.mark.parametrize("name", ["predict.uint8", "predict.float32"])
def test_every_output_that_is_off_is_found(made: Made, name: str, output: str) -> None:
    with pytest.raises(ParityError, match=rf"{name}: {output} differs"):
        check(made, added(made, name, output, 1e-7))


@pytest.mark.parametrize("output", ["rows", "prior", "factor"])
def test_prior_covariances_that_are_off_are_found(made: Made, output: str) -> None:
    with pytest.raises(ParityError, match=f"rows: {output} of"):
        check(made, added(made, "rows", output, 1e-7))


def test_a_posterior_that_is_not_the_references_is_found(made: Made) -> None:
    posterior = made.fitted.posterior
    with pytest.raises(ParityError, match="part_mean"):
        check(made, alpha=posterior.alpha * (1 + 1e-6))
    with pytest.raises(ParityError, match="covariance"):
        check(made, inverse=posterior.inverse * (1 + 1e-6))


def test_nan_is_found(made: Made) -> None:
    with pytest.raises(ParityError, match="nan"):
        check(made, alpha=np.full_like(made.fitted.posterior.alpha, np.nan))


def test_a_low_rank_that_says_less_than_it_changes_is_found(made: Made) -> None:
    posterior = made.fitted.posterior
    left_out = np.arange(len(posterior.latents))[:, None] < len(posterior.latents) - 1
    arrays = posterior_arrays(posterior)
    loading, half = arrays["inverse"] * left_out, arrays["gauge_half"] * left_out  # a root without its last row
    with pytest.raises(ParityError, match="covariance"):
        check(made, truncated=LowRank(loading, half, 1e-9), inverse=loading, gauge_half=half)
    check(made, truncated=LowRank(loading, half, 1.0), inverse=loading, gauge_half=half)  # which says enough


def test_a_graph_whose_rows_touch_each_other_is_found(made: Made) -> None:
    """A little of the batch's greatest answer is added to each: less than the reference is compared by, more than two batches may differ by."""
    bundle = read_bundle(made.written.folder)
    inputs = examples(made.facts.encoders, "float32") | posterior_arrays(made.fitted.posterior)
    honest = GraphRunner(bundle.files["predict.float32.onnx"], bundle.files[WEIGHTS_NAME], ["total_mean"]).run(inputs)["total_mean"]
    little = 0.9 * EXACT * made.facts.quantity.sd / honest.max()
    model = onnx.load_from_string(bundle.files["predict.float32.onnx"])
    for node in model.graph.node:
        node.output[:] = ["total.before" if each == "total_mean" else each for each in node.output]
    axes = numpy_helper.from_array(np.array([0], np.int64), "batch")
    model.graph.initializer.extend([axes, numpy_helper.from_array(np.array(little), "little")])
    model.graph.node.extend(
        [
            helper.make_node("ReduceMax", ["total.before", "batch"], ["greatest"], keepdims=1),
            helper.make_node("Mul", ["greatest", "little"], ["leak"]),
            helper.make_node("Add", ["total.before", "leak"], ["total_mean"]),
        ]
    )
    with pytest.raises(ParityError, match="between a batch and the row alone"):
        check(made, {"predict.float32": model.SerializeToString()})


def test_examples_are_as_many_of_every_mechanism_and_in_its_dtype(made: Made) -> None:
    for dtype in ("uint8", "uint16", "float32"):
        found = examples(made.facts.encoders, dtype)
        assert {len(values) for values in found.values()} == {4}
        assert {name: values.dtype.name for name, values in found.items()} == {"patch": dtype, "position": "float64", "phase": "int64"}


def test_a_bundle_tells_its_parity(fitted_mechanism: FittedByCommand) -> None:
    assert 0 <= fitted_mechanism.said["parity"]["worst"] < 1e-6
