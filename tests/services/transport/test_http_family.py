"""The same calls over HTTP/JSON, and the grid as a picture that any reader of PNG takes."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dichroic import AsyncClient
from dichroic.errors import InvalidTensorError
from dichroic.v1 import latent_pb2 as pb
from services.latent.answers import Identity, Manifold
from services.transport.png import manifold_png, write_png
from tests.services.conftest import Running, running_on
from tests.services.transport.test_grpc_family import BY_TARGETS, CONDITIONS, FAMILY, IMAGES, TO_SPECTRA, asked, read
from tests.toy_bundle import NDArray
from tests.toy_family import write_family

PICTURE = {"Accept": "image/png"}
GRID = {"count_1": 2, "count_2": 3, "class_index": [1], "conditions": CONDITIONS[:1].tolist()}


@pytest.fixture
async def family(tmp_path: Path) -> AsyncIterator[Running]:
    write_family(tmp_path, FAMILY)
    write_family(tmp_path, TO_SPECTRA, name="to_spectra")
    write_family(tmp_path, BY_TARGETS, name="by_targets")
    async with running_on(tmp_path) as running:
        yield running


def read_png(data: bytes) -> tuple[NDArray, dict[str, Any]]:
    """Pixels and the text of a PNG, every checksum looked at: a reader of its own, as the standard says."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        content = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length]) == (zlib.crc32(kind + content),)
        chunks[kind] = content
        at += 12 + length
    assert list(chunks) == [b"IHDR", b"tEXt", b"IDAT", b"IEND"]
    width, height, bits, colour, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (bits, rest) == (8, [0, 0, 0])
    channels = {0: 1, 2: 3}[colour]
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + width * channels)
    assert not lines[:, 0].any()
    keyword, _, text = chunks[b"tEXt"].partition(b"\0")
    assert keyword == b"dichroic"
    return lines[:, 1:].reshape((height, width, 3) if channels == 3 else (height, width)), json.loads(text) if text else {}


async def post(running: Running, path: str, body: dict[str, Any], **headers: str) -> Any:
    return await running.http.post(f"/v1/models/{path}", json=body, headers=headers)


async def test_every_call_answers_as_its_toy_says(family: Running) -> None:
    images, conditions = IMAGES.tolist(), CONDITIONS.tolist()
    found = (await post(family, "family/encode", {"images": images, "conditions": conditions})).json()
    np.testing.assert_allclose(found["content"], FAMILY.content(IMAGES, CONDITIONS), atol=1e-4)
    classes = FAMILY.probabilities(IMAGES).argmax(axis=1).tolist()
    assert found["class_index"] == classes
    found = (await post(family, "family/classify", {"images": images, "frame_id": "f"})).json()
    np.testing.assert_allclose(found["class_probabilities"], FAMILY.probabilities(IMAGES), atol=1e-5)
    assert (found["class_index"], found["class_names"], found["frame_id"]) == (classes, ["heart", "spade", "club"], "f")
    found = (await post(family, "family/regress", {"images": images})).json()
    np.testing.assert_allclose(found["target_mean"], FAMILY.target_mean(IMAGES), atol=1e-4)
    assert (found["names"], found["units"]) == (["strain", "dose"], ["%", "e/nm^2"])
    found = (await post(family, "family/reconstruct", {"images": images, "conditions": conditions})).json()
    assert all(0 < p <= 1 for p in found["p_value"])
    assert found["class_index"] == classes
    found = (await post(family, "family/decode", {"class_index": [2, 0, 1], "conditions": conditions})).json()
    np.testing.assert_allclose(found["images"], FAMILY.decode(np.zeros((3, 2)), np.array([2, 0, 1]), CONDITIONS), atol=1e-4)
    assert found["spectra"] is None


async def test_the_grid_comes_as_json_or_as_a_picture_of_the_same(family: Running) -> None:
    found = (await post(family, "family/decode_manifold", GRID)).json()
    images = np.array(found["images"])
    assert images.shape == (2, 3, 8, 8)
    answer = await post(family, "family/decode_manifold", GRID, **PICTURE)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    pixels, told = read_png(answer.content)
    assert pixels.shape == (16, 24)
    shades = (images - images.min()) / (images.max() - images.min()) * 255
    np.testing.assert_allclose(pixels[8:16, 16:24], shades[1, 2], atol=0.6)
    np.testing.assert_allclose(pixels[0:8, 8:16], shades[0, 1], atol=0.6)
    assert told["model"] == found["model"]
    np.testing.assert_allclose(told["values_1"], found["values_1"])
    np.testing.assert_allclose([told["low"], told["high"]], [[images.min()], [images.max()]], rtol=1e-6)


TARGETS = np.array([[0.5, -1], [2, 3]], np.float32)


