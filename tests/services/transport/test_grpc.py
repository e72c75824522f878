"""What callers see over gRPC: right answers, and for every kind of bad input a named error while the service keeps answering."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from dichroic.errors import AdminOnlyError, NoCredentialError
from dichroic.status import from_rpc_error
from dichroic.v1 import array_pb2, latent_pb2, models_pb2
from dichroic.wire import from_array, to_array
from services.settings import Settings
from services.transport.auth import require_admin
from tests.services.conftest import ADMIN, LARGE, SMALL, Running
from tests.toy_bundle import THRESHOLD, NDArray, Toy

TOKEN = (("authorization", f"Bearer {ADMIN}"),)


def images(rows: int = 3, toy: Toy = SMALL, dtype: str = "float32", seed: int = 0) -> NDArray:
    values = np.random.default_rng(seed).random((rows, toy.side, toy.side))
    return values.astype(np.float32) if dtype == "float32" else (values * np.iinfo(dtype).max).astype(dtype)


def encode_request(values: NDArray, name: str = "toy", version: int = 0) -> latent_pb2.EncodeRequest:
    return latent_pb2.EncodeRequest(model_name=name, model_version=version, images=to_array(values))


async def refused(call: object) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call  # type: ignore[misc]
    return error.value


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
async def test_encode_answers_in_every_image_dtype(running: Running, dtype: str) -> None:
    values = images(dtype=dtype)
    response = await running.latent.Encode(encode_request(values))
    expected = SMALL.encode(values)
    for name, wanted in expected.items():
        np.testing.assert_allclose(from_array(getattr(response, name), field=name), wanted, atol=1e-6)
    assert not response.scale.data
    assert (response.model.name, response.model.version, len(response.model.digest)) == ("toy", 1, 64)


async def test_frame_id_and_acquisition_time_come_back(running: Running) -> None:
    request = latent_pb2.EncodeRequest(model_name="toy", images=to_array(images()), frame_id="scan 7", acquisition_time_unix_ns=123456789)
    response = await running.latent.Encode(request)
    assert (response.frame_id, response.acquisition_time_unix_ns) == ("scan 7", 123456789)
    again = latent_pb2.ReconstructRequest(model_name="toy", images=request.images, frame_id="scan 7", acquisition_time_unix_ns=123456789)
    reconstructed = await running.latent.Reconstruct(again)
    assert (reconstructed.frame_id, reconstructed.acquisition_time_unix_ns) == ("scan 7", 123456789)


async def test_reconstruct_flags_what_lies_above_the_threshold(running: Running) -> None:
    values = np.stack([np.zeros((8, 8)), np.ones((8, 8))]).astype(np.float32)
    response = await running.latent.Reconstruct(latent_pb2.ReconstructRequest(model_name="toy", images=to_array(values)))
    np.testing.assert_allclose(from_array(response.error, field="error"), [0, 0.25], atol=1e-6)
    assert from_array(response.novel, field="novel").tolist() == [False, True]
    assert (response.error_threshold, response.novel_false_alarm_rate) == (THRESHOLD, 0.01)


async def test_decode_fills_in_what_is_not_given(running: Running) -> None:
    content = np.array([[1, 2], [3, 4]], dtype=np.float32)
    response = await running.latent.Decode(latent_pb2.DecodeRequest(model_name="toy", content=to_array(content)))
    np.testing.assert_allclose(from_array(response.images, field="images"), SMALL.decode(content, np.ones(2)), atol=1e-5)  # scale 1, the rest 0
    angle = np.array([0.5], dtype=np.float32)
    response = await running.latent.Decode(latent_pb2.DecodeRequest(model_name="toy", angle_rad=to_array(angle)))
    np.testing.assert_allclose(from_array(response.images, field="images"), SMALL.decode(np.zeros((1, 2)), np.array([1.5])), atol=1e-5)


def spoiled(change: Callable[[array_pb2.Array], None]) -> latent_pb2.EncodeRequest:
    request = encode_request(images())
    change(request.images)
    return request


def with_nan_in_row_2() -> latent_pb2.EncodeRequest:
    values = images()
    values[2, 4, 4] = np.nan
    return encode_request(values)


def with_inf_in_row_1() -> latent_pb2.EncodeRequest:
    values = images()
    values[1, 0, 0] = -np.inf
    return encode_request(values)


BAD_TENSORS = {
    "wrong shape": (lambda: encode_request(images(toy=LARGE)), "shape", None),
    "wrong rank": (lambda: encode_request(images()[0]), "shape", None),
    "wrong dtype": (lambda: encode_request(images().astype(np.float64)), "float64", None),
    "too few bytes": (lambda: spoiled(lambda a: a.__setattr__("data", a.data[:-1])), "bytes", None),
    "no dtype": (lambda: spoiled(lambda a: a.ClearField("dtype")), "dtype", None),
    "unknown dtype": (lambda: spoiled(lambda a: a.__setattr__("dtype", 99)), "99", None),
    "negative length": (lambda: spoiled(lambda a: a.shape.__setitem__(0, -3)), "negative", None),
    "not given": (lambda: latent_pb2.EncodeRequest(model_name="toy"), "missing", None),
    "empty batch": (lambda: encode_request(np.zeros((0, 8, 8), dtype=np.float32)), "no rows", None),
    "NaN": (with_nan_in_row_2, "row 2", 2),
    "infinity": (with_inf_in_row_1, "row 1", 1),
}


@pytest.mark.parametrize("case", BAD_TENSORS)
async def test_a_bad_tensor_is_named_and_the_service_keeps_answering(running: Running, case: str) -> None:
    request, words, row = BAD_TENSORS[case]
    error = await refused(running.latent.Encode(request()))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    found = from_rpc_error(error)
    assert (found.reason, found.field, found.row) == ("INVALID_TENSOR", "images", row)
    assert words in found.message
    np.testing.assert_allclose(
        from_array((await running.latent.Encode(encode_request(images()))).latent_mean, field=""), SMALL.latent_mean(images()), atol=1e-6
    )


async def test_a_batch_with_one_bad_request_answers_the_good_ones(running: Running) -> None:
    bad = images(2)
    bad[1, 0, 0] = np.nan
    calls = [running.latent.Encode(encode_request(bad if index % 5 == 0 else images(2, seed=index))) for index in range(60)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    for index, outcome in enumerate(outcomes):
        if index % 5 == 0:
            assert isinstance(outcome, grpc.aio.AioRpcError)
            assert from_rpc_error(outcome).row == 1
        else:
            np.testing.assert_allclose(from_array(outcome.latent_mean, field=""), SMALL.latent_mean(images(2, seed=index)), atol=1e-6)


BAD_LATENTS = {
    "nothing": (latent_pb2.DecodeRequest(model_name="toy"), "content", None),
    "unequal rows": (
        latent_pb2.DecodeRequest(model_name="toy", content=to_array(np.zeros((2, 2), np.float32)), scale=to_array(np.ones(3, np.float32))),
        "scale",
        None,
    ),
    "scale 0": (latent_pb2.DecodeRequest(model_name="toy", scale=to_array(np.array([1, 0], np.float32))), "scale", 1),
    "wrong width": (latent_pb2.DecodeRequest(model_name="toy", content=to_array(np.zeros((2, 3), np.float32))), "content", None),
    "NaN angle": (latent_pb2.DecodeRequest(model_name="toy", angle_rad=to_array(np.array([0, np.nan], np.float32))), "angle_rad", 1),
    "NaN scale": (latent_pb2.DecodeRequest(model_name="toy", scale=to_array(np.array([1, np.nan], np.float32))), "scale", 1),
    "float64": (latent_pb2.DecodeRequest(model_name="toy", content=to_array(np.zeros((2, 2)))), "content", None),
}


@pytest.mark.parametrize("case", BAD_LATENTS)
async def test_bad_latents_are_named(running: Running, case: str) -> None:
    request, field, row = BAD_LATENTS[case]
    found = from_rpc_error(await refused(running.latent.Decode(request)))
    assert (found.reason, found.field, found.row) == ("INVALID_TENSOR", field, row)


async def test_a_few_bytes_that_claim_a_great_many_rows_allocate_nothing(running: Running) -> None:
    claims = array_pb2.Array(dtype=array_pb2.DATA_TYPE_FLOAT32, shape=[1 << 40, 0])
    found = from_rpc_error(await refused(running.latent.Decode(latent_pb2.DecodeRequest(model_name="toy", content=claims))))
    assert (found.reason, found.field) == ("INVALID_TENSOR", "content")


async def test_an_admin_token_that_is_blank_admits_nobody(tmp_path: Path) -> None:
    for blank in ("", "  "):
        settings = Settings(bundles=tmp_path, admin_token=blank)
        for credential in ("Bearer ", "Bearer", "Bearer \u00a0", ""):
            with pytest.raises(AdminOnlyError):
                require_admin(settings, credential)
    with pytest.raises(NoCredentialError):
        require_admin(Settings(bundles=tmp_path, admin_token="x"), "Bearer ")  # noqa: S106


async def test_an_error_that_quotes_the_caller_fits_into_metadata(running: Running) -> None:
    error = await refused(running.latent.Encode(encode_request(images(), name="😀" * 800)))
    assert (error.code(), from_rpc_error(error).reason) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_MODEL")
    error = await refused(running.models.LoadModel(models_pb2.LoadModelRequest(model_name="x" * 300), metadata=TOKEN))
    assert from_rpc_error(error).reason == "UNKNOWN_MODEL"


async def test_a_folder_that_cannot_be_a_model_disturbs_nothing(running: Running) -> None:
    for name in (os.fsdecode(b"bad\xff"), "with space"):
        (running.bundles / name / "1").mkdir(parents=True)
    await running.server.look()
    listed = (await running.models.ListModels(models_pb2.ListModelsRequest())).models
    assert [entry.model.name for entry in listed] == ["large", "toy"]
    assert from_rpc_error(await refused(running.latent.Encode(encode_request(images(), name="nope")))).reason == "UNKNOWN_MODEL"


async def test_unknown_model_and_version_are_not_found_and_name_what_is_there(running: Running) -> None:
    error = await refused(running.latent.Encode(encode_request(images(), name="toyy")))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert from_rpc_error(error).reason == "UNKNOWN_MODEL"
    assert "toy" in (error.details() or "")
    found = from_rpc_error(await refused(running.latent.Encode(encode_request(images(), version=9))))
    assert found.reason == "UNKNOWN_VERSION"
    found = from_rpc_error(await refused(running.latent.Encode(encode_request(images(), version=-1))))
    assert (found.reason, found.field) == ("INVALID_FIELD", "model_version")


async def test_errors_carry_rich_details(running: Running) -> None:
    error = await refused(running.latent.Encode(with_nan_in_row_2()))
    from google.rpc import status_pb2

    blob = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(blob)
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("INVALID_TENSOR", "dichroic")
    assert any(detail.Unpack(bad) for detail in status.details)
    assert bad.field_violations[0].field == "images"


async def test_an_oversized_message_is_refused_and_the_service_keeps_answering(running: Running) -> None:
    error = await refused(running.latent.Encode(encode_request(images(5000))))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await running.latent.Encode(encode_request(images()))


async def test_an_unforeseen_error_leaves_an_id_and_nothing_of_the_trace(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(running.server.latent, "encode", explode)
    error = await refused(running.latent.Encode(encode_request(images())))
    assert error.code() is grpc.StatusCode.INTERNAL
    found = from_rpc_error(error)
    assert len(found.metadata["error_id"]) == 16
    assert "secret" not in found.message


async def test_a_deadline_that_passes_is_said_so(running: Running) -> None:
    error = await refused(running.latent.Encode(encode_request(images()), timeout=1e-6))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_models_are_listed_and_described(running: Running) -> None:
    listed = (await running.models.ListModels(models_pb2.ListModelsRequest())).models
    assert [(entry.model.name, entry.model.version, entry.state, entry.is_default) for entry in listed] == [
        ("large", 1, models_pb2.MODEL_STATE_READY, True),
        ("toy", 1, models_pb2.MODEL_STATE_READY, True),
    ]
    found = await running.models.GetModel(models_pb2.GetModelRequest(model_name="toy"))
    assert (found.device, found.device_is_fallback, found.max_message_bytes) == ("cpu", False, 1 << 20)
    signature = next(entry for entry in found.signatures if entry.name == "encode.uint8")
    assert list(signature.inputs[0].shape) == [-1, 8, 8]
    assert signature.inputs[0].dtype == array_pb2.DATA_TYPE_UINT8
    assert found.model_card.startswith("# Toy")
    assert '"format_version"' in found.manifest_json


async def test_loading_and_unloading_need_the_admin_token(running: Running) -> None:
    for call, request in (
        (running.models.LoadModel, models_pb2.LoadModelRequest(model_name="toy")),
        (running.models.UnloadModel, models_pb2.UnloadModelRequest(model_name="toy")),
    ):
        assert (await refused(call(request))).code() is grpc.StatusCode.UNAUTHENTICATED  # type: ignore[operator]
        wrong = await refused(call(request, metadata=(("authorization", "Bearer no"),)))  # type: ignore[operator]
        assert wrong.code() is grpc.StatusCode.UNAUTHENTICATED
    taken = await running.models.UnloadModel(models_pb2.UnloadModelRequest(model_name="toy"), metadata=TOKEN)
    assert [model.version for model in taken.models] == [1]
    error = await refused(running.latent.Encode(encode_request(images())))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    loaded = await running.models.LoadModel(models_pb2.LoadModelRequest(model_name="toy"), metadata=TOKEN)
    assert loaded.model.version == 1
    await running.latent.Encode(encode_request(images()))


async def test_a_bundle_that_is_refused_names_its_step(running: Running) -> None:
    (running.bundles / "toy" / "1" / "decode.onnx").write_bytes(b"broken")
    error = await refused(running.models.LoadModel(models_pb2.LoadModelRequest(model_name="toy"), metadata=TOKEN))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert from_rpc_error(error).metadata["step"] == "files"
    await running.latent.Encode(encode_request(images()))


async def test_health_and_reflection_answer(running: Running) -> None:
    health = health_pb2_grpc.HealthStub(running.channel)
    for service in ("", "dichroic.v1.LatentService", "dichroic.v1.MechanismService", "dichroic.v1.ModelService"):
        assert (await health.Check(health_pb2.HealthCheckRequest(service=service))).status == health_pb2.HealthCheckResponse.SERVING
    reflect = reflection_pb2_grpc.ServerReflectionStub(running.channel)
    async for answer in reflect.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")])):
        names = {service.name for service in answer.list_services_response.service}
    assert {"dichroic.v1.LatentService", "dichroic.v1.MechanismService", "dichroic.v1.ModelService", "grpc.health.v1.Health"} <= names


async def test_a_draining_server_refuses_new_work_with_retry_info(running: Running) -> None:
    running.server.begin_draining()
    error = await refused(running.latent.Encode(encode_request(images())))
    found = from_rpc_error(error)
    assert (found.reason, error.code()) == ("SERVER_STOPPING", grpc.StatusCode.UNAVAILABLE)
    assert found.retry_delay_s


async def test_concurrent_callers_of_mixed_shapes_never_get_anothers_answer(running: Running) -> None:
    async def caller(index: int) -> None:
        toy, name = ((SMALL, "toy"), (LARGE, "large"))[index % 2]
        dtype = ("uint8", "uint16", "float32")[index % 3]
        for turn in range(3):
            values = images(1 + (index + turn) % 9, toy, dtype, seed=1000 * index + turn)
            response = await running.latent.Encode(encode_request(values, name=name))
            np.testing.assert_allclose(from_array(response.latent_mean, field=""), toy.latent_mean(values), atol=1e-5)

    await asyncio.gather(*[caller(index) for index in range(200)])


async def test_batched_equals_unbatched(running: Running) -> None:
    values = images(40)
    together = from_array((await running.latent.Encode(encode_request(values))).latent_mean, field="")
    alone = [from_array((await running.latent.Encode(encode_request(values[i : i + 1]))).latent_mean, field="")[0] for i in range(40)]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-5)


async def test_while_the_queue_is_full_a_call_is_refused_before_its_message_is_unpacked(running: Running) -> None:
    running.server.budget.is_full = True
    unreadable = encode_request(images(), name="no-such-model")  # unpacking it would say NOT_FOUND
    found = from_rpc_error(await refused(running.latent.Encode(unreadable)))
    assert (found.reason, found.retry_delay_s is not None) == ("QUEUE_FULL", True)
    await running.models.ListModels(models_pb2.ListModelsRequest())
    running.server.budget.is_full = False
    await running.latent.Encode(encode_request(images()))
