"""A transition bundle opened for drawing: verified, its graphs run by onnxruntime, and the true rates where its data was drawn."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from dichroic.bundle import Manifest, TransitionSection
from dichroic.bundle.files import WEIGHTS_NAME
from training.data.dataset import Array
from training.data.dune.families import rates_from_source
from training.data.dune.rates import RateModel
from training.errors import InputError
from training.export.sessions import GraphRunner
from training.report.opened import opened

# Neighbour 1 on +y, the others counter-clockwise after it.
_FIRST = math.pi / 2


class TransitionGraphs:
    """The graphs of one transition bundle.

    Attributes:
        folder: `<name>/<version>/`.
        manifest: of the bundle.
        section: the manifest's section transition.
        truth: the rates behind drawn data; None of others.
        neighbours: (3, 2) Å, of the state that pictures show.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        bundle = opened(folder)
        if bundle.manifest.transition is None:
            raise InputError("UNSUPPORTED_BUNDLE", f"{folder} is a bundle of kind {bundle.manifest.kind}, not transition.")
        self.manifest: Manifest = bundle.manifest
        self.section: TransitionSection = bundle.manifest.transition
        self.truth: RateModel | None = rates_from_source(self.manifest.training_data.source)
        angle = _FIRST + 2 * math.pi * np.arange(3) / 3
        self.neighbours: Array = self.section.bond_length_angstrom * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        self._runners = {
            name: GraphRunner(bundle.files[signature.graph], bundle.files[WEIGHTS_NAME], [spec.name for spec in signature.outputs])
            for name, signature in self.manifest.signatures.items()
        }

    @property
    def name(self) -> str:
        """`name` version `v`, for titles."""
        return f"{self.manifest.name} version {self.manifest.version}"

    @property
    def context(self) -> tuple[float, float]:
        """NA and kV in the middle of what was trained: what pictures are drawn at."""
        current, voltage = self.section.current_na, self.section.voltage_kv
        return (current.low + current.high) / 2, (voltage.low + voltage.high) / 2

    @property
    def setting(self) -> str:
        """The same in words."""
        return f"at {self.context[0]:.3g} nA and {self.context[1]:.3g} kV"

    def ask(self, signature: str, beam: Array, dwell_s: Array | None = None) -> dict[str, Array]:
        """Outputs of a graph for beams (n, 2) Å about the atom with `neighbours`, and for dwells (n,) s where it takes them."""
        most = self.manifest.signatures[signature].max_batch
        inputs = {"beam_xy_angstrom": beam, "neighbours_xy_angstrom": self._repeated(len(beam))}
        inputs |= {} if dwell_s is None else {"dwell_s": dwell_s}
        inputs |= {name: np.full(len(beam), value) for name, value in zip(("current_na", "voltage_kv"), self.context, strict=True)}
        parts = [
            self._runners[signature].run({name: np.ascontiguousarray(values[start : start + most]) for name, values in inputs.items()})
            for start in range(0, len(beam), most)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def true_rates(self, beam: Array) -> Array | None:
        """(n, 3) 1/s; None where nobody knows."""
        return None if self.truth is None else self.truth.rates(beam, self._repeated(len(beam)), self.contexts(len(beam)))

    def contexts(self, count: int) -> Array:
        """(n, 2) nA and kV."""
        return np.tile(np.array(self.context), (count, 1))

    def _repeated(self, count: int) -> Array:
        return np.tile(self.neighbours, (count, 1, 1))