async def test_decode_and_its_grid_draw_what_has_the_targets_as_over_grpc(family: Running) -> None:
    content = np.array([[1, 2], [0, 0]], np.float32)
    answer = await post(family, "by_targets/decode", {"content": content.tolist(), "targets": TARGETS.tolist()})
    assert answer.status_code == 200
    over_grpc = await family.latent.Decode(asked(pb.DecodeRequest, "by_targets", content=content, targets=TARGETS))
    np.testing.assert_array_equal(np.array(answer.json()["images"], np.float32), read(over_grpc, "images"))
    np.testing.assert_allclose(answer.json()["images"], BY_TARGETS.decode(content, targets=TARGETS), atol=1e-4)

    grid = {"axis_2": 1, "count_1": 2, "count_2": 3}
    answer = await post(family, "by_targets/decode_manifold", grid | {"targets": TARGETS[:1].tolist()})
    assert answer.status_code == 200
    over_grpc = await family.latent.DecodeManifold(asked(pb.DecodeManifoldRequest, "by_targets", targets=TARGETS[:1], **grid))
    for name in ("values_1", "values_2", "images"):
        np.testing.assert_array_equal(np.array(answer.json()[name], np.float32), read(over_grpc, name))
    other = await post(family, "by_targets/decode_manifold", grid | {"targets": TARGETS[1:].tolist()})
    assert not np.allclose(other.json()["images"], answer.json()["images"])


AT = {"content": [[0, 0], [0, 0]]}
STEPS = {"count_1": 2, "count_2": 2}
# path, body, row, words of the message
BAD_TARGETS: dict[str, tuple[str, dict[str, Any], int | None, str]] = {
    "missing": ("by_targets/decode", AT, None, "float32 (n, 2): strain [%], dose [e/nm^2]. Send one row"),
    "of one row for two": ("by_targets/decode", AT | {"targets": [[0, 0]]}, None, "1 rows"),
    "of one column": ("by_targets/decode", AT | {"targets": [[0], [0]]}, None, "(n, 2)"),
    "of one axis": ("by_targets/decode", AT | {"targets": [0, 0]}, None, "(n, 2)"),
    "NaN": ("by_targets/decode", AT | {"targets": [[0, 1], [float("nan"), 0]]}, 1, "NaN"),
    "null": ("by_targets/decode", AT | {"targets": [[0, 1], [None, 0]]}, None, "not a number"),
    "of a model that tells them": ("family/decode", {"class_index": [0], "conditions": [[0, 0]], "targets": [[0, 0]]}, None, "does not draw by them"),
    "of a model without": ("to_spectra/decode", AT | {"targets": [[0, 0], [0, 0]]}, None, "has no targets"),
    "missing in a grid": ("by_targets/decode_manifold", STEPS, None, "missing"),
    "of two rows in a grid": ("by_targets/decode_manifold", STEPS | {"targets": [[0, 0], [0, 0]]}, None, "2 rows"),
    "of one column in a grid": ("by_targets/decode_manifold", STEPS | {"targets": [[0]]}, None, "(n, 2)"),
    "NaN in a grid": ("by_targets/decode_manifold", STEPS | {"targets": [[float("nan"), 0]]}, 0, "NaN"),
    "in a grid of a model without": ("to_spectra/decode_manifold", STEPS | {"targets": [[0, 0]]}, None, "has no targets"),
}


@pytest.mark.parametrize("case", BAD_TARGETS)
async def test_targets_that_cannot_be_drawn_by_are_named(family: Running, case: str) -> None:
    path, body, row, words = BAD_TARGETS[case]
    answer = await family.http.post(f"/v1/models/{path}", content=json.dumps(body))  # NaN too, which JSON has not and many writers send
    problem = answer.json()["error"]
    assert (answer.status_code, problem["reason"], problem["field"], problem["row"]) == (400, "INVALID_TENSOR", "targets", row)
    assert words in problem["message"]


@pytest.mark.parametrize("call", ["encode", "reconstruct"])
async def test_client_and_http_say_the_same_of_missing_conditions(family: Running, call: str) -> None:
    expected = (
        "conditions are missing; this model needs float32 (n, 2): voltage [V], phase (3 categories). Send one row for each row of the other arrays."
    )
    answer = await post(family, f"family/{call}", {"images": IMAGES.tolist()})
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, expected)
    async with AsyncClient(f"127.0.0.1:{family.grpc.port}") as client:
        with pytest.raises(InvalidTensorError) as caught:
            await getattr(client, call)("family", IMAGES)
    assert (caught.value.field, caught.value.message) == ("conditions", expected)


