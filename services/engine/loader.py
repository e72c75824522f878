"""The load sequence: hashes, graph, signature, golden replay, warm-up. Only what passes every step serves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime as ort

from dichroic.bundle import Bundle, read_bundle
from dichroic.bundle.arrays import Arrays, unpack
from dichroic.bundle.files import GOLDEN_NAME, WEIGHTS_NAME
from dichroic.errors import BundleRefusedError
from services.engine.device import ChosenDevice
from services.engine.graph import empty_inputs, open_session
from services.engine.model import LoadedBundle
from services.engine.runtime import MAX_RUN_BYTES, NDArray, Runtime

# The widest tolerance a golden example may claim, of the greatest value in it (at least 1): more would let anything pass.
MAX_TOLERANCE = 1e-3

# Runs one of the bundle's graphs: its name, inputs, fixed inputs.
Run = Callable[[str, Arrays, Arrays], Arrays]
# Makes the fixed inputs of a bundle's graphs from its files, with graphs of its own to help: a room knows how, the engine does not.
MakeFixed = Callable[[Bundle, Run], Arrays]


@dataclass(frozen=True)
class Loader:
    """Loads bundles on one device. Blocking: call it on a thread.

    Attributes:
        device: where the graphs run.
        max_batch: most rows of one run.
        max_run_bytes: most bytes of inputs and outputs of one run; graphs with large rows run fewer of them at once.
        timeout_s: how long golden replay and warm-up of one bundle may take: a graph can loop for ever.
        make_fixed: by kind of bundle.
    """

    device: ChosenDevice
    max_batch: int
    max_run_bytes: int = MAX_RUN_BYTES
    timeout_s: float = 120.0
    make_fixed: Mapping[str, MakeFixed] = field(default_factory=dict)

    def load(self, folder: Path) -> LoadedBundle:
        """Takes a bundle folder through every step.

        Raises:
            BundleRefusedError: names the step ("manifest", "files", "arrays", "graph", "signature", "posterior", "golden" or "warm-up") and a
                stable cause.
        """
        bundle = read_bundle(folder)
        weights = unpack(bundle.files[WEIGHTS_NAME], path=WEIGHTS_NAME) if WEIGHTS_NAME in bundle.files else {}
        loaded = LoadedBundle(bundle.manifest, bundle.manifest.digest, bundle.model_card, {})
        try:
            for name, signature in sorted(bundle.manifest.signatures.items()):
                session = open_session(name, bundle.files[signature.graph], signature, weights, self.device)
                on_gpu = self.device.name == "cuda"
                loaded.runtimes[name] = Runtime(
                    name,
                    session,
                    signature,
                    max_batch=self.max_batch,
                    pad=on_gpu,
                    max_run_bytes=self.max_run_bytes,
                    place_on="cuda" if on_gpu else "",
                )
            with _ended_after(self.timeout_s) as options:
                self._hold_fixed(bundle, loaded, options)
                replay_golden(bundle, loaded.runtimes, options)
                _warm_up(bundle, loaded.runtimes, options)
        except BaseException:
            loaded.close()
            raise
        return loaded

    def _hold_fixed(self, bundle: Bundle, loaded: LoadedBundle, options: ort.RunOptions) -> None:
        kind, runtimes = bundle.manifest.kind, loaded.runtimes
        wanting = [name for name, runtime in runtimes.items() if runtime.signature.fixed and not runtime.signature.asks_for_fixed]
        if not wanting:
            return
        if kind not in self.make_fixed:
            raise BundleRefusedError("signature", "FIXED_INPUTS", f"{wanting[0]} has fixed inputs, which bundles of kind {kind!r} do not have.")
        try:
            loaded.fixed.update(self.make_fixed[kind](bundle, lambda name, inputs, fixed: runtimes[name].run(inputs, options, fixed)))
            for name in wanting:
                runtimes[name].hold(loaded.fixed)
        except BundleRefusedError:
            raise
        except Exception as error:
            raise BundleRefusedError("posterior", "POSTERIOR_FAILED", f"The fixed inputs of {wanting[0]} cannot be made: {error}.") from error


def replay_golden(bundle: Bundle, runtimes: dict[str, Runtime], options: ort.RunOptions | None = None) -> None:
    """Runs the bundle's own examples and compares the answers: together, in reverse order, and each row alone.

    The micro-batcher puts rows of different callers into one run and takes them apart again; a graph in which rows touch each other, or come out
    in another order, would hand one caller's answer to the next.

    Raises:
        BundleRefusedError: step "golden": an example is missing, does not run, or differs by more than its tolerance.
    """
    golden = _examples(bundle)
    for name, runtime in runtimes.items():
        inputs, fixed = _example(golden, name, runtime)
        rows = len(next(iter(inputs.values())))
        if rows < 2:
            raise BundleRefusedError("golden", "NO_GOLDEN", f"The golden example of {name} has {rows} rows; it needs 2 or more, to tell rows apart.")
        try:
            for order in (np.arange(rows), np.arange(rows)[::-1], *np.arange(rows)[:, None]):
                outputs = runtime.run({key: np.ascontiguousarray(values[order]) for key, values in inputs.items()}, options, fixed)
                for spec in runtime.signature.outputs:
                    _compare(name, spec.name, outputs[spec.name], golden, order)
        except BundleRefusedError:
            raise
        except Exception as error:
            raise BundleRefusedError("golden", "GOLDEN_FAILED", f"The golden example of {name} does not run: {error}.") from error


def _examples(bundle: Bundle) -> Arrays:
    if GOLDEN_NAME not in bundle.files:
        raise BundleRefusedError("golden", "NO_GOLDEN", f"The bundle has no {GOLDEN_NAME}: its answers cannot be checked. Write it again.")
    return unpack(bundle.files[GOLDEN_NAME], path=GOLDEN_NAME)


def _example(golden: Arrays, name: str, runtime: Runtime) -> tuple[Arrays, Arrays | None]:
    """A graph's example: its rows, and its fixed inputs where those come with each request; None: the bundle's own."""
    signature = runtime.signature
    inputs = {spec.name: _golden(golden, f"{name}/in/{spec.name}") for spec in signature.inputs}
    fixed = {spec.name: _golden(golden, f"{name}/in/{spec.name}") for spec in signature.fixed} if signature.asks_for_fixed else None
    return inputs, fixed


def _golden(golden: Arrays, key: str) -> NDArray:
    if key not in golden:
        raise BundleRefusedError("golden", "NO_GOLDEN", f"{GOLDEN_NAME} lacks {key}.")
    return golden[key]


def _compare(name: str, output: str, found: NDArray, golden: Arrays, order: NDArray) -> None:
    whole = _golden(golden, f"{name}/out/{output}")
    tolerance = float(_golden(golden, f"{name}/atol/{output}").reshape(()))
    widest = MAX_TOLERANCE * max(1.0, float(np.max(np.abs(whole.astype(np.float64)), initial=0.0)))
    if not 0 <= tolerance <= widest:
        raise BundleRefusedError("golden", "GOLDEN_TOLERANCE", f"{name}/{output} claims a tolerance of {tolerance:.3g}; {widest:.3g} is the most.")
    wanted = whole[order] if len(whole) > int(order.max()) else whole
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        raise BundleRefusedError("golden", "GOLDEN_DIFFERS", f"{name}/{output}: {found.dtype}{found.shape}, golden {wanted.dtype}{wanted.shape}.")
    difference = float(np.max(np.abs(found.astype(np.float64) - wanted.astype(np.float64)), initial=0.0))
    if not difference <= tolerance:  # also true for NaN
        raise BundleRefusedError(
            "golden", "GOLDEN_DIFFERS", f"{name}/{output} differs from the golden example by {difference:.3g}, more than {tolerance:.3g} allows."
        )


def _warm_up(bundle: Bundle, runtimes: dict[str, Runtime], options: ort.RunOptions) -> None:
    golden = _examples(bundle)
    for name, runtime in runtimes.items():
        inputs, fixed = _example(golden, name, runtime)
        as_long_as_they_are = fixed is not None or bool(runtime.lengths(inputs))
        try:
            for rows in runtime.warm_up_rows:
                # Zeros are no window, and no frame has a length of its own: there the example, over and over.
                given = _repeated(inputs, rows) if as_long_as_they_are else empty_inputs(runtime.signature, rows)
                runtime.run(given, options, fixed)
        except Exception as error:
            raise BundleRefusedError("warm-up", "WARM_UP_FAILED", f"{name} does not run: {error}.") from error


def _repeated(inputs: Arrays, rows: int) -> Arrays:
    return {name: values[np.arange(rows) % len(values)] for name, values in inputs.items()}


@contextmanager
def _ended_after(timeout_s: float) -> Iterator[ort.RunOptions]:
    """Run options that end a run, also one that loops, once the time is over."""
    options = ort.RunOptions()

    def end() -> None:
        options.terminate = True

    timer = threading.Timer(timeout_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield options
    finally:
        timer.cancel()
