"""Classes, conditions, targets, spectra and grids over gRPC: right answers, and every misuse named with its field."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from dichroic.status import from_rpc_error
from dichroic.v1 import latent_pb2 as pb
from dichroic.wire import from_array, to_array
from tests.services.conftest import Running, running_on
from tests.toy_bundle import NDArray, Toy, write_toy
from tests.toy_family import ERRORS, Family, write_family

FAMILY = Family()
TELLING = Family(conditions=(), targets=(), source="joint", tells_classes_in_reconstruct=True, topology=("line", "circle"))
TO_SPECTRA = Family(classes=(), conditions=(), targets=(), output_kind="spectra")
SPECTRA = Family(classes=(), conditions=(), targets=(), input_kind="spectra", output_kind="spectra")
BY_TARGETS = Family(classes=(), conditions=(), draws_by_targets=True)
IMAGES = np.random.default_rng(3).random((3, 8, 8)).astype(np.float32)
CONDITIONS = np.array([[0.5, 0], [-1.5, 2], [3, 1]], np.float32)
CLASSES = np.array([2, 0, 1])


@pytest.fixture
async def family(tmp_path: Path) -> AsyncIterator[Running]:
    write_family(tmp_path, FAMILY)
    write_family(tmp_path, TELLING, name="telling")
    write_family(tmp_path, TO_SPECTRA, name="to_spectra")
    write_family(tmp_path, SPECTRA, name="spectra")
    write_family(tmp_path, BY_TARGETS, name="by_targets")
    write_toy(tmp_path, Toy())
    async with running_on(tmp_path) as running:
        yield running


def asked(kind: Any, model: str, **fields: Any) -> Any:
    """A request; numpy arrays become the wire's."""
    return kind(model_name=model, **{name: to_array(value) if isinstance(value, np.ndarray) else value for name, value in fields.items()})


def read(response: Any, name: str) -> NDArray:
    return from_array(getattr(response, name), field=name)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
async def test_encode_tells_content_by_conditions_and_the_classes(family: Running, dtype: str) -> None:
    images = IMAGES if dtype == "float32" else (IMAGES * 255).astype(np.uint8)
    response = await family.latent.Encode(asked(pb.EncodeRequest, "family", images=images, conditions=CONDITIONS))
    np.testing.assert_allclose(read(response, "content"), FAMILY.content(images, CONDITIONS), atol=1e-4)
    np.testing.assert_allclose(read(response, "class_probabilities"), FAMILY.probabilities(images), atol=1e-5)
    index = read(response, "class_index")
    assert (index.dtype, index.tolist()) == (np.int64, FAMILY.probabilities(images).argmax(axis=1).tolist())


async def test_a_model_without_classes_tells_none(family: Running) -> None:
    response = await family.latent.Encode(asked(pb.EncodeRequest, "toy", images=IMAGES))
    assert not response.class_probabilities.data
    assert not response.class_index.data
    seen = await family.latent.Reconstruct(asked(pb.ReconstructRequest, "toy", images=IMAGES))
    assert not seen.class_index.data
    assert not seen.p_value.data, "this bundle stores no held-out errors"


async def test_decode_draws_the_class_and_the_conditions(family: Running) -> None:
    content = np.array([[1, 2], [0, 0], [-1, 0.5]], np.float32)
    response = await family.latent.Decode(asked(pb.DecodeRequest, "family", content=content, class_index=CLASSES, conditions=CONDITIONS))
    np.testing.assert_allclose(read(response, "images"), FAMILY.decode(content, CLASSES, CONDITIONS), atol=1e-4)
    response = await family.latent.Decode(asked(pb.DecodeRequest, "telling", class_index=CLASSES))
    np.testing.assert_allclose(read(response, "images"), TELLING.decode(np.zeros((3, 2), np.float32), CLASSES), atol=1e-4)


