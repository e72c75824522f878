"""EncodeFrame and ScaleSpectrum over gRPC: every field there and back, the errors of the proto, and what is counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from dichroic.status import from_rpc_error
from dichroic.v1 import frames_pb2
from dichroic.wire import from_array
from tests.services.conftest import Running
from tests.services.transport.frame_server import FRAME, TOY, filled, frame_server
from tests.services.transport.test_grpc import refused
from tests.toy_frames import NDArray, grid

pytestmark = pytest.mark.asyncio(loop_scope="module")
CENTRES = np.array([[8.0, 8.5], [10.0, 9.0], [9.0, 8.0]])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with frame_server(tmp_path_factory.mktemp("frames")) as found:
        yield found


def frame_request(arrays: dict[str, NDArray] | None = None, **fields: Any) -> Any:
    return filled(frames_pb2.EncodeFrameRequest, {"frame": FRAME} | (arrays or {}), **{"model_name": "frames"} | fields)


def spectrum_request(arrays: dict[str, NDArray] | None = None, **fields: Any) -> Any:
    return filled(frames_pb2.ScaleSpectrumRequest, {"frame": FRAME, "centres_px": CENTRES} | (arrays or {}), **{"model_name": "frames"} | fields)


def told(values: Any) -> NDArray:
    return from_array(values, field="")


async def test_a_frame_becomes_maps_with_the_place_of_every_value(running: Running) -> None:
    request = frame_request(window_nm=[8, 20], pixel_size_nm=2, stride_px=3, explain=True, frame_id="scan 7", acquisition_time_unix_ns=5)
    response = await running.latent.EncodeFrame(request)
    assert (response.model.name, response.model.version, len(response.model.digest)) == ("frames", 1, 64)
    assert (response.frame_id, response.acquisition_time_unix_ns) == ("scan 7", 5)
    assert [(each.window_px, each.window_nm, each.stage, each.evaluated) for each in response.maps] == [(4, 8, 1, "dense"), (10, 20, 2, "windows")]
    for each in response.maps:
        centres = grid(21, 17, each.window_px, 3)
        np.testing.assert_allclose(told(each.centres_px), centres)
        assert each.rows * each.columns == len(centres)
        expected = TOY.encode_frame(FRAME, centres, each.window_px, each.stage)
        for name, values in expected.items():
            np.testing.assert_allclose(told(getattr(each, name)), values, atol=1e-5, err_msg=name)
        assert told(each.class_index).tolist() == expected["class_probabilities"].argmax(axis=1).tolist()
        assert told(each.valid).all()
        assert not each.angle_rad.data
    assert response.ByteSize() > 1000


async def test_centres_and_a_stage_are_taken_and_nothing_is_explained_unasked(running: Running) -> None:
    response = await running.latent.EncodeFrame(frame_request({"centres_px": CENTRES}, window_px=[5], stage=2))
    (found,) = response.maps
    assert (found.stage, found.rows, found.columns, found.window_nm, found.explained.data) == (2, 0, 0, 0, b"")
    np.testing.assert_allclose(told(found.content), TOY.encode_frame(FRAME, CENTRES, 5, 2)["content"], atol=1e-5)


async def test_pixels_that_are_not_finite_come_back_as_nan_and_counted(running: Running) -> None:
    frame = FRAME.copy()
    frame[4, 4] = np.nan
    (found,) = (await running.latent.EncodeFrame(frame_request({"frame": frame}, window_px=[4], stride_px=1))).maps
    valid = told(found.valid)
    assert found.invalid_count == np.count_nonzero(~valid) == 16
    assert np.isnan(told(found.content)[~valid]).all()
    assert (told(found.class_index)[~valid] == -1).all()


async def test_a_spectrum_with_labels(running: Running) -> None:
    centres = np.array([[8.0, 8.5], [10.0, 9.0], [9.0, 8.0], [10.0, 8.0]])
    labels = np.array([0, 1, 0, 1])
    response = await running.latent.ScaleSpectrum(
        spectrum_request({"centres_px": centres, "labels": labels}, window_px=[4, 8], pixel_size_nm=2, frame_id="f", acquisition_time_unix_ns=9)
    )
    assert (response.frame_id, response.acquisition_time_unix_ns, response.model.name) == ("f", 9, "frames")
    assert (told(response.window_px).tolist(), told(response.window_nm).tolist(), told(response.stage).tolist()) == ([4, 8], [8, 16], [1, 2])
    assert told(response.latent_mean).shape == told(response.latent_sd).shape == told(response.content).shape == (2, 4, 2)
    assert told(response.explained).shape == told(response.valid).shape == (2, 4)
    assert told(response.separability).shape == (2,)
    assert response.separable_from_nm == 2 * response.separable_from_px


async def test_a_spectrum_without_labels_tells_no_separability(running: Running) -> None:
    response = await running.latent.ScaleSpectrum(spectrum_request())
    assert (response.separability.data, response.window_nm.data, response.separable_from_px) == (b"", b"", 0)
    assert len(told(response.window_px)) == 16


@pytest.mark.parametrize(
    ("request_of", "code", "reason", "field"),
    [
        pytest.param(lambda: frame_request(window_px=[18]), "INVALID_ARGUMENT", "INVALID_FIELD", "window_px", id="window larger than the frame"),
        pytest.param(lambda: frame_request(window_nm=[8]), "INVALID_ARGUMENT", "INVALID_FIELD", "pixel_size_nm", id="no pixel size"),
        pytest.param(lambda: frame_request(pixel_size_nm=-1), "INVALID_ARGUMENT", "INVALID_FIELD", "pixel_size_nm", id="pixel size below 0"),
        pytest.param(lambda: frame_request(stride_px=-2), "INVALID_ARGUMENT", "INVALID_FIELD", "stride_px", id="stride below 0"),
        pytest.param(lambda: frame_request(stride_px=1e-4), "INVALID_ARGUMENT", "INVALID_FIELD", "stride_px", id="too many windows"),
        pytest.param(lambda: frame_request(stage=3), "INVALID_ARGUMENT", "INVALID_FIELD", "stage", id="no such stage"),
        pytest.param(lambda: frame_request({"frame": FRAME[None]}), "INVALID_ARGUMENT", "INVALID_TENSOR", "frame", id="batch axis"),
        pytest.param(
            lambda: frame_request({"centres_px": CENTRES - 6}, window_px=[8]),
            "INVALID_ARGUMENT",
            "INVALID_TENSOR",
            "centres_px",
            id="at the border",
        ),
        pytest.param(lambda: frame_request(model_name="toy"), "UNIMPLEMENTED", "UNSUPPORTED_CAPABILITY", "model_name", id="a model of patches"),
        pytest.param(lambda: frame_request(model_name="none"), "NOT_FOUND", "UNKNOWN_MODEL", "model_name", id="no model"),
        pytest.param(lambda: spectrum_request({"labels": np.array([1, 1, 1])}), "INVALID_ARGUMENT", "INVALID_TENSOR", "labels", id="one class"),
        pytest.param(
            lambda: frames_pb2.ScaleSpectrumRequest(model_name="frames"), "INVALID_ARGUMENT", "INVALID_TENSOR", "frame", id="spectrum of nothing"
        ),
        pytest.param(
            lambda: filled(frames_pb2.ScaleSpectrumRequest, {"frame": FRAME}, model_name="frames"),
            "INVALID_ARGUMENT",
            "INVALID_TENSOR",
            "centres_px",
            id="spectrum of no points",
        ),
    ],
)
async def test_bad_input_is_refused_by_reason_and_field(running: Running, request_of: Any, code: str, reason: str, field: str) -> None:
    request = request_of()
    call = running.latent.EncodeFrame if isinstance(request, frames_pb2.EncodeFrameRequest) else running.latent.ScaleSpectrum
    error = await refused(call(request))
    assert error.code() is grpc.StatusCode[code]
    named = from_rpc_error(error)
    assert (named.reason, named.field) == (reason, field)
    assert running.server.budget.requests == running.server.budget.bytes == 0


async def test_both_calls_are_counted_by_model_and_status(running: Running) -> None:
    def count(method: str, status: str) -> float:
        labels = {"protocol": "grpc", "method": method, "model": "frames", "status": status}
        return REGISTRY.get_sample_value("dichroic_requests_total", labels) or 0

    before = count("EncodeFrame", "OK"), count("ScaleSpectrum", "OK"), count("EncodeFrame", "INVALID_ARGUMENT")
    await running.latent.EncodeFrame(frame_request())
    await running.latent.ScaleSpectrum(spectrum_request())
    await refused(running.latent.EncodeFrame(frame_request(stage=9)))
    after = count("EncodeFrame", "OK"), count("ScaleSpectrum", "OK"), count("EncodeFrame", "INVALID_ARGUMENT")
    assert after == tuple(number + 1 for number in before)
