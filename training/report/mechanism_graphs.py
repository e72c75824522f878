"""A mechanism bundle opened for drawing: verified, its posterior made ready as a server does, its graphs run by onnxruntime."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime
from scipy.linalg import solve_triangular

from dichroic.bundle import Manifest, MechanismSection, Signature
from dichroic.bundle.arrays import unpack
from dichroic.bundle.files import GOLDEN_NAME, POSTERIOR_NAME, WEIGHTS_NAME
from dichroic.bundle.mechanism_section import Mechanism
from training.data.dataset import Array
from training.errors import InputError
from training.report.opened import opened

HELD_OUT_NAME = "held_out.safetensors"


class MechanismGraphs:
    """The graphs of one mechanism bundle.

    Attributes:
        folder: `<name>/<version>/`.
        manifest: of the bundle.
        section: the manifest's section mechanism.
        held_out: what it says of points that no part of the fit saw, by `measure.held_out_arrays`; empty where it holds none.
        stored: posterior.safetensors.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        bundle = opened(folder)
        if bundle.manifest.mechanism is None:
            raise InputError("UNSUPPORTED_BUNDLE", f"{folder} is a bundle of kind {bundle.manifest.kind}, not mechanism.")
        self.manifest: Manifest = bundle.manifest
        self.section: MechanismSection = bundle.manifest.mechanism
        self.held_out: dict[str, Array] = _arrays(bundle.files, HELD_OUT_NAME)
        self.stored: dict[str, Array] = _arrays(bundle.files, POSTERIOR_NAME)
        self._golden = _arrays(bundle.files, GOLDEN_NAME)
        self._weights = _arrays(bundle.files, WEIGHTS_NAME)
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}

    @property
    def name(self) -> str:
        """`name` version `v`, for titles."""
        return f"{self.manifest.name} version {self.manifest.version}"

    def mechanism(self, name: str) -> Mechanism:
        """By its name."""
        return next(each for each in self.section.mechanisms if each.name == name)

    def predict(self, given: dict[str, Array]) -> dict[str, Array]:
        """What the posterior says, by the names of predict's outputs; mechanisms that are not given stand at one of the golden examples."""
        rows = len(next(iter(given.values())))
        inputs = {}
        for mechanism in self.section.mechanisms:
            example = self._golden[f"predict.float32/in/{mechanism.name}"][:1]
            inputs[mechanism.name] = given.get(mechanism.name, np.repeat(example, rows, axis=0))
        return self._run("predict.float32", inputs, self._posterior)

    def covariance(self, latents: Array, points: Array) -> tuple[Array, Array]:
        """Prior covariances between latents (n, D) and points (N, D): of f (n, N), and of each part, bare of its factor here, with f (T, n, N)."""
        told = self._run("rows", {"latents": latents}, {"points": points})
        return np.einsum("nt,ntm->nm", told["factor"], told["rows"]), told["rows"].transpose(1, 0, 2)

    @cached_property
    def _posterior(self) -> dict[str, Array]:
        """The arrays beside the mechanisms; see training/mechanism/posterior.py."""
        points, reference = self.stored["points"], self.stored["reference"]
        total, rows = self.covariance(points, points)
        if self.section.posterior == "exact":
            inverse = solve_triangular(np.linalg.cholesky(total + np.diag(self.stored["noise_variance"])), np.eye(len(points)), lower=True)
            alpha = inverse.T @ (inverse @ self.stored["residual"])
        else:
            inverse, alpha = self.stored["inverse"], self.stored["alpha"]
        centred = np.array([part.centred for part in self.section.parts[1:]])
        gauge = (rows @ reference) * centred[:, None]
        return {
            "points": points,
            "inverse": inverse,
            "alpha": alpha,
            "reference": reference,
            "gauge_half": inverse @ gauge.T,
            "gauge_mean": gauge @ alpha,
            "gauge_variance": gauge @ reference,
        }

    def _run(self, name: str, inputs: dict[str, Array], fixed: dict[str, Array]) -> dict[str, Array]:
        signature: Signature = self.manifest.signatures[name]
        if name not in self._sessions:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            path = str(self.folder / signature.graph)
            self._sessions[name] = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        starts = range(0, len(next(iter(inputs.values()))), signature.max_batch)
        own = {spec.name: np.ascontiguousarray(fixed[spec.name]) for spec in signature.fixed}
        parts = [
            self._sessions[name].run(
                None,
                own
                | {
                    spec.name: np.ascontiguousarray(inputs[spec.name][start : start + signature.max_batch], dtype=spec.dtype)
                    for spec in signature.inputs
                },
            )
            for start in starts
        ]
        return {spec.name: np.concatenate([part[index] for part in parts]) for index, spec in enumerate(signature.outputs)}


def _arrays(files: dict[str, bytes], name: str) -> dict[str, Array]:
    return unpack(files[name], path=name) if name in files else {}
