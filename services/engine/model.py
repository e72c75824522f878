"""A bundle version in service: its runtimes, and who is using it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from dichroic.bundle import Manifest, Signature, TensorSpec
from dichroic.bundle.arrays import Arrays
from dichroic.errors import InvalidTensorError, UnsupportedCapabilityError
from services.engine.batcher import MicroBatcher
from services.engine.budget import QueueBudget
from services.engine.observe import Observer
from services.engine.runtime import NDArray, Runtime


@dataclass(frozen=True)
class Identity:
    """Which bundle answered. Equal digests answer equally."""

    name: str
    version: int
    digest: str


@dataclass(frozen=True)
class LoadedBundle:
    """What the load sequence made of a bundle: checked, warm, not yet serving. `fixed`: its graphs' inputs that are the same for every row."""

    manifest: Manifest
    digest: str
    model_card: str
    runtimes: dict[str, Runtime]
    fixed: Arrays = field(default_factory=dict)

    def close(self) -> None:
        """Ends the lanes' threads; a run in progress ends first."""
        for runtime in self.runtimes.values():
            runtime.lane.shutdown(wait=False)


@dataclass(eq=False)
class ServingModel:
    """A loaded bundle with its queues. `users` counts leases; a retired model closes with its last one."""

    bundle: LoadedBundle
    batchers: dict[str, MicroBatcher]
    budget: QueueBudget
    users: int = 0
    retired: bool = False
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def start(cls, bundle: LoadedBundle, budget: QueueBudget, observer: Observer) -> ServingModel:
        """Gives every runtime its queue."""
        name = bundle.manifest.name
        batchers = {key: MicroBatcher(name, runtime, budget, observer) for key, runtime in bundle.runtimes.items()}
        return cls(bundle, batchers, budget)

    @property
    def fixed(self) -> Arrays:
        """The bundle's own arrays among the graphs' inputs, such as its posterior; empty where it has none."""
        return self.bundle.fixed

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self.bundle.manifest

    @property
    def identity(self) -> Identity:
        """Name, version and digest, as every answer carries them."""
        return Identity(self.manifest.name, self.manifest.version, self.bundle.digest)

    def signature(self, name: str) -> Signature:
        """The signature of this name.

        Raises:
            UnsupportedCapabilityError: the bundle has none of this name.
        """
        try:
            return self.manifest.signatures[name]
        except KeyError:
            there = ", ".join(sorted(self.manifest.signatures))
            raise UnsupportedCapabilityError(f"Model {self.manifest.name} has no {name}; it has {there}.") from None

    def check_rows(self, signature_name: str, rows: int) -> None:
        """Refuses more rows than could ever be held, before anything is allocated for them.

        Raises:
            QueueFullError: without a delay.
        """
        self.budget.check_size(self.batchers[signature_name].size_bytes(rows))

    async def run(self, signature_name: str, inputs: Arrays, deadline: float, fixed: Arrays | None = None) -> Arrays:
        """Checks shapes and dtypes against the signature and queues the rows. Raises as MicroBatcher.submit, and InvalidTensorError."""
        signature = self.signature(signature_name)
        check_inputs(signature, inputs)
        if signature.asks_for_fixed:
            check_fixed(signature, fixed or {})
        return await self.batchers[signature_name].submit(inputs, deadline, fixed)

    def hold(self) -> None:
        """One user more, until `release`. By whoever holds a lease already, or in the event loop's turn in which the model was found."""
        self.users += 1

    def release(self) -> None:
        """One user fewer; the last one closes a retired model."""
        self.users -= 1
        self._close_if_done()

    def retire(self) -> None:
        """No new users from here on; those there finish."""
        self.retired = True
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self.retired and not self.users and not self.idle.is_set():
            self.bundle.close()
            self.idle.set()


def check_inputs(signature: Signature, inputs: Arrays) -> None:
    """Compares arrays with their specs; values are looked at on the lane.

    Raises:
        InvalidTensorError: a missing array, another dtype or shape, no rows, or unequal row counts; names the field.
    """
    rows: int | None = None
    lengths: dict[str, int] = {}
    for spec in signature.inputs:
        array = inputs[spec.name]
        check_array(spec, array, lengths)
        if rows is not None and len(array) != rows:
            raise InvalidTensorError(f"{spec.name} has {len(array)} rows, the arrays before it {rows}; all need the same number.", field=spec.name)
        rows = len(array)


def check_fixed(signature: Signature, fixed: Arrays) -> None:
    """Compares the fixed inputs of a request with their specs.

    Raises:
        InvalidTensorError: one is missing, or has another dtype or shape; names the field.
    """
    lengths: dict[str, int] = {}
    for spec in signature.fixed:
        array = fixed.get(spec.name)
        if array is None or not array.size or not spec.fits(array.dtype.name, array.shape, lengths):
            found = "missing" if array is None else f"{array.dtype.name} of shape {array.shape}"
            wanted = f"{spec.dtype} of shape ({', '.join(map(str, spec.shape))})"
            raise InvalidTensorError(f"{spec.name} is {found}; this model takes {wanted}.", field=spec.name)


def check_array(spec: TensorSpec, array: NDArray, lengths: dict[str, int] | None = None) -> None:
    """Compares one array with its spec. `lengths`: of the named axes of the arrays before it, which it joins.

    Raises:
        InvalidTensorError: another dtype or shape, or no rows.
    """
    if array.dtype != spec.dtype or not spec.lengths_of(array.shape, {} if lengths is None else lengths):
        wanted = f"{spec.dtype} of shape ({', '.join(map(str, spec.shape))})"
        raise InvalidTensorError(f"{spec.name} is {array.dtype.name} of shape {array.shape}; this model takes {wanted}.", field=spec.name)
    if not len(array):
        raise InvalidTensorError(f"{spec.name} has no rows; send at least one.", field=spec.name)
