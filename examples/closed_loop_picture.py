"""The picture of the closed loop: the field as the service tells it, how sure it is, the truth, and the error against the number of measurements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

from training.data.patches_field import field

if TYPE_CHECKING:
    from examples.closed_loop import NDArray, Progress


def draw(path: Path, progress: Progress, maps: tuple[NDArray, NDArray], position: NDArray) -> None:
    """Writes the picture anew, whole or not at all, so that a viewer may watch the file."""
    mean, sd = maps
    axis = np.linspace(0, 1, len(mean))
    across, down = np.meshgrid(axis, axis)
    truth = field(np.stack((across.ravel(), down.ravel()), axis=1)).reshape(mean.shape)
    truth -= truth.mean()
    figure, axes = plt.subplots(1, 4, figsize=(15.5, 3.9), layout="constrained", gridspec_kw={"width_ratios": [1, 1, 1, 1.15]})
    limit = float(np.abs(truth).max())
    for place, (values, title) in enumerate(((truth, "the field, as it is"), (mean, "the field, as the service tells it"))):
        _map(figure, axes[place], values, title, "RdBu_r", (-limit, limit))
    _map(figure, axes[2], sd, "its standard deviation; dots: measured", "magma", (0.0, float(sd.max())))
    if progress.places:
        chosen = np.concatenate(progress.places)
        axes[2].plot(*position[chosen].T, "o", ms=3, mfc="white", mec="black", mew=0.5)
        axes[2].plot(*position[progress.places[-1]].T, "o", ms=5, mfc="tab:cyan", mec="black", mew=0.5)
    axes[3].plot(progress.measured, progress.chosen, "o-", ms=3, color="tab:blue", label="where the service says")
    axes[3].plot(progress.measured, progress.random, "s--", ms=3, color="tab:grey", label="random places")
    axes[3].set(xlabel="measurements", ylabel="error of f / sd(f), fresh points", title="learning", ylim=(0, None))
    axes[3].grid(alpha=0.3, which="both")
    axes[3].legend(frameon=False)
    draft = path.with_name(f".{path.name}.part")
    figure.savefig(draft, dpi=120, format="png")
    plt.close(figure)
    draft.replace(path)


def _map(figure: Any, axes: Any, values: NDArray, title: str, colours: str, limits: tuple[float, float]) -> None:  # noqa: PLR0917
    shown = axes.imshow(values, extent=(0, 1, 1, 0), cmap=colours, vmin=limits[0], vmax=limits[1])
    axes.set(title=title, xlabel="x [share of the view]", ylabel="y, downwards")
    figure.colorbar(shown, ax=axes, shrink=0.85)