async def test_decode_and_its_grid_draw_what_has_the_targets(family: Running) -> None:
    content, targets = np.array([[1, 2], [0, 0]], np.float32), np.array([[0.5, -1], [2, 3]], np.float32)
    response = await family.latent.Decode(asked(pb.DecodeRequest, "by_targets", content=content, targets=targets))
    np.testing.assert_allclose(read(response, "images"), BY_TARGETS.decode(content, targets=targets), atol=1e-4)
    grid = {"axis_2": 1, "count_1": 2, "count_2": 3, "targets": targets[:1]}
    response = await family.latent.DecodeManifold(asked(pb.DecodeManifoldRequest, "by_targets", **grid))
    at = np.stack(np.meshgrid(read(response, "values_1"), read(response, "values_2"), indexing="ij"), axis=-1).reshape(-1, 2)
    expected = BY_TARGETS.decode(at, targets=np.repeat(targets[:1], 6, axis=0))
    np.testing.assert_allclose(read(response, "images").reshape(6, 8, 8), expected, atol=1e-4)


@pytest.mark.parametrize(("model", "toy"), [("family", FAMILY), ("telling", TELLING)])
async def test_reconstruct_tells_p_value_and_classes_whether_its_graph_does_or_not(family: Running, model: str, toy: Family) -> None:
    images = np.stack([np.full((8, 8), 2 * np.sqrt(error)) for error in (0.0, 0.05, 0.105, 0.2, 0.3)]).astype(np.float32)
    fields = {"conditions": np.zeros((5, 2), np.float32)} if toy.conditions else {}
    response = await family.latent.Reconstruct(asked(pb.ReconstructRequest, model, images=images, **fields))
    # 21 held-out errors from 0 to 0.2: so many are at least as large; between two of them, a share.
    np.testing.assert_allclose(read(response, "error"), [0.0, 0.05, 0.105, 0.2, 0.3], atol=1e-6)
    np.testing.assert_allclose(read(response, "p_value"), np.array([22, 17, 11.5, 2, 1]) / 22, atol=1e-4)
    np.testing.assert_allclose(read(response, "class_probabilities"), toy.probabilities(images), atol=1e-5)
    assert read(response, "class_index").tolist() == toy.probabilities(images).argmax(axis=1).tolist()
    assert len(ERRORS) == 21


async def test_classify_and_regress_answer_with_names_and_units(family: Running) -> None:
    response = await family.latent.Classify(asked(pb.ClassifyRequest, "family", images=IMAGES, frame_id="f", acquisition_time_unix_ns=7))
    np.testing.assert_allclose(read(response, "class_probabilities"), FAMILY.probabilities(IMAGES), atol=1e-5)
    assert read(response, "class_index").tolist() == FAMILY.probabilities(IMAGES).argmax(axis=1).tolist()
    assert list(response.class_names) == ["heart", "spade", "club"]
    assert (response.frame_id, response.acquisition_time_unix_ns, response.model.name) == ("f", 7, "family")
    response = await family.latent.Regress(asked(pb.RegressRequest, "family", images=IMAGES, frame_id="f"))
    np.testing.assert_allclose(read(response, "target_mean"), FAMILY.target_mean(IMAGES), atol=1e-4)
    np.testing.assert_allclose(read(response, "target_sd"), np.abs(FAMILY.target_mean(IMAGES)) + 0.5, atol=1e-4)
    assert (list(response.names), list(response.units), response.frame_id) == (["strain", "dose"], ["%", "e/nm^2"], "f")


async def test_spectra_go_in_and_come_out(family: Running) -> None:
    spectra = np.random.default_rng(1).random((4, 10)).astype(np.float32)
    response = await family.latent.Encode(asked(pb.EncodeRequest, "spectra", spectra=spectra))
    np.testing.assert_allclose(read(response, "content"), SPECTRA.content(spectra), atol=1e-4)
    response = await family.latent.Reconstruct(asked(pb.ReconstructRequest, "spectra", spectra=spectra))
    np.testing.assert_allclose(read(response, "reconstruction"), spectra / 2, atol=1e-6)
    content = np.array([[1, 2]], np.float32)
    for model, toy in (("spectra", SPECTRA), ("to_spectra", TO_SPECTRA)):
        response = await family.latent.Decode(asked(pb.DecodeRequest, model, content=content))
        np.testing.assert_allclose(read(response, "spectra"), toy.decode(content), atol=1e-4)
        assert not response.images.data


