"""A bundle's graphs of whole frames: windows of any length at any place, encoded and explained by the stage of one's choice."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from training.data.dataset import Array
from training.data.resample import TOLERANCE_PX
from training.errors import InputError
from training.report.graphs import LatentGraphs


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
        windows_px: of the stages, ascending, pixels of the frame.

    Raises:
        InputError: PIXEL_SIZE_REQUIRED, IMAGES_TOO_SMALL: the longest window must fit.
    """

    def __init__(self, graphs: LatentGraphs, frame: Frame) -> None:
        self.graphs, self.frame = graphs, frame
        self.windows_px = stage_windows(graphs, frame)

    def encode(self, stage: int, centres: Array, window_px: float) -> dict[str, Array]:
        """What a stage says of windows: the outputs of `encode`, NaN where a window touches a pixel that was not measured.

        Args:
            stage: whose weights, counted from 0; any may look at windows of any length.
            centres: (n, 2) row and column, pixels.
            window_px: of all.
        """
        return self._asked(f"frame_{stage + 1}.float32", centres, window_px)

    def explain(self, stage: int, centres: Array, window_px: float) -> Array:
        """The explained fraction 1 − MSE/Var (n,) of the same windows; each is drawn again, which takes far longer than encoding it."""
        return self._asked(f"explain_{stage + 1}.float32", centres, window_px)["explained"]

    def nearest_stage(self, window_px: float) -> int:
        """The stage whose window is nearest in log length, counted from 0."""
        return int(np.argmin([abs(math.log(window_px / own)) for own in self.windows_px]))

    def _asked(self, name: str, centres: Array, window_px: float) -> dict[str, Array]:
        rows = {"centre_px": centres.astype(np.float32), "window_px": np.full(len(centres), window_px, np.float32)}
        found = self.graphs.run_fixed(name, rows, {"frame": np.ascontiguousarray(self.frame.values, np.float32)})
        spoilt = self._spoilt(centres, window_px)
        return {key: np.where(spoilt.reshape(-1, *[1] * (values.ndim - 1)), np.nan, values) for key, values in found.items()}

    def _spoilt(self, centres: Array, window_px: float) -> Array:
        bad = ~np.isfinite(self.frame.values if self.frame.values.ndim == 2 else self.frame.values.sum(axis=2))
        table = np.zeros((bad.shape[0] + 1, bad.shape[1] + 1), np.int64)
        table[1:, 1:] = bad.cumsum(axis=0).cumsum(axis=1)
        first = np.floor(centres - window_px / 2 + TOLERANCE_PX).astype(np.int64).clip(0)
        last = np.minimum(np.ceil(centres + window_px / 2 - TOLERANCE_PX).astype(np.int64), bad.shape)
        (top, left), (bottom, right) = first.T, last.T
        spoilt: Array = (table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]) > 0
        return spoilt


def stage_windows(graphs: LatentGraphs, frame: Frame) -> tuple[float, ...]:
    """Window lengths of the bundle's stages, ascending, in pixels of the frame: by their physical length where it and the pixel size are known.

    Raises:
        InputError: UNSUPPORTED_BUNDLE without frames; PIXEL_SIZE_REQUIRED; IMAGES_TOO_SMALL.
    """
    if graphs.latent.frames is None:
        raise InputError("UNSUPPORTED_BUNDLE", f"{graphs.folder} has no graphs of frames; fit its recipe again, which adds them.")
    lengths = []
    for stage in graphs.latent.frames.stages:
        if stage.window_nm is not None and frame.pixel_size_nm is not None:
            lengths.append(stage.window_nm / frame.pixel_size_nm)
        elif stage.window_px is not None:
            lengths.append(stage.window_px)
        else:
            raise InputError("PIXEL_SIZE_REQUIRED", f"The stages' windows are in nm, and {frame.name} tells no pixel size; give a file that does.")
    if lengths[-1] > frame.side_px + TOLERANCE_PX:
        height, width = frame.values.shape[:2]
        raise InputError("IMAGES_TOO_SMALL", f"{frame.name} has images of {height} × {width} px; the longest window is {lengths[-1]:.4g} px of them.")
    return tuple(min(float(length), float(frame.side_px)) for length in lengths)


def content_of(encoded: dict[str, Array], circles: tuple[int, ...] = ()) -> Array:
    """What does not change with pose, (n, L) float64: `content`, or `latent_mean` of a model without.

    Latents on circles stand last, as all their cosines and then all their sines.
    """
    values = np.asarray(encoded.get("content", encoded["latent_mean"]), np.float64)
    if not circles or "content" not in encoded:
        return values
    angles = values[:, list(circles)]
    return np.concatenate([np.delete(values, list(circles), axis=1), np.cos(angles), np.sin(angles)], axis=1)
