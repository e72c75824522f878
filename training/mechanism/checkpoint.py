"""A long fit's state on disk: one safetensors file with its facts as JSON in the header, replaced as a whole. No pickle."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from training.errors import InputError
from training.mechanism.structure import Array


def fingerprint_of(arrays: tuple[Array, ...], options: object) -> str:
    """Of a fit's points and options (told by their repr): a state is of no use to another."""
    found = hashlib.sha256(repr(options).encode())
    for array in arrays:
        found.update(f"{array.dtype}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


@dataclass(frozen=True)
class FitFile:
    """Where a fit keeps its state, so that one that was interrupted goes on from there."""

    path: Path

    def save(self, fingerprint: str, arrays: dict[str, Array], facts: dict[str, Any]) -> None:
        """Writes beside the old state, then replaces it: an interrupt leaves one whole state.

        Raises:
            InputError: CANNOT_WRITE.
        """
        draft = self.path.with_name(f".{self.path.name}.writing")
        # np.ascontiguousarray would turn a scalar into an array of one.
        whole = {name: np.array(array, order="C") for name, array in arrays.items()}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(save(whole, metadata={"facts": json.dumps({"fingerprint": fingerprint, **facts})}))
            draft.replace(self.path)
        except OSError as error:
            raise InputError("CANNOT_WRITE", f"The fit's state cannot be written to {self.path} ({error.strerror}); give another place.") from error

    def load(self, fingerprint: str) -> tuple[dict[str, Array], dict[str, Any]] | None:
        """Arrays and facts of the last state saved; None where there is none.

        Raises:
            InputError: CHECKPOINT_UNREADABLE, or CHECKPOINT_MISMATCH where points or options differ.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="numpy") as file:
                facts = json.loads((file.metadata() or {})["facts"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise InputError("CHECKPOINT_UNREADABLE", f"{self.path} is not a fit's state ({error}); delete it and start again.") from error
        if facts.pop("fingerprint", "") != fingerprint:
            raise InputError("CHECKPOINT_MISMATCH", f"The state at {self.path} belongs to other points or options; use those again, or delete it.")
        return arrays, facts

    def clear(self) -> None:
        """Forgets it: the fit is done."""
        self.path.unlink(missing_ok=True)
