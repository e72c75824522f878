"""A reconstruction error as a p-value: how many of the held-out images were reconstructed as badly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from dichroic.bundle.manifest import Calibration
from services.latent.answers import Float32

Float64 = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class HeldOutErrors:
    """What a bundle stores of its N held-out errors.

    Attributes:
        errors: (m,) float64, strictly ascending order statistics, the least and the greatest among them.
        as_large: (m,) float64, how many of the N held-out errors are at least as large as each; N to 1.
        count: N.
    """

    errors: Float64
    as_large: Float64
    count: int

    @classmethod
    def of(cls, calibration: Calibration) -> Self | None:
        """From the manifest; None where the bundle stores none."""
        sample = calibration.reconstruction_error_sample
        if not sample or calibration.reconstruction_error is None:
            return None
        count = calibration.reconstruction_error.count
        ranks = np.round(np.linspace(0, count - 1, len(sample)))
        # Of equal errors the first: all of them are at least as large.
        errors, first = np.unique(np.array(sample, dtype=np.float64), return_index=True)
        return cls(errors, count - ranks[first], count)

    def p_value(self, error: Float32) -> Float32:
        """(n,) in (0, 1]: p = (1 + #{held-out errors >= error}) / (1 + N), the number interpolated linearly between the stored errors.

        The 1 is the image itself: for an image of the held-out data's kind, p <= a happens with a probability of at most a.
        """
        number = np.interp(error, self.errors, self.as_large, left=self.count, right=0)
        return ((1 + number) / (1 + self.count)).astype(np.float32)
