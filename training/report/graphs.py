"""A latent bundle opened for drawing: verified, then run by onnxruntime, in pieces of the size each graph allows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from tqdm import tqdm

from dichroic.bundle import LatentSection, Manifest, Preprocessing, Signature, read_bundle, versions_in
from dichroic.errors import BundleRefusedError
from training.data.dataset import Array
from training.errors import InputError
from training.latent.history import HISTORY_NAME, read_history


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
        self.folder = _version_folder(folder)
        try:
            bundle = read_bundle(self.folder)
        except BundleRefusedError as error:
            raise InputError("BUNDLE_REFUSED", error.message) from error
        self.manifest: Manifest = bundle.manifest
        self.history = read_history(bundle.files[HISTORY_NAME]) if HISTORY_NAME in bundle.files else None
        if self.manifest.latent is None or self.manifest.preprocessing is None:
            raise InputError("UNSUPPORTED_BUNDLE", f"{self.folder} is a bundle of kind {self.manifest.kind}; figures are drawn of latent bundles.")
        self.latent: LatentSection = self.manifest.latent
        if self.latent.conditions or self.latent.targets or {self.latent.input_kind, self.latent.output_kind} != {"images"}:
            raise InputError(
                "UNSUPPORTED_BUNDLE",
                f"{self.folder} has spectra, conditions or targets; figures are drawn of models from images to images without them.",
            )
        self.preprocessing: Preprocessing = self.manifest.preprocessing
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}

    def encode(self, images: Array) -> dict[str, Array]:
        """Pose and content of images (n, h, w[, c]) uint8, uint16 or float32, by the outputs' names."""
        return self._run(f"encode.{images.dtype.name}", {"images": images})

    def reconstruct(self, images: Array) -> dict[str, Array]:
        """`reconstruction` in the training data's unit and `error` (n,) of images (n, h, w[, c])."""
        return self._run(f"reconstruct.{images.dtype.name}", {"images": images})

    def decode(self, content: Array, class_index: int = 0, pose: dict[str, Array] | None = None) -> Array:
        """Images (n, h, w[, c]) of contents (n, d), of one class.

        `pose`: (n,) each, by the names of decode's inputs; what it leaves out is canonical: angle 0, scale 1, no shift.
        """
        rows = len(content)
        given = {"content": content.astype(np.float32)}
        given |= {name: np.zeros(rows, np.float32) for name in ("angle_rad", "shift_down_px", "shift_right_px")}
        given["scale"] = np.ones(rows, np.float32)
        given |= {name: values.astype(np.float32) for name, values in (pose or {}).items()}
        given["class_weights"] = np.zeros((rows, len(self.latent.class_names)), np.float32)
        given["class_weights"][:, class_index : class_index + 1] = 1
        wanted = {spec.name for spec in self._signature("decode").inputs}
        return self._run("decode", {name: array for name, array in given.items() if name in wanted})["images"]

    def _signature(self, name: str) -> Signature:
        if name not in self.manifest.signatures:
            raise InputError("UNSUPPORTED_BUNDLE", f"{self.folder} has no graph {name!r}; it has {', '.join(sorted(self.manifest.signatures))}.")
        return self.manifest.signatures[name]

    def _run(self, name: str, inputs: dict[str, Array]) -> dict[str, Array]:
        signature = self._signature(name)
        if name not in self._sessions:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            path = str(self.folder / signature.graph)
            self._sessions[name] = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        count = len(next(iter(inputs.values())))
        starts = range(0, count, signature.max_batch)
        parts = [
            self._sessions[name].run(None, {key: np.ascontiguousarray(array[start : start + signature.max_batch]) for key, array in inputs.items()})
            for start in tqdm(starts, desc=name, unit="batch", delay=2, leave=False, disable=None)
        ]
        names = [spec.name for spec in signature.outputs]
        return {key: np.concatenate([part[index] for part in parts]) for index, key in enumerate(names)}


def _version_folder(folder: Path) -> Path:
    """`<name>/<version>/` itself, or the highest version of `<name>/`."""
    if not folder.is_dir():
        raise InputError("FILE_NOT_FOUND", f"There is no folder {folder}; give BUNDLES/NAME/VERSION, or BUNDLES/NAME for its newest version.")
    if (folder / "bundle.json").exists():
        return folder
    versions = versions_in(folder)
    if not versions:
        raise InputError("BUNDLE_REFUSED", f"{folder} holds neither a bundle nor versions of one; give BUNDLES/NAME or BUNDLES/NAME/VERSION.")
    return folder / str(versions[-1])
