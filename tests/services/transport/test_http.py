"""The same answers and the same errors over HTTP/JSON."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from dichroic.v1 import latent_pb2
from dichroic.wire import from_array, to_array
from tests.services.conftest import ADMIN, SMALL, Running
from tests.toy_bundle import NDArray

IMAGES = np.random.default_rng(5).random((3, 8, 8)).astype(np.float32)


def packed(values: NDArray) -> dict[str, Any]:
    return {"dtype": values.dtype.name, "shape": list(values.shape), "data_base64": base64.b64encode(values.tobytes()).decode()}


def unpacked(given: dict[str, Any]) -> NDArray:
    return np.frombuffer(base64.b64decode(given["data_base64"]), dtype=given["dtype"]).reshape(given["shape"])


async def test_grpc_and_json_agree(running: Running) -> None:
    for values in (IMAGES, (IMAGES * 255).astype(np.uint8), (IMAGES * 65535).astype(np.uint16)):
        spoken = await running.latent.Encode(latent_pb2.EncodeRequest(model_name="toy", images=to_array(values)))
        for given in (packed(values), {"dtype": values.dtype.name, "values": values.tolist()}):
            answer = (await running.http.post("/v1/models/toy/encode", json={"images": given, "arrays": "base64"})).json()
            for name in ("angle_rad", "content", "latent_mean", "shift_down_px"):
                np.testing.assert_array_equal(unpacked(answer[name]), from_array(getattr(spoken, name), field=name))
            assert answer["scale"] is None
            assert answer["model"] == {"name": "toy", "version": 1, "digest": spoken.model.digest}


async def test_plain_lists_go_in_and_come_out(running: Running) -> None:
    body = {"images": IMAGES.tolist(), "frame_id": "f", "acquisition_time_unix_ns": 5}
    answer = (await running.http.post("/v1/models/toy/encode", json=body)).json()
    np.testing.assert_allclose(answer["latent_mean"], SMALL.latent_mean(IMAGES), atol=1e-6)
    assert (answer["frame_id"], answer["acquisition_time_unix_ns"]) == ("f", 5)


async def test_decode_and_reconstruct_answer(running: Running) -> None:
    answer = (await running.http.post("/v1/models/toy/decode", json={"content": [[1, 2]], "angle_rad": [0.5]})).json()
    np.testing.assert_allclose(answer["images"], SMALL.decode(np.array([[1, 2]]), np.array([1.5])), atol=1e-5)
    answer = (await running.http.post("/v1/models/toy/reconstruct", json={"images": [np.ones((8, 8)).tolist()]})).json()
    assert answer["novel"] == [True]
    assert answer["error"] == pytest.approx([0.25])


BAD_BODIES: dict[str, tuple[Any, str, str]] = {
    "not JSON": (b"{", "INVALID_FIELD", ""),
    "not an object": (b"[]", "INVALID_FIELD", ""),
    "unknown field": ({"images": [[[1]]], "imagess": 1}, "INVALID_FIELD", "imagess"),
    "missing field": ({}, "INVALID_FIELD", "images"),
    "negative version": ({"images": [[[1]]], "version": -1}, "INVALID_FIELD", "version"),
    "ragged": ({"images": [[[1, 2], [3]]]}, "INVALID_TENSOR", "images"),
    "text": ({"images": [[["1"]]]}, "INVALID_TENSOR", "images"),
    "null": ({"images": [[[None]]]}, "INVALID_TENSOR", "images"),
    "true": ({"images": [[[True]]]}, "INVALID_TENSOR", "images"),
    "wrong shape": ({"images": [[[1, 2], [3, 4]]]}, "INVALID_TENSOR", "images"),
    "out of dtype": ({"images": {"dtype": "uint8", "values": [[[300]]]}}, "INVALID_TENSOR", "images"),
    "fraction as integer": ({"images": {"dtype": "uint8", "values": [[[0.5]]]}}, "INVALID_TENSOR", "images"),
    "not base64": ({"images": {"dtype": "uint8", "shape": [1, 1, 1], "data_base64": "??"}}, "INVALID_TENSOR", "images"),
    "byte count": ({"images": {"dtype": "uint8", "shape": [1, 8, 8], "data_base64": "AAAA"}}, "INVALID_TENSOR", "images"),
    "huge number": ({"images": [[[1e300] * 8] * 8]}, "INVALID_TENSOR", "images"),
    "not ASCII": ({"images": {"dtype": "uint8", "shape": [1, 1, 1], "data_base64": "é"}}, "INVALID_TENSOR", "images"),
    "shape overflow": ({"images": {"dtype": "uint8", "shape": [1 << 62, 1 << 62, 0], "data_base64": ""}}, "INVALID_TENSOR", "images"),
    "shape no integer": ({"images": {"dtype": "uint8", "shape": [10**30, 0], "data_base64": ""}}, "INVALID_FIELD", "images"),
    "time no int64": ({"images": [[[1]]], "acquisition_time_unix_ns": 10**30}, "INVALID_FIELD", "acquisition_time_unix_ns"),
    "empty": ({"images": []}, "INVALID_TENSOR", "images"),
}


@pytest.mark.parametrize("case", BAD_BODIES)
async def test_a_bad_body_is_named_and_the_service_keeps_answering(running: Running, case: str) -> None:
    body, reason, field = BAD_BODIES[case]
    how = {"content": body} if isinstance(body, bytes) else {"json": body}
    answer = await running.http.post("/v1/models/toy/encode", **how)
    assert answer.status_code == 400
    problem = answer.json()["error"]
    assert (problem["reason"], problem["field"]) == (reason, field)
    assert problem["message"]
    assert (await running.http.post("/v1/models/toy/encode", json={"images": IMAGES.tolist()})).status_code == 200


async def test_a_nan_names_its_row(running: Running) -> None:
    values = IMAGES.copy()
    values[2, 0, 0] = np.nan
    problem = (await running.http.post("/v1/models/toy/encode", json={"images": packed(values)})).json()["error"]
    assert (problem["reason"], problem["row"]) == ("INVALID_TENSOR", 2)


async def test_an_oversized_body_is_413(running: Running) -> None:
    answer = await running.http.post("/v1/models/toy/encode", content=b" " * ((1 << 20) + 1))
    assert answer.status_code == 413
    assert answer.json()["error"]["reason"] == "MESSAGE_TOO_LARGE"


async def test_too_many_listed_numbers_are_413_and_packed_ones_are_not(running: Running) -> None:
    running.server.settings.__dict__["max_message_bytes"] = 1 << 25
    answer = await running.http.post("/v1/models/toy/encode", content=b'{"images": [' + b"0," * 1_000_001 + b"0]}")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (413, "MESSAGE_TOO_LARGE")
    many = np.zeros((20_000, 8, 8), dtype=np.uint8)
    answer = await running.http.post("/v1/models/toy/reconstruct", json={"images": packed(many)})
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "arrays")
    answer = await running.http.post("/v1/models/toy/reconstruct", json={"images": packed(many), "arrays": "base64"})
    assert answer.status_code == 200


async def test_a_route_that_is_not_there_has_a_reason(running: Running) -> None:
    for method, path, status in (("GET", "/v1/nothing", 404), ("GET", "/v1/models/toy/encode", 405)):
        answer = await running.http.request(method, path)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (status, "UNKNOWN_ROUTE")


async def test_bad_latents_are_400(running: Running) -> None:
    answer = await running.http.post("/v1/models/toy/decode", json={"scale": [[-1.0, 1.0]]})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "INVALID_TENSOR")


async def test_unknown_model_and_version_are_404(running: Running) -> None:
    assert (await running.http.get("/v1/models/nothing")).status_code == 404
    assert (await running.http.get("/v1/models/toy", params={"version": 9})).status_code == 404
    answer = await running.http.get("/v1/models/toy", params={"version": "x"})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "INVALID_FIELD")


async def test_a_passed_deadline_is_504(running: Running) -> None:
    answer = await running.http.post("/v1/models/toy/encode", json={"images": IMAGES.tolist(), "timeout_s": 1e-9})
    assert answer.status_code == 504


async def test_models_are_listed_and_described(running: Running) -> None:
    listed = (await running.http.get("/v1/models")).json()["models"]
    assert [(entry["model"]["name"], entry["state"], entry["is_default"]) for entry in listed] == [("large", "ready", True), ("toy", "ready", True)]
    found = (await running.http.get("/v1/models/toy")).json()
    assert found["manifest"]["latent"]["latent_names"][0] == "content_1"
    assert found["device"] == "cpu"


async def test_loading_and_unloading_need_the_admin_token(running: Running) -> None:
    assert (await running.http.post("/v1/models/toy/unload")).status_code == 401
    headers = {"Authorization": f"Bearer {ADMIN}"}
    assert (await running.http.post("/v1/models/toy/unload", headers=headers)).json()["models"][0]["version"] == 1
    answer = await running.http.post("/v1/models/toy/encode", json={"images": IMAGES.tolist()})
    assert answer.status_code == 503
    assert (await running.http.post("/v1/models/toy/load", headers=headers)).status_code == 200
    assert (await running.http.post("/v1/models/toy/encode", json={"images": IMAGES.tolist()})).status_code == 200


async def test_a_draining_server_answers_503_with_retry_after(running: Running) -> None:
    running.server.begin_draining()
    answer = await running.http.get("/v1/models")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


async def test_openapi_describes_every_route(running: Running) -> None:
    described = (await running.http.get("/openapi.json")).json()
    assert {"/v1/models", "/v1/models/{name}", "/v1/models/{name}/encode", "/v1/models/{name}/load"} <= described["paths"].keys()
    body = described["paths"]["/v1/models/{name}/encode"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "images" in str(body)
