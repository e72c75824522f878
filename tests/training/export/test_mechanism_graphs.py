from __future__ import annotations

import numpy as np
import onnxruntime

from tests.toy_mechanism import raw_latents, toy_arrays, toy_encoders
from training.export.mechanism_graphs import Standardisation, dtypes_of, encode_graph, prefixed


def test_latents_are_standardised_by_the_training_points_and_constant_ones_stay_finite() -> None:
    raw = np.random.default_rng(0).normal(3, [1e-9, 5.0, 1.0], (50, 3))
    raw[:, 0] = 7.0
    made = Standardisation.of(raw)
    z = made(raw)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(axis=0), (0, 1, 1), atol=1e-12)
    assert made.sd[0] == 1


def test_a_column_that_only_rounding_moves_counts_as_constant() -> None:
    raw = np.full((40, 1), 0.1) + np.finfo(float).eps * np.arange(40)[:, None] / 40
    assert Standardisation.of(raw).sd[0] == 1


def test_mechanisms_encode_side_by_side_in_their_order() -> None:
    encoders, arrays = toy_encoders(), toy_arrays()
    raw = raw_latents(encoders, arrays)
    standardisation = Standardisation.of(raw)
    graph = encode_graph(encoders, standardisation, "float32")
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == ["patch", "position", "phase"]
    found = session.run(None, {name: arrays[name] for name in ("patch", "position", "phase")})[0]
    np.testing.assert_allclose(found, standardisation(raw), atol=1e-12)
    assert found.dtype == np.float64


def test_without_images_there_is_one_dtype() -> None:
    encoders = toy_encoders()
    assert dtypes_of(encoders) == ("uint8", "uint16", "float32")
    assert dtypes_of(encoders[1:]) == ("float32",)


def test_names_are_prefixed_but_those_kept() -> None:
    model = toy_encoders()[2].graphs[""]
    renamed = prefixed(model, "phase.", keep={"phase"})
    names = {name for node in renamed.graph.node for name in (*node.input, *node.output)}
    assert "phase" in names
    assert all(name.startswith("phase") for name in names)
    assert {name for node in model.graph.node for name in node.output}.isdisjoint(names)  # the original is as it was
