"""Every method of both clients, against a server that answers by rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest

from dichroic import ModelIdentity
from dichroic.errors import (
    AdminOnlyError,
    BundleRefusedError,
    CancelledError,
    DichroicError,
    InternalError,
    InvalidFieldError,
    InvalidTensorError,
    MessageTooLargeError,
    UnknownModelError,
)
from tests.dichroic.fake_server import FakeServer

TOY = ModelIdentity("toy", 3, "a" * 64)
IMAGES = np.arange(3 * 16, dtype=np.float32).reshape(3, 4, 4)
MEANS = IMAGES.mean(axis=(1, 2))


def test_encode_answers_named_arrays_and_none_for_what_the_model_lacks(client: Any, server: FakeServer) -> None:
    encoding = client.encode("toy", IMAGES, frame_id="frame 7", acquisition_time_unix_ns=1_700_000_000_000_000_000)
    assert encoding.model == TOY
    assert (encoding.frame_id, encoding.acquisition_time_unix_ns) == ("frame 7", 1_700_000_000_000_000_000)
    np.testing.assert_array_equal(encoding.content, np.stack([MEANS, -MEANS], axis=1))
    np.testing.assert_allclose(encoding.angle_rad, MEANS / 100)
    assert encoding.latent_mean.shape == (3, 3)
    assert encoding.content.dtype == np.float32
    assert encoding.scale is None
    assert encoding.shift_down_px is None
    request = server.asked("Encode")[0]
    assert (request.model_name, request.model_version, request.frame_id) == ("toy", 0, "frame 7")
    assert request.acquisition_time_unix_ns == 1_700_000_000_000_000_000


def test_answers_belong_to_the_caller_and_can_be_written(client: Any) -> None:
    client.encode("toy", IMAGES).content[:] = 0


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", ">u2"])
def test_camera_dtypes_are_sent_as_they_are(client: Any, server: FakeServer, dtype: str) -> None:
    client.encode("toy", IMAGES.astype(dtype))
    assert len(server.asked("Encode")[0].images.data) == IMAGES.size * np.dtype(dtype).itemsize


def test_a_list_of_images_is_a_batch_and_a_version_can_be_asked_for(client: Any, server: FakeServer) -> None:
    assert len(client.encode("toy", list(IMAGES), version=2).content) == 3
    assert server.asked("Encode")[0].model_version == 2


def test_reconstruct_answers_the_error_and_what_is_novel(client: Any) -> None:
    found = client.reconstruct("toy", np.stack([np.zeros((4, 4)), np.ones((4, 4))]))
    np.testing.assert_array_equal(found.error, [0, 1])
    np.testing.assert_array_equal(found.novel, [False, True])
    assert found.reconstruction.shape == (2, 4, 4)
    assert (found.error_threshold, found.novel_false_alarm_rate) == (0.5, 0.01)


def test_without_calibration_nothing_is_called_novel(client: Any, server: FakeServer) -> None:
    server.calibrated = False
    found = client.reconstruct("toy", IMAGES)
    assert (found.novel, found.error_threshold, found.novel_false_alarm_rate) == (None, None, None)


def test_decode_repeats_single_values_for_every_row(client: Any, server: FakeServer) -> None:
    decoding = client.decode("toy", content=[1.5, 2.5], angle_rad=np.linspace(0, 1, 5), scale=2)
    assert decoding.images.shape == (5, 4, 4)
    assert (decoding.images == 1.5).all()
    request = server.asked("Decode")[0]
    assert list(request.content.shape) == [5, 2]
    assert np.frombuffer(request.scale.data, "<f4").tolist() == [2] * 5
    assert not request.shift_down_px.dtype, "what is not given is not sent"


def test_models_lists_what_serves_and_what_failed(client: Any) -> None:
    ready, failed = client.models()
    assert (ready.model, ready.kind, ready.state, ready.is_default) == (TOY, "latent", "ready", True)
    assert (failed.state, failed.state_detail, failed.model.digest) == ("failed", "files: WRONG_HASH", "")


def test_model_tells_tensors_limits_device_and_the_manifest(client: Any) -> None:
    info = client.model("toy", version=3)
    assert (info.model, info.device, info.device_is_fallback, info.max_message_bytes) == (TOY, "cpu", True, 64 << 20)
    image = info.signatures[0].inputs[0]
    assert (image.name, image.dtype, image.shape, image.unit, image.range_high) == ("images", "float32", (-1, 4, 4), "m", np.inf)
    assert info.manifest["latent"]["latent_names"] == ["rotation", "content_1", "content_2"]
    assert info.model_card.startswith("# Toy")


def test_the_administrators_calls_carry_the_token(connect: Callable[..., Any], server: FakeServer) -> None:
    admin = connect(server.address, token="secret")  # noqa: S106
    assert admin.load_model("toy", version=3) == TOY
    assert admin.unload_model("toy") == [TOY]
    assert {seen.metadata.get("authorization") for seen in server.seen} == {"Bearer secret"}
    assert (server.asked("LoadModel")[0].model_version, server.asked("UnloadModel")[0].model_version) == (3, 0)


def test_the_token_is_not_shown() -> None:
    from dichroic.client.channel import Connection

    assert "secret" not in repr(Connection("x:1", "secret"))


def test_without_a_token_no_credential_is_sent(client: Any, server: FakeServer) -> None:
    client.models()
    assert "authorization" not in server.seen[0].metadata


def test_errors_are_raised_again_as_the_server_named_them(client: Any, server: FakeServer) -> None:
    sent: list[DichroicError] = [
        UnknownModelError("none of that name", field="model_name", metadata={"model_name": "x"}),
        AdminOnlyError("not you"),
        BundleRefusedError("files", "WRONG_HASH", "copy it again"),
        InternalError("id 1234"),
    ]
    server.failures["LoadModel"] = list(sent)
    for error in sent:
        with pytest.raises(type(error)) as caught:
            client.load_model("x")
        assert (caught.value.message, caught.value.metadata) == (error.message, error.metadata)
    assert len(server.seen) == len(sent), "none of these is sent again"


def test_the_row_at_fault_is_named(client: Any, server: FakeServer) -> None:
    server.failures["Encode"] = [InvalidTensorError("too dark", field="images", row=2)]
    with pytest.raises(InvalidTensorError) as caught:
        client.encode("toy", IMAGES)
    assert (caught.value.field, caught.value.row) == ("images", 2)


def test_an_answer_of_too_few_rows_is_never_taken_for_the_whole(client: Any, server: FakeServer) -> None:
    server.rows_short = 1
    with pytest.raises(InternalError, match="2 rows of content for 3 rows sent"):
        client.encode("toy", IMAGES)


def test_a_cancelled_call_is_named(client: Any, server: FakeServer) -> None:
    server.failures["ListModels"] = [grpc.StatusCode.CANCELLED]
    with pytest.raises(CancelledError):
        client.models()


def test_what_grpc_refuses_for_its_size_is_named_and_the_limit_asked_for_anew(client: Any, server: FakeServer) -> None:
    client.encode("toy", IMAGES)
    server.failures["Encode"] = [MessageTooLargeError("restarted with a lower limit")]
    with pytest.raises(MessageTooLargeError):
        client.encode("toy", IMAGES)
    client.encode("toy", IMAGES)
    assert len(server.asked("GetModel")) == 2


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda client: client.encode("", IMAGES), "name is empty"),
        (lambda client: client.encode("toy", IMAGES, version=-1), "version is -1"),
        (lambda client: client.model("toy", version=2**63), "version is"),
        (lambda client: client.encode("toy", IMAGES, acquisition_time_unix_ns=-5), "nanoseconds since 1970"),
        (lambda client: client.decode("toy"), "nothing to decode"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_it_is_sent(client: Any, server: FakeServer, call: Callable[[Any], Any], problem: str) -> None:
    with pytest.raises(InvalidFieldError, match=problem):
        call(client)
    assert server.seen == []


def test_a_closed_client_says_so_and_closes_twice(client: Any) -> None:
    client.models()
    client.close()
    client.close()
    with pytest.raises(CancelledError, match="closed"):
        client.models()


def test_a_client_can_be_closed_before_it_ever_connected(connect: Callable[..., Any]) -> None:
    connect("127.0.0.1:1").close()


@pytest.mark.parametrize("address", ["", "http://microscope:50051"])
def test_an_address_that_is_none_is_refused(connect: Callable[..., Any], address: str) -> None:
    with pytest.raises(InvalidFieldError, match="host:port"):
        connect(address)


@pytest.mark.parametrize("token", ["", "line\nbreak", "schlüssel"])
def test_a_token_that_cannot_be_sent_is_refused(connect: Callable[..., Any], token: str) -> None:
    with pytest.raises(InvalidFieldError, match="printable ASCII") as caught:
        connect("x:1", token=token)
    assert not token or token not in str(caught.value)
