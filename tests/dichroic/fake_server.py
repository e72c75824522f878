"""A gRPC server that answers by rule and fails on request: what the client is tested against. No model, no bundle."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np

from dichroic.errors import DichroicError
from dichroic.v1 import array_pb2, latent_pb2, latent_pb2_grpc, mechanism_pb2_grpc, models_pb2, models_pb2_grpc, transition_pb2_grpc
from dichroic.wire import from_array, to_array
from tests.dichroic import fake_mechanism, fake_transition
from tests.dichroic.fake_frames import FakeFrames
from tests.dichroic.fake_mechanism import FakeMechanisms, refuse
from tests.dichroic.fake_transition import FakeTransitions

SIDE = 4
THRESHOLD = 0.5


def identity(version: int = 3, digest: str = "a" * 64) -> models_pb2.ModelIdentity:
    return models_pb2.ModelIdentity(name="toy", version=version, digest=digest)


@dataclass(frozen=True)
class Seen:
    """One request, as the server saw it."""

    rpc: str
    request: Any
    metadata: dict[str, Any]
    time_remaining_s: float | None


@dataclass
class FakeServer(FakeFrames, latent_pb2_grpc.LatentServiceServicer, models_pb2_grpc.ModelServiceServicer):
    """Encode answers each image's mean as content; decode answers images full of their content; `failures` come first, in order.

    With `classes`, each row's class is the row's number in its message, modulo so many.

    `on_call` sees every request before it is answered, on the server's thread.
    """

    max_message_bytes: int = 64 << 20
    model: models_pb2.ModelIdentity = field(default_factory=identity)
    failures: dict[str, list[DichroicError | grpc.StatusCode]] = field(default_factory=dict)
    on_call: Callable[[Seen], None] = lambda seen: None
    rows_short: int = 0
    calibrated: bool = True
    classes: int = 0
    gives_spectra: bool = False
    seen: list[Seen] = field(default_factory=list)
    port: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    gate: threading.Event = field(default_factory=threading.Event)
    drops: int = 0
    mechanism: FakeMechanisms = field(init=False)
    transition: FakeTransitions = field(init=False)

    def __post_init__(self) -> None:
        self.gate.set()
        self.mechanism = FakeMechanisms(self._take)
        self.transition = FakeTransitions(self._take)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def asked(self, rpc: str) -> list[Any]:
        return [seen.request for seen in self.seen if seen.rpc == rpc]

    def _take(self, rpc: str, request: Any, context: grpc.ServicerContext) -> None:
        seen = Seen(rpc, request, dict(context.invocation_metadata()), context.time_remaining())
        with self.lock:
            self.seen.append(seen)
            failure = self.failures[rpc].pop(0) if self.failures.get(rpc) else None
        self.on_call(seen)
        if isinstance(failure, DichroicError):
            refuse(context, failure)
        if failure is not None:
            context.abort(failure, "as the test asked")

    def Encode(self, request: Any, context: Any) -> latent_pb2.EncodeResponse:  # noqa: N802
        self._take("Encode", request, context)
        images = self._data(request)[self.rows_short :]
        means = images.reshape(len(images), -1).mean(axis=1, dtype=np.float32)
        return latent_pb2.EncodeResponse(
            **self._told(len(means)),
            model=self.model,
            frame_id=request.frame_id,
            acquisition_time_unix_ns=request.acquisition_time_unix_ns,
            angle_rad=to_array(means / 100),
            angle_sd_rad=to_array(np.zeros_like(means)),
            content=to_array(np.stack([means, -means], axis=1)),
            content_sd=to_array(np.ones((len(means), 2), np.float32)),
            latent_mean=to_array(np.stack([means, -means, means], axis=1)),
            latent_sd=to_array(np.ones((len(means), 3), np.float32)),
        )

    def Decode(self, request: Any, context: Any) -> latent_pb2.DecodeResponse:  # noqa: N802
        self._take("Decode", request, context)
        given = [from_array(getattr(request, name), field=name) for name in ("content", "angle_rad", "scale") if getattr(request, name).dtype]
        first = given[0].reshape(len(given[0]), -1)[:, 0]
        if self.gives_spectra:
            return latent_pb2.DecodeResponse(model=self.model, spectra=to_array(np.broadcast_to(first[:, None], (len(first), SIDE))))
        images = np.broadcast_to(first[:, None, None], (len(first), SIDE, SIDE))
        return latent_pb2.DecodeResponse(model=self.model, images=to_array(images))

    def Reconstruct(self, request: Any, context: Any) -> latent_pb2.ReconstructResponse:  # noqa: N802
        self._take("Reconstruct", request, context)
        images = self._data(request).astype(np.float32)
        error = images.reshape(len(images), -1).mean(axis=1)
        return latent_pb2.ReconstructResponse(
            model=self.model,
            reconstruction=to_array(images),
            error=to_array(error),
            error_threshold=THRESHOLD if self.calibrated else 0.0,
            novel_false_alarm_rate=0.01 if self.calibrated else 0.0,
            novel=to_array(error > THRESHOLD) if self.calibrated else None,
            p_value=to_array(1 / (1 + error)) if self.calibrated else None,
            **self._told(len(error)),
        )

    def DecodeManifold(self, request: Any, context: Any) -> latent_pb2.DecodeManifoldResponse:  # noqa: N802
        """Every image of the grid is full of 10 x its row + its column."""
        self._take("DecodeManifold", request, context)
        steps = [np.linspace(0, 1, count, dtype=np.float32) for count in (request.count_1, request.count_2 - self.rows_short)]
        full = np.add.outer(10 * np.arange(request.count_1), np.arange(request.count_2)).astype(np.float32)
        grid = to_array(np.broadcast_to(full[..., None, None], (*full.shape, SIDE, SIDE)))
        return latent_pb2.DecodeManifoldResponse(model=self.model, values_1=to_array(steps[0]), values_2=to_array(steps[1]), images=grid)

    def Classify(self, request: Any, context: Any) -> latent_pb2.ClassifyResponse:  # noqa: N802
        self._take("Classify", request, context)
        names = [f"class_{number}" for number in range(self.classes)]
        return latent_pb2.ClassifyResponse(model=self.model, class_names=names, **self._told(len(self._data(request))))

    def Regress(self, request: Any, context: Any) -> latent_pb2.RegressResponse:  # noqa: N802
        """The one target is the data's mean."""
        self._take("Regress", request, context)
        data = self._data(request)
        means = data.reshape(len(data), -1).mean(axis=1, dtype=np.float32)[:, None]
        sd = np.full_like(means, 0.5)
        return latent_pb2.RegressResponse(model=self.model, target_mean=to_array(means), target_sd=to_array(sd), names=["strain"], units=["%"])

    def _data(self, request: Any) -> Any:
        kind = "spectra" if request.spectra.dtype else "images"
        return from_array(getattr(request, kind), field=kind)

    def _told(self, rows: int) -> dict[str, Any]:
        if not self.classes:
            return {}
        index = np.arange(rows) % self.classes
        return {"class_probabilities": to_array(np.eye(self.classes, dtype=np.float32)[index]), "class_index": to_array(index)}

    def ListModels(self, request: Any, context: Any) -> models_pb2.ListModelsResponse:  # noqa: N802
        self._take("ListModels", request, context)
        ready = models_pb2.ModelSummary(model=self.model, kind="latent", state=models_pb2.MODEL_STATE_READY, is_default=True)
        broken = models_pb2.ModelSummary(model=identity(4, ""), state=models_pb2.MODEL_STATE_FAILED, state_detail="files: WRONG_HASH")
        return models_pb2.ListModelsResponse(models=[ready, broken])

    def GetModel(self, request: Any, context: Any) -> models_pb2.GetModelResponse:  # noqa: N802
        self._take("GetModel", request, context)
        if request.model_name == fake_mechanism.NAME:
            return fake_mechanism.details(self.max_message_bytes, request.model_version or self.mechanism.newest)
        if request.model_name == fake_transition.NAME:
            return fake_transition.details(self.max_message_bytes)
        image = models_pb2.TensorSpec(
            name="images", dtype=array_pb2.DATA_TYPE_FLOAT32, shape=[-1, SIDE, SIDE], axes=["batch", "row", "column"], unit="m",
            range_low=-np.inf, range_high=np.inf, meaning="what was drawn",
        )  # fmt: skip
        names = ("classify.float32", "decode", "encode.float32", "reconstruct.float32", "regress.float32")
        return models_pb2.GetModelResponse(
            model=self.model,
            kind="latent",
            device="cpu",
            device_is_fallback=True,
            max_message_bytes=self.max_message_bytes,
            signatures=[models_pb2.Signature(name=name, inputs=[image], outputs=[image]) for name in names],
            manifest_json='{"name": "toy", "latent": {"latent_names": ["rotation", "content_1", "content_2"]}}',
            model_card="# Toy\nDrawn.",
        )

    def LoadModel(self, request: Any, context: Any) -> models_pb2.LoadModelResponse:  # noqa: N802
        self._take("LoadModel", request, context)
        return models_pb2.LoadModelResponse(model=self.model)

    def UnloadModel(self, request: Any, context: Any) -> models_pb2.UnloadModelResponse:  # noqa: N802
        self._take("UnloadModel", request, context)
        return models_pb2.UnloadModelResponse(models=[self.model])


@contextmanager
def serving(
    fake: FakeServer, credentials: grpc.ServerCredentials | None = None, receive_bytes: int = 64 << 20, port: int = 0
) -> Iterator[FakeServer]:
    """The fake on loopback, on a free port unless one is given."""
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, options=[("grpc.max_receive_message_length", receive_bytes), ("grpc.so_reuseport", 0)])
        latent_pb2_grpc.add_LatentServiceServicer_to_server(fake, server)
        mechanism_pb2_grpc.add_MechanismServiceServicer_to_server(fake.mechanism, server)
        models_pb2_grpc.add_ModelServiceServicer_to_server(fake, server)
        transition_pb2_grpc.add_TransitionServiceServicer_to_server(fake.transition, server)
        if credentials is None:
            fake.port = server.add_insecure_port(f"127.0.0.1:{port}")
        else:
            fake.port = server.add_secure_port(f"127.0.0.1:{port}", credentials)
        server.start()
        try:
            yield fake
        finally:
            server.stop(None).wait()
