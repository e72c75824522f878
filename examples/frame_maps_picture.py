"""The picture of a whole image's latent maps: the image, the angle and what is explained at each window length, and the spectrum of points."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

from training.report.angles import ends_deg, wrapped_rad

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dichroic import FrameEncoding, LatentMap, ScaleSpectrum
    from examples.frame_maps import DrawnFrame, NDArray

KINDS = ((0, "tab:blue", "between stripes"), (1, "tab:red", "damaged"))


def draw(path: Path, frame: DrawnFrame, encoding: FrameEncoding, spectrum: ScaleSpectrum, symmetry: int = 1) -> None:
    """Writes the picture: the maps above, a column for each length, and the spectrum below; angles modulo 360°/symmetry."""
    count = len(encoding.maps)
    figure = plt.figure(figsize=(3.1 * (count + 1), 8.6), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[2.1, 1])
    axes = above.subplots(2, count + 1)
    height, width = frame.image.shape
    whole = (0.0, float(width), float(height), 0.0)
    axes[0, 0].imshow(frame.image, cmap="gray", extent=whole)
    axes[0, 0].set(title="the frame", xlabel="column [px]", ylabel="row [px]")
    axes[1, 0].imshow(frame.image, cmap="gray", extent=whole, alpha=0.35)
    for label, colour, name in KINDS:
        points = frame.points_px[frame.labels == label]
        axes[1, 0].plot(points[:, 1], points[:, 0], ".", ms=4, color=colour, label=name)
    axes[1, 0].legend(loc="lower right", fontsize=8)
    axes[1, 0].set(title="points looked at", xlabel="column [px]", ylabel="row [px]")
    for column, each in enumerate(encoding.maps, start=1):
        colours = ("twilight", *ends_deg(symmetry))
        _map(axes[0, column], each, _degrees(each, symmetry), whole, colours, f"angle, {each.window_nm:.0f} nm", f"modulo {360 / symmetry:g} [°]")
        if each.explained is not None:
            _map(axes[1, column], each, each.explained, whole, ("viridis", 0, 1), f"explained, {each.window_nm:.0f} nm", "1 − MSE/Var")
        _scale_bar(axes[0, column], each.window_px, height)
    _spectrum(below.subplots(1, 2), frame, spectrum)
    figure.suptitle(f"model {encoding.model.name} {encoding.model.version}; white squares: a window")
    draft = path.with_name(f".{path.name}.part")
    figure.savefig(draft, dpi=100, format="png")
    plt.close(figure)
    draft.replace(path)


def _degrees(each: LatentMap, symmetry: int) -> NDArray:
    """Angles in degrees modulo 360°/symmetry. NaN for a model without an angle."""
    if each.angle_rad is None:
        return np.full(len(each.valid), np.nan)
    return np.degrees(wrapped_rad(each.angle_rad, symmetry))


def _map(  # noqa: PLR0917 - what a map needs
    axis: Axes, each: LatentMap, values: NDArray, whole: tuple[float, ...], colours: tuple[str, float, float], title: str, label: str
) -> None:
    assert each.centres_px is not None  # noqa: S101 (a grid of a frame)
    (top, left), (bottom, right) = each.centres_px[0], each.centres_px[-1]
    half = 0.5 * (bottom - top) / max(1, each.rows - 1)
    name, low, high = colours
    shown = axis.imshow(each.on_grid(values), cmap=name, vmin=low, vmax=high, extent=(left - half, right + half, bottom + half, top - half))
    axis.set(title=title, xlim=whole[:2], ylim=whole[2:], xlabel="column [px]")
    axis.set_facecolor("lightgrey")  # where no window lies
    axis.figure.colorbar(shown, ax=axis, label=label, shrink=0.8)


def _scale_bar(axis: Axes, window_px: float, height: float) -> None:
    """A square as large as a window."""
    axis.add_patch(plt.Rectangle((4, height - 4 - window_px), window_px, window_px, fill=False, color="white", lw=1.5))


def _spectrum(axes: Any, frame: DrawnFrame, spectrum: ScaleSpectrum) -> None:
    lengths = spectrum.window_px if spectrum.window_nm is None else spectrum.window_nm
    unit = "px" if spectrum.window_nm is None else "nm"
    if spectrum.separability is not None:
        axes[0].semilogx(lengths, spectrum.separability, "o-", color="black")
        axes[0].axhline(0.9, color="grey", lw=0.8, ls="--")
        since = spectrum.separable_from_px if spectrum.window_nm is None else spectrum.separable_from_nm
        if since is not None:
            axes[0].axvline(since, color="tab:green", label=f"told apart from {since:.0f} {unit} on")
            axes[0].legend(frameon=False, loc="lower right")
    axes[0].set(title="how well content tells damaged points from others", ylabel="balanced accuracy", ylim=(0.3, 1.03))
    for label, colour, name in KINDS:
        own = spectrum.explained[:, frame.labels == label]
        axes[1].semilogx(lengths, np.nanmedian(own, axis=1), "o-", color=colour, label=name)
        axes[1].fill_between(lengths, *np.nanquantile(own, [0.1, 0.9], axis=1), color=colour, alpha=0.15, lw=0)
    axes[1].set_yscale("symlog", linthresh=1)  # what a model cannot draw may be off by many times its own variance
    axes[1].set(title="how much of a window its reconstruction explains", ylabel="1 − MSE/Var", ylim=(None, 1.1))
    axes[1].legend(frameon=False, title="median, 10 to 90 %")
    for axis in axes:
        axis.set_xlabel(f"window length [{unit}]")
        axis.set_xticks(lengths, [f"{length:.0f}" for length in lengths])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
