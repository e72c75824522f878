"""Classes, conditions, targets, spectra and grids, by both clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dichroic.errors import InternalError, InvalidFieldError, InvalidTensorError, UnsupportedCapabilityError
from dichroic.wire import from_array
from tests.dichroic.fake_server import FakeServer

IMAGES = np.arange(5 * 16, dtype=np.float32).reshape(5, 4, 4)
MEANS = IMAGES.mean(axis=(1, 2))


def test_classes_come_with_encode_and_reconstruct_and_none_without(client: Any, server: FakeServer) -> None:
    assert client.encode("toy", IMAGES).class_index is None
    assert client.reconstruct("toy", IMAGES).class_probabilities is None
    server.classes = 3
    for found in (client.encode("toy", IMAGES), client.reconstruct("toy", IMAGES)):
        assert found.class_index.tolist() == [0, 1, 2, 0, 1]
        assert found.class_index.dtype == np.int64
        assert found.class_probabilities.shape == (5, 3)


def test_reconstruct_answers_the_p_value_where_it_is_calibrated(client: Any, server: FakeServer) -> None:
    np.testing.assert_allclose(client.reconstruct("toy", IMAGES).p_value, 1 / (1 + MEANS), rtol=1e-6)
    server.calibrated = False
    assert client.reconstruct("toy", IMAGES).p_value is None


def test_classify_answers_over_several_messages_in_order(connect: Callable[..., Any], server: FakeServer) -> None:
    server.classes = 2
    found = connect(server.address, message_bytes=128).classify("toy", IMAGES, frame_id="f", acquisition_time_unix_ns=4)
    assert len(server.asked("Classify")) == 3
    assert found.class_index.tolist() == [0, 1, 0, 1, 0]
    assert (found.class_names, found.frame_id, found.acquisition_time_unix_ns) == (("class_0", "class_1"), "f", 4)
    assert found.class_probabilities.shape == (5, 2)


def test_regress_answers_mean_sd_names_and_units(client: Any) -> None:
    found = client.regress("toy", IMAGES)
    np.testing.assert_allclose(found.target_mean[:, 0], MEANS)
    assert (found.target_sd.tolist(), found.names, found.units) == ([[0.5]] * 5, ("strain",), ("%",))


def test_conditions_are_repeated_or_cut_with_their_rows(connect: Callable[..., Any], server: FakeServer) -> None:
    client = connect(server.address, message_bytes=128)
    client.encode("toy", IMAGES, conditions=np.arange(10).reshape(5, 2))
    requests = server.asked("Encode")
    assert len(requests) > 1
    for request in requests:  # in whatever order they came: row i's conditions are 2 i and 2 i + 1, its first pixel 16 i
        images, conditions = (from_array(array, field="") for array in (request.images, request.conditions))
        np.testing.assert_array_equal(conditions, images[:, 0, :2] / 8 + [0, 1 - 1 / 8])
        assert conditions.dtype == np.float32
    rows = [row[0] for request in requests for row in from_array(request.conditions, field="")]
    assert sorted(rows) == [0, 2, 4, 6, 8], "every row once"
    client.reconstruct("toy", IMAGES[:2], conditions=[1, 2])
    assert {tuple(row) for request in server.asked("Reconstruct") for row in from_array(request.conditions, field="")} == {(1, 2)}


def test_spectra_are_sent_in_place_of_images(client: Any, server: FakeServer) -> None:
    spectra = np.arange(8).reshape(2, 4)
    np.testing.assert_array_equal(client.encode("toy", spectra=spectra).content[:, 0], spectra.mean(axis=1))
    np.testing.assert_array_equal(client.reconstruct("toy", spectra=list(spectra)).reconstruction, spectra)
    client.regress("toy", spectra=spectra)
    server.classes = 2
    assert len(client.classify("toy", spectra=spectra).class_index) == 2
    request = server.asked("Encode")[0]
    assert (list(request.spectra.shape), list(request.images.shape)) == ([2, 4], [])


def test_decode_and_a_grid_send_targets_for_every_row(client: Any, server: FakeServer) -> None:
    client.decode("toy", content=[[1.0], [2.0]], targets=[0.5, 3])
    sent = from_array(server.asked("Decode")[0].targets, field="")
    assert (sent.tolist(), sent.dtype) == ([[0.5, 3], [0.5, 3]], np.float32)
    client.decode_manifold("toy", targets=[4.0])
    assert from_array(server.asked("DecodeManifold")[0].targets, field="").tolist() == [[4.0]]
    with pytest.raises(InvalidTensorError, match=r"\(n, t\) or \(t,\)"):
        client.decode("toy", targets=2.0)


def test_decode_sends_class_and_conditions_and_takes_spectra(client: Any, server: FakeServer) -> None:
    client.decode("toy", content=[[1.0], [2.0]], class_index=3, conditions=[0.5])
    request = server.asked("Decode")[0]
    index = from_array(request.class_index, field="")
    assert (index.tolist(), index.dtype) == ([3, 3], np.int64)
    assert from_array(request.conditions, field="").tolist() == [[0.5], [0.5]]
    server.gives_spectra = True
    found = client.decode("toy", content=[[1.0], [2.0]])
    assert found.images is None
    assert found.spectra.tolist() == [[1.0] * 4, [2.0] * 4]


def test_a_grid_is_asked_for_and_comes_in_its_shape(client: Any, server: FakeServer) -> None:
    found = client.decode_manifold(
        "toy", axes=(2, 0), counts=(2, 3), range_2=(-1, 1), spacing="value", class_index=1, conditions=[4, 5], angle_rad=0.5, version=3
    )
    assert found.images[1, 2, 0, 0] == 12
    assert (found.images.shape, found.values_1.tolist(), len(found.values_2), found.spectra) == ((2, 3, 4, 4), [0, 1], 3, None)
    found.images[:] = 0
    request = server.asked("DecodeManifold")[0]
    assert (request.axis_1, request.axis_2, request.count_1, request.count_2, request.model_version) == (2, 0, 2, 3, 3)
    assert (request.low_1, request.high_1, request.low_2, request.high_2, request.spacing) == (0, 0, -1, 1, "value")
    assert from_array(request.class_index, field="").tolist() == [1]
    assert from_array(request.conditions, field="").tolist() == [[4, 5]]
    assert from_array(request.angle_rad, field="").tolist() == [0.5]
    server.rows_short = 1
    with pytest.raises(InternalError, match="no grid"):
        client.decode_manifold("toy")


REFUSED: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "neither": (lambda client: client.encode("toy"), InvalidFieldError, "neither is given"),
    "both": (lambda client: client.classify("toy", IMAGES, spectra=IMAGES[0]), InvalidFieldError, "both are given"),
    "one spectrum": (lambda client: client.encode("toy", spectra=IMAGES[0, 0]), InvalidTensorError, "batch axis"),
    "spectra of text": (lambda client: client.encode("toy", spectra=np.array([["a"]])), InvalidTensorError, "real numbers"),
    "no spectra": (lambda client: client.encode("toy", spectra=np.zeros((0, 4))), InvalidTensorError, "nothing in them"),
    "NaN": (lambda client: client.encode("toy", spectra=[np.zeros(3), np.array([0, np.nan, 0])]), InvalidTensorError, "row 1"),
    "unequal spectra": (lambda client: client.encode("toy", spectra=[np.zeros(3), np.zeros(4)]), InvalidTensorError, "spectra of one shape"),
    "conditions of other rows": (lambda client: client.encode("toy", IMAGES, conditions=np.zeros((4, 2))), InvalidTensorError, "differ in rows"),
    "conditions of three axes": (lambda client: client.encode("toy", IMAGES, conditions=np.zeros((5, 2, 1))), InvalidTensorError, r"\(n, k\)"),
    "class 0.5": (lambda client: client.decode("toy", class_index=0.5), InvalidTensorError, "whole numbers"),
    "class -1": (lambda client: client.decode("toy", class_index=[0, -1]), InvalidTensorError, "from 0"),
    "class of other rows": (lambda client: client.decode("toy", class_index=[0, 1], scale=[1, 1, 1]), InvalidTensorError, "differ in rows"),
    "two rows in a grid": (lambda client: client.decode_manifold("toy", class_index=[0, 1]), InvalidTensorError, "give one"),
    "a range of no length": (lambda client: client.decode_manifold("toy", range_1=(0, 0)), InvalidFieldError, "range_1"),
    "a range upside down": (lambda client: client.decode_manifold("toy", range_2=(1, -1)), InvalidFieldError, "range_2"),
    "an axis below 0": (lambda client: client.decode_manifold("toy", axes=(0, -1)), InvalidFieldError, "axis_2 is -1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_refused_before_it_is_sent(client: Any, server: FakeServer, case: str) -> None:
    call, kind, words = REFUSED[case]
    with pytest.raises(kind, match=words):
        call(client)
    assert server.seen == []


def test_what_the_model_lacks_is_said_as_the_server_names_it(client: Any, server: FakeServer) -> None:
    server.failures["Classify"] = [UnsupportedCapabilityError("has no classify")]
    with pytest.raises(UnsupportedCapabilityError, match="has no classify"):
        client.classify("toy", IMAGES)