BAD: dict[str, tuple[str, dict[str, Any], int, str, str]] = {
    "axes equal": ("family/decode_manifold", GRID | {"axis_2": 0}, 400, "INVALID_FIELD", "axis_2"),
    "counts missing": ("family/decode_manifold", {}, 400, "INVALID_FIELD", "count_1"),
    "too many": ("family/decode_manifold", GRID | {"count_1": 10**30}, 400, "INVALID_FIELD", "count_1"),
    "an axis beyond int64": ("family/decode_manifold", GRID | {"axis_1": 10**30}, 400, "INVALID_FIELD", "axis_1"),
    "unknown spacing": ("family/decode_manifold", GRID | {"spacing": "log"}, 400, "INVALID_FIELD", "spacing"),
    "class missing": ("family/decode", {"conditions": [[0, 0]]}, 400, "INVALID_TENSOR", "class_index"),
    "class 0.5": ("family/decode", {"class_index": [0.5], "conditions": [[0, 0]]}, 400, "INVALID_TENSOR", "class_index"),
    "class beyond int64": ("family/decode", {"class_index": [10**30], "conditions": [[0, 0]]}, 400, "INVALID_TENSOR", "class_index"),
    "category": ("family/decode", {"class_index": [0], "conditions": [[0, 7]]}, 400, "INVALID_TENSOR", "conditions"),
    "conditions missing": ("family/encode", {"images": IMAGES.tolist()}, 400, "INVALID_TENSOR", "conditions"),
    "neither images nor spectra": ("family/classify", {}, 400, "INVALID_FIELD", "images"),
    "conditions to a classifier": ("family/classify", {"images": IMAGES.tolist(), "conditions": [[0, 0]]}, 400, "INVALID_FIELD", "conditions"),
    "no classifier": ("to_spectra/classify", {"images": IMAGES.tolist()}, 501, "UNSUPPORTED_CAPABILITY", ""),
}


async def test_bad_input_is_named(family: Running) -> None:
    for case, (path, body, status, reason, field) in BAD.items():
        answer = await post(family, path, body)
        problem = answer.json()["error"]
        assert (answer.status_code, problem["reason"], problem["field"]) == (status, reason, field), case
    answer = await post(family, "to_spectra/decode_manifold", {"count_1": 2, "count_2": 2}, **PICTURE)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (501, "UNSUPPORTED_CAPABILITY")
    answer = await post(family, "to_spectra/decode_manifold", {"count_1": 2, "count_2": 2}, Accept="image/png;q=0.1, application/json")
    assert np.array(answer.json()["spectra"]).shape == (2, 2, 10)


async def test_openapi_describes_the_calls_and_the_picture(family: Running) -> None:
    paths = (await family.http.get("/openapi.json")).json()["paths"]
    for name in ("classify", "regress", "decode_manifold"):
        assert f"/v1/models/{{name}}/{name}" in paths
    grid = paths["/v1/models/{name}/decode_manifold"]["post"]
    assert {"image/png", "application/json"} <= grid["responses"]["200"]["content"].keys()
    assert "count_1" in str(grid["requestBody"])


def grid_of(images: NDArray) -> Manifold:
    steps = [np.arange(count, dtype=np.float32) for count in images.shape[:2]]
    return Manifold(Identity("toy", 1, "d"), steps[0], steps[1], images.astype(np.float32), None)


def test_three_channels_are_colours_and_others_lie_side_by_side() -> None:
    images = np.random.default_rng(0).random((2, 2, 3, 4, 3)) * [1, 10, 100]
    pixels, _ = read_png(manifold_png(grid_of(images)))
    assert pixels.shape == (6, 8, 3)
    low, high = images.min(axis=(0, 1, 2, 3)), images.max(axis=(0, 1, 2, 3))
    np.testing.assert_allclose(pixels[3:6, 0:4], (images[1, 0] - low) / (high - low) * 255, atol=0.6)
    pixels, _ = read_png(manifold_png(grid_of(images[..., :2])))
    assert pixels.shape == (6, 16)
    np.testing.assert_allclose(pixels[0:3, 12:16], ((images[..., 1] - low[1]) / (high[1] - low[1]) * 255)[0, 1], atol=0.6)


def test_an_even_grid_is_black() -> None:
    pixels, told = read_png(manifold_png(grid_of(np.full((2, 2, 3, 3), 7.0))))
    assert not pixels.any()
    assert (told["low"], told["high"]) == ([7], [7])


def test_other_software_reads_the_picture() -> None:
    image = pytest.importorskip("PIL.Image")
    import io

    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    for expected in (pixels, pixels[..., 0]):
        with image.open(io.BytesIO(write_png(expected, "words"))) as found:
            found.verify()
        with image.open(io.BytesIO(write_png(expected, "words"))) as found:
            np.testing.assert_array_equal(np.asarray(found), expected)
            assert found.text == {"dichroic": "words"}


def test_a_grid_of_spectra_makes_no_picture() -> None:
    from dichroic.errors import UnsupportedCapabilityError

    found = replace(grid_of(np.zeros((2, 2, 3, 3))), images=None, spectra=np.zeros((2, 2, 5), np.float32))
    with pytest.raises(UnsupportedCapabilityError):
        manifold_png(found)
