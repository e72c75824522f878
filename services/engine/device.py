"""Which device the graphs run on, decided once at start and never silently changed."""

from __future__ import annotations

import importlib.metadata
import logging
from dataclasses import dataclass
from typing import Literal

import onnxruntime as ort
from onnx import TensorProto, helper

from services.settings import Device

log = logging.getLogger("dichroic.engine")

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"


class DeviceError(RuntimeError):
    """The device asked for is not there, or two runtimes overwrite each other. The server does not start."""


@dataclass(frozen=True)
class ChosenDevice:
    """`fallback`: "auto" looked for a GPU and there was none."""

    name: Literal["cpu", "cuda"]
    fallback: bool
    intra_op_threads: int
    gpu_memory_bytes: int = 0

    @property
    def providers(self) -> list[str | tuple[str, dict[str, str]]]:
        """ONNX Runtime's provider list, most wanted first."""
        if self.name == "cpu":
            return [CPU]
        # TF32 rounds products to 10 bits: 4e-4 relative error on an MLP encoder, against 5e-7 without.
        options = {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC"}
        if self.gpu_memory_bytes:
            options["gpu_mem_limit"] = str(self.gpu_memory_bytes)
        return [(CUDA, options), CPU]


def choose_device(wanted: Device, *, intra_op_threads: int, gpu_memory_bytes: int = 0) -> ChosenDevice:
    """Settles the device by running a graph on it.

    Raises:
        DeviceError: both runtimes are installed, or `wanted` is "cuda" and a session does not come up on it.
    """
    refuse_two_runtimes()
    if wanted == "cpu":
        return ChosenDevice("cpu", False, intra_op_threads)
    cuda = ChosenDevice("cuda", False, intra_op_threads, gpu_memory_bytes)
    problem = _why_no_cuda(cuda)
    if problem is None:
        return cuda
    if wanted == "cuda":
        raise DeviceError(
            f"Device 'cuda' was asked for and is not usable: {problem}. Install the extra 'serving-gpu' on a host with an NVIDIA driver, "
            "or set DICHROIC_DEVICE=cpu."
        )
    log.warning("no GPU: running on the CPU because DICHROIC_DEVICE=auto (%s)", problem)
    return ChosenDevice("cpu", True, intra_op_threads)


def refuse_two_runtimes() -> None:
    """The packages onnxruntime and onnxruntime-gpu install the same files; with both present either may have won.

    Raises:
        DeviceError: both are installed.
    """
    found = [name for name in ("onnxruntime", "onnxruntime-gpu") if _installed(name)]
    if len(found) == 2:
        raise DeviceError(
            "Both onnxruntime and onnxruntime-gpu are installed and overwrite each other. Uninstall both, then install one extra: "
            "'dichroic[serving-cpu]' or 'dichroic[serving-gpu]'."
        )


def _installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _why_no_cuda(device: ChosenDevice) -> str | None:
    if CUDA not in ort.get_available_providers():
        return "the installed onnxruntime has no CUDA provider"
    ort.preload_dlls()
    try:
        session = ort.InferenceSession(_identity_graph(), providers=device.providers)
    except Exception as error:
        return f"a session on the GPU failed ({error})"
    # A provider that cannot load its libraries is dropped with a log line only: the classic silent fallback.
    return None if session.get_providers()[0] == CUDA else "ONNX Runtime dropped its CUDA provider (driver or CUDA libraries missing)"


def _identity_graph() -> bytes:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "probe", value[:1], value[1:])
    data: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    return data
