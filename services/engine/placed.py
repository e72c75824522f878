"""Fixed inputs that stay on the device from run to run: a posterior is larger than the rows it is asked about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from dichroic.bundle.arrays import Arrays

NDArray = np.ndarray[Any, np.dtype[Any]]
# Fixed inputs of callers that are kept: a session's, and those of what is asked between two of its runs, such as the prior.
MOST_KEPT = 2


class Placed:
    """Runs one graph with its fixed inputs on a device, each object copied there once. Not for two threads at once.

    Args:
        session: of the graph.
        device: as ONNX Runtime calls it, such as "cuda".
    """

    def __init__(self, session: ort.InferenceSession, device: str) -> None:
        self._session = session
        self._device = device
        self._held: dict[str, ort.OrtValue] = {}
        # The object itself beside its copy: what is alive shares its identity with nothing else.
        self._kept: list[tuple[Arrays, dict[str, ort.OrtValue]]] = []

    def hold(self, fixed: Arrays) -> None:
        """Keeps the bundle's own for good."""
        self._held = self._copied(fixed)

    def run(self, output_names: Sequence[str], inputs: Arrays, fixed: Arrays | None, named: Arrays, options: ort.RunOptions | None) -> list[NDArray]:
        """The outputs, as numpy.

        Args:
            output_names: in their order.
            inputs: by name, with their rows.
            fixed: the object that the fixed inputs are of, which is another one where they are others; None: those that are held.
            named: what the graph takes of it.
            options: of ONNX Runtime.
        """
        there = self._held if fixed is None else self._of(fixed, named)
        rows = {name: ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array)) for name, array in inputs.items()}
        return [value.numpy() for value in self._session.run_with_ort_values(list(output_names), rows | there, options)]

    def _of(self, fixed: Arrays, named: Arrays) -> dict[str, ort.OrtValue]:
        found = next((copies for there, copies in self._kept if there is fixed), None)
        if found is None:
            # Room on the device first: the copies that go may be as large as those that come.
            del self._kept[: len(self._kept) - MOST_KEPT + 1]
            found = self._copied(named)
        # The last used last.
        self._kept = [each for each in self._kept if each[0] is not fixed] + [(fixed, found)]
        return found

    def _copied(self, arrays: Arrays) -> dict[str, ort.OrtValue]:
        return {name: ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), self._device, 0) for name, array in arrays.items()}
