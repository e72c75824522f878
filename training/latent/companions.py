"""What stands beside each image: conditions that the model is told, targets that it tells, and outputs that it draws in the image's place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.latent.specification import ModelSpecification

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Companions:
    """One row for each image; None: the model has no such thing.

    Attributes:
        conditions: (n, k) float32, in their units, categories by their index.
        targets: (n, t), NaN where not known; in their units, for a fit standardised.
        outputs: (n, h, w, c) float32 what is drawn; in its unit, for a fit normalised.
    """

    conditions: Array | None = None
    targets: Array | None = None
    outputs: Array | None = None

    def at(self, rows: Array | slice) -> Companions:
        """Those of some images."""
        return Companions(*(None if part is None else part[rows] for part in (self.conditions, self.targets, self.outputs)))

    def tensors(self, device: torch.device) -> CompanionTensors:
        """As float32 tensors."""
        parts = (self.conditions, self.targets, self.outputs)
        made = (None if part is None else torch.from_numpy(np.ascontiguousarray(part, dtype=np.float32)).to(device) for part in parts)
        return CompanionTensors(*made)


NO_COMPANIONS = Companions()


@dataclass(frozen=True)
class CompanionTensors:
    """Companions on a device."""

    conditions: Tensor | None = None
    targets: Tensor | None = None
    outputs: Tensor | None = None

    def at(self, rows: Tensor) -> CompanionTensors:
        """Those of some images."""
        return CompanionTensors(*(None if part is None else part[rows] for part in (self.conditions, self.targets, self.outputs)))


def standardised(specification: ModelSpecification, targets: Array) -> Array:
    """Targets (n, t) in their units to (value − mean)/sd, float64; NaN stays NaN."""
    mean, sd = (np.array([getattr(column, fact) for column in specification.targets]) for fact in ("mean", "sd"))
    scaled: Array = (targets - mean) / sd
    return scaled
