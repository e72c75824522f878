"""What all figures share: size, fonts, colours that colour-blind readers can tell apart, and tiles."""

from __future__ import annotations

import textwrap
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from training.data.dataset import Array
from training.report.graphs import LatentGraphs

# Okabe and Ito's colours, and a marker each, so that no class is told by colour alone.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "^", "D", "s", "v", "P", "X")
INTENSITY = "cividis"
ANGLE = "twilight"
DIFFERENCE = "PuOr"
# Of values that curves have: dark to green, without the yellow that no eye finds on white.
SEQUENCE = ListedColormap(mpl.colormaps["viridis"](np.linspace(0.0, 0.85, 256)))
MEASURED = "0.55"
# Of a title, at its size.
_LETTERS_PER_INCH = 12.5

_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "figure.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def drawing() -> AbstractContextManager[None]:
    """Everything drawn within has this project's style."""
    return mpl.rc_context(_STYLE)


def figure(width_inch: float, height_inch: float, title: str) -> Figure:
    """An empty figure with its title, in lines that fit its width; no global state of pyplot is touched."""
    made = Figure(figsize=(width_inch, height_inch), layout="constrained", dpi=150)
    lines = [line for given in title.split("\n") for line in textwrap.wrap(given, int(width_inch * _LETTERS_PER_INCH))]
    made.suptitle("\n".join(lines))
    return made


def save(made: Figure, path: Path) -> Path:
    """Writes a .png, as large as what is drawn: legends may stand outside their axes."""
    made.savefig(path, bbox_inches="tight", pad_inches=0.1)
    return path


def model_name(graphs: LatentGraphs) -> str:
    """`name` version `v`, for titles."""
    return f"{graphs.manifest.name} version {graphs.manifest.version}"


def mosaic(tiles: Array) -> Array:
    """Tiles (rows, columns, h, w) side by side as one image, with a gap of one pixel (NaN, which no colour map draws)."""
    rows, columns, height, width = tiles.shape
    framed = np.full((rows, columns, height + 1, width + 1), np.nan, dtype=np.float32)
    framed[..., :height, :width] = tiles
    return framed.transpose(0, 2, 1, 3).reshape(rows * (height + 1), columns * (width + 1))[:-1, :-1]


def channel(values: Array, index: int, kind: str = "images") -> Array:
    """One channel of images (n, h, w[, c]) as (n, h, w), or, by their kind, of spectra (n, l[, c]) as (n, l)."""
    return values[..., index] if values.ndim == (4 if kind == "images" else 3) else values


def bare(axes: Axes) -> Axes:
    """Without ticks and frame, for pictures whose pixels are no axis."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def minus(text: str) -> str:
    """A number in words with a minus that is one, not a hyphen."""
    return text.replace("-", "−")


def unit_label(unit: str, quantity: str = "value") -> str:
    """An axis label such as "value (m)"; "1" and "unknown" are no units to print."""
    return quantity if unit in {"1", "unknown"} else f"{quantity} ({unit})"


def draw_grey(axes: Axes, grey: Array) -> AxesImage:
    """A frame (h, w), NaN where it was not measured, in grey over its pixels' corners; outliers of half a percent at either end are cut."""
    low, high = np.nanquantile(grey, [0.005, 0.995])
    return axes.imshow(grey, cmap="gray", vmin=low, vmax=high, extent=(0, grey.shape[1], grey.shape[0], 0))
