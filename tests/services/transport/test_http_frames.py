"""The routes of whole images: the same numbers and errors as over gRPC, in JSON; and where streams are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from tests.services.conftest import Running
from tests.services.transport.frame_server import FRAME, TOY, frame_server
from tests.services.transport.test_http_mechanism import packed
from tests.toy_frames import grid

pytestmark = pytest.mark.asyncio(loop_scope="module")
CENTRES = [[8.0, 8.5], [10.0, 9.0], [9.0, 8.0], [10.0, 8.0]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with frame_server(tmp_path_factory.mktemp("frames")) as found:
        yield found


async def ask(running: Running, route: str, status: int = 200, model: str = "frames", **body: Any) -> Any:
    answer = await running.http.post(f"/v1/models/{model}/{route}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.mark.parametrize("form", ["lists", "base64"])
async def test_a_frame_becomes_maps(running: Running, form: str) -> None:
    frame = packed(FRAME) if form == "base64" else FRAME.tolist()
    found = await ask(
        running, "encode_frame", frame=frame, window_px=[5], stride_px=2, explain=True, pixel_size_nm=3, frame_id="f", acquisition_time_unix_ns=7
    )
    assert (found["frame_id"], found["acquisition_time_unix_ns"], found["model"]["name"]) == ("f", 7, "frames")
    (told,) = found["maps"]
    centres = grid(21, 17, 5, 2)
    assert (told["window_px"], told["window_nm"], told["stage"], told["evaluated"]) == (5, 15, 2, "windows")
    np.testing.assert_allclose(told["centres_px"], centres)
    expected = TOY.encode_frame(FRAME, centres, 5, 2)
    for name, values in expected.items():
        np.testing.assert_allclose(told[name], values, atol=1e-5)
    assert told["angle_rad"] is None
    assert told["invalid_count"] == 0


async def test_arrays_come_packed_when_asked_for_and_centres_are_float64(running: Running) -> None:
    found = await ask(running, "encode_frame", frame=packed(FRAME), window_px=[4], centres_px=CENTRES, arrays="base64")
    (told,) = found["maps"]
    assert (told["content"]["dtype"], told["content"]["shape"]) == ("float32", [4, 2])
    assert told["centres_px"]["dtype"] == "float64"


async def test_what_is_not_valid_is_null(running: Running) -> None:
    frame = FRAME.copy()
    frame[0, 0] = np.nan
    found = await ask(running, "encode_frame", frame=packed(frame), window_px=[4], stride_px=8)
    (told,) = found["maps"]
    assert (told["invalid_count"], told["valid"][0], told["valid"][1]) == (1, False, True)
    assert (told["content"][0], told["class_index"][0]) == ([None, None], -1)


@pytest.mark.parametrize("typed", [False, True])
async def test_null_in_a_listed_frame_is_a_pixel_that_is_not_finite(running: Running, typed: bool) -> None:
    frame = FRAME.copy()
    frame[0, 0], frame[9, 9] = np.nan, np.nan
    listed = [[None if np.isnan(pixel) else pixel for pixel in row] for row in frame.tolist()]
    given = {"dtype": "float32", "values": listed} if typed else listed
    for route, more in (("encode_frame", {"stride_px": 3}), ("scale_spectrum", {"centres_px": CENTRES})):
        found, meant = [await ask(running, route, frame=each, window_px=[4], **more) for each in (given, packed(frame))]
        assert found == meant
    (told,) = (await ask(running, "encode_frame", frame=given, window_px=[4], stride_px=3))["maps"]
    assert (told["valid"][0], told["invalid_count"]) == (False, told["valid"].count(False))
    assert 1 < told["invalid_count"] < len(told["valid"])
    (nothing,) = (await ask(running, "encode_frame", frame=[[None] * 5] * 5, window_px=4))["maps"]
    assert not any(nothing["valid"])


@pytest.mark.parametrize("route", ["encode_frame", "scale_spectrum"])
async def test_one_window_may_be_a_number(running: Running, route: str) -> None:
    for lengths in ({"window_px": 4.5}, {"window_nm": 9, "pixel_size_nm": 2}):
        (unit,) = (name for name in lengths if name.startswith("window"))
        asked = {"frame": packed(FRAME), "centres_px": CENTRES} | lengths
        assert await ask(running, route, **asked) == await ask(running, route, **asked | {unit: [lengths[unit]]})


async def test_a_spectrum_with_labels(running: Running) -> None:
    found = await ask(running, "scale_spectrum", frame=packed(FRAME), centres_px=CENTRES, labels=[0, 1, 0, 1], window_nm=[8, 16], pixel_size_nm=2)
    assert (found["window_px"], found["window_nm"], found["stage"]) == ([4, 8], [8, 16], [1, 2])
    assert np.shape(found["content"]) == (2, 4, 2)
    assert len(found["separability"]) == 2
    without = await ask(running, "scale_spectrum", frame=packed(FRAME), centres_px=CENTRES)
    assert (without["separability"], without["separable_from_px"], without["window_nm"]) == (None, 0, None)


@pytest.mark.parametrize(
    ("route", "body", "field"),
    [
        pytest.param("encode_frame", {"stride_px": 0}, "stride_px", id="stride 0"),
        pytest.param("encode_frame", {"pixel_size_nm": 0, "window_nm": [8]}, "pixel_size_nm", id="pixel size 0"),
        pytest.param("encode_frame", {"window_nm": [8]}, "pixel_size_nm", id="pixel size missing"),
        pytest.param("encode_frame", {"window_px": [18]}, "window_px", id="window larger than the frame"),
        pytest.param("encode_frame", {"window_px": [0]}, "window_px", id="window of no length"),
        pytest.param("encode_frame", {"labels": [0]}, "labels", id="an unknown field"),
        pytest.param("encode_frame", {"window_px": [4, 0]}, "window_px", id="a window of no length among others"),
        pytest.param("encode_frame", {"window_px": 0}, "window_px", id="one window of no length"),
        pytest.param("encode_frame", {"window_px": "4"}, "window_px", id="a window that is text"),
        pytest.param("encode_frame", {"window_px": None}, "window_px", id="a window that is null"),
        pytest.param("encode_frame", {"frame": {"dtype": "uint8", "values": [[1, None]]}}, "frame", id="null in a frame of integers"),
        pytest.param("encode_frame", {"frame": [[0.5, None], [0.5, "1"]]}, "frame", id="text in a frame with null"),
        pytest.param("encode_frame", {"frame": [[0.5, None], [0.5]]}, "frame", id="a ragged frame with null"),
        pytest.param("encode_frame", {"frame": [[0.5, None], None]}, "frame", id="null for a row"),
        pytest.param("encode_frame", {"frame": [[0.5, None], [{}, 0.5]]}, "frame", id="an object in a frame with null"),
        pytest.param("encode_frame", {"frame": [[0.5, None], [10**30, 0.5]]}, "frame", id="more digits than 64 bits in a frame with null"),
        pytest.param("encode_frame", {"centres_px": [[8.0, None]]}, "centres_px", id="null in centres"),
        pytest.param("scale_spectrum", {}, "centres_px", id="no points"),
        pytest.param("scale_spectrum", {"centres_px": CENTRES, "labels": [0, 0, 0, 0]}, "labels", id="one class"),
    ],
)
async def test_bad_input_is_refused_by_field(running: Running, route: str, body: dict[str, Any], field: str) -> None:
    error = (await ask(running, route, 400, **{"frame": packed(FRAME)} | body))["error"]
    assert error["field"] == field
    assert error["status"] == "INVALID_ARGUMENT"


async def test_a_model_without_frames_and_the_route_of_streams_answer_501(running: Running) -> None:
    error = (await ask(running, "encode_frame", 501, model="toy", frame=packed(FRAME)))["error"]
    assert (error["reason"], error["field"]) == ("UNSUPPORTED_CAPABILITY", "model_name")
    error = (await ask(running, "stream_encode", 501))["error"]
    assert error["reason"] == "UNSUPPORTED_CAPABILITY"
    assert "gRPC" in error["message"]
    await ask(running, "stream_encode", 404, model="none")
    described = (await running.http.get("/openapi.json")).json()["paths"]
    assert "gRPC" in described["/v1/models/{name}/stream_encode"]["post"]["responses"]["501"]["description"]
    for route in ("encode_frame", "scale_spectrum"):
        assert "requestBody" in described[f"/v1/models/{{name}}/{route}"]["post"]