async def test_a_manifold_is_the_grid_that_decode_would_give_value_by_value(family: Running) -> None:
    fixed = {"class_index": np.array([1]), "conditions": CONDITIONS[:1]}
    response = await family.latent.DecodeManifold(
        asked(pb.DecodeManifoldRequest, "family", axis_1=1, axis_2=0, count_1=3, count_2=5, low_2=-1.0, high_2=1.0, spacing="value", **fixed)
    )
    down, right, images = read(response, "values_1"), read(response, "values_2"), read(response, "images")
    np.testing.assert_allclose(down, [-1.644854, 0, 1.644854], atol=1e-5)
    np.testing.assert_allclose(right, [-1, -0.5, 0, 0.5, 1])
    assert images.shape == (3, 5, 8, 8)
    for row, column in np.ndindex(3, 5):
        content = np.array([[right[column], down[row]]], np.float32)
        np.testing.assert_allclose(images[row, column], FAMILY.decode(content, np.array([1]), CONDITIONS[:1])[0], atol=1e-4)


async def test_a_manifold_is_spaced_by_quantiles_and_goes_round_a_circle_once(family: Running) -> None:
    response = await family.latent.DecodeManifold(
        asked(pb.DecodeManifoldRequest, "telling", axis_2=1, count_1=5, count_2=4, class_index=np.array([0]))
    )
    np.testing.assert_allclose(read(response, "values_1"), [-1.644854, -0.59776, 0, 0.59776, 1.644854], atol=1e-5)
    np.testing.assert_allclose(read(response, "values_2"), [-np.pi, -np.pi / 2, 0, np.pi / 2], atol=1e-6)
    response = await family.latent.DecodeManifold(asked(pb.DecodeManifoldRequest, "to_spectra", axis_2=1, count_1=2, count_2=3))
    assert read(response, "spectra").shape == (2, 3, 10)


GOOD = {"images": IMAGES, "conditions": CONDITIONS}
LATENT = {"content": np.zeros((3, 2), np.float32), "class_index": CLASSES, "conditions": CONDITIONS}
GRID = {"axis_1": 0, "axis_2": 1, "count_1": 3, "count_2": 3, "class_index": CLASSES[:1], "conditions": CONDITIONS[:1]}
TENSOR, FIELD, LACKING = "INVALID_TENSOR", "INVALID_FIELD", "UNSUPPORTED_CAPABILITY"


def without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


def changed(values: NDArray, at: Any, value: float) -> NDArray:
    copy = values.copy()
    copy[at] = value
    return copy


NO_CLASS_GRID = {name: value for name, value in GRID.items() if name not in ("class_index", "conditions")}

