"""A bundle's graphs of whole frames, run by onnxruntime: windows of any length at any place, by the stage that a length belongs to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from training.data.dataset import Array
from training.report.graphs import LatentGraphs

# A window may stand out of its frame by this, pixels: lengths are float32 in the graphs.
_TOLERANCE_PX = 1e-6


@dataclass(frozen=True)
class Frame:
    """A whole image to draw maps over.

    Attributes:
        values: (h, w) or (h, w, c) float32 in the model's unit; not finite where nothing was measured.
        name: for titles.
        pixel_size_nm: None: not known.
    """

    values: Array
    name: str
    pixel_size_nm: float | None = None

    @property
    def side_px(self) -> int:
        """The shorter side: no longer window fits."""
        return min(self.values.shape[:2])

    @property
    def grey(self) -> Array:
        """(h, w), the first channel."""
        return self.values if self.values.ndim == 2 else self.values[..., 0]

    @property
    def unit(self) -> str:
        """Of lengths that are drawn: nm where the pixel size is known, else px."""
        return "px" if self.pixel_size_nm is None else "nm"

    def drawn(self, length_px: float | Array) -> Array:
        """Lengths in pixels as lengths in `unit`."""
        return np.asarray(length_px, np.float64) * (self.pixel_size_nm or 1.0)

    def told(self, length_px: float) -> str:
        """A length in words, such as "125 nm"."""
        return f"{float(self.drawn(length_px)):.3g} {self.unit}"


class ScaleGraphs:
    """The `frame_k` graphs of a bundle over one frame.

    Attributes:
        graphs: the bundle.
        frame: what is encoded.
        windows_px: of the stages that fit the frame, ascending, pixels of the frame; empty where the frame's pixel size would be needed and is not
            known.
        left_out: how many further stages have windows that are longer than the frame.
    """

    def __init__(self, graphs: LatentGraphs, frame: Frame) -> None:
        self.graphs, self.frame = graphs, frame
        known = stage_windows(graphs, frame.pixel_size_nm)
        self.windows_px = tuple(window for window in known if window <= frame.side_px + _TOLERANCE_PX)
        self.left_out = len(known) - len(self.windows_px)

    def encode(self, stage: int, centres: Array, window_px: float) -> dict[str, Array]:
        """What stage `stage` (0, 1, …) says of windows (n,): outputs of `encode` and `explained`, NaN where a window touches a pixel not measured.

        Args:
            stage: whose weights; any may look at windows of any length.
            centres: (n, 2) row and column, pixels.
            window_px: of all.
        """
        rows = {"centre_px": centres.astype(np.float32), "window_px": np.full(len(centres), window_px, np.float32)}
        found = self.graphs.run_fixed(f"frame_{stage + 1}.float32", rows, {"frame": self.frame.values})
        spoilt = self._spoilt(centres, window_px)
        return {name: np.where(spoilt.reshape(-1, *[1] * (values.ndim - 1)), np.nan, values) for name, values in found.items()}

    def nearest_stage(self, window_px: float) -> int:
        """The stage whose window is nearest in log length, counted from 0."""
        return int(np.argmin([abs(math.log(window_px / own)) for own in self.windows_px]))

    def _spoilt(self, centres: Array, window_px: float) -> Array:
        bad = ~np.isfinite(self.frame.values if self.frame.values.ndim == 2 else self.frame.values.sum(axis=2))
        table = np.zeros((bad.shape[0] + 1, bad.shape[1] + 1), np.int64)
        table[1:, 1:] = bad.cumsum(axis=0).cumsum(axis=1)
        first = np.floor(centres - window_px / 2 + _TOLERANCE_PX).astype(np.int64).clip(0)
        last = np.minimum(np.ceil(centres + window_px / 2 - _TOLERANCE_PX).astype(np.int64), bad.shape)
        (top, left), (bottom, right) = first.T, last.T
        spoilt: Array = (table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]) > 0
        return spoilt


def stage_windows(graphs: LatentGraphs, pixel_size_nm: float | None) -> tuple[float, ...]:
    """Window lengths of the bundle's stages, ascending, in pixels of a frame: by their physical length where it and the pixel size are known.

    Empty for a bundle without frames, and for one whose lengths are known in nm alone when the pixel size is not.
    """
    stages = () if graphs.latent.frames is None else graphs.latent.frames.stages
    physical = [None if stage.window_nm is None or pixel_size_nm is None else stage.window_nm / pixel_size_nm for stage in stages]
    found = [stage.window_px if own is None else own for stage, own in zip(stages, physical, strict=True)]
    return () if None in found else tuple(float(window) for window in found if window is not None)


def content_of(encoded: dict[str, Array], circles: tuple[int, ...] = ()) -> Array:
    """What does not change with pose, (n, L) float64: `content`, or `latent_mean` of a model without.

    Latents on circles stand last, as all their cosines and then all their sines.
    """
    values = np.asarray(encoded.get("content", encoded["latent_mean"]), np.float64)
    if not circles or "content" not in encoded:
        return values
    angles = values[:, list(circles)]
    return np.concatenate([np.delete(values, list(circles), axis=1), np.cos(angles), np.sin(angles)], axis=1)
