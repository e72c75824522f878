"""A fit's state on disk: one safetensors file with its facts as JSON in the header, replaced as a whole. No pickle."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from training.errors import InputError
from training.latent.history import EpochFigures, from_rows, to_rows

Array = np.ndarray[Any, np.dtype[Any]]
_FILE = "fit.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """Everything a fit needs to go on as if it had never stopped.

    Attributes:
        arrays: `model/<name>`, `adam/<name>/<moment>`, and `best/<name>` of the best restart so far.
        restart: index of the restart that is running.
        epoch: epochs of this restart that are done, equivariance stage included.
        best: (restart, −ELBO on the validation images) of the best finished restart; None before the first.
        history: the epochs of this restart that are done.
        best_history: those of the best finished restart.
    """

    arrays: dict[str, Array]
    restart: int
    epoch: int
    best: tuple[int, float] | None
    history: tuple[EpochFigures, ...] = ()
    best_history: tuple[EpochFigures, ...] = ()


@dataclass(frozen=True)
class CheckpointStore:
    """One fit's place for checkpoints. `fingerprint` identifies recipe, seed and data: a checkpoint of another fit is refused."""

    folder: Path
    fingerprint: str

    def save(self, state: Checkpoint) -> None:
        """Writes beside the old state, then replaces it: an interrupt leaves one whole checkpoint.

        Raises:
            InputError: CANNOT_WRITE.
        """
        facts = {
            "fingerprint": self.fingerprint,
            "restart": state.restart,
            "epoch": state.epoch,
            "best": state.best,
            "history": to_rows(state.history),
            "best_history": to_rows(state.best_history),
        }
        # np.ascontiguousarray would turn a scalar, such as Adam's step, into an array of one.
        arrays = {name: np.array(array, order="C") for name, array in state.arrays.items()}
        draft = self.folder / f".{_FILE}.writing"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(save(arrays, metadata={"facts": json.dumps(facts)}))
            draft.replace(self.folder / _FILE)
        except OSError as error:
            raise InputError("CANNOT_WRITE", f"The checkpoint cannot be written to {self.folder} ({error.strerror}); give another --out.") from error

    def load(self) -> Checkpoint:
        """The last state saved.

        Raises:
            InputError: CHECKPOINT_MISSING, CHECKPOINT_UNREADABLE, or CHECKPOINT_MISMATCH when recipe, seed or data differ.
        """
        path = self.folder / _FILE
        if not path.exists():
            raise InputError(
                "CHECKPOINT_MISSING",
                f"There is no checkpoint of this recipe, seed and data at {path} to resume from; run the same command without --resume.",
            )
        try:
            with safe_open(path, framework="numpy") as file:
                facts = json.loads((file.metadata() or {})["facts"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise InputError("CHECKPOINT_UNREADABLE", f"{path} is not a checkpoint ({error}); delete it and start again.") from error
        if facts["fingerprint"] != self.fingerprint:
            raise InputError(
                "CHECKPOINT_MISMATCH",
                f"The checkpoint at {path} belongs to another recipe, seed or data set; use those again, or run without --resume to start anew.",
            )
        best = None if facts["best"] is None else (int(facts["best"][0]), float(facts["best"][1]))
        told = [from_rows(facts.get(name, [])) for name in ("history", "best_history")]  # none in a checkpoint of an earlier version
        return Checkpoint(arrays, facts["restart"], facts["epoch"], best, *told)

    @property
    def is_there(self) -> bool:
        """Whether a state was saved and not forgotten."""
        return (self.folder / _FILE).exists()

    def clear(self) -> None:
        """Forgets the fit: its bundle is written."""
        shutil.rmtree(self.folder, ignore_errors=True)
