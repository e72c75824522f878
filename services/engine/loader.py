"""The load sequence: hashes, graph, signature, golden replay, warm-up. Only what passes every step serves."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dichroic.bundle import Bundle, read_bundle
from dichroic.bundle.arrays import Arrays, unpack
from dichroic.bundle.files import GOLDEN_NAME, WEIGHTS_NAME
from dichroic.errors import BundleRefusedError
from services.engine.device import ChosenDevice
from services.engine.graph import empty_inputs, open_session
from services.engine.model import LoadedBundle
from services.engine.runtime import Runtime

log = logging.getLogger("dichroic.engine")


@dataclass(frozen=True)
class Loader:
    """Loads bundles on one device. Blocking: call it on a thread."""

    device: ChosenDevice
    max_batch: int

    def load(self, folder: Path) -> LoadedBundle:
        """Takes a bundle folder through every step.

        Raises:
            BundleRefusedError: names the step ("manifest", "files", "arrays", "graph", "signature", "golden", "warm-up") and a stable cause.
        """
        bundle = read_bundle(folder)
        weights = unpack(bundle.files[WEIGHTS_NAME], path=WEIGHTS_NAME) if WEIGHTS_NAME in bundle.files else {}
        loaded = LoadedBundle(bundle.manifest, bundle.manifest.digest, bundle.model_card, {})
        try:
            for name, signature in sorted(bundle.manifest.signatures.items()):
                session = open_session(name, bundle.files[signature.graph], signature, weights, self.device)
                loaded.runtimes[name] = Runtime(name, session, signature, max_batch=self.max_batch, pad=self.device.name == "cuda")
            replay_golden(bundle, loaded.runtimes)
            _warm_up(loaded.runtimes)
        except BaseException:
            loaded.close()
            raise
        return loaded


def replay_golden(bundle: Bundle, runtimes: dict[str, Runtime]) -> None:
    """Runs the bundle's own examples and compares the answers.

    Raises:
        BundleRefusedError: step "golden": an example is missing, does not run, or differs by more than its tolerance.
    """
    if GOLDEN_NAME not in bundle.files:
        raise BundleRefusedError("golden", "NO_GOLDEN", f"The bundle has no {GOLDEN_NAME}: its answers cannot be checked. Write it again.")
    golden = unpack(bundle.files[GOLDEN_NAME], path=GOLDEN_NAME)
    for name, runtime in runtimes.items():
        try:
            inputs = {spec.name: golden[f"{name}/in/{spec.name}"] for spec in runtime.signature.inputs}
            outputs = runtime.run(inputs)
            for spec in runtime.signature.outputs:
                _compare(name, spec.name, outputs[spec.name], golden)
        except KeyError as error:
            raise BundleRefusedError("golden", "NO_GOLDEN", f"{GOLDEN_NAME} lacks {error} for {name}.") from error
        except BundleRefusedError:
            raise
        except Exception as error:
            raise BundleRefusedError("golden", "GOLDEN_FAILED", f"The golden example of {name} does not run: {error}.") from error


def _compare(name: str, output: str, found: np.ndarray[tuple[int, ...], np.dtype[np.float64]], golden: Arrays) -> None:
    wanted = golden[f"{name}/out/{output}"]
    tolerance = float(golden[f"{name}/atol/{output}"].reshape(()))
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        raise BundleRefusedError("golden", "GOLDEN_DIFFERS", f"{name}/{output}: {found.dtype}{found.shape}, golden {wanted.dtype}{wanted.shape}.")
    difference = float(np.max(np.abs(found.astype(np.float64) - wanted.astype(np.float64)), initial=0.0))
    if not difference <= tolerance:  # also true for NaN
        raise BundleRefusedError(
            "golden", "GOLDEN_DIFFERS", f"{name}/{output} differs from the golden example by {difference:.3g}, more than {tolerance:.3g} allows."
        )


def _warm_up(runtimes: dict[str, Runtime]) -> None:
    for name, runtime in runtimes.items():
        try:
            for rows in runtime.buckets:
                runtime.run(empty_inputs(runtime.signature, rows))
        except Exception as error:
            raise BundleRefusedError("warm-up", "WARM_UP_FAILED", f"{name} does not run: {error}.") from error
