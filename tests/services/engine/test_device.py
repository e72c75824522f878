"""The device is never silently another one."""

from __future__ import annotations

import importlib.metadata
import logging

import onnxruntime as ort
import pytest

from services.engine import device
from services.engine.device import CUDA, DeviceError, choose_device

needs_no_gpu = pytest.mark.skipif(CUDA in ort.get_available_providers(), reason="this machine's runtime has CUDA")


@needs_no_gpu
def test_cuda_asked_for_and_missing_is_a_refusal() -> None:
    with pytest.raises(DeviceError, match="serving-gpu"):
        choose_device("cuda", intra_op_threads=1)


@needs_no_gpu
def test_auto_falls_back_to_the_cpu_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="dichroic.engine"):
        chosen = choose_device("auto", intra_op_threads=1)
    assert (chosen.name, chosen.fallback) == ("cpu", True)
    assert "no GPU" in caplog.text


def test_cpu_asked_for_is_no_fallback() -> None:
    assert not choose_device("cpu", intra_op_threads=1).fallback


class DroppedCuda:
    """A session whose CUDA provider could not load its libraries: ONNX Runtime drops it with a log line only."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]


def test_a_cuda_provider_that_is_dropped_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device.ort, "get_available_providers", lambda: [CUDA, "CPUExecutionProvider"])
    monkeypatch.setattr(device.ort, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(device.ort, "InferenceSession", DroppedCuda)
    with pytest.raises(DeviceError, match="dropped"):
        choose_device("cuda", intra_op_threads=1)
    assert choose_device("auto", intra_op_threads=1).fallback


def test_two_runtimes_side_by_side_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.distribution
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: real("onnxruntime") if name == "onnxruntime-gpu" else real(name))
    with pytest.raises(DeviceError, match="Both onnxruntime and onnxruntime-gpu"):
        choose_device("cpu", intra_op_threads=1)
