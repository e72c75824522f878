"""A latent bundle opened for drawing: verified, then run by onnxruntime, in pieces of the size each graph allows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from tqdm import tqdm

from dichroic.bundle import LatentSection, Manifest, Preprocessing, Signature, TensorSpec
from training.data.dataset import Array
from training.errors import InputError
from training.latent.history import HISTORY_NAME, read_history
from training.report.opened import opened, version_folder


class LatentGraphs:
    """The graphs of one latent bundle.

    Attributes:
        folder: `<name>/<version>/`.
        manifest: of the bundle.
        latent: the manifest's latent section.
        preprocessing: the manifest's preprocessing section.
        history: how the fit went; None where the bundle does not say.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = version_folder(folder)
        bundle = opened(self.folder)
        self.manifest: Manifest = bundle.manifest
        self.history = read_history(bundle.files[HISTORY_NAME]) if HISTORY_NAME in bundle.files else None
        if self.manifest.latent is None or self.manifest.preprocessing is None:
            raise InputError("UNSUPPORTED_BUNDLE", f"{self.folder} is a bundle of kind {self.manifest.kind}; figures are drawn of latent bundles.")
        self.latent: LatentSection = self.manifest.latent
        self.preprocessing: Preprocessing = self.manifest.preprocessing
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}

    @property
    def translates(self) -> bool:
        """Whether another kind is drawn than goes in; such a bundle reconstructs nothing."""
        return self.latent.input_kind != self.latent.output_kind

    @property
    def drawn(self) -> TensorSpec:
        """What decode gives: `images` (n, h, w[, c]) or `spectra` (n, l[, c])."""
        return self._signature("decode").outputs[0]

    @property
    def drawn_unit(self) -> str:
        """The unit of what decode gives."""
        return self.drawn.unit if self.translates else self.preprocessing.unit

    @property
    def taken_shape(self) -> tuple[int, ...]:
        """Of one row that goes in: (h, w[, c]) or (l[, c]), without a channel axis where there is one channel."""
        return next(each for name, each in sorted(self.manifest.signatures.items()) if name.startswith("encode.")).inputs[0].row_shape

    @property
    def draws_by_targets(self) -> bool:
        """Whether decode takes targets; a bundle may tell them and draw without."""
        return any(spec.name == "targets" for spec in self._signature("decode").inputs)

    @property
    def decodes_every_stage(self) -> bool:
        """Whether it holds the decoders of the stages before the last."""
        return "decode_1" in self.manifest.signatures

    def encode(self, values: Array, conditions: Array | None = None) -> dict[str, Array]:
        """Pose, content and class probabilities, by the outputs' names.

        Args:
            values: images (n, h, w[, c]) uint8, uint16 or float32, or spectra (n, l[, c]) float32.
            conditions: (n, k) in their units, a category as its index, for a model that has some.
        """
        return self._run(f"encode.{values.dtype.name}", self._given(values, conditions))

    def reconstruct(self, values: Array, conditions: Array | None = None) -> dict[str, Array]:
        """`reconstruction` in the training data's unit and `error` (n,) of what `encode` takes."""
        return self._run(f"reconstruct.{values.dtype.name}", self._given(values, conditions))

    def regress(self, values: Array) -> dict[str, Array]:
        """`target_mean` and `target_sd` (n, t) in the targets' units, of what `encode` takes."""
        return self._run(f"regress.{values.dtype.name}", self._given(values, None))

    def decode(
        self,
        content: Array,
        class_index: int | Array = 0,
        pose: dict[str, Array] | None = None,
        conditions: Array | None = None,
        targets: Array | None = None,
        *,
        stage: int | None = None,
    ) -> Array:
        """Images (n, h, w[, c]) or spectra (n, l[, c]) of contents (n, d).

        Args:
            content: (n, d); d may be 0.
            class_index: one for all, or (n,).
            pose: (n,) each, by the names of decode's inputs; what it leaves out is canonical: angle 0, scale 1, no shift.
            conditions: (k,) for all or (n, k), in their units, for a model that has some.
            targets: (t,) for all or (n, t), in their units, for a decoder that takes some.
            stage: whose decoder, counted from 1, but the last; None: the last.
        """
        rows = len(content)
        given = {"content": content.astype(np.float32)}
        given |= {name: np.zeros(rows, np.float32) for name in ("angle_rad", "shift_down_px", "shift_right_px")}
        given["scale"] = np.ones(rows, np.float32)
        given |= {name: values.astype(np.float32) for name, values in (pose or {}).items()}
        given["class_weights"] = np.zeros((rows, len(self.latent.class_names)), np.float32)
        if self.latent.class_names:
            given["class_weights"][np.arange(rows), class_index] = 1
        for name, told in (("conditions", conditions), ("targets", targets)):
            if told is not None:
                given[name] = np.broadcast_to(told.astype(np.float32), (rows, told.shape[-1]))
        wanted = {spec.name for spec in self._signature("decode").inputs}
        graph = "decode" if stage is None else f"decode_{stage}"
        return self._run(graph, {name: array for name, array in given.items() if name in wanted})[self.drawn.name]

    def run_fixed(self, name: str, rows: dict[str, Array], fixed: dict[str, Array]) -> dict[str, Array]:
        """Outputs of a graph that takes `rows` (n, ...) in pieces and beside them what is the same for every row, such as a frame."""
        return self._run(name, rows, fixed)

    def standardisation(self, name: str) -> tuple[Array, Array] | None:
        """Mean and sd (k,) of "conditions" or "targets" in training, as decode has them: (value − mean)/sd comes first. None: it has not."""
        graph = onnx.load(str(self.folder / self._signature("decode").graph), load_external_data=False).graph
        constants = {tensor.name: tensor for tensor in graph.initializer if not tensor.external_data}
        for less in graph.node:
            if less.op_type == "Sub" and less.input[0] == name and less.input[1] in constants:
                for over in graph.node:
                    if over.op_type == "Div" and over.input[0] == less.output[0] and over.input[1] in constants:
                        mean, sd = (onnx.numpy_helper.to_array(constants[key]).astype(np.float64) for key in (less.input[1], over.input[1]))
                        return mean, sd
        return None

    def _given(self, values: Array, conditions: Array | None) -> dict[str, Array]:
        told = {} if conditions is None else {"conditions": conditions.astype(np.float32)}
        return {self.latent.input_kind: values, **told}

    def _signature(self, name: str) -> Signature:
        if name not in self.manifest.signatures:
            raise InputError("UNSUPPORTED_BUNDLE", f"{self.folder} has no graph {name!r}; it has {', '.join(sorted(self.manifest.signatures))}.")
        return self.manifest.signatures[name]

    def _run(self, name: str, inputs: dict[str, Array], fixed: dict[str, Array] | None = None) -> dict[str, Array]:
        signature = self._signature(name)
        if name not in self._sessions:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            path = str(self.folder / signature.graph)
            self._sessions[name] = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        count = len(next(iter(inputs.values())))
        starts = range(0, count, signature.max_batch)
        pieces = ({key: np.ascontiguousarray(array[at : at + signature.max_batch]) for key, array in inputs.items()} for at in starts)
        parts = [
            self._sessions[name].run(None, {**piece, **(fixed or {})})
            for piece in tqdm(pieces, total=len(starts), desc=name, unit="batch", delay=2, leave=False, disable=None)
        ]
        names = [spec.name for spec in signature.outputs]
        return {key: np.concatenate([part[index] for part in parts]) for index, key in enumerate(names)}
