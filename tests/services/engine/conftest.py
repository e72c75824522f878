"""A runtime whose runs the test lets go one by one, and an observer that remembers."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from dichroic.bundle import Signature, TensorSpec
from services.engine.runtime import Runtime
from tests.toy_bundle import NDArray


class Recorder:
    """Remembers what the engine tells."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.taken = 0
        self.rejections: list[str] = []
        self.loads: list[str] = []

    def batch_run(self, model: str, signature: str, rows: int, padded_rows: int, duration_s: float) -> None:
        self.batches.append(rows)

    def work_taken(self, model: str, signature: str, waited_s: float) -> None:
        self.taken += 1

    def rejected(self, model: str, reason: str) -> None:
        self.rejections.append(reason)

    def model_loaded(self, model: str, outcome: str, duration_s: float) -> None:
        self.loads.append(outcome)


class DoublingSession:
    """Stands for an ONNX session: y = 2 x. Each run waits for `gate`, which the test opens; x = 666 breaks the run."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.ran: list[list[float]] = []
        self.threads: list[int] = []
        self.takes_s = 0.0

    def run(self, _: list[str], inputs: dict[str, NDArray], __: object = None) -> list[NDArray]:
        self.entered.set()
        self.gate.wait(30)
        time.sleep(self.takes_s)
        self.threads.append(threading.get_ident())
        self.ran.append(inputs["x"][:, 0].tolist())
        if (inputs["x"] == 666).any():
            raise RuntimeError("the graph broke")
        with np.errstate(over="ignore"):
            return [inputs["x"] * np.float32(2)]

    async def until_running(self) -> None:
        await asyncio.to_thread(self.entered.wait, 30)


SPEC: dict[str, Any] = {"dtype": "float32", "shape": ("n", 2), "axes": ("batch", "value"), "unit": "1", "meaning": "a value"}
DOUBLING = Signature(graph="double.onnx", inputs=(TensorSpec(name="x", **SPEC),), outputs=(TensorSpec(name="y", **SPEC),), max_batch=8)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def session() -> DoublingSession:
    return DoublingSession()


@pytest.fixture
def runtime(session: DoublingSession) -> Any:
    made = Runtime("double", session, DOUBLING, max_batch=8, pad=False)  # type: ignore[arg-type]
    assert isinstance(made.lane, ThreadPoolExecutor)
    yield made
    session.gate.set()
    made.lane.shutdown()