# method, model, fields, reason, field, row, words of the message
BAD: dict[str, tuple[str, str, dict[str, Any], str, str, int | None, str]] = {
    "conditions missing": ("Encode", "family", without(GOOD, "conditions"), TENSOR, "conditions", None, "voltage [V], phase (3 categories)"),
    "conditions missing in reconstruct": ("Reconstruct", "family", without(GOOD, "conditions"), TENSOR, "conditions", None, "missing"),
    "conditions missing in decode": ("Decode", "family", without(LATENT, "conditions"), TENSOR, "conditions", None, "missing"),
    "conditions missing in a grid": ("DecodeManifold", "family", without(GRID, "conditions"), TENSOR, "conditions", None, "missing"),
    "conditions extra": ("Encode", "toy", GOOD, TENSOR, "conditions", None, "has none"),
    "conditions extra in decode": ("Decode", "toy", without(LATENT, "class_index"), TENSOR, "conditions", None, "has none"),
    "conditions of another count": ("Encode", "family", GOOD | {"conditions": CONDITIONS[:, :1]}, TENSOR, "conditions", None, "(n, 2)"),
    "conditions of one axis": ("Encode", "family", GOOD | {"conditions": CONDITIONS[0]}, TENSOR, "conditions", None, "(n, 2)"),
    "conditions of float64": ("Encode", "family", GOOD | {"conditions": CONDITIONS.astype(float)}, TENSOR, "conditions", None, "float64"),
    "conditions of other rows": ("Encode", "family", GOOD | {"conditions": CONDITIONS[:2]}, TENSOR, "conditions", None, "2 rows"),
    "a condition is NaN": ("Encode", "family", GOOD | {"conditions": changed(CONDITIONS, (1, 0), np.nan)}, TENSOR, "conditions", 1, "NaN"),
    "category above": ("Encode", "family", GOOD | {"conditions": changed(CONDITIONS, (2, 1), 3)}, TENSOR, "conditions", 2, "2 mixed"),
    "category below": ("Decode", "family", LATENT | {"conditions": changed(CONDITIONS, (1, 1), -1)}, TENSOR, "conditions", 1, "phase of row 1"),
    "category between": ("Encode", "family", GOOD | {"conditions": changed(CONDITIONS, (0, 1), 0.5)}, TENSOR, "conditions", 0, "0.5"),
    "category NaN": ("Encode", "family", GOOD | {"conditions": changed(CONDITIONS, (0, 1), np.nan)}, TENSOR, "conditions", 0, "nan"),
    "targets missing": ("Decode", "by_targets", {"content": np.zeros((2, 2), np.float32)}, TENSOR, "targets", None, "strain [%]"),
    "targets missing in a grid": ("DecodeManifold", "by_targets", NO_CLASS_GRID, TENSOR, "targets", None, "missing"),
    "targets too few": ("Decode", "by_targets", {"targets": np.zeros((2, 1), np.float32)}, TENSOR, "targets", None, "(n, 2)"),
    "targets NaN": ("Decode", "by_targets", {"targets": np.array([[0, 1], [0, np.nan]], np.float32)}, TENSOR, "targets", 1, "NaN"),
    "targets where none are drawn by": ("Decode", "family", LATENT | {"targets": CONDITIONS}, TENSOR, "targets", None, "does not draw by them"),
    "targets of a model without": ("Decode", "toy", {"targets": CONDITIONS}, TENSOR, "targets", None, "has no targets"),
    "class missing": ("Decode", "family", without(LATENT, "class_index"), TENSOR, "class_index", None, "heart, spade, club"),
    "class missing in a grid": ("DecodeManifold", "family", without(GRID, "class_index"), TENSOR, "class_index", None, "missing"),
    "class too high": ("Decode", "family", LATENT | {"class_index": np.array([0, 3, 1])}, TENSOR, "class_index", 1, "0 to 2"),
    "class below 0": ("Decode", "family", LATENT | {"class_index": np.array([0, 1, -1])}, TENSOR, "class_index", 2, "-1"),
    "class of a classless model": ("Decode", "toy", without(LATENT, "conditions"), TENSOR, "class_index", None, "no classes"),
    "class of float32": ("Decode", "family", LATENT | {"class_index": np.zeros(3, np.float32)}, TENSOR, "class_index", None, "int64"),
    "class of two axes": ("Decode", "family", LATENT | {"class_index": CLASSES[None]}, TENSOR, "class_index", None, "(n,)"),
    "class of other rows": ("Decode", "family", LATENT | {"class_index": CLASSES[:2]}, TENSOR, "class_index", None, "2 rows"),
    "class of no rows": ("Decode", "telling", {"class_index": CLASSES[:0]}, TENSOR, "class_index", None, "one row"),
    "a pose without one": ("Decode", "family", LATENT | {"angle_rad": np.zeros(3, np.float32)}, TENSOR, "angle_rad", None, "no pose"),
    "axes equal": ("DecodeManifold", "family", GRID | {"axis_2": 0}, FIELD, "axis_2", None, "both 0"),
    "axis too high": ("DecodeManifold", "family", GRID | {"axis_2": 2}, FIELD, "axis_2", None, "0 to 1"),
    "axis below 0": ("DecodeManifold", "family", GRID | {"axis_1": -1}, FIELD, "axis_1", None, "0 to 1"),
    "no count": ("DecodeManifold", "family", GRID | {"count_1": 0}, FIELD, "count_1", None, "2 steps"),
    "count of 1": ("DecodeManifold", "family", GRID | {"count_2": 1}, FIELD, "count_2", None, "2 steps"),
    "too many": ("DecodeManifold", "family", GRID | {"count_1": 65, "count_2": 64}, FIELD, "count_1", None, "4096"),
    "very many": ("DecodeManifold", "family", GRID | {"count_1": 2**62, "count_2": 2**62}, FIELD, "count_1", None, "4096"),
    "low above high": ("DecodeManifold", "family", GRID | {"low_1": 1.0, "high_1": -1.0}, FIELD, "low_1", None, "below"),
    "low NaN": ("DecodeManifold", "family", GRID | {"low_2": float("nan"), "high_2": 1.0}, FIELD, "low_2", None, "finite"),
    "beyond quantiles": ("DecodeManifold", "family", GRID | {"low_2": -40.0, "high_2": 40.0}, FIELD, "low_2", None, "spacing 'value'"),
    "unknown spacing": ("DecodeManifold", "family", GRID | {"spacing": "log"}, FIELD, "spacing", None, "quantile, value"),
    "fixed of two rows": ("DecodeManifold", "family", GRID | {"conditions": CONDITIONS[:2]}, TENSOR, "conditions", None, "send one"),
    "fixed NaN": ("DecodeManifold", "family", GRID | {"conditions": np.array([[np.nan, 0]], np.float32)}, TENSOR, "conditions", 0, "NaN"),
    "fixed class too high": ("DecodeManifold", "family", GRID | {"class_index": np.array([3])}, TENSOR, "class_index", 0, "0 to 2"),
    "fixed content too wide": ("DecodeManifold", "family", GRID | {"content": np.zeros((1, 9), np.float32)}, TENSOR, "content", None, "(n, 2)"),
    "a wide fixed row": ("DecodeManifold", "family", GRID | {"conditions": np.zeros((1, 99_999), np.float32)}, TENSOR, "conditions", None, "(n, 2)"),
    "classify without a classifier": ("Classify", "telling", {"images": IMAGES}, LACKING, "", None, "classify"),
    "classify without classes": ("Classify", "toy", {"images": IMAGES}, LACKING, "", None, "classify"),
    "regress without targets": ("Regress", "telling", {"images": IMAGES}, LACKING, "", None, "regress"),
    "reconstruct to another kind": ("Reconstruct", "to_spectra", {"images": IMAGES}, LACKING, "", None, "reconstruct"),
    "spectra to a model of images": ("Encode", "toy", {"spectra": IMAGES[0]}, TENSOR, "spectra", None, "takes images"),
    "images to a model of spectra": ("Encode", "spectra", {"images": IMAGES}, TENSOR, "images", None, "takes spectra"),
    "both": ("Encode", "toy", {"images": IMAGES, "spectra": IMAGES[0]}, TENSOR, "spectra", None, "takes images"),
    "neither": ("Classify", "family", {}, TENSOR, "images", None, "missing"),
    "no spectra": ("Encode", "spectra", {}, TENSOR, "spectra", None, "missing"),
    "spectra of uint8": ("Encode", "spectra", {"spectra": np.zeros((2, 10), np.uint8)}, TENSOR, "spectra", None, "float32"),
    "spectra too long": ("Encode", "spectra", {"spectra": np.zeros((2, 11), np.float32)}, TENSOR, "spectra", None, "(n, 10)"),
    "spectra to a classifier": ("Classify", "family", {"spectra": IMAGES[0]}, TENSOR, "spectra", None, "takes images"),
}


async def test_bad_input_is_named_and_the_service_keeps_answering(family: Running) -> None:
    """All cases against one server: loading it takes far longer than they do."""
    wrong = {}
    for case, (method, model, fields, reason, field, row, words) in BAD.items():
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await getattr(family.latent, method)(asked(getattr(pb, f"{method}Request"), model, **fields))
        found = from_rpc_error(error.value)
        if (found.reason, found.field, found.row) != (reason, field, row) or words not in found.message:
            wrong[case] = (found.reason, found.field, found.row, found.message)
        response = await family.latent.Encode(asked(pb.EncodeRequest, "family", **GOOD))
        np.testing.assert_allclose(read(response, "content"), FAMILY.content(IMAGES, CONDITIONS), atol=1e-4)
    assert wrong == {}


async def test_a_grid_needs_two_content_latents(tmp_path: Path) -> None:
    one = replace(FAMILY, conditions=(), targets=(), classes=())
    write_family(tmp_path, one, latent=one.section(content_size=1, latent_names=("content_1",)))
    async with running_on(tmp_path) as running:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await running.latent.DecodeManifold(asked(pb.DecodeManifoldRequest, "family", axis_2=1, count_1=2, count_2=2))
    assert from_rpc_error(error.value).reason == LACKING
